"""The evaluation against the search itself, against chance, and against itself in another order."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from index_store import Archive, Case, CaseFilter, archive_queries
from retrieval import EvaluationError, evaluate_archive
from retrieval.evaluation import material
from retrieval.evaluation.dataset import labelled_cases, read_labelled
from retrieval.evaluation.evaluate import evaluate_experiment
from retrieval.evaluation.experiment import Experiment, QueryType
from retrieval.evaluation.labels import Label
from retrieval.evaluation.relevance import METRICS
from retrieval.evaluation.results import TaskResult
from retrieval.evaluation.tasks import ordinal, tasks_for
from retrieval.search.channels.own_runs import Fusion
from retrieval.search.fusion import FusionRule
from retrieval.search.results_assembly import nearest_cases
from tests.index_store.archive_builders import FINGERPRINT, add_manifest, write_manifest
from tests.retrieval.labelled_archive import (
    channel,
    image_tasks,
    leads_of,
    made_case,
    made_cases,
    random_vectors,
    telling_vectors,
    unit,
)


def by_name(tasks: tuple[TaskResult, ...]) -> dict[str, TaskResult]:
    return {task.name: task for task in tasks}


def manifest_rows(patients: int = 7) -> list[dict[str, str]]:
    """Cases of one to three images; a patient now and then with cases of two categories."""
    return [
        {
            "image": f"{patient}-{case}-{image}.png",
            "case": f"case {patient}.{case}",
            "patient": f"patient {patient}",
            "report": "Report.",
            "site": "cervix",
            "category": ("NILM", "HSIL")[(patient + (case if patient == 3 else 0)) % 2],
        }
        for patient in range(patients)
        for case in range(2)
        for image in range(patient % 3 + 1)
    ]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    folder = tmp_path_factory.mktemp("evaluated")
    with Archive.create(folder / "archive", name="small") as archive:
        add_manifest(archive, write_manifest(folder / "manifest.csv", manifest_rows()))
        yield archive


def test_every_case_ranks_the_patients_that_a_search_by_it_ranks(archive: Archive) -> None:
    cases = read_labelled(archive)
    vectors = archive.vectors_of(cases.image_ids.tolist(), FINGERPRINT)
    asked = channel(cases, vectors)
    patients = cases.patient_of[cases.case_of]
    leads = leads_of(asked.queries, cases.patient_of, vectors, patients)
    for case, found in zip(cases.keys, leads, strict=True):
        own = archive.case(case)
        ids = [image.id for image in own.images]
        others = CaseFilter(exclude_patients=(own.patient,))
        expected = nearest_cases(
            archive, archive.vectors_of(ids, FINGERPRINT), 100, where=others, fingerprint=FINGERPRINT
        )
        assert cases.image_ids[found].tolist() == [entry.image.id for entry in expected]


def test_equal_scores_are_ordered_by_image(archive: Archive) -> None:
    vectors = unit(np.ones((9, 4)))
    patients = np.array([5, 2, 2, 9, 5, 7, 7, 9, 1])
    assert leads_of(vectors[:2], np.array([9, 2]), vectors, patients).tolist() == [[0, 1, 5, 8], [0, 3, 5, 8]]


def test_scores_below_zero_rank_below_those_above(archive: Archive) -> None:
    references = np.array([[1, 0], [-1, 0], [0, 1], [-0.0, -1], [0.6, 0.8], [-0.6, 0.8]], dtype=np.float32)
    assert leads_of(references[:1], np.array([0]), references, np.arange(6)).tolist() == [[4, 2, 3, 5, 1]]


def test_figures_by_hand() -> None:
    """Three patients on a line, one of them in between: what each finds first is known."""
    sites = ["A", "A", "B", "B"]
    cases = labelled_cases(
        [made_case(i, patient=str(i), site="cervix", category=c, images=1) for i, c in enumerate(sites)]
    )
    angles = np.array([0.0, 0.1, 0.25, 1.5])  # 0: 1 2 3; 1: 0 2 3; 2: 1 0 3; 3: 2 1 0
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    (task,) = image_tasks(cases, [channel(cases, vectors)])
    whole, site = task.parts
    assert (whole.queries, whole.patients, whole.categories, task.unanswerable) == (4, 4, 2, 0)
    assert dataclasses.replace(site, site=None) == whole
    found, chance = (row.scores for row in whole.rows)
    assert found["P@1"].mean == pytest.approx((1 + 1 + 0 + 1) / 4)
    assert [found["MRR"].mean, found["mAP"].mean] == pytest.approx([(1 + 1 + 1 / 3 + 1) / 4] * 2)
    assert found["R@10"].mean == 1
    assert found["P@10"].mean == pytest.approx(0.1)
    # Predicted A, A, A, B: F1 of A 2·2/(2+3), of B 2·1/(2+1).
    assert found["mMV@1"].mean == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert chance["P@1"].mean == pytest.approx(1 / 3)
    assert [chance["mAP"].mean, chance["MRR"].mean] == pytest.approx([(1 + 1 / 2 + 1 / 3) / 3] * 2)


@pytest.mark.slow
def test_the_order_of_cases_changes_nothing() -> None:
    made = made_cases(60)
    shuffled = list(made)
    random.Random(4).shuffle(shuffled)
    first, second = labelled_cases(made), labelled_cases(shuffled)
    results = [image_tasks(cases, [channel(cases, telling_vectors(cases))]) for cases in (first, second)]
    assert results[0] == results[1]
    np.testing.assert_array_equal(first.image_ids, second.image_ids)


@pytest.mark.slow
def test_the_names_of_cases_and_patients_change_no_mean() -> None:
    """Other names order them otherwise, so only the draws of the intervals may differ."""
    made = made_cases(40)
    renamed = [dataclasses.replace(c, key=c.key[::-1], patient=c.patient[::-1]) for c in made]
    means = []
    for cases in (labelled_cases(made), labelled_cases(renamed)):
        tasks = image_tasks(cases, [channel(cases, random_vectors(cases, 1))])
        means.append([[row.scores[m].mean for m in METRICS[3:]] for t in tasks for p in t.parts for row in p.rows])
    np.testing.assert_allclose(means[0], means[1], atol=1e-12)


@pytest.mark.slow
def test_random_vectors_do_as_chance_does() -> None:
    """Over many random encoders the mean meets the expectation, and an interval holds it about as often as it says."""
    cases = labelled_cases(made_cases(100, per_patient=1))
    gaps: dict[str, list[float]] = {metric: [] for metric in METRICS}
    held: list[bool] = []
    for seed in range(6):
        for task in image_tasks(cases, [channel(cases, random_vectors(cases, seed, dim=64))]):
            found, chance = (row.scores for row in task.parts[0].rows)
            for metric in METRICS:
                gaps[metric].append(found[metric].mean - chance[metric].mean)
                held.append(found[metric].low <= chance[metric].mean <= found[metric].high)
    for metric, gap in gaps.items():
        # The mean of six encoders varies by their standard deviation over the root of six; three of it are 99.7 %.
        assert abs(np.mean(gap)) < 3 * np.std(gap) / np.sqrt(6) + 0.01, metric
    assert np.mean(held) > 0.75


def test_a_telling_encoder_beats_chance_at_every_question() -> None:
    cases = labelled_cases(made_cases(60))
    tasks = by_name(image_tasks(cases, [channel(cases, telling_vectors(cases))]))
    assert list(tasks) == ["site", "category", "category within the site"]
    for task in tasks.values():
        assert [part.site for part in task.parts] == [None, "cervix", "thyroid"]
        found, chance = (row.scores for row in task.parts[0].rows)
        assert tuple(found) == tuple(chance) == METRICS
        assert all(found[metric].low > chance[metric].mean for metric in METRICS)
        assert all(score.low <= score.mean <= score.high for score in found.values())


def test_a_category_is_compared_within_its_site_and_system_only() -> None:
    """The same word in another reporting system is no hit, in whatever order the images come."""
    cases = labelled_cases(
        [
            made_case(i, patient=str(i), site=site, category="Atypical", system=system, images=1)
            for i, (site, system) in enumerate(
                [("breast", "Yokohama"), ("breast", "local")] * 2 + [("lung", "WHO")] * 2
            )
        ]
    )
    vectors = unit(np.array([[1, 0], [1, 0.01], [0, 1], [0.01, 1], [1, 1], [1, 1.1]], dtype=np.float32))
    tasks = by_name(image_tasks(cases, [channel(cases, vectors)]))
    whole = tasks["category"].parts[1]
    assert (whole.site, whole.categories) == ("breast", 2)
    assert whole.rows[0].scores["P@1"].mean == 0  # nearest is always the other system's
    assert tasks["site"].parts[1].rows[0].scores["P@1"].mean == 1
    assert tasks["category within the site"].parts[0].rows[0].scores["P@1"].mean == 1  # nothing else competes


def test_a_category_of_one_patient_is_not_asked_for_but_stands_in_the_way() -> None:
    alone = made_case(90, patient="alone", site="cervix", category="AGC")
    made = [*(c for c in made_cases(20) if c.site == "cervix"), alone]
    cases = labelled_cases(made)
    (task,) = image_tasks(cases, [channel(cases, random_vectors(cases, 0))])
    assert task.unanswerable == 1
    assert task.parts[0].categories == 3
    assert task.parts[0].queries == len(made) - 1


@pytest.mark.slow
def test_grades_reach_ndcg_and_nothing_else() -> None:
    cases = labelled_cases(made_cases(60))
    asked = [channel(cases, random_vectors(cases, 5))]
    tiers = ["NILM", "LSIL", "HSIL", "Benign", "AUS"]

    def nearness(query: Label, result: Label) -> float:
        assert (query.site, query.system) == (result.site, result.system)
        return 2.0 - min(2, abs(tiers.index(query.category) - tiers.index(result.category)))

    plain, graded = (by_name(image_tasks(cases, asked, **more))["category"] for more in ({}, {"gain": nearness}))
    for a, b in zip(plain.parts[0].rows, graded.parts[0].rows, strict=True):
        assert {m for m in METRICS if a.scores[m] != b.scores[m]} == {"nDCG@10"}
    with pytest.raises(ValueError, match="not negative"):
        tasks_for(cases, lambda query, result: -1.0)


@pytest.mark.slow
def test_some_cases_ask_of_all() -> None:
    cases = labelled_cases(made_cases(60))
    asked = [channel(cases, telling_vectors(cases))]
    asking = np.arange(7, 57, 2)
    sampled = image_tasks(cases, asked, asking=asking)
    assert all(task.parts[0].queries + task.unanswerable == 25 for task in sampled)
    rest = np.setdiff1d(np.arange(60), asking)
    parts = [image_tasks(cases, asked, asking=some)[0].parts[0] for some in (asking, rest)]
    whole = image_tasks(cases, asked)[0].parts[0]
    assert whole.queries == sum(part.queries for part in parts)


@pytest.mark.slow
def test_progress_counts_every_query_once(archive: Archive) -> None:
    seen: list[tuple[int, int]] = []

    @contextmanager
    def progress(label: str, *, unit: str) -> Iterator[Callable[[int, int], None]]:
        yield lambda done, total: seen.append((done, total)) if unit == "queries" else None

    evaluation = evaluate_archive(archive, progress=progress)
    assert seen[-1] == (14, 14)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert (evaluation.cases, evaluation.patients, evaluation.unreadable_images) == (14, 7, 0)
    by_image = evaluation.families[0]
    rows = [row.channel for row in by_image.tasks[0].parts[0].rows]
    assert rows == ["image", "colour histogram", "image with colour", "chance"]
    assert evaluation == evaluate_archive(archive)


def test_cases_are_read_page_by_page(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = labelled_cases(archive.cases())
    pages: list[int] = []
    read = Archive.cases_by_id

    def counted(self: Archive, case_ids: list[int]) -> dict[int, Case]:
        pages.append(len(case_ids))
        return read(self, case_ids)

    monkeypatch.setattr(Archive, "cases_by_id", counted)
    monkeypatch.setattr(Archive, "cases", None)  # never all of them
    monkeypatch.setattr(archive_queries, "PAGE", 5)
    found = read_labelled(archive)
    assert pages == [5, 5, 4]
    for field in dataclasses.fields(expected):
        np.testing.assert_equal(getattr(found, field.name), getattr(expected, field.name))


@pytest.mark.slow
def test_of_a_large_archive_a_sample_queries_and_colours_are_not_read(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = sum(len(case.images) for case in archive.cases())
    assert evaluate_archive(archive).sampled is None
    monkeypatch.setattr(material, "COMPARISONS", 10 * images + 1)
    monkeypatch.setattr(material, "READ_IMAGES", images - 1)
    evaluation = evaluate_archive(archive, seed=4)
    by_image = evaluation.families[0]
    assert (evaluation.sampled, by_image.asked) == (10, 10)
    assert any("10 of the 14 cases, sampled at random (seed 4)" in note for note in evaluation.notes)
    assert any("would read" in note for note in evaluation.notes)
    assert [row.channel for row in by_image.tasks[0].parts[0].rows] == ["image", "chance"]
    assert evaluation == evaluate_archive(archive, seed=4)
    whole = evaluate_archive(archive, sample=14, histogram=True)
    assert (whole.sampled, whole.families[0].asked) == (None, 14)
    assert not any("sampled" in note for note in whole.notes)
    assert "colour histogram" in [row.channel for row in whole.families[0].tasks[0].parts[0].rows]


@pytest.mark.slow
def test_an_unreadable_image_does_not_end_the_run(tmp_path: Path) -> None:
    with Archive.create(tmp_path / "archive") as archive:
        add_manifest(archive, write_manifest(tmp_path / "manifest.csv", manifest_rows(4)))
        archive.cases()[0].images[0].path.write_bytes(b"no image")
        assert evaluate_archive(archive).unreadable_images == 1
        assert evaluate_archive(archive, histogram=False).unreadable_images == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "is empty"),
        (
            [{"category": "", "patient": "1"}, {"category": "", "patient": "2"}],
            "None of the archive's 2 cases has a cat",
        ),
        ([{"category": "A", "patient": "1"}, {"category": "A", "patient": "1"}], "are all of one patient"),
        ([{"category": "A", "patient": "1"}, {"category": "B", "patient": "2"}], "of a single patient"),
    ],
)
def test_what_cannot_be_evaluated_says_why(tmp_path: Path, rows: list[dict[str, str]], message: str) -> None:
    with Archive.create(tmp_path / "archive") as archive:
        if rows:
            full = [{"image": f"{i}.png", "case": str(i), "report": "x", **row} for i, row in enumerate(rows)]
            add_manifest(archive, write_manifest(tmp_path / "manifest.csv", full))
        with pytest.raises(EvaluationError, match=message):
            evaluate_archive(archive)


def test_ordinal_gain_follows_the_tiers() -> None:
    def gain(query: str, result: str, system: str = "Bethesda cervical 2014") -> float:
        return ordinal(Label("cervix", query, system), Label("cervix", result, system))

    assert gain("HSIL", "HSIL") == 1.0
    assert gain("ASC-US", "ASC-H") == 0.5, "both are indeterminate"
    assert gain("HSIL", "SCC") == gain("SCC", "HSIL") == 0.25
    assert gain("NILM", "SCC") == 0.0
    assert gain("mine", "SCC") == 0.0 and gain("mine", "mine") == 1.0, "the vocabulary does not know everything"
    assert gain("Nondiagnostic", "Benign", "Bethesda thyroid 2023") == 0.0


def test_a_site_with_a_single_patient_ends_nothing() -> None:
    """Among the cases of its site nobody else is ranked; its cases are no queries there."""
    alone = [made_case(90 + i, patient="alone", site="lung", category="Benign") for i in range(2)]
    cases = labelled_cases([*made_cases(20), *alone])
    channels = [channel(cases, random_vectors(cases, seed), str(seed)) for seed in range(2)]
    fusion = Fusion("both", FusionRule("rrf", {"0": 1.0, "1": 1.0}), {"0": "0", "1": "1"})
    query_type = QueryType("by image", "", np.arange(len(cases.keys)), ("0", "1", "both"))
    (result,) = evaluate_experiment(cases, Experiment(channels, [query_type], [fusion]))
    assert [task.unanswerable for task in result.tasks] == [2, 2, 2]
    assert {part.site for task in result.tasks for part in task.parts} == {None, "cervix", "thyroid"}


def test_cases_are_counted_by_what_is_known_of_them() -> None:
    made = made_cases(20)
    made[0] = dataclasses.replace(made[0], category="")
    made[1] = dataclasses.replace(made[1], images=())
    made[2] = dataclasses.replace(made[2], phantom=True, derived=("category",))
    made[3] = dataclasses.replace(made[3], derived=("site",))
    cases = labelled_cases(made)
    assert (len(cases.keys), cases.unlabelled, cases.phantoms, cases.derived) == (18, 2, 1, 1)
