"""From rankings to results, against a plain second count in loops: random small rankings with many ties."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index_store import Case, CaseFilter, Image
from retrieval.search import results_assembly
from retrieval.search.fusion import FusionRule
from retrieval.search.group_by_patient import PatientHit, Ranking
from retrieval.search.query import Query
from retrieval.search.results import ChannelAnswer, RankedCase
from retrieval.search.results_assembly import channel_answers, count_notes, fused_cases, overlaps
from tests.retrieval.search.plain_fusion import plain_fusion

K = 4
QUERY = np.array([[1.0, 0.0]], dtype=np.float32)
SIMILARITIES = (0.9, 0.5, 0.5, 0.1)
"""Of the four images of a case to the query; two are the same."""


@dataclass
class Records:
    """An archive of patients with two cases each, four images a case, every second one stained Pap."""

    patients: Sequence[str]
    removed: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        self.cases: dict[int, Case] = {}
        for number, patient in enumerate(self.patients):
            for half in range(2):
                key = f"{patient}{half}"
                # The ids descend where the similarities do, so that neither hides the other.
                images = tuple(
                    Image(
                        self.image_id(number, half, i),
                        key,
                        Path(key),
                        "",
                        1,
                        1,
                        stain="Giemsa" if i % 2 == 0 else "Pap",
                    )
                    for i in range(4)
                )
                case_id = 2 * number + half
                self.cases[case_id] = Case(case_id, key, patient, "", images=images)

    @staticmethod
    def image_id(patient: int, half: int, image: int) -> int:
        return 100 * patient + 10 * half + 4 - image

    def cases_by_id(self, ids: Sequence[int]) -> dict[int, Case]:
        return {number: self.cases[number] for number in ids if number not in self.removed}

    def patient_keys(self, ids: set[int]) -> dict[int, str]:
        return {number: f"p{number}" for number in ids}

    def known_vectors(self, ids: Sequence[int], fingerprint: str) -> tuple[np.ndarray, np.ndarray]:
        known = sorted(ids)
        similarities = [SIMILARITIES[4 - number % 10] for number in known]
        return np.array(known), np.array([[s, math.sqrt(1 - s * s)] for s in similarities], dtype=np.float32)


def random_ranking(rng: np.random.Generator, patients: Sequence[int], *, images: bool) -> Ranking:
    """Some of the patients, with few different scores."""
    chosen = rng.permutation(len(patients))[: rng.integers(1, len(patients) + 1)]
    hits = []
    for number in chosen.tolist():
        half = int(rng.integers(2))
        scores = sorted(rng.choice([0.2, 0.4, 0.6, 0.8], size=rng.integers(1, 4)).tolist(), reverse=True)
        image = Records.image_id(number, half, int(rng.integers(4))) if images else None
        hits.append((number, PatientHit(scores[0], 2 * number + half, image, tuple(scores) if images else ())))
    hits.sort(key=lambda entry: (-entry[1].score, entry[1].case_id))
    return dict(hits)


def plain_results(
    records: Records, rankings: dict[str, Ranking], rule: FusionRule, where: CaseFilter | None
) -> list[dict[str, Any]]:
    """What the first K results are, worked out one patient at a time."""
    patients: list[int] = []
    for ranking in rankings.values():
        patients += [patient for patient in ranking if patient not in patients]
    if len(rankings) == 1:
        (name,) = rankings
        parts = {p: {name: rankings[name][p].score} for p in patients}
        ranks = {p: {name: i} for i, p in enumerate(patients, start=1)}
        total = {p: rankings[name][p].score for p in patients}
    else:
        scores = {n: {p: hit.score for p, hit in ranking.items()} for n, ranking in rankings.items()}
        total, parts, ranks = plain_fusion(rule.method, rule.weights, scores, patients)
    found = [p for p in patients if p in total]
    best = sorted(found, key=lambda p: (-round(total[p], 12), patients.index(p)))[:K]
    primary = next(iter(rankings.values()))
    results = []
    for patient in best:
        having = [name for name in rankings if patient in rankings[name]]
        most = max(parts[patient][name] for name in having)
        channel = next(name for name in having if parts[patient][name] == most)
        case = records.cases[rankings[channel][patient].case_id]
        if case.id in records.removed:
            continue
        hit = primary.get(patient)
        if hit is not None and hit.image_id is not None and hit.case_id == case.id:
            image, similarity = hit.image_id, hit.score
        else:
            shown = [i for i in case.images if where is None or not where.stains or i.stain in where.stains]
            nearest = max(SIMILARITIES[4 - i.id % 10] for i in shown or case.images)
            image = min(i.id for i in shown or case.images if SIMILARITIES[4 - i.id % 10] == nearest)
            similarity = nearest
        within = [name for name in having if ranks[patient][name] <= K]
        results.append(
            {
                "patient": patient,
                "score": total[patient],
                "case": case.id,
                "image": image,
                "similarity": similarity,
                "ranks": {name: ranks[patient].get(name) if name in having else None for name in rankings},
                "parts": parts[patient],
                "only": within[0] if len(rankings) > 1 and len(within) == 1 else "",
            }
        )
    for result in results:
        hit = primary.get(result["patient"])
        least = min(other["similarity"] for other in results)
        result["others"] = 0 if hit is None else len([s for s in hit.image_scores[1:] if s >= least])
    return results


@pytest.mark.parametrize("seed", range(60))
def test_results_are_those_of_a_plain_count(seed: int) -> None:
    rng = np.random.default_rng(seed)
    patients = range(8)
    records = Records([f"p{number}" for number in patients], frozenset(rng.choice(16, size=2).tolist()))
    names = ["image", "generated", "report"][: 1 + seed % 3]
    rankings = {name: random_ranking(rng, patients, images=name != "report") for name in names}
    rule = FusionRule(
        "rrf" if rng.random() < 0.5 else "score", {name: float(rng.choice([0.5, 1, 2])) for name in names}
    )
    where = CaseFilter(stains=("Pap",)) if rng.random() < 0.5 else None
    found = fused_cases(records, rankings, rule, K, primary_vector=QUERY, where=where, fingerprint="")  # type: ignore[arg-type]
    expected = plain_results(records, rankings, rule, where)
    assert [entry.rank for entry in found] == list(range(1, len(expected) + 1))
    for entry, plain in zip(found, expected, strict=True):
        assert (entry.case.patient, entry.case.id) == (f"p{plain['patient']}", plain["case"])
        assert entry.image.id == plain["image"]
        assert entry.score == pytest.approx(plain["score"])
        assert entry.similarity == pytest.approx(plain["similarity"])
        assert {rank.channel: rank.rank for rank in entry.channel_ranks} == plain["ranks"]
        for rank in entry.channel_ranks:
            assert rank.part == pytest.approx(plain["parts"][rank.channel])
            hit = rankings[rank.channel].get(plain["patient"])
            assert rank.score == (None if hit is None else hit.score)
        assert (entry.only_channel, entry.other_images) == (plain["only"], plain["others"])


def _only(
    ranking: Ranking, *, where: CaseFilter | None = None, vector: np.ndarray | None = QUERY, channel: str = "report"
) -> RankedCase:
    records = Records(["p0"])
    (entry,) = fused_cases(
        records,  # type: ignore[arg-type]
        {channel: ranking},
        FusionRule(),
        K,
        primary_vector=vector,
        where=where,
        fingerprint="",
    )
    return entry


def test_a_filtered_search_shows_no_image_that_the_filter_excludes() -> None:
    """The nearest image of the case is Giemsa; of those that are Pap, the nearer is shown."""
    ranking = {0: PatientHit(1.0, 0, None)}
    unfiltered, filtered = (_only(ranking, where=where) for where in (None, CaseFilter(stains=("Pap",))))
    assert (unfiltered.image.stain, unfiltered.similarity) == ("Giemsa", pytest.approx(0.9))
    assert (filtered.image.stain, filtered.similarity) == ("Pap", pytest.approx(0.5))
    # Without a vector to compare by, the first permitted one.
    assert _only(ranking, where=CaseFilter(stains=("Pap",)), vector=None).image.stain == "Pap"
    assert _only(ranking, vector=None).image.stain == "Giemsa"


def test_the_image_that_was_found_is_shown() -> None:
    ranking = {0: PatientHit(0.1, 0, Records.image_id(0, 0, 3), (0.1,))}
    entry = _only(ranking, channel="image")
    assert (entry.image.id, entry.similarity) == (Records.image_id(0, 0, 3), 0.1)


def test_a_case_that_other_channels_add_more_to_shows_its_own_image() -> None:
    """The image channel found the patient's first case, the report channel its second, which adds more."""
    rankings = {
        "image": {0: PatientHit(0.7, 0, Records.image_id(0, 0, 1), (0.7,))},
        "report": {0: PatientHit(2.0, 1, None)},
    }
    rule = FusionRule("rrf", {"image": 1, "report": 3})
    (entry,) = fused_cases(Records(["p0"]), rankings, rule, K, primary_vector=QUERY, where=None, fingerprint="")  # type: ignore[arg-type]
    assert (entry.case.id, entry.image.id) == (1, Records.image_id(0, 1, 0))
    assert entry.similarity == pytest.approx(0.9)


