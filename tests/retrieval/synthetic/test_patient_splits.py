"""Patients stay on one side of a split, their classes take turns, and intervals are resampled by the right unit."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from retrieval.errors import EvaluationError
from retrieval.synthetic.patient_splits import LabelledImages, PatientSplits


def images(
    classes: str, patients: str, *, slides: tuple[str, ...] | None = None, reports: tuple[str, ...] | None = None
) -> LabelledImages:
    """An image a letter."""
    count = len(classes)
    return LabelledImages(
        "m.csv",
        np.eye(count, dtype=np.float32),
        tuple(classes),
        tuple(patients),
        slides or ("",) * count,
        reports or ("Report.",) * count,
        left_out=Counter({"Has no category.": 2}),
    )


def test_only_classes_of_two_patients_are_kept() -> None:
    data = PatientSplits.from_images(images("AABBCC", "121233", reports=tuple("abcdef")))
    assert data.names == ("A", "B")
    assert data.patient_names == ("1", "2")
    assert data.classes.tolist() == [0, 0, 1, 1]
    assert data.patients.tolist() == [0, 1, 0, 1]
    assert data.reports == tuple("abcd")
    assert (data.vectors == np.eye(6)[:4]).all()
    assert data.left_out == {"Has no category.": 2, "Is of a category that only one patient has.": 2}
    with pytest.raises(EvaluationError, match=r"m\.csv has 1 classes"):
        PatientSplits.from_images(images("AAB", "123"))


@pytest.mark.parametrize(
    ("patients", "slides", "unit", "clusters"),
    [
        ("1122", ("s", "t", "s", "t"), "patients", [0, 0, 1, 1]),
        ("1111", ("s", "t", "s", "t"), "slides", [0, 1, 0, 1]),
        ("1111", ("s", "t", "", "t"), "images", [0, 1, 2, 3]),  # one slide is not known
        ("1111", ("s", "s", "s", "s"), "images", [0, 1, 2, 3]),  # one slide alone says nothing of others
        ("1111", ("", "", "", ""), "images", [0, 1, 2, 3]),
    ],
)
def test_what_is_resampled(patients: str, slides: tuple[str, ...], unit: str, clusters: list[int]) -> None:
    data = PatientSplits.from_images(images("ABABAB", patients + "89", slides=(*slides, "u", "v")))
    found, name = data.clusters(np.arange(4))
    assert name == unit
    assert found.tolist() == clusters


def test_reports_with_one_class_and_with_several() -> None:
    data = PatientSplits.from_images(images("AABBA", "12123", reports=("x", "y", "y", "z", " ")))
    assert data.report_classes(np.arange(5)) == ({"x": 0, "z": 1}, 1)
    assert data.report_classes(np.array([0, 1])) == ({"x": 0, "y": 0}, 0)


def test_rare_classes_are_in_every_fold_and_in_the_first_part_of_an_order() -> None:
    classes = "A" * 20 + "B" * 5
    patients = "".join(chr(ord("a") + number) for number in range(25))
    data = PatientSplits.from_images(images(classes, patients))
    for test, _ in data.rounds(5, 3, ()):
        assert data.classes[test].tolist() == [0] * 4 + [1]
    for seed in range(20):
        order = data.order_patients(np.arange(25), np.random.default_rng(seed))
        assert sorted(order.tolist()) == list(range(25))
        first = data.classes[order[:10]]
        assert 1 <= (first == 1).sum() <= 4
    orders = {tuple(data.order_patients(np.arange(25), np.random.default_rng(seed))) for seed in range(5)}
    assert len(orders) == 5


def test_fewer_patients_than_folds_are_a_fold_each() -> None:
    data = PatientSplits.from_images(images("ABAB", "1122"))
    tests = [test.tolist() for test, _ in data.rounds(5, 1, ())]
    assert sorted(tests) == [[False, False, True, True], [True, True, False, False]]


def test_a_patient_of_several_classes_counts_for_the_rarest() -> None:
    """Every patient has an image of A, and the last five have one of B, too."""
    patients = "".join(chr(ord("a") + number) for number in range(25))
    data = PatientSplits.from_images(images("A" * 25 + "B" * 5, patients + patients[-5:]))
    for test, _ in data.rounds(5, 3, ()):
        assert np.bincount(data.classes[test]).tolist() == [5, 1]


def test_patients_that_a_model_was_trained_on_are_not_tested() -> None:
    data = PatientSplits.from_images(images("ABABAB", "112233"))
    assert data.untrained((), ()) == ()
    assert data.untrained(("1",), ()) == ("1",)
    assert data.untrained(("1",), ("2",)) == ("1",)
    assert set(data.untrained((), ("2",))) == {"1", "3"}
    with pytest.raises(EvaluationError, match="1 of the test patients named may be among those"):
        data.untrained(("1", "2"), ("2", "3"))
    with pytest.raises(EvaluationError, match="none is left to test on"):
        data.untrained((), ("1", "2", "3"))


def test_named_patients_are_tested_once_a_repetition() -> None:
    data = PatientSplits.from_images(images("ABABAB", "112233"))
    tests = [test.tolist() for test, _ in data.rounds(5, 2, ("2", "nobody"))]
    assert tests == [[False, False, True, True, False, False]] * 2
    for named, message in ((("1", "2", "3"), "all are named"), (("nobody",), "none are named")):
        with pytest.raises(EvaluationError, match=f"Of the 3 patients with usable images, {message}"):
            next(data.rounds(5, 1, named))
