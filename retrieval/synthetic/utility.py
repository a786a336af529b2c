"""Do synthetic images help to train a classifier? COIN's two experiments, on any labelled images.

    labelled real images ─► folds of patients ─┬─► real images of the training patients ──────────────┐
                                               │                                                      ├─► classifiers
                                               └─► images generated from training patients' reports ──┘       │
                         held-out patients' real images ─► predictions ─► macro-F1, accuracy, AUROC ◄─────────┘

Data augmentation: real images against real and synthetic ones. Scarcity: synthetic images alone, and both with a
fraction of the training patients' real images. The classifier is a linear probe on the frozen encoder, which synthetic
images cannot improve, or a small network trained from scratch on pixels, which no encoder's data can favour.

No test patient's image is trained on, nor one generated from their reports. Reports that patients share are used
where one of them is a training patient. A fold's synthetic images are the same for every fraction of real images.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

import numpy as np

from retrieval.arrays import Bools, Floats, Ints, Vectors
from retrieval.encoder.encoder import Progress
from retrieval.errors import EvaluationError
from retrieval.statistics.estimate import Estimate
from retrieval.synthetic.linear_probe import train_probe
from retrieval.synthetic.patient_splits import LabelledImages, PatientSplits
from retrieval.synthetic.prediction_metrics import PredictionMetrics

Way = Literal["real", "synthetic", "both"]
WAYS: Final[tuple[Way, ...]] = ("real", "synthetic", "both")


@dataclass(frozen=True, eq=False)
class SyntheticImages:
    """m images generated from reports."""

    vectors: Vectors
    """float32[m, d], unit rows."""
    classes: Ints
    """int[m]."""
    reports: Ints
    """int[m]: the number of the text that each was generated from."""


class Classifier(Protocol):
    """A trained classifier."""

    def probabilities(self, vectors: Vectors) -> Floats:
        """Class probabilities float64[n, categories] of vectors float32[n, d]."""


class Trainer(Protocol):
    """Trains a classifier on vectors float32[n, d] with their classes and groups, both int[n]."""

    def __call__(
        self, vectors: Vectors, classes: Ints, groups: Ints, categories: int, *, seed: int = 0
    ) -> Classifier: ...


class SyntheticSource(Protocol):
    """Provides synthetic images for reports."""

    def images(self, texts: Mapping[str, int], progress: Progress | None) -> SyntheticImages:
        """Images of these texts, which are given with their classes."""

    @property
    def words(self) -> str:
        """A description of the images for people."""


@dataclass(frozen=True)
class WayResult:
    """Results of one kind of training set on the held-out patients."""

    way: Way
    fraction: float
    """Of the training patients whose real images were used (of no meaning for `synthetic`)."""
    real: float
    synthetic: float
    """Training images, as means over folds."""
    values: Mapping[str, Estimate]
    """By metric."""
    minus_real: Mapping[str, Estimate]
    """By metric: the difference from `real` at the same fraction, paired; empty for `real` itself."""


@dataclass(frozen=True)
class ClassCount:
    """How many images of a class there are."""

    name: str
    images: int
    patients: int
    synthetic: float
    """Synthetic images a fold, on average."""


@dataclass(frozen=True)
class AugmentResult:
    """Results of both experiments."""

    source: str
    encoder: str
    fingerprint: str
    synthetic: str
    images: int
    patients: int
    tested_images: int
    tested_patients: int
    patients_named: bool
    """Whether every image's patient was named; otherwise images or cases count as patients."""
    trained_patients: int
    """Not tested, since a model that took part may have been trained on them."""
    drawn_by: str
    """What is resampled for the intervals: "patients" or, of a single test patient, "slides" or "images"."""
    folds: int
    repeats: int
    classes: tuple[ClassCount, ...]
    left_out: Mapping[str, int]
    """Images and rows that took no part, by reason."""
    derived: int
    """Images whose category was read from their report."""
    ambiguous: int
    """Reports that belong to several classes and were not used."""
    commonest: Mapping[str, float]
    """By metric: always predicting the commonest class."""
    classifier: str
    ways: tuple[WayResult, ...]


