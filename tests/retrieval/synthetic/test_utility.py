"""COIN's two experiments: patients stay apart, only training reports are used, and figures show help and harm."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from generation import CoinGenerator
from generation.phantom import PROFILES, phantom_cases, write_phantoms
from generation.training.data.holdout import write_held_out
from index_store import Archive, EncoderMismatchError, read_report_table
from retrieval import (
    Encoder,
    EvaluationError,
    GenerationPlan,
    SyntheticSet,
    SyntheticSetError,
    add_manifest,
    finish_set,
)
from retrieval.synthetic.patient_splits import LabelledImages, PatientSplits
from retrieval.synthetic.sources import GeneratedImages, SetImages, archive_images, manifest_images
from retrieval.synthetic.utility import AugmentResult, SyntheticImages, Way, WayResult, _training_set, augment_check
from tests.clip_model import tiny_clip
from tests.models import tiny_lora, tiny_sdxl
from tests.retrieval.labelled_archive import unit

DIM = 16
CLASSES = ("cervix HSIL", "cervix LSIL", "cervix NILM")
CENTRES = unit(np.random.default_rng(7).normal(size=(len(CLASSES), DIM)))


def real_images(patients: int = 24, *, noise: float = 0.5, each: int = 3) -> LabelledImages:
    """`each` images a patient, patients of a class each; every patient's report is its own."""
    rng = np.random.default_rng(3)
    of = np.repeat(np.arange(patients), each)
    classes = of % len(CLASSES)
    return LabelledImages(
        source="made.csv",
        vectors=unit(CENTRES[classes] + noise * rng.normal(size=(len(of), DIM))),
        classes=tuple(CLASSES[one] for one in classes),
        patients=tuple(f"patient {one}" for one in of),
        slides=tuple(f"slide {one % 6}" for one in range(len(of))),
        reports=tuple(f"Report of patient {one}." for one in of),
    )


class Made:
    """Synthetic images that lie about their class's centre, or about the next class's; keeps what was asked for."""

    words = "made"

    def __init__(self, *, wrong: bool = False) -> None:
        self._shift = int(wrong)
        self.asked: list[set[str]] = []

    def images(self, texts: Mapping[str, int], progress: object) -> SyntheticImages:
        self.asked.append(set(texts))
        rng = np.random.default_rng(5)
        classes = np.repeat(np.array(list(texts.values())), 3)
        at = CENTRES[(classes + self._shift) % len(CLASSES)]
        return SyntheticImages(unit(at + 0.1 * rng.normal(size=at.shape)), classes, np.repeat(np.arange(len(texts)), 3))


def check(images: LabelledImages, source: Made, **more: object) -> AugmentResult:
    return augment_check(images, source, encoder=("tiny", "0" * 64), **{"folds": 3, "repeats": 1, **more})


class AllAlike:
    """A classifier that learned nothing."""

    def probabilities(self, vectors: np.ndarray) -> np.ndarray:
        return np.full((len(vectors), len(CLASSES)), 1 / len(CLASSES))


def untaught(images: LabelledImages, source: Made, **more: object) -> AugmentResult:
    """As `check`, for tests of who is tested and what is used: the probe's many fits would take seconds."""
    return check(images, source, train=lambda *_, seed: AllAlike(), **more)


def row(result: AugmentResult, way: str, fraction: float = 1.0) -> WayResult:
    return next(one for one in result.ways if (one.way, one.fraction) == (way, fraction))


def test_no_report_of_a_test_patient_is_used() -> None:
    images, source = real_images(), Made()
    result = untaught(images, source, folds=4, repeats=2)
    # Of 24 patients 18 are trained on, with three images each, real and made.
    counts = {one.way: (one.real, one.synthetic) for one in result.ways}
    assert counts == {"real": (54, 0), "both": (54, 54), "synthetic": (0, 54)}
    assert (result.folds, result.repeats, result.tested_images, result.tested_patients) == (4, 2, 72, 24)
    assert [(one.images, one.patients, one.synthetic) for one in result.classes] == [(24, 8, 18)] * 3
    rounds = list(PatientSplits.from_images(images).rounds(4, 2, ()))
    assert len(source.asked) == len(rounds) == 8
    for asked, (test, _) in zip(source.asked, rounds, strict=True):
        tested = {images.reports[place] for place in np.flatnonzero(test)}
        assert asked.isdisjoint(tested)
        assert asked | tested == set(images.reports)
    # Each patient is tested once a repetition, with all images, and no fold lacks a class.
    times = np.sum([test for test, _ in rounds], axis=0)
    assert (times == 2).all()
    for test, _ in rounds:
        for name in CLASSES:
            of_class = np.array(images.classes) == name
            assert 0 < (test & of_class).sum() < of_class.sum()


