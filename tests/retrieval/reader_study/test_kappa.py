"""Coefficients of agreement against published and hand-calculated examples, and where they are not defined."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

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


def alone(answers: np.ndarray) -> np.ndarray:
    """Every image a cluster of its own."""
    return np.arange(answers.shape[1])


def test_fleiss_own_example() -> None:
    answers = raters(FLEISS_1971)
    assert answers.shape == (6, 30)
    _, first, *pairs = agreements("anatomic", names(6), answers, clusters=alone(answers), categories=5, ordinal=True)
    assert first.statistic == "Fleiss' kappa"
    assert first.kappa is not None
    assert first.kappa.mean == pytest.approx(0.430, abs=0.0005)
    assert first.kappa.low < 0.430 < first.kappa.high
    assert first.observed == pytest.approx(0.5556, abs=0.0005)  # his mean P
    assert len(pairs) == 15


def test_cohen_by_hand() -> None:
    """Yes and yes 20, yes and no 5, no and yes 10, no and no 15: observed .7, by chance .5, kappa .4."""
    answers = np.array([[1] * 25 + [0] * 25, [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15])
    (found,) = agreements("guess", names(2), answers, clusters=alone(answers), categories=2, ordinal=False)
    assert found.statistic == "Cohen's kappa"
    assert found.kappa is not None
    assert found.kappa.mean == pytest.approx(0.4)
    assert found.observed == pytest.approx(0.7)
    assert found.kappa.low < 0.4 < found.kappa.high
    assert (found.images, found.undefined) == (50, "")


def test_disagreement_is_weighted_by_its_square() -> None:
    """The mean square of the differences is 2 of 4; over all pairs of the margins, 22 of 16: kappa = 1 - .5 / 1.375."""
    answers = np.array([[0, 1, 2, 2], [0, 2, 2, 1]])
    expected = np.mean([(a - b) ** 2 for a in answers[0] for b in answers[1]])
    (found,) = agreements("anatomic", names(2), answers, clusters=np.arange(4), categories=5, ordinal=True)
    assert found.kappa is not None
    assert expected == 1.375
    assert found.kappa.mean == pytest.approx(1 - 0.5 / expected)


@pytest.mark.parametrize("ordinal", [True, False])
def test_as_another_library_has_it(ordinal: bool) -> None:
    rng = np.random.default_rng(3)
    answers = rng.integers(0, 5, size=(2, 60))
    answers[1, :30] = answers[0, :30]
    (found,) = agreements("anatomic", names(2), answers, clusters=alone(answers), categories=5, ordinal=ordinal)
    weights = "quadratic" if ordinal else None
    assert found.kappa is not None
    assert found.kappa.mean == pytest.approx(cohen_kappa_score(*answers, labels=range(5), weights=weights))


def test_an_image_that_one_reader_left_out_has_no_part() -> None:
    answers = np.array([[0, 1, 0, 1, MISSING], [0, 1, 0, 0, 1]])
    (found,) = agreements("guess", names(2), answers, clusters=alone(answers), categories=2, ordinal=False)
    (without,) = agreements("guess", names(2), answers[:, :4], clusters=np.arange(4), categories=2, ordinal=False)
    assert found == without
    assert found.images == 4


def test_kappa_of_answers_that_are_all_the_same_is_said_to_be_undefined() -> None:
    for readers in (2, 3):
        for found in agreements(
            "anatomic", names(readers), np.full((readers, 9), 3), clusters=np.arange(9), categories=5, ordinal=True
        ):
            assert found.kappa is None
            assert "chance alone" in found.undefined
            assert found.observed == 1


@pytest.mark.parametrize("images", [0, 1])
def test_kappa_needs_two_images(images: int) -> None:
    answers = np.array([[0, MISSING, 1], [1, 1, MISSING]])[:, : 1 + 2 * (1 - images)]
    answers = answers if images else np.full((2, 3), MISSING)
    (found,) = agreements("guess", names(2), answers, clusters=alone(answers), categories=2, ordinal=False)
    assert found.kappa is None
    assert found.undefined.startswith(f"{images} images")
    assert (found.observed is None) == (images == 0)


def test_of_few_clusters_and_of_one_that_decides_there_is_no_interval() -> None:
    rng = np.random.default_rng(2)
    answers = rng.integers(2, size=(2, 40))
    clusters = np.arange(40)
    clusters[1] = 0
    (few,) = agreements("guess", names(2), answers, clusters=clusters, categories=2, ordinal=False)
    (more,) = agreements("guess", names(2), answers, clusters=alone(answers), categories=2, ordinal=False)
    assert few.kappa is not None and more.kappa is not None
    assert few.kappa.mean == more.kappa.mean and not few.kappa.has_interval and more.kappa.has_interval
    one = np.zeros((2, 40), dtype=np.int64)
    one[:, 7] = 1
    (found,) = agreements("guess", names(2), one, clusters=alone(one), categories=2, ordinal=False)
    assert found.kappa is not None
    assert found.kappa.mean == 1 and not found.kappa.has_interval, "without that image every answer is the same"


def test_repeating_every_image_of_a_patient_makes_nothing_surer() -> None:
    rng = np.random.default_rng(1)
    answers = rng.integers(0, 5, size=(3, 60))
    answers[1, :36] = answers[0, :36]
    once = agreements("anatomic", names(3), answers, clusters=np.arange(60), categories=5, ordinal=True)
    twice = agreements(
        "anatomic", names(3), np.tile(answers, 2), clusters=np.tile(np.arange(60), 2), categories=5, ordinal=True
    )
    for first, second in zip(once, twice, strict=True):
        assert first.kappa is not None and second.kappa is not None
        width = first.kappa.high - first.kappa.low
        assert second.kappa.high - second.kappa.low == pytest.approx(width, rel=0.05), first.statistic


def test_krippendorff_s_own_example() -> None:
    """Computing Krippendorff's alpha-reliability (2011), section C: four observers, twelve units, of which the last has
    one value. Its ordinal alpha, .815, is in Hayes and Krippendorff's macro and in R's package irr."""
    _ = MISSING
    answers = np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
            [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
        ]
    )
    found = agreements("anatomic", names(4), answers, clusters=alone(answers), categories=6, ordinal=True)[0]
    assert found.statistic == "Krippendorff's alpha, ordinal" and found.images == 11
    assert found.kappa is not None
    assert found.kappa.mean == pytest.approx(0.815, abs=0.0005)


def test_one_reader_agrees_with_nobody() -> None:
    assert (
        agreements(
            "guess", names(1), np.zeros((1, 5), dtype=np.int64), clusters=np.arange(5), categories=2, ordinal=False
        )
        == ()
    )
