"""Many fields against many images, against a plain count over every image."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from index_store import Archive, CaseFilter
from retrieval.search.group_by_patient import PatientHit
from retrieval.search.slides import many_vectors
from retrieval.search.slides.many_vectors import joined, rank_by_fields
from retrieval.search.slides.slide_query import MATCHES, SlideQuery
from tests.retrieval.vector_archive import FINGERPRINT, archive_of

PATIENTS = 12


def units(rng: np.random.Generator, n: int, around: np.ndarray | None = None) -> np.ndarray:
    rows = rng.standard_normal((n, 6)) + (0 if around is None else 2 * around)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def owners() -> list[int]:
    """Whose the images are: one patient has half of them."""
    return [0] * 40 + [1 + number % (PATIENTS - 1) for number in range(44)]


@pytest.fixture(scope="module")
def vectors(owners: list[int]) -> np.ndarray:
    rng = np.random.default_rng(0)
    middles = units(rng, PATIENTS)
    return np.concatenate([units(rng, 1, middles[owner]) for owner in owners])


@pytest.fixture(scope="module")
def archive(owners: list[int], vectors: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    rows = [
        {"case": f"c{owner}-{number % 2}", "patient": f"p{owner}", "stain": "MGG" if number % 3 else "Pap"}
        for number, owner in enumerate(owners)
    ]
    return archive_of(tmp_path_factory.mktemp("many"), rows, vectors)


def rank(archive: Archive, queries: np.ndarray, at_least: int = 5, **options: object) -> dict[str, PatientHit]:
    """By the patient's key, in order."""
    values = {"pool": at_least, "where": None, "fingerprint": FINGERPRINT, "match": "mean"} | options
    ranking = rank_by_fields(archive, queries, at_least, **values)  # type: ignore[arg-type]
    keys = archive.patient_keys(ranking)
    return {keys[patient]: hit for patient, hit in ranking.items()}


def expected(values: np.ndarray) -> float:
    """The maximum of 4 values drawn without replacement, by counting in how many draws each is the largest."""
    values, drawn = np.sort(values), min(4, len(values))
    chances = [math.comb(below, drawn - 1) / math.comb(len(values), drawn) for below in range(len(values))]
    return float(np.dot(values, chances))


def plain(queries: np.ndarray, vectors: np.ndarray, owners: list[int], match: str) -> dict[str, float]:
    """Every patient's score, best first."""
    owned = np.array(owners)
    scores = {}
    for owner in set(owners):
        similarities = queries.astype(np.float64) @ vectors[owned == owner].T
        best = similarities.max(axis=1)
        if match == "even":
            best = np.array([expected(row) for row in similarities])
        way = {"mean": np.mean, "even": np.mean, "median": np.median, "best": np.max}[match]
        scores[f"p{owner}"] = float(way(best))
    return dict(sorted(scores.items(), key=lambda entry: -entry[1]))


@pytest.mark.parametrize("match", MATCHES)
def test_patients_are_ranked_as_by_every_image(
    archive: Archive, vectors: np.ndarray, owners: list[int], match: str
) -> None:
    for seed in range(5):
        queries = units(np.random.default_rng(100 + seed), 7)
        found = rank(archive, queries, PATIENTS, match=match)
        expected = plain(queries, vectors, owners, match)
        assert list(found) == list(expected)
        assert [hit.score for hit in found.values()] == pytest.approx(list(expected.values()), abs=1e-6)


def test_matches_name_each_field_and_image_once_best_first(
    archive: Archive, vectors: np.ndarray, owners: list[int]
) -> None:
    queries = units(np.random.default_rng(3), 9)
    ids = archive.image_table().ids  # in the order in which the vectors were added
    for patient, hit in rank(archive, queries, PATIENTS).items():
        assert hit.matches
        assert len({match.field for match in hit.matches}) == len(hit.matches)
        assert len({match.image_id for match in hit.matches}) == len(hit.matches)
        assert [match.similarity for match in hit.matches] == sorted((m.similarity for m in hit.matches), reverse=True)
        for match in hit.matches:
            row = int(np.searchsorted(ids, match.image_id))
            own = vectors[[f"p{owner}" == patient for owner in owners]]
            assert match.similarity == pytest.approx(float((own @ queries[match.field]).max()), abs=1e-6)
            assert match.similarity == pytest.approx(float(queries[match.field] @ vectors[row]), abs=1e-6)
            assert archive.case(archive.image(match.image_id).case_key).patient == patient
        assert (hit.image_id, hit.case_id) == (
            hit.matches[0].image_id,
            archive.case(archive.image(hit.matches[0].image_id).case_key).id,
        )