@pytest.mark.slow
def test_good_images_help_where_real_ones_are_scarce_and_wrong_ones_harm() -> None:
    images = real_images(noise=0.8)
    good = check(images, Made(), fractions=(0.1, 1.0), repeats=2)
    for metric in ("macro-F1", "macro recall", "accuracy", "AUROC"):
        assert row(good, "both", 0.1).minus_real[metric].low > 0, metric
        assert row(good, "synthetic").values[metric].mean > 0.5
    assert row(good, "real", 0.1).real < row(good, "real").real
    assert row(good, "synthetic").values == row(good, "synthetic", 0.1).values  # whatever the fraction
    assert row(good, "real").minus_real == {}
    wrong = check(images, Made(wrong=True))
    assert row(wrong, "synthetic").minus_real["macro-F1"].high < 0
    assert row(wrong, "synthetic").values["AUROC"].mean < 0.5
    few = [check(images, Made(), folds=2, repeats=1).ways for _ in range(2)]
    assert few[0] == few[1]  # the same again


@pytest.mark.parametrize(("patients", "together"), [(24, True), (8, False), (6, False)])
def test_images_of_one_report_stay_together_where_every_class_has_several(patients: int, together: bool) -> None:
    """Of 6 patients each class has two, of 8 one class: one of them is trained on, and its report's images divided."""
    groups_of: dict[tuple[int, int], list[int]] = {}

    def train(vectors: np.ndarray, classes: np.ndarray, groups: np.ndarray, categories: int, *, seed: int) -> AllAlike:
        groups_of[len(vectors), len(groups_of)] = groups.tolist()
        return AllAlike()

    check(real_images(patients), Made(), folds=2, train=train)
    trained = patients // 2
    reals = [groups for (n, _), groups in groups_of.items() if len(set(groups)) == trained and max(groups) < patients]
    assert len(reals) == 2, "one a fold, grouped by its patients"
    mixed = [groups for (n, _), groups in groups_of.items() if n == 6 * trained]
    assert len(mixed) == 2
    for groups in mixed:
        own, made = groups[: 3 * trained], groups[3 * trained :]
        assert len(set(own)) == trained
        assert len(set(made)) == (trained if together else 3 * trained)
        assert not set(own) & set(made)


@pytest.mark.slow
def test_counts_say_what_was_used() -> None:
    images = real_images()
    lone = LabelledImages(
        source=images.source,
        vectors=np.concatenate([images.vectors, images.vectors[:2]]),
        classes=(*images.classes, "cervix SCC", "cervix SCC"),
        patients=(*images.patients, "another", "another"),
        slides=(*images.slides, "", ""),
        reports=(*images.reports, "One.", "One."),
        left_out=Counter({"Has no category.": 4}),
        derived=3,
    )
    result = check(lone, Made(), folds=4, repeats=1)
    assert (result.images, result.patients, result.derived) == (72, 24, 3)
    assert result.left_out == {"Has no category.": 4, "Is of a category that only one patient has.": 2}
    assert [(one.name, one.images, one.patients) for one in result.classes] == [(name, 24, 8) for name in CLASSES]
    assert (result.folds, result.repeats, result.tested_images, result.drawn_by) == (4, 1, 72, "patients")
    assert row(result, "real").real == 54
    assert row(result, "both").synthetic == 54
    assert result.commonest["macro-F1"] == pytest.approx(1 / 6)
    assert result.commonest["accuracy"] == pytest.approx(1 / 3)


def test_named_patients_are_tested_and_a_single_one_by_slides() -> None:
    images = real_images(each=6)
    some = untaught(images, Made(), test_patients=("patient 0", "patient 1", "patient 2"), repeats=2)
    assert (some.folds, some.tested_patients, some.drawn_by) == (1, 3, "patients")
    mixed = LabelledImages(
        images.source, images.vectors, images.classes,
        tuple("one" if place < 18 else of for place, of in enumerate(images.patients)), images.slides, images.reports,
    )  # fmt: skip
    single = untaught(mixed, Made(), test_patients=("one",), repeats=1)
    assert (single.tested_patients, single.drawn_by) == (1, "slides")
    with pytest.raises(EvaluationError, match="of one class"):
        untaught(images, Made(), test_patients=("patient 0", "patient 3"))
    for named in (("nobody",), tuple(set(images.patients))):
        with pytest.raises(EvaluationError, match="named as test patients"):
            untaught(images, Made(), test_patients=named)