def test_no_ranking_is_no_result() -> None:
    assert fused_cases(Records([]), {}, FusionRule(), K, primary_vector=None, where=None, fingerprint="") == ()  # type: ignore[arg-type]
    assert channel_answers(Records([]), {}, FusionRule(), K, {}) == ()


@pytest.mark.parametrize(("k", "scores"), [(1, 5), (5, 5), (7, 7)])
def test_a_channels_answer_has_its_first_k_and_at_least_five_scores(k: int, scores: int) -> None:
    ranking = {i: PatientHit(1 - i / 10, i, i) for i in range(9)}
    answers = channel_answers(
        Records([]),
        {"image": ranking, "joint": ranking},
        FusionRule(weights={"joint": 3}),
        k,
        {"image": "case", "joint": "joint"},
    )
    assert [answer.channel for answer in answers] == ["image", "joint"]
    assert [answer.weight for answer in answers] == [0.25, 0.75]
    assert answers[0].patients == tuple(f"p{i}" for i in range(k))
    assert answers[0].scores == tuple(1 - i / 10 for i in range(scores))
    assert answers[0].query_type == "case"


def test_overlaps_count_of_the_shorter_answer() -> None:
    def answer(name: str, *patients: str) -> ChannelAnswer:
        return ChannelAnswer(name, 1, patients, ())

    answers = (answer("a", *"uvwxyz"), answer("b", *"zq"), answer("c", *"mnopq"))
    found = {overlap.channels: overlap for overlap in overlaps(answers)}
    assert list(found) == list(itertools.combinations("abc", 2))
    assert [(overlap.shared, overlap.of) for overlap in found.values()] == [(1, 2), (0, 5), (1, 2)]
    assert [overlap.disagree for overlap in found.values()] == [False, True, False]
    assert not overlaps((answer("a", *"uvwxy"), answer("b", *"yabcd")))[0].disagree, "a fifth is enough"


