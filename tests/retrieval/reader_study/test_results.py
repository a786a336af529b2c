"""The results of a reader study, against figures calculated by hand, and its export."""

from __future__ import annotations

import csv
import dataclasses
import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_1samp, ttest_ind

from retrieval import RESEARCH_USE, ReaderStudy, ReaderStudyError, evaluate_reader_study, rating_rows
from retrieval.reader_study.export import COLUMNS, rows_csv
from retrieval.reader_study.kappa import MISSING
from retrieval.reader_study.results import guesses_of, progress_of, scores_of
from tests.retrieval.reading_parts import made_study


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that nobody has read: tests copy it."""
    return made_study(tmp_path_factory.mktemp("study")).folder


@pytest.fixture
def study(prepared: Path, tmp_path: Path) -> Iterator[ReaderStudy]:
    study = ReaderStudy(shutil.copytree(prepared, tmp_path / "pilot"))
    yield study
    study.close()


def read(study: ReaderStudy, reader: str, *, real: int, generated: int, missing: int = 0, close: bool = True) -> None:
    """Rate all pictures but the first `missing`: real ones so, generated ones so; guess by whether it is 3 or less."""
    study.ratings.begin(reader, pseudonym=reader.startswith("P"))
    truth = study.truth().origins
    for picture in study.order(reader)[missing:]:
        score = generated if truth[picture.id].generated else real
        study.ratings.rate(reader, picture.id, "anatomic", score)
        study.ratings.rate(reader, picture.id, "diagnostic", 3)
        study.ratings.rate(reader, picture.id, "guess", "generated" if score <= 3 else "real")
    if close:
        study.ratings.close_reader(reader)


def test_there_are_no_results_before_somebody_has_closed(study: ReaderStudy) -> None:
    with pytest.raises(ReaderStudyError, match="nobody has begun"):
        evaluate_reader_study(study)
    read(study, "P1", real=5, generated=2, missing=2, close=False)
    with pytest.raises(ReaderStudyError, match="'P1' 10 of 12"):
        evaluate_reader_study(study)
    assert rating_rows(study) == []


def test_means_and_their_difference(study: ReaderStudy) -> None:
    read(study, "P1", real=5, generated=2)
    read(study, "B", real=4, generated=2)
    results = evaluate_reader_study(study)
    anatomic, diagnostic = results.scores
    assert anatomic.real is not None
    assert anatomic.generated is not None
    assert anatomic.difference is not None
    assert (anatomic.real.mean, anatomic.generated.mean, anatomic.difference.mean) == (4.5, 2, -2.5)
    assert (anatomic.difference.low, anatomic.difference.high) == (-2.5, -2.5), "every image has the same score"
    assert (anatomic.images_real, anatomic.images_generated, anatomic.ratings, anatomic.missing) == (6, 6, 24, 0)
    assert diagnostic.difference is not None
    assert diagnostic.difference.mean == 0
    assert [(reader.name, reader.pseudonym) for reader in results.readers] == [("P1", True), ("B", False)]
    assert (results.real, results.phantoms, results.generated, results.by_category) == (6, 0, 6, 6)


def test_who_still_reads_is_named_and_not_counted(study: ReaderStudy) -> None:
    read(study, "P1", real=5, generated=2)
    alone = evaluate_reader_study(study)
    read(study, "B", real=1, generated=1, missing=4, close=False)
    results = evaluate_reader_study(study)
    assert results.scores == alone.scores
    assert [(reader.name, reader.complete) for reader in results.still_reading] == [("B", 8)]
    assert {row["reader"] for row in rating_rows(study)} == {"P1"}
    assert results.agreement == ()
    assert results.accuracy is None


def test_missing_answers_are_counted_and_left_out(study: ReaderStudy) -> None:
    read(study, "P1", real=5, generated=2, missing=4)  # whatever the order, two of each kind are left for a mean
    results = evaluate_reader_study(study)
    anatomic = results.scores[0]
    assert (anatomic.ratings, anatomic.missing) == (8, 4)
    assert anatomic.images_real + anatomic.images_generated == 8
    assert anatomic.real is not None
    assert anatomic.real.mean == 5
    (guesses,) = results.guesses
    assert (guesses.guessed, guesses.missing, guesses.right) == (8, 4, 8)


def test_too_few_ratings_have_no_mean(study: ReaderStudy) -> None:
    study.ratings.begin("P1", pseudonym=True)
    study.ratings.rate("P1", study.pictures[0].id, "anatomic", 4)
    study.ratings.close_reader("P1")
    results = evaluate_reader_study(study)
    for scores in results.scores:
        assert scores.real is scores.generated is scores.difference is None
    assert results.guesses[0].accuracy is results.guesses[0].chance is None


def test_guesses_have_an_exact_interval_and_their_chance(study: ReaderStudy) -> None:
    """11 of 12 called generated: 6 generated right, 5 of 6 real wrong."""
    study.ratings.begin("P1", pseudonym=True)
    truth = study.truth().origins
    real = [picture.id for picture in study.pictures if not truth[picture.id].generated]
    for picture in study.pictures:
        study.ratings.rate("P1", picture.id, "guess", "real" if picture.id == real[0] else "generated")
    study.ratings.close_reader("P1")
    (guesses,) = evaluate_reader_study(study).guesses
    assert guesses.accuracy is not None
    assert (guesses.right, guesses.generated_right, guesses.real_right) == (7, 6, 1)
    exact = binomtest(7, 12).proportion_ci(method="exact")
    assert (guesses.accuracy.low, guesses.accuracy.high) == pytest.approx((exact.low, exact.high))
    assert guesses.chance == pytest.approx(11 / 12 * 0.5 + 1 / 12 * 0.5)


def test_agreement_of_readers_is_among_the_figures(study: ReaderStudy) -> None:
    read(study, "P1", real=5, generated=2)
    read(study, "P2", real=5, generated=2)
    results = evaluate_reader_study(study)
    by_question = {found.question: found for found in results.agreement}
    assert by_question["anatomic"].kappa is not None
    assert by_question["anatomic"].kappa.mean == pytest.approx(1)
    assert by_question["diagnostic"].kappa is None, "every diagnostic rating is 3"
    assert results.accuracy is not None
    assert results.accuracy.mean == 1
    read(study, "P3", real=5, generated=4)
    kinds = [found.statistic for found in evaluate_reader_study(study).agreement if found.question == "anatomic"]
    assert kinds == [
        "Krippendorff's alpha, ordinal",
        "Fleiss' kappa",
        *["Cohen's kappa, quadratic weights"] * 3,
    ]


def in_clusters(study: ReaderStudy, images: int) -> ReaderStudy:
    """The study as if `images` real pictures each were of one patient, and as many generated ones of one report."""
    origins = {}
    for generated in (False, True):
        half = [(key, origin) for key, origin in study.truth().origins.items() if origin.generated == generated]
        for number, (key, origin) in enumerate(half):
            name = f"{generated} {number // images}"
            origins[key] = dataclasses.replace(origin, patient=name, provenance={"report_sha256": name})
    truth = dataclasses.replace(study.truth(), origins=origins)
    study.truth = lambda: truth  # type: ignore[method-assign]
    return study


def test_images_of_one_patient_are_one_piece_of_evidence(study: ReaderStudy) -> None:
    study.ratings.begin("P1", pseudonym=True)
    study.ratings.begin("P2", pseudonym=True)
    for number, picture in enumerate(study.pictures):
        for reader in ("P1", "P2"):
            study.ratings.rate(reader, picture.id, "anatomic", 1 + (number + (reader == "P2")) % 5)
            study.ratings.rate(reader, picture.id, "guess", "real")
    for reader in ("P1", "P2"):
        study.ratings.close_reader(reader)
    alone = evaluate_reader_study(study)
    pairs = evaluate_reader_study(in_clusters(study, 2))
    for scores in (alone.scores[0], pairs.scores[0]):
        assert scores.real is not None and scores.difference is not None
        assert scores.real.has_interval == scores.difference.has_interval == (scores is alone.scores[0])
    first, second = alone.guesses[0].accuracy, pairs.guesses[0].accuracy
    assert first is not None and second is not None and alone.accuracy is not None and pairs.accuracy is not None
    assert first.mean == second.mean == 0.5
    exact = binomtest(6, 12).proportion_ci(method="exact")
    assert (first.low, first.high) == pytest.approx((exact.low, exact.high))
    exact = binomtest(3, 6).proportion_ci(method="exact")
    assert (second.low, second.high) == pytest.approx((exact.low, exact.high))
    assert (pairs.accuracy.low, pairs.accuracy.high) == pytest.approx((exact.low, exact.high))
    assert (alone.accuracy.low, alone.accuracy.high) == (first.low, first.high), "two readers saw the same images"


def test_means_have_student_s_and_welch_s_intervals(study: ReaderStudy) -> None:
    study.ratings.begin("P1", pseudonym=True)
    truth = study.truth().origins
    given: dict[bool, list[int]] = {False: [], True: []}
    for number, picture in enumerate(study.pictures):
        score = 1 + (number * 7) % 5
        study.ratings.rate("P1", picture.id, "anatomic", score)
        given[truth[picture.id].generated].append(score)
    study.ratings.close_reader("P1")
    scores = evaluate_reader_study(study).scores[0]
    for found, values in ((scores.real, given[False]), (scores.generated, given[True])):
        expected = ttest_1samp(values, 0).confidence_interval(0.95)
        assert found is not None
        assert found.low == pytest.approx(max(1, expected.low)) and found.high == pytest.approx(min(5, expected.high))
    expected = ttest_ind(given[True], given[False], equal_var=False).confidence_interval(0.95)
    assert scores.difference is not None
    assert (scores.difference.low, scores.difference.high) == pytest.approx((expected.low, expected.high))


def test_the_same_ratings_give_the_same_figures(study: ReaderStudy) -> None:
    read(study, "P1", real=5, generated=2)
    read(study, "P2", real=3, generated=3)
    assert evaluate_reader_study(study) == evaluate_reader_study(study)


def test_the_export_holds_the_truth_and_no_report(study: ReaderStudy) -> None:
    read(study, "P1", real=5, generated=2, missing=1, close=False)
    study.ratings.rate("P1", study.order("P1")[0].id, "comment", '=HYPERLINK("x")')
    study.ratings.close_reader("P1")
    rows = rating_rows(study)
    assert [row["position"] for row in rows] == list(range(1, 13))
    assert [row["picture"] for row in rows] == [picture.id for picture in study.order("P1")]
    assert sorted(row["kind"] for row in rows) == ["generated"] * 6 + ["real"] * 6
    text = rows_csv(rows)
    read_back = list(csv.DictReader(io.StringIO(text)))
    assert tuple(read_back[0]) == COLUMNS
    assert read_back[0]["comment"] == '\'=HYPERLINK("x")'
    assert read_back[0]["anatomic"] == ""
    assert all(row["notice"] == RESEARCH_USE and row["reader_is_pseudonym"] == "True" for row in read_back)
    assert {row["preset"] for row in read_back if row["kind"] == "generated"} == {"draft"}
    assert "smear" not in text
    assert "case-" not in text


def test_progress_counts_complete_pictures(study: ReaderStudy) -> None:
    read(study, "P1", real=5, generated=2, missing=4, close=False)
    study.ratings.rate("P1", study.order("P1")[0].id, "anatomic", 3)
    (reader,) = progress_of(study)
    assert (reader.complete, reader.guessed, reader.pictures, reader.closed) == (8, 8, 12, "")


def test_chance_where_more_generated_images_were_guessed_than_real_ones(study: ReaderStudy) -> None:
    """Guesses for 6 generated and 2 real images, of which 7 are "generated": by chance 7/8 · 6/8 + 1/8 · 2/8."""
    study.ratings.begin("P1", pseudonym=True)
    truth = study.truth().origins
    real = [picture.id for picture in study.pictures if not truth[picture.id].generated]
    for picture in study.pictures:
        if picture.id not in real[2:]:
            study.ratings.rate("P1", picture.id, "guess", "real" if picture.id == real[0] else "generated")
    study.ratings.close_reader("P1")
    (guesses,) = evaluate_reader_study(study).guesses
    assert (guesses.guessed, guesses.missing, guesses.right) == (8, 4, 7)
    assert guesses.chance == pytest.approx(44 / 64)


def test_scores_are_means_over_readers_then_images_then_patients() -> None:
    """Answers from 0 stand for 1 to 5; what is missing counts nowhere, and an image without an answer is none."""
    answers = np.array([[4, 3, 0, 1, 2, MISSING, 4], [2, MISSING, 1, 1, MISSING, MISSING, 0]])
    generated = np.array([False, False, False, True, True, True, True])
    clusters = np.array([7, 7, 2, 4, 5, 6, 5])
    scores = scores_of("anatomic", answers, generated, clusters)
    assert (scores.images_real, scores.images_generated, scores.ratings, scores.missing) == (3, 3, 10, 4)
    assert scores.real is not None and scores.generated is not None and scores.difference is not None
    assert scores.real.mean == pytest.approx(((4 + 4) / 2 + 1.5) / 2)
    assert scores.generated.mean == pytest.approx((2 + (3 + 3) / 2) / 2)
    assert scores.difference.mean == pytest.approx(scores.generated.mean - scores.real.mean)
    assert not (scores.real.has_interval or scores.generated.has_interval or scores.difference.has_interval)
    one = scores_of("anatomic", answers, generated, np.array([7, 7, 7, 4, 5, 6, 5]))
    assert one.real is one.difference is None, "images of one patient"
    assert one.generated == scores.generated


@pytest.mark.parametrize("count", [5, 6])
def test_of_six_patients_there_is_an_interval_within_the_scale(count: int) -> None:
    answers = np.array([[0, 4] * count])
    halves = np.arange(2 * count) < count
    scores = scores_of("anatomic", answers, halves, np.arange(2 * count))
    for found in (scores.real, scores.generated, scores.difference):
        assert found is not None and found.has_interval == (count == 6)
    if count == 6:
        alike = scores_of("anatomic", np.where(halves, 0, answers), halves, np.arange(12))
        assert alike.generated is not None and (alike.generated.low, alike.generated.high) == (1, 1)
        assert alike.difference is not None and alike.difference.low < alike.difference.mean < alike.difference.high
        steep = scores_of("anatomic", np.array([[0, 0, 0, 0, 0, 4] * 2]), halves, np.arange(12)).real
        assert steep is not None and steep.low == 1 < steep.high < 5


def test_guesses_are_counted_by_kind() -> None:
    real, generated = 0, 1
    if guesses_of("P", np.array([0]), np.array([True]), np.array([0])).right:
        real, generated = generated, real  # the order of the two answers
    answers = np.array([generated, generated, real, MISSING, real, real, MISSING])
    truth = np.array([True, False, False, True, True, False, False])
    found = guesses_of("P", answers, truth, np.array([0, 0, 1, 2, 3, 3, 4]))
    assert (found.guessed, found.missing, found.right) == (5, 2, 3)
    assert (found.generated, found.generated_right, found.real, found.real_right) == (2, 1, 3, 2)
    assert found.chance == pytest.approx(2 / 5 * 2 / 5 + 3 / 5 * 3 / 5)
    exact = binomtest(3, 5).proportion_ci(method="exact")
    assert found.accuracy is not None
    assert found.accuracy.mean == 0.6
    assert found.accuracy.low < exact.low, "of three patients and reports"