def test_a_patient_with_very_many_images_does_not_keep_the_others_out(
    archive: Archive, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that the first searches find is patient 0's; who comes next is found without it."""
    monkeypatch.setattr(many_vectors, "DEPTH", 2)
    monkeypatch.setattr(many_vectors, "ROUNDS", 1)
    found = rank(archive, vectors[:1], 6)
    assert next(iter(found)) == "p0"
    assert len(found) == 6


def test_of_a_patient_with_very_many_images_some_are_compared(
    archive: Archive, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among them those that the search found, so that its nearest is not missed."""
    compared = []
    plain_compare = many_vectors._compared

    def counted(patient: int, ids: np.ndarray, *rest: object) -> object:
        compared.append(len(ids))
        return plain_compare(patient, ids, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(many_vectors, "_compared", counted)
    monkeypatch.setattr(many_vectors, "EACH", 5)
    monkeypatch.setattr(many_vectors, "DEPTH", 3)
    for image in (0, 17, 39):
        found = rank(archive, vectors[image : image + 1], 3, match="best")
        assert found["p0"].score == pytest.approx(1.0, abs=1e-6)
    assert 5 <= max(compared) <= 2 * 5, "of 40"


def test_no_more_is_compared_than_the_limit_but_for_who_must_be_in_order(
    archive: Archive, vectors: np.ndarray, owners: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many_vectors, "COMPARED", 1)
    queries = units(np.random.default_rng(8), 4)
    found = rank(archive, queries, 3, pool=PATIENTS)
    assert list(found) == list(plain(queries, vectors, owners, "mean"))[:3]
    others = CaseFilter(exclude_patients=("p0",))  # four images each
    for limit, patients in ((7, 2), (8, 2), (9, 3), (12, 3), (13, 4)):
        monkeypatch.setattr(many_vectors, "COMPARED", limit)
        assert len(rank(archive, queries, 2, pool=PATIENTS, where=others)) == patients
    monkeypatch.undo()
    assert len(rank(archive, queries, 3, pool=PATIENTS)) == PATIENTS


@pytest.mark.parametrize(
    ("limits", "at_least", "pool", "searches"),
    [
        ({"ROUNDS": 4}, 2, 2, 4),
        ({"ROUNDS": 4}, 5, 2, 5),  # these must be found
        ({"ROUNDS": 30}, 1, 1, 4),  # four times as many as must be found
        ({"ROUNDS": 30}, 2, 2, 8),
        ({"ROUNDS": 30}, 2, 10, 10),
        ({"ROUNDS": 30, "CANDIDATES": 9}, 2, 10, 9),
        ({"ROUNDS": 30, "CANDIDATES": 3}, 5, 5, 5),
        ({"ROUNDS": 1, "MOST_EXCLUDED": 2}, 5, 5, 2),
        ({"ROUNDS": 30}, 2, 100, PATIENTS + 1),  # until there is nobody else
        ({"ROUNDS": 30, "DEPTH": 200}, 2, 100, 1),  # all at once
    ],
)
def test_candidates_are_searched_for_until_there_are_enough(
    archive: Archive,
    vectors: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    limits: dict[str, int],
    at_least: int,
    pool: int,
    searches: int,
) -> None:
    """One image a search, so one patient."""
    excluded = []
    plain_search = archive.search

    def counted(queries: np.ndarray, depth: int, *, where: CaseFilter | None, fingerprint: str) -> object:
        excluded.append(0 if where is None else len(where.exclude_patients))
        return plain_search(queries, depth, where=where, fingerprint=fingerprint)

    monkeypatch.setattr(archive, "search", counted)
    for name, value in ({"DEPTH": 1} | limits).items():
        monkeypatch.setattr(many_vectors, name, value)
    found = rank(archive, vectors[:1], at_least, pool=pool, match="best")
    assert excluded == list(range(searches))
    candidates = PATIENTS if limits.get("DEPTH") else min(searches, PATIENTS)
    assert len(found) == min(candidates, max(at_least, pool))
    best = plain(vectors[:1], vectors, [0] * 40 + [1 + number % (PATIENTS - 1) for number in range(44)], "best")
    assert list(found) == list(best)[: len(found)]


def test_patients_are_compared_in_the_order_of_what_they_score_at_most(
    archive: Archive, vectors: np.ndarray, owners: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a search found none of a patient's images for a field, they are no nearer than the last that it found."""
    compared = []
    plain_compare = many_vectors._compared

    def noted(patient: int, *rest: object) -> object:
        compared.append(patient)
        return plain_compare(patient, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(many_vectors, "_compared", noted)
    monkeypatch.setattr(many_vectors, "DEPTH", 4)
    monkeypatch.setattr(many_vectors, "ROUNDS", 1)
    table = archive.image_table()
    for seed in range(3):
        queries = units(np.random.default_rng(30 + seed), 5)
        similarities = queries @ vectors.T
        hits = [np.argsort(-row)[:4] for row in similarities]
        patients = {int(table.patients[image]) for of_field in hits for image in of_field}
        bounds = {
            patient: np.mean(
                [
                    max(row[image] for image in (*(i for i in near if table.patients[i] == patient), near[-1]))
                    for row, near in zip(similarities, hits, strict=True)
                ]
            )
            for patient in patients
        }
        for limit, most in ((256, len(patients)), (3, 3), (1, 2)):
            monkeypatch.setattr(many_vectors, "CANDIDATES", limit)
            compared.clear()
            rank(archive, queries, 2, pool=PATIENTS)
            assert compared == sorted(patients, key=lambda patient: -bounds[patient])[:most]


def test_of_very_many_images_some_evenly_spaced_stand_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = np.arange(100, 121)  # 21
    monkeypatch.setattr(many_vectors, "EACH", 21)
    assert all((some == ids).all() for some in many_vectors._spaced(ids, frozenset({100})))
    monkeypatch.setattr(many_vectors, "EACH", 5)
    own, scored = many_vectors._spaced(ids, frozenset({101, 103, 110, 7}))
    assert scored.tolist() == [100, 105, 110, 115, 120]
    assert own.tolist() == [100, 101, 103, 105, 110, 115, 120]
    own, _ = many_vectors._spaced(ids, frozenset(range(111, 120)))
    assert own.tolist() == [100, 105, 110, 111, 112, 113, 114, 115, 120], "five of those found at most"


def test_at_most_eight_matches_of_a_patient_are_kept(archive: Archive, vectors: np.ndarray) -> None:
    for fields in (7, 8, 9, 12):
        (found,) = rank(archive, vectors[:fields], 1, pool=1).values()
        assert len({match.field for match in found.matches}) == len(found.matches) == min(fields, 8)
        assert [match.similarity for match in found.matches] == pytest.approx([1.0] * min(fields, 8), abs=1e-6)


def test_no_more_vectors_are_held_at_once_than_a_block_of_whole_patients(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patients of four images each, two at a time."""
    held = []
    plain_vectors = archive.known_vectors

    def counted(ids: list[int], *rest: str) -> object:
        held.append(len(ids))
        return plain_vectors(ids, *rest)

    monkeypatch.setattr(archive, "known_vectors", counted)
    monkeypatch.setattr(many_vectors, "BLOCK", 8)
    queries = units(np.random.default_rng(8), 4)
    assert len(rank(archive, queries, PATIENTS, where=CaseFilter(exclude_patients=("p0",)))) == PATIENTS - 1
    assert held == [8, 8, 8, 8, 8, 4]


def test_exclusions_and_filters_hold_for_every_match(archive: Archive, vectors: np.ndarray, owners: list[int]) -> None:
    queries = units(np.random.default_rng(5), 6)
    where = CaseFilter(stains=("MGG",), exclude_patients=("p0", "p3"))
    found = rank(archive, queries, PATIENTS, where=where)
    assert set(found) == {f"p{owner}" for owner in range(PATIENTS)} - {"p0", "p3"}
    stains = {archive.image(match.image_id).stain for hit in found.values() for match in hit.matches}
    assert stains == {"MGG"}
    permitted = np.array([number % 3 > 0 for number in range(len(owners))])
    expected = plain(queries, vectors[permitted], [o for o, p in zip(owners, permitted, strict=True) if p], "mean")
    assert found["p1"].score == pytest.approx(expected["p1"], abs=1e-6)
    assert rank(archive, queries, where=CaseFilter(sites=("nowhere",))) == {}


def test_fields_are_joined_by_their_best_matches() -> None:
    similarities = np.array([[0.9, 0.3], [0.1, 0.0], [0.1, 0.2]])
    assert (joined(similarities, "best"), joined(similarities, "median")) == (0.9, 0.2)
    assert joined(similarities, "mean") == pytest.approx(0.4)


def test_the_best_of_some_images_is_what_it_is_over_all_draws() -> None:
    values = np.random.default_rng(2).random((2, 7))
    draws = [values[:, list(some)].max(axis=1) for some in itertools.combinations(range(7), 3)]
    assert many_vectors.expected_best(values, 3) == pytest.approx(np.mean(draws, axis=0))
    assert many_vectors.expected_best(values[:, :3], 3) == pytest.approx(values[:, :3].max(axis=1))


def test_as_many_are_drawn_as_nine_of_ten_patients_have() -> None:
    """Of equal patients all: then it is the mean of the best matches."""
    equal = np.repeat(np.arange(1, 21), 64)
    assert many_vectors.even_draws(equal) == 64
    assert many_vectors.even_draws(equal[:-60]) == 64, "one of 20 has four"
    assert many_vectors.even_draws(np.concatenate([equal, [21] * 4, [22] * 4, [23] * 2])) == 4
    assert many_vectors.even_draws(np.array([], dtype=np.int64)) == 4
    values = np.random.default_rng(1).random((3, 64))
    assert joined(values, "even", 64) == joined(values, "mean")


def test_who_has_more_images_of_one_kind_gains_nothing() -> None:
    """Of 20 and of 2,000 images of one distribution the best is higher among the latter, the expected one is not."""
    rng = np.random.default_rng(0)
    few, many = rng.random((400, 20)), rng.random((400, 2000))
    assert many.max(axis=1).mean() - few.max(axis=1).mean() > 0.04
    assert abs(joined(many, "even") - joined(few, "even")) < 0.005


@pytest.mark.slow
def test_a_case_of_4_fields_stands_before_one_of_256_of_another_kind(tmp_path: Path) -> None:
    """By the default; by the mean of the best matches, which grow with the number of fields, it does not."""
    rng = np.random.default_rng(0)
    kinds = units(rng, 2)
    cases = [(0, 4), (0, 4), (1, 256), (0, 256), (1, 4)]
    rows = [
        {"case": f"c{case}", "patient": f"kind {kind}, case {case}"}
        for case, (kind, fields) in enumerate(cases)
        for _ in range(fields)
    ]
    vectors = np.concatenate([units(rng, fields, kinds[kind]) for kind, fields in cases])
    queries = units(rng, 64, kinds[0])
    with archive_of(tmp_path, rows, vectors) as archive:
        order = {
            match: [patient[:6] for patient in rank(archive, queries, len(cases), match=match)]
            for match in (SlideQuery("a.svs").match, "mean")
        }
    assert order["even"] == ["kind 0"] * 3 + ["kind 1"] * 2
    assert order["mean"][:2] == ["kind 0", "kind 1"]
