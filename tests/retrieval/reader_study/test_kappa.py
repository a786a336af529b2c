"""Kappas against published and hand-calculated examples, and where they are not defined."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from retrieval.reader_study import kappa
from retrieval.reader_study.kappa import MISSING, agreements

# Fleiss, Psychological Bulletin 76 (1971), table 1: 30 patients, six psychiatrists, five diagnoses; kappa .430.
FLEISS_1971 = [
    *("00060", "03003", "01401", "00006", "03030", "20400", "00402", "20310", "20040", "00006"),
    *("10050", "11040", "03300", "10050", "02031", "00501", "30012", "51000", "02040", "10203"),
    *("00006", "01050", "02013", "20040", "10041", "05010", "40002", "02040", "10500", "00006"),
]


def raters(counts: list[str]) -> np.ndarray:
    """int[raters, subjects] that has these counts; Fleiss' kappa does not ask who said what."""
    rows = [[category for category, n in enumerate(row) for _ in range(int(n))] for row in counts]
    return np.array(rows, dtype=np.int64).T


def names(count: int) -> list[str]:
    return [f"reader {number}" for number in range(count)]


def test_fleiss_own_example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kappa, "RESAMPLES", 200)  # of 16 kappas
    answers = raters(FLEISS_1971)
    assert answers.shape == (6, 30)
    first, *pairs = agreements("anatomic", names(6), answers, categories=5, ordinal=True)
    assert first.statistic == "Fleiss' kappa"
    assert first.kappa is not None
    assert first.kappa.mean == pytest.approx(0.430, abs=0.0005)
    assert first.kappa.low < 0.430 < first.kappa.high
    assert first.observed == pytest.approx(0.5556, abs=0.0005)  # his mean P
    assert len(pairs) == 15


def test_cohen_by_hand() -> None:
    """Yes and yes 20, yes and no 5, no and yes 10, no and no 15: observed .7, by chance .5, kappa .4."""
    answers = np.array([[1] * 25 + [0] * 25, [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15])
    (found,) = agreements("guess", names(2), answers, categories=2, ordinal=False)
    assert found.statistic == "Cohen's kappa"
    assert found.kappa is not None
    assert found.kappa.mean == pytest.approx(0.4)
    assert found.observed == pytest.approx(0.7)
    assert found.kappa.low < 0.4 < found.kappa.high
    assert (found.images, found.undefined, found.resamples_left_out) == (50, "", 0)


def test_disagreement_is_weighted_by_its_square() -> None:
    """The mean square of the differences is 2 of 4; over all pairs of the margins, 22 of 16: kappa = 1 - .5 / 1.375."""
    first, second = np.array([0, 1, 2, 2]), np.array([0, 2, 2, 1])
    expected = np.mean([(a - b) ** 2 for a in first for b in second])
    (found,) = agreements("anatomic", names(2), np.stack([first, second]), categories=5, ordinal=True)
    assert found.kappa is not None
    assert expected == 1.375
    assert found.kappa.mean == pytest.approx(1 - 0.5 / expected)


@pytest.mark.parametrize("ordinal", [True, False])
def test_as_another_library_has_it(ordinal: bool) -> None:
    rng = np.random.default_rng(3)
    answers = rng.integers(0, 5, size=(2, 60))
    answers[1, :30] = answers[0, :30]
    (found,) = agreements("anatomic", names(2), answers, categories=5, ordinal=ordinal)
    weights = "quadratic" if ordinal else None
    assert found.kappa is not None
    assert found.kappa.mean == pytest.approx(cohen_kappa_score(*answers, labels=range(5), weights=weights))


def test_an_image_that_one_reader_left_out_has_no_part() -> None:
    answers = np.array([[0, 1, 0, 1, MISSING], [0, 1, 0, 0, 1]])
    (found,) = agreements("guess", names(2), answers, categories=2, ordinal=False)
    (without,) = agreements("guess", names(2), answers[:, :4], categories=2, ordinal=False)
    assert found == without
    assert found.images == 4


def test_kappa_of_answers_that_are_all_the_same_is_said_to_be_undefined() -> None:
    for readers in (2, 3):
        for found in agreements("anatomic", names(readers), np.full((readers, 9), 3), categories=5, ordinal=True):
            assert found.kappa is None
            assert "chance alone" in found.undefined
            assert found.observed == 1


@pytest.mark.parametrize("images", [0, 1])
def test_kappa_needs_two_images(images: int) -> None:
    answers = np.array([[0, MISSING, 1], [1, 1, MISSING]])[:, : 1 + 2 * (1 - images)]
    answers = answers if images else np.full((2, 3), MISSING)
    (found,) = agreements("guess", names(2), answers, categories=2, ordinal=False)
    assert found.kappa is None
    assert found.undefined.startswith(f"{images} images")
    assert (found.observed is None) == (images == 0)


def test_resamples_for_which_kappa_is_undefined_are_counted() -> None:
    answers = np.array([[0, 0, 0, 1], [0, 0, 0, 1]])
    (found,) = agreements("guess", names(2), answers, categories=2, ordinal=False)
    assert found.kappa is not None
    assert found.kappa.mean == 1
    assert 400 < found.resamples_left_out < 900  # (3/4)^4 + (1/4)^4 of 2000 is 641


def test_one_reader_agrees_with_nobody() -> None:
    assert agreements("guess", names(1), np.zeros((1, 5), dtype=np.int64), categories=2, ordinal=False) == ()
