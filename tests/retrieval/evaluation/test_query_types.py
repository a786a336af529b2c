"""Queries by report and by both: against the search's own functions, against BM25 by hand, and against themselves."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from index_store import Archive, CaseFilter
from retrieval import Evaluation, evaluate_archive
from retrieval.evaluation.batched_rankings import Rankings
from retrieval.evaluation.dataset import labelled_cases
from retrieval.evaluation.evaluate import evaluate_experiment
from retrieval.evaluation.experiment import (
    FUSED,
    FUSED_BOTH,
    Experiment,
    QueryType,
)
from retrieval.evaluation.identical_reports import IdenticalReports, report_groups
from retrieval.evaluation.material import gather, no_progress
from retrieval.evaluation.results import QueryTypeResult
from retrieval.evaluation.tables import abstention
from retrieval.language.words.terms import content_words, words_of
from retrieval.search.channels.registry import CHANNELS
from retrieval.search.channels.report import MEANING, WORDS
from retrieval.search.fusion import FusionRule, default_rules
from retrieval.search.group_by_patient import rank_images
from retrieval.search.reports.report_index import read_report_index
from retrieval.search.results_assembly import fused_cases
from tests.retrieval.labelled_archive import channel, made_cases, unit
from tests.retrieval.vector_archive import FINGERPRINT, archive_of

IMAGE, GENERATED, JOINT, REPORT, _ = CHANNELS
SITES = ("cervix", "thyroid")
WORDING = ("cells in clusters", "cells in sheets", "scattered cells", "no atypical cells")
CASES = 36


def row(number: int) -> dict[str, str]:
    """Some patients have two cases; one report in twelve is blank."""
    label = number // 2 % 4
    return {
        "case": f"case {number:02}",
        "patient": f"patient {number - (number % 6 == 5):02}",
        "report": "" if number % 12 == 7 else f"({SITES[label % 2]}) {WORDING[label]} {'pale ' * (number % 3)}nuclei",
        "site": SITES[label % 2],
        "category": ("Benign", "Malignant")[label // 2],
        "stain": ("Pap", "Giemsa")[number % 2],
    }


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """One image a case; vectors of images and reports lie by class, with much noise."""
    rows = [row(number) for number in range(CASES)]
    labels = np.array([number // 2 % 4 for number in range(CASES)])
    rng = np.random.default_rng(0)
    centres = unit(rng.normal(size=(4, 12)))
    with archive_of(
        tmp_path_factory.mktemp("reports"), rows, unit(centres[labels] + unit(rng.normal(size=(CASES, 12))))
    ) as made:
        reports = [report for report in made.reports() if report.text.strip()]
        at = [labels[int(report.case_key.removeprefix("case "))] for report in reports]
        vectors = unit(centres[at] + 1.5 * unit(rng.normal(size=(len(at), 12))))
        made.add_report_vectors(
            [report.case_id for report in reports], [r.text for r in reports], vectors, fingerprint=FINGERPRINT
        )
        yield made


@pytest.fixture(scope="module")
def evaluation(archive: Archive) -> Evaluation:
    return evaluate_archive(archive)


def family(evaluation: Evaluation, name: str) -> QueryTypeResult:
    return next(one for one in evaluation.families if one.name == name)


def scores(of: QueryTypeResult, channel: str, *, task: str = "category") -> dict:
    rows = next(one for one in of.tasks if one.name == task).parts[0].rows
    return dict(next(one for one in rows if one.channel == channel).scores)


def test_the_tables_have_the_rows_that_the_archive_allows(evaluation: Evaluation) -> None:
    rows = {one.name: [row.channel for row in one.tasks[0].parts[0].rows] for one in evaluation.families}
    assert rows == {
        "queries by image": [IMAGE, "colour histogram", "image with colour", "chance"],
        "queries by report": [JOINT, REPORT, WORDS, MEANING, FUSED, "chance"],
        "queries by report and image": [IMAGE, FUSED, FUSED_BOTH, "chance"],
    }
    by_report = family(evaluation, "queries by report")
    assert (by_report.asked, by_report.left_out) == (CASES - 3, 3)
    assert any("--generate" in note for note in evaluation.notes)
    assert {(one.channel, one.minus) for one in by_report.tasks[0].differences} == {
        (FUSED, other) for other in (JOINT, REPORT, WORDS, MEANING)
    }


def test_every_row_ranks_as_the_search_does(archive: Archive) -> None:
    """Channel by channel and fused, in the order and by the case that `coin search` would show."""
    material = gather(
        archive,
        encoder=None,
        generation=None,
        sample=None,
        seed=0,
        histogram=False,
        rules=default_rules(),
        work=None,
        progress=no_progress,
    )
    cases, experiment = material.cases, material.experiment
    rankings = Rankings(cases, experiment)
    everywhere = np.zeros(len(cases.keys), dtype=np.int64)
    index = read_report_index(archive, FINGERPRINT)
    checked = 0
    for block in rankings.blocks(experiment.query_types[1:], [everywhere]):
        ranked_by = rankings.ranked(block, rankings.scores(block), everywhere)
        for i, query in enumerate(block.queries):
            own = archive.case(cases.keys[query])
            others = CaseFilter(exclude_patients=(own.patient,))
            permitted = np.array([case.id for case in archive.cases(others)])
            text = index.vectors_of([own.id])[:1]
            image = archive.vectors_of([own.images[0].id], FINGERPRINT)
            many = {"at_least": 99, "pool": 99, "where": others, "fingerprint": FINGERPRINT}
            found = {
                "image": rank_images(archive, image, **many),
                "joint": rank_images(archive, text, **many),
                "report": index.rank(
                    own.report,
                    text,
                    default_rules()["report"],
                    permitted=permitted,
                    contained=content_words(own.report),
                ),
            }
            for name, of in (("text", ("joint", "report")), ("text and image", ("image", "joint", "report"))):
                expected = fused_cases(
                    archive,
                    {channel: found[channel] for channel in of},
                    default_rules()[name],
                    12,
                    primary_vector=image if "image" in of else text,
                    where=others,
                    fingerprint=FINGERPRINT,
                )
                images = ranked_by[FUSED if name == "text" else FUSED_BOTH].ranked_images[i][:12]
                assert [cases.keys[cases.case_of[lead]] for lead in images] == [entry.case.key for entry in expected]
            by_report = [place.case_id for place in found["report"].values()]
            images = ranked_by[REPORT].ranked_images[i][: len(by_report)]
            assert cases.ids[cases.case_of[images]].tolist() == by_report
            checked += 1
    assert checked == CASES - 3


def test_the_row_of_words_is_bm25_by_hand(archive: Archive, evaluation: Evaluation) -> None:
    cases = sorted((case for case in archive.cases() if case.report), key=lambda case: case.key)
    documents = [words_of(case.report) for case in cases]
    mean = np.mean([len(document) for document in documents])

    def bm25(query: list[str], document: list[str]) -> float:
        counts, total = Counter(document), 0.0
        for word in query:
            having = sum(word in other for other in documents)
            idf = math.log(1 + (len(documents) - having + 0.5) / (having + 0.5))
            total += idf * counts[word] / (counts[word] + 1.5 * (1 - 0.75 + 0.75 * len(document) / mean))
        return total

    hits: dict[str, list[bool]] = {}
    for i, case in enumerate(cases):
        found = [
            (-round(bm25(documents[i], documents[j]), 5), j, f"{other.site} {other.category}")
            for j, other in enumerate(cases)
            if other.patient != case.patient
        ]
        label = f"{case.site} {case.category}"
        hits.setdefault(label, []).append(min(found)[2] == label)
    expected = np.mean([np.mean(of) for of in hits.values()])
    assert scores(family(evaluation, "queries by report"), WORDS)["P@1"].mean == pytest.approx(expected)


def test_differences_are_those_of_the_rows(evaluation: Evaluation) -> None:
    for one in evaluation.families:
        for task in one.tasks:
            for difference in task.differences:
                a = scores(one, difference.channel, task=task.name)
                b = scores(one, difference.minus, task=task.name)
                for metric, estimate in difference.scores.items():
                    assert estimate.mean == pytest.approx(a[metric].mean - b[metric].mean)
                    assert estimate.low <= estimate.mean + 1e-9
                    assert estimate.mean <= estimate.high + 1e-9


@pytest.mark.slow
def test_the_figures_are_the_same_again_and_a_rule_changes_fused_rows_alone(
    archive: Archive, evaluation: Evaluation
) -> None:
    assert evaluate_archive(archive) == evaluation
    rules = {**default_rules(), "text": FusionRule("rrf", {"joint": 1, "report": 0})}
    other = family(evaluate_archive(archive, rules=rules), "queries by report")
    before = family(evaluation, "queries by report")
    assert scores(other, FUSED)["P@1"] == scores(other, JOINT)["P@1"] == scores(before, JOINT)["P@1"]
    assert scores(before, FUSED)["mAP"] != scores(other, FUSED)["mAP"]


def test_identical_reports_find_each_other(archive: Archive, evaluation: Evaluation) -> None:
    same = family(evaluation, "queries by report").same_report
    assert same is not None
    assert same.queries + same.unanswerable == CASES - 3
    found = {one.channel: one.scores for one in same.rows}
    assert found[WORDS]["MRR"].mean > 0.9, "the same words score highest"
    assert found["chance"]["MRR"].mean < 0.5
    assert family(evaluation, "queries by image").same_report is None


@pytest.mark.slow
def test_chance_of_a_report_family_is_that_of_random_orders(archive: Archive) -> None:
    from retrieval.evaluation.dataset import read_labelled

    cases = read_labelled(archive)
    same = IdenticalReports(report_groups(cases.reports), cases)
    queries = same.answerable(np.arange(CASES))
    expected = same.expected_by_chance(queries)
    rng = np.random.default_rng(0)
    images = [np.flatnonzero(cases.patient_of[cases.case_of] == p) for p in range(cases.patients)]
    totals: dict[str, list[float]] = {}
    for _ in range(800):
        order = rng.permutation(cases.patients)
        chosen = np.array([rng.choice(images[p]) for p in order])
        rows = np.stack([chosen[order != own] for own in cases.patient_of[queries]])
        for metric, values in same.judge(queries, rows).items():
            totals.setdefault(metric, []).append(float(values.mean()))
    for metric, values in totals.items():
        assert np.mean(values) == pytest.approx(expected[metric].mean(), abs=0.012), metric


@pytest.mark.slow
def test_without_report_vectors_words_are_all_there_is(tmp_path: Path) -> None:
    rows = [row(number) for number in range(24)]
    vectors = unit(np.random.default_rng(1).normal(size=(24, 8)))
    with archive_of(tmp_path / "archive", rows, vectors) as archive:
        evaluation = evaluate_archive(archive, histogram=False)
    by_report = family(evaluation, "queries by report")
    assert [one.channel for one in by_report.tasks[0].parts[0].rows] == [WORDS, "chance"]
    assert any("text tower" in note for note in evaluation.notes)
    assert GENERATED not in {one.channel for one in by_report.tasks[0].parts[0].rows}


def test_abstention_by_hand() -> None:
    made = abstention("image", np.array([0.2, 0.9, 0.5, 0.7]), np.array([False, True, True, False]))
    assert made.curve == ((0.25, 1.0), (0.5, 0.5), (0.75, pytest.approx(2 / 3)), (1.0, 0.5))
    assert made.accuracy == {"100": 0.5, "95": 0.5, "90": 0.5, "80": 0.5}
    assert made.thresholds["80"] == 0.2
    assert made.aurc == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    scores, correct = np.arange(1000.0), np.arange(1000) >= 400
    made = abstention("image", scores, correct)
    assert len(made.curve) == 101
    assert (made.curve[0], made.curve[-1]) == ((0.001, 1.0), (1.0, pytest.approx(0.6)))


@pytest.mark.slow
def test_a_confounder_that_varies_at_one_site_only_is_reported() -> None:
    """At the other site every hit shares it, by chance as well; one that all cases share is left out."""
    records = []
    for number, case in enumerate(made_cases(60, per_patient=1)):
        stain = "Pap" if case.site == "cervix" or number % 2 else "Giemsa"
        images = tuple(replace(image, stain=stain, preparation="smear") for image in case.images)
        records.append(replace(case, images=images))
    cases = labelled_cases(records)
    vectors = np.array([[1.0, 0.0] if cases.labels[i].site == "cervix" else [0.0, 1.0] for i in cases.case_of])
    queries = QueryType("by image", "", np.arange(len(cases.keys)), ("image",))
    experiment = Experiment([channel(cases, vectors.astype(np.float32))], [queries])
    (result,) = evaluate_experiment(cases, experiment)
    (share,) = result.nuisance
    assert (share.field, share.queries) == ("stain", len(cases.keys))
    assert 0.5 < share.expected < 1


def test_nuisance_and_abstention_are_of_every_row(evaluation: Evaluation) -> None:
    for one in evaluation.families:
        rows = [row.channel for row in one.tasks[0].parts[0].rows][:-1]
        assert [(share.field, share.channel) for share in one.nuisance] == [("stain", row) for row in rows]
        assert all(share.expected == pytest.approx(0.5, abs=0.05) for share in one.nuisance)
        assert [curve.channel for curve in one.abstention] == rows
        for curve in one.abstention:
            assert curve.curve[-1] == (1.0, curve.accuracy["100"])
            assert curve.queries == one.tasks[1].parts[0].queries