def test_patients_that_a_model_was_trained_on_are_not_tested(tmp_path: Path) -> None:
    images = real_images()
    write_held_out(tmp_path, [f"patient {number}" for number in range(9)])
    (tmp_path / "training.json").write_text("{}")
    found = untaught(images, Made(), models=[tmp_path])
    assert (found.tested_patients, found.trained_patients, found.folds) == (9, 15, 1)
    free = untaught(images, Made(), models=[tmp_path], test_patients=("patient 0", "patient 1"))
    assert free.tested_patients == 2
    with pytest.raises(EvaluationError, match="1 of the test patients named may be among those"):
        untaught(images, Made(), models=[tmp_path], test_patients=("patient 0", "patient 9"))
    write_held_out(tmp_path, ["somebody else"])
    with pytest.raises(EvaluationError, match="none is left to test on"):
        untaught(images, Made(), models=[tmp_path])
    write_held_out(tmp_path, set(images.patients))
    assert untaught(images, Made(), models=[tmp_path]).folds == 3, "none of them was trained on: all take turns"


def test_without_names_no_patient_is_held_out(tmp_path: Path) -> None:
    unnamed = dataclasses.replace(real_images(), patients_named=False)
    assert not untaught(unnamed, Made()).patients_named
    with pytest.raises(EvaluationError, match="does not name each image's patient: no patient can be held out"):
        untaught(unnamed, Made(), test_patients=("patient 0",))
    write_held_out(tmp_path, ["patient 1"])
    (tmp_path / "training.json").write_text("{}")
    with pytest.raises(EvaluationError, match="nobody can say which of them a model was trained on"):
        untaught(unnamed, Made(), models=[tmp_path])


def test_reports_of_several_classes_are_not_used() -> None:
    images = real_images()
    same = LabelledImages(
        images.source, images.vectors, images.classes, images.patients, images.slides,
        tuple("Smear." if place < 30 else report for place, report in enumerate(images.reports)),
    )  # fmt: skip
    source = Made()
    assert untaught(same, source).ambiguous == 1
    assert all("Smear." not in asked for asked in source.asked)