@pytest.mark.parametrize("seed", range(40))
def test_cases_whose_report_contains_the_words_come_first_and_are_shown(seed: int) -> None:
    rng = np.random.default_rng(seed)
    patients = range(8)
    records = Records([f"p{number}" for number in patients])
    found = random_ranking(rng, patients, images=False)
    holding = set(list(found)[: rng.integers(0, len(found) + 1)])  # a channel puts them first already
    report = {name: replace(hit, contains_words=name in holding) for name, hit in found.items()}
    rankings = {"joint": random_ranking(rng, patients, images=True), "report": report}
    for weight in (0.1, 9.0):
        rule = FusionRule("rrf" if seed % 2 else "score", {"joint": 3, "report": weight})
        results = fused_cases(
            records,  # type: ignore[arg-type]
            rankings,
            rule,
            len(patients),
            primary_vector=QUERY,
            where=None,
            fingerprint="",
        )
        ahead = [int(entry.case.patient[1:]) for entry in results if entry.contains_words]
        assert set(ahead) == holding
        assert [int(entry.case.patient[1:]) for entry in results[: len(ahead)]] == ahead
        assert all(entry.case.id == report[int(entry.case.patient[1:])].case_id for entry in results[: len(ahead)])
        assert [entry.score for entry in results] == sorted((entry.score for entry in results), reverse=True)
        for entry in results:
            assert sum(rank.part for rank in entry.channel_ranks) == pytest.approx(entry.score)