def augment_check(
    images: LabelledImages,
    source: SyntheticSource,
    *,
    encoder: tuple[str, str],
    folds: int = 5,
    repeats: int = 3,
    fractions: Sequence[float] = (1.0,),
    test_patients: Collection[str] = (),
    models: Sequence[Path | str] = (),
    train: Trainer = train_probe,
    progress: Progress | None = None,
) -> AugmentResult:
    """Train on every kind of training set, fold and fraction, and test on the held-out patients.

    Args:
        encoder: name and fingerprint of what made the vectors, for the record.
        folds: number of folds of patients, each tested once a repetition. With fewer patients, one each.
        repeats: how often the patients are distributed to folds anew.
        fractions: of the training patients whose real images are used, each above 0 and at most 1.
        train: `train_probe` for vectors, `small_network.train_network` for thumbnails.
        test_patients: test on these alone, and train on all others, instead of folds.
        models: folders of the weights that take part. Patients that `coin train` trained one of them on are not tested.
        progress: counts the synthetic images of each fold as they are generated.

    Raises:
        EvaluationError: the images allow no such comparison; and as the source raises.
    """
    if not all(0 < fraction <= 1 for fraction in fractions):
        raise EvaluationError("A fraction of the real images is above 0 and at most 1.")
    data = PatientSplits.from_images(images)
    if test_patients and not images.patients_named:
        raise EvaluationError(f"{images.source} does not name each image's patient: no patient can be held out.")
    trained_on = data.trained_on(models)
    if trained_on and not images.patients_named:
        raise EvaluationError(
            f"{images.source} does not name each image's patient, so that nobody can say which of them a model was "
            "trained on. Name them in the manifest's column `patient`, as they were named to the training."
        )
    rounds = list(data.rounds(folds, repeats, data.untrained(test_patients, trained_on)))
    used = sorted(set(fractions))
    trained = [
        _train(data, test, source, used, train, rng=rng, seed=number, progress=progress)
        for number, (test, rng) in enumerate(rounds)
    ]
    tested = np.concatenate([fold.tested for fold in trained])
    truth = data.classes[tested]
    if len(np.unique(truth)) == 1:
        raise EvaluationError("All tested images are of one class: name test patients of at least two.")
    groups, drawn_by = data.clusters(tested)
    round_of = np.repeat(np.arange(len(trained)), [len(fold.tested) for fold in trained])
    measure = PredictionMetrics(truth, groups, round_of, len(data.names))
    averages = {
        key: measure.evaluate(np.concatenate([fold.predicted[key] for fold in trained])) for key in trained[0].predicted
    }
    return AugmentResult(
        source=images.source,
        encoder=encoder[0],
        fingerprint=encoder[1],
        synthetic=source.words,
        images=len(data.vectors),
        patients=len(data.patient_names),
        tested_images=len(np.unique(tested)),
        tested_patients=len(np.unique(data.patients[tested])),
        patients_named=images.patients_named,
        trained_patients=len(trained_on),
        drawn_by=drawn_by,
        folds=len(rounds) // repeats,
        repeats=repeats,
        classes=_counts(data, np.mean([fold.synthetic for fold in trained], axis=0)),
        left_out=data.left_out,
        derived=images.derived,
        ambiguous=max(fold.ambiguous for fold in trained),
        commonest=measure.commonest(),
        classifier="linear probe" if train is train_probe else "small network, from scratch",
        ways=tuple(
            WayResult(
                way,
                fraction,
                0.0 if way == "synthetic" else float(np.mean([fold.real[fraction] for fold in trained])),
                0.0 if way == "real" else float(np.mean([fold.synthetic.sum() for fold in trained])),
                {name: average.estimate for name, average in averages[way, fraction].items()},
                {
                    name: average.minus(averages["real", fraction][name])
                    for name, average in averages[way, fraction].items()
                    if way != "real"
                },
            )
            for fraction in used
            for way in WAYS
        ),
    )


@dataclass(frozen=True, eq=False)
class _Trained:
    """One round: the tested images and each classifier's predictions."""

    tested: Ints
    """int[t]: the tested images."""
    predicted: dict[tuple[Way, float], Floats]
    """By kind of training set and fraction, float64[t, classes]."""
    real: dict[float, int]
    """Real training images by fraction."""
    synthetic: Ints
    """Synthetic training images by class."""
    ambiguous: int


def _train(
    data: PatientSplits,
    test: Bools,
    source: SyntheticSource,
    fractions: Sequence[float],
    train: Trainer,
    *,
    rng: np.random.Generator,
    seed: int,
    progress: Progress | None,
) -> _Trained:
    training, tested = np.flatnonzero(~test), np.flatnonzero(test)
    texts, ambiguous = data.report_classes(training)
    made = source.images(texts, progress)
    if not len(made.vectors):
        raise EvaluationError(
            "There is no synthetic image of a training patient's report. Generate some, or name a set of these reports."
        )
    order = data.order_patients(np.unique(data.patients[training]), rng)
    predicted: dict[tuple[Way, float], Floats] = {}
    counts = {}
    for fraction in fractions:
        some = order[: max(1, round(fraction * len(order)))]
        real = training[np.isin(data.patients[training], some)]
        counts[fraction] = len(real)
        for way in WAYS:
            if way == "synthetic" and predicted.get((way, fractions[0])) is not None:
                predicted[way, fraction] = predicted[way, fractions[0]]  # it has no real images
                continue
            probe = train(*_training_set(way, data, real, made), len(data.names), seed=seed)
            predicted[way, fraction] = probe.probabilities(data.vectors[tested])
    return _Trained(tested, predicted, counts, np.bincount(made.classes, minlength=len(data.names)), ambiguous)


def _counts(data: PatientSplits, synthetic: Floats) -> tuple[ClassCount, ...]:
    masks = [data.classes == label for label in range(len(data.names))]
    return tuple(
        ClassCount(name, int(own.sum()), len(np.unique(data.patients[own])), float(made))
        for name, own, made in zip(data.names, masks, synthetic, strict=True)
    )


def _training_set(way: Way, data: PatientSplits, real: Ints, made: SyntheticImages) -> tuple[Vectors, Ints, Ints]:
    """Vectors, classes and groups (patients; reports of synthetic images) of one kind of training set."""
    parts = []
    if way != "synthetic":
        parts.append((data.vectors[real], data.classes[real], data.patients[real]))
    if way != "real":
        parts.append((made.vectors, made.classes, len(data.patient_names) + _synthetic_groups(made)))
    vectors, classes, groups = (np.concatenate(part) for part in zip(*parts, strict=True))
    return vectors, classes, groups


def _synthetic_groups(made: SyntheticImages) -> Ints:
    """The groups in cross-validation: reports, or single images where some class would vanish with its one report."""
    reports = [len(np.unique(made.reports[made.classes == label])) for label in np.unique(made.classes)]
    return made.reports if min(reports) > 1 else np.arange(len(made.classes))