def test_what_allows_no_comparison_is_refused() -> None:
    images = real_images()
    one = LabelledImages("m.csv", images.vectors, ("HSIL",) * 72, images.patients, images.slides, images.reports)
    with pytest.raises(EvaluationError, match=r"m\.csv has 1 classes"):
        check(one, Made())
    with pytest.raises(EvaluationError, match="above 0 and at most 1"):
        check(images, Made(), fractions=(0.0,))
    blank = LabelledImages("m.csv", images.vectors, images.classes, images.patients, images.slides, ("",) * 72)

    class Nothing(Made):
        def images(self, texts: Mapping[str, int], progress: object) -> SyntheticImages:
            empty = np.zeros(0, dtype=np.int64)
            return SyntheticImages(np.zeros((0, DIM), dtype=np.float32), empty, empty)

    with pytest.raises(EvaluationError, match="no synthetic image of a training patient's report"):
        check(blank, Nothing())


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> CoinGenerator:
    base = tiny_sdxl(tmp_path_factory.mktemp("models") / "base")
    return CoinGenerator(base, tiny_lora(base.parent / "lora", base), device="cpu")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve phantoms of two findings."""
    phantoms = phantom_cases(12, profiles=[p for p in PROFILES if (p.site, p.category) in WANTED])
    return write_phantoms(tmp_path_factory.mktemp("phantoms"), phantoms, size=64)


WANTED = {("cervix", "NILM"), ("urine", "HGUC")}


def test_images_are_of_the_requested_reports_and_generated_once(
    generator: CoinGenerator, encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[str, int]] = []
    queue = CoinGenerator.generate_queue

    def watched(self: CoinGenerator, requests: list[tuple[str, list[int]]], **more: object) -> object:
        drawn.extend((text, seed) for text, seeds in requests for seed in seeds)
        return queue(self, requests, **more)

    monkeypatch.setattr(CoinGenerator, "generate_queue", watched)
    texts = {"Clusters of cells.": 0, "Single cells.": 0, "Cells in urine.": 1}
    source = GeneratedImages(GenerationPlan(generator), encoder, per_class=3, work=tmp_path)
    seen: list[tuple[int, int]] = []
    made = source.images(texts, lambda done, total: seen.append((done, total)))
    assert np.bincount(made.classes).tolist() == [3, 3]
    assert np.bincount(made.reports).tolist() == [3, 2, 1] or np.bincount(made.reports).tolist() == [3, 1, 2]
    assert len(drawn) == len(set(drawn)) == 6
    assert seen[0] == (0, 6)
    assert seen[-1] == (6, 6)
    assert len({seed for _, seed in drawn}) == 6  # no two share their noise
    seed = min(seed for text, seed in drawn if text == "Cells in urine.")
    alone = generator.generate("Cells in urine.", seed=seed, n=1, preset="draft").images[0]
    expected = encoder.encode_images([alone.image])
    first = made.vectors[made.classes == 1][0]
    assert first @ expected[0] == pytest.approx(1, abs=1e-3)
    again = GeneratedImages(GenerationPlan(generator), encoder, per_class=3, work=tmp_path)
    assert np.array_equal(again.images(texts, None).vectors, made.vectors)
    assert len(drawn) == 6  # from the shelf
    assert again.images({}, None).vectors.shape == (0, encoder.dim)


@pytest.mark.slow
def test_an_archive_a_manifest_and_a_set_give_one_answer(
    generator: CoinGenerator, encoder: Encoder, manifest: Path, tmp_path: Path
) -> None:
    with Archive.create(tmp_path / "archive") as archive:
        add_manifest(archive, manifest, encoder)
        of_archive = archive_images(archive, encoder)
        with pytest.raises(EncoderMismatchError):
            archive_images(archive, Encoder(tiny_clip(tmp_path / "other", seed=3), device="cpu"))
    of_manifest = manifest_images(manifest, encoder, work=tmp_path / "work")
    assert sorted(of_archive.classes) == sorted(of_manifest.classes)
    assert set(of_archive.patients) == set(of_manifest.patients)
    with pytest.raises(EvaluationError, match="no image a category"):
        manifest_images(manifest, encoder, kinds=("cell",))
    made = SyntheticSet(tmp_path / "set", read_report_table(manifest), generator, preset="draft", per_report=1)
    with pytest.raises(SyntheticSetError, match="not finished"):
        SetImages(made.folder, encoder)
    finish_set(made, generated=made.generate(), seconds=1.0)
    source = SetImages(made.folder, encoder, work=tmp_path / "work")
    some = dict.fromkeys(list(dict.fromkeys(of_manifest.reports))[:4], 1)
    assert len(source.images(some, None).vectors) == sum(report in some for report in of_manifest.reports)
    results = [
        augment_check(images, source, encoder=(encoder.name, encoder.fingerprint), folds=3, repeats=1)
        for images in (of_archive, of_manifest)
    ]
    for one, other in zip(results[0].ways, results[1].ways, strict=True):
        assert (one.real, one.synthetic) == (other.real, other.synthetic) or one.way == "synthetic"
    assert results[0].classes == results[1].classes


@pytest.mark.parametrize(
    ("reports", "groups"),
    [
        ([0, 0, 1, 2, 3], [0, 0, 1, 2, 3]),
        ([0, 0, 0, 2, 3], [0, 1, 2, 3, 4]),  # one class has one report alone: each image for itself
    ],
)
def test_a_training_set_is_of_real_synthetic_or_both(reports: list[int], groups: list[int]) -> None:
    data = PatientSplits.from_images(real_images(6))
    real = np.array([0, 4, 8])
    made = SyntheticImages(CENTRES[[0, 0, 0, 1, 1]], np.array([0, 0, 0, 1, 1]), np.array(reports))
    own = {"real": (data.vectors[real], data.classes[real], data.patients[real])}
    own["synthetic"] = (made.vectors, made.classes, 6 + np.array(groups))
    ways: dict[Way, list[str]] = {"real": ["real"], "synthetic": ["synthetic"], "both": ["real", "synthetic"]}
    for way, kinds in ways.items():
        for found, *parts in zip(_training_set(way, data, real, made), *(own[kind] for kind in kinds), strict=True):
            assert np.array_equal(found, np.concatenate(parts))