class Counted:
    """An archive of so many cases, which has these values of a facet and lacks these excluded keys."""

    def __init__(self, cases: int, values: Sequence[str] = (), unknown: Sequence[str] = ()) -> None:
        self._cases, self._values, self._unknown = cases, values, unknown

    def cases(self, *, limit: int) -> list[str]:
        return ["a case"] * min(limit, self._cases)

    def facets(self) -> dict[str, dict[str, int]]:
        return {"site": dict.fromkeys(self._values, 1)}

    def unknown_exclusions(self, where: CaseFilter) -> Sequence[str]:
        assert where.excludes
        return self._unknown


@pytest.mark.parametrize(
    ("archive", "where", "absent", "found", "notes"),
    [
        (Counted(9), None, (), 3, []),
        (Counted(9), CaseFilter(sites=("x",)), (), 3, []),
        (Counted(9), None, (), 2, ["Only 2 of the 3 requested cases: the archive has no more patients that match."]),
        (Counted(9), None, (), 1, ["Only 1 of the 3 requested cases: the archive has no more patients that match."]),
        (Counted(0), None, (), 0, ["The archive is empty: add reference cases with `coin add`."]),
        (Counted(1), None, (), 0, ["The archive holds no case of another patient."]),
        (Counted(1), CaseFilter(sites=("x",)), (), 0, ["No case matches the filters: remove one of them."]),
        (
            Counted(1, ["cervix", "", "urine"]),
            CaseFilter(sites=("x",)),
            "x",
            0,
            ["No case matches the filters: none has the site 'x'. This archive has: cervix, urine."],
        ),
        (
            Counted(1, "abcdefghij"),
            CaseFilter(sites=("x",)),
            "xyz",
            0,
            ["No case matches the filters: none has the site 'x', 'y', 'z'. "
             "This archive has: a, b, c, d, e, f, g, h, i, j."],
        ),
        (
            Counted(1, "abcdefghijk"),
            CaseFilter(sites=("x",)),
            "wxyz",
            0,
            ["No case matches the filters: none has the site 'w', 'x', 'y' …. "
             "This archive has: a, b, c, d, e, f, g, h, i, j …."],
        ),
        (
            Counted(1, [""]),
            CaseFilter(sites=("x",)),
            "x",
            0,
            ["No case matches the filters: none has the site 'x'. This archive has: none."],
        ),
        (
            Counted(9, unknown="abc"),
            CaseFilter(exclude_cases=("a", "b", "c", "d")),
            (),
            3,
            ["Nothing was left out for 'a', 'b', 'c': the archive has no such patient or case."],
        ),
        (
            Counted(9, unknown="abcd"),
            CaseFilter(exclude_cases=("a", "b", "c", "d")),
            (),
            2,
            ["Only 2 of the 3 requested cases: the archive has no more patients that match.",
             "Nothing was left out for 'a', 'b', 'c' …: the archive has no such patient or case."],
        ),
    ],
)  # fmt: skip
def test_notes_say_why_there_are_fewer_cases_and_what_could_not_be_left_out(
    archive: Counted,
    where: CaseFilter | None,
    absent: Sequence[str],
    found: int,
    notes: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = {"site": tuple(absent)} if absent else {}
    monkeypatch.setattr(results_assembly, "values_without_cases", lambda *_: values)
    query = Query(text="a", k=3, where=where)
    assert list(count_notes(archive, query, found)) == notes  # type: ignore[arg-type]
