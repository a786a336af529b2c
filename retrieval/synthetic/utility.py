"""Do synthetic images help to train a classifier? COIN's two experiments, on any labelled images.

    labelled real images ─► folds of patients ─┬─► real images of the training patients ────────┐
                                               │                                                ├─► a probe each way
                                               └─► images drawn of training patients' reports ──┘          │
                    held-out patients' real images ─► predicted by each ─► macro-F1, accuracy, AUROC ◄─────┘

Data augmentation: real images alone against real and synthetic ones together. Scarcity: synthetic images alone, and
both experiments with a fraction of the training patients' real images. The classifier is a linear probe on the frozen
encoder (`linear_probe`), which synthetic images cannot teach to see, or a small network trained from scratch on pixels
(`small_network`), which no encoder's training can favour.

No report of a test patient is drawn, and no image of one is trained on. Equal reports of several patients are one text:
it is drawn where one of them is a training patient. Reports are taken to be at hand where images are scarce: the
synthetic images of a fold are the same whatever the fraction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np

from retrieval.arrays import Bools, Floats, Ints, Vectors
from retrieval.encoder.encoder import Progress
from retrieval.errors import EvaluationError
from retrieval.statistics.auroc import macro_auroc
from retrieval.statistics.cluster_bootstrap import Average, MacroBootstrap
from retrieval.statistics.estimate import Estimate
from retrieval.synthetic.linear_probe import train_probe
from retrieval.synthetic.patient_splits import Experiment, LabelledImages

Way = Literal["real", "synthetic", "both"]

WAYS: Final[tuple[Way, ...]] = ("real", "synthetic", "both")
METRICS: Final = ("macro-F1", "macro recall", "accuracy", "AUROC")


@dataclass(frozen=True, eq=False)
class SyntheticImages:
    """m images drawn of reports."""

    vectors: Vectors
    classes: Ints
    reports: Ints
    """Which of the texts each was drawn of."""


class Classifier(Protocol):
    """What was trained."""

    def probabilities(self, vectors: Vectors) -> Floats:
        """float[n, categories]."""


class Trainer(Protocol):
    """How a classifier is trained of vectors float32[n, d], classes and groups, int[n]."""

    def __call__(
        self, vectors: Vectors, classes: Ints, groups: Ints, categories: int, *, seed: int = 0
    ) -> Classifier: ...


class SyntheticSource(Protocol):
    """Where the synthetic images of some reports come from."""

    def images(self, texts: Mapping[str, int], progress: Progress | None) -> SyntheticImages:
        """Images of these texts, each text with its class."""

    @property
    def words(self) -> str:
        """What they are, in words."""


@dataclass(frozen=True)
class WayResult:
    """One way to train, measured on the held-out patients."""

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
    """What there is of a class."""

    name: str
    images: int
    patients: int
    synthetic: float
    """Of its images a fold, on average."""


@dataclass(frozen=True)
class AugmentResult:
    """Both experiments."""

    source: str
    encoder: str
    fingerprint: str
    synthetic: str
    images: int
    patients: int
    tested_images: int
    tested_patients: int
    drawn_by: str
    """What is resampled for the intervals: "patients" or, of a single test patient, "slides" or "images"."""
    folds: int
    repeats: int
    classes: tuple[ClassCount, ...]
    left_out: int
    """Images without a category, or of a class that only one patient has."""
    ambiguous: int
    """Reports that stand for several classes, and were not drawn."""
    commonest: Mapping[str, float]
    """By metric: always saying the commonest class."""
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
    train: Trainer = train_probe,
    progress: Progress | None = None,
) -> AugmentResult:
    """Train in every way, on every fold and fraction, and test on the patients left out.

    Args:
        encoder: name and fingerprint of what made the vectors, for the record.
        folds: patients are dealt to so many, each of which is tested once a repetition. With fewer patients, one each.
        repeats: how often they are dealt anew.
        train: of vectors `train_probe`, of thumbnails `small_network.train_network`.
        test_patients: test on these alone, and train on all others, instead of folds.
        progress: counts the synthetic images of each fold as they are drawn.

    Raises `EvaluationError` where the images allow no such comparison, and what the source raises.
    """
    if not all(0 < one <= 1 for one in fractions):
        raise EvaluationError("A fraction of the real images is above 0 and at most 1.")
    data = Experiment.of(images)
    rounds = list(data.rounds(folds, repeats, test_patients))
    used = sorted(set(fractions))
    trained = [
        _train(data, test, source, used, train, rng=rng, seed=number, progress=progress)
        for number, (test, rng) in enumerate(rounds)
    ]
    at = np.concatenate([one.tested for one in trained])
    truth = data.classes[at]
    if len(np.unique(truth)) == 1:
        raise EvaluationError("All tested images are of one class: name test patients of at least two.")
    groups, drawn_by = data.clusters(at)
    round_of = np.repeat(np.arange(len(trained)), [len(one.tested) for one in trained])
    measure = _Measure(truth, groups, round_of, len(data.names))
    averages = {
        key: measure.of(np.concatenate([one.predicted[key] for one in trained])) for key in trained[0].predicted
    }
    return AugmentResult(
        source=images.source,
        encoder=encoder[0],
        fingerprint=encoder[1],
        synthetic=source.words,
        images=len(data.vectors),
        patients=len(data.patient_names),
        tested_images=len(np.unique(at)),
        tested_patients=len(np.unique(data.patients[at])),
        drawn_by=drawn_by,
        folds=len(rounds) // repeats,
        repeats=repeats,
        classes=_counts(data, np.mean([one.synthetic for one in trained], axis=0)),
        left_out=data.left_out,
        ambiguous=max(one.ambiguous for one in trained),
        commonest=measure.commonest(),
        classifier="linear probe" if train is train_probe else "small network, from scratch",
        ways=tuple(
            WayResult(
                way,
                fraction,
                0.0 if way == "synthetic" else float(np.mean([one.real[fraction] for one in trained])),
                0.0 if way == "real" else float(np.mean([one.synthetic.sum() for one in trained])),
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
    """One round: who was tested, and what each probe said of them."""

    tested: Ints
    """The places of the tested images."""
    predicted: dict[tuple[Way, float], Floats]
    """By way and fraction, float[tested, classes]."""
    real: dict[float, int]
    """Real training images by fraction."""
    synthetic: Ints
    """Synthetic training images by class."""
    ambiguous: int


def _train(
    data: Experiment,
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
    texts, ambiguous = data.texts(training)
    made = source.images(texts, progress)
    if not len(made.vectors):
        raise EvaluationError(
            "There is no synthetic image of a training patient's report. Draw some, or name a set that was drawn of "
            "these reports."
        )
    order = data.spread(np.unique(data.patients[training]), rng)
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


def _counts(data: Experiment, synthetic: Floats) -> tuple[ClassCount, ...]:
    of = [data.classes == place for place in range(len(data.names))]
    return tuple(
        ClassCount(name, int(own.sum()), len(np.unique(data.patients[own])), float(made))
        for name, own, made in zip(data.names, of, synthetic, strict=True)
    )


def _training_set(way: Way, data: Experiment, real: Ints, made: SyntheticImages) -> tuple[Vectors, Ints, Ints]:
    """Vectors, classes and groups (patients; reports of synthetic images) of what one way trains on."""
    parts = []
    if way != "synthetic":
        parts.append((data.vectors[real], data.classes[real], data.patients[real]))
    if way != "real":
        parts.append((made.vectors, made.classes, len(data.patient_names) + _apart(made)))
    vectors, classes, groups = (np.concatenate(part) for part in zip(*parts, strict=True))
    return vectors, classes, groups


def _apart(made: SyntheticImages) -> Ints:
    """What of synthetic images is left out together where a probe's penalty is chosen: a report, or a single image
    where some class has one report alone and would vanish with it."""
    reports = [len(np.unique(made.reports[made.classes == one])) for one in np.unique(made.classes)]
    return made.reports if min(reports) > 1 else np.arange(len(made.classes))


class _Measure:
    """The figures of predictions for n tested images; of an image's repetitions each counts, as its patient's."""

    def __init__(self, truth: Ints, groups: Ints, rounds: Ints, categories: int) -> None:
        self._truth = truth
        self._rounds = rounds
        self._groups = groups
        self._macro = MacroBootstrap(groups, truth, categories)
        self._plain = MacroBootstrap(groups, np.zeros(len(truth), dtype=np.int64), 1)
        self._present = [np.unique(truth)]

    def of(self, scores: Floats) -> dict[str, Average]:
        """By metric, of probabilities float[n, categories]."""
        area = macro_auroc(scores, self._truth, self._groups, self._rounds)
        return {**self._votes(scores.argmax(axis=1)), "AUROC": area}

    def commonest(self) -> dict[str, float]:
        """By metric: saying the commonest class of all."""
        values = self._votes(np.full(len(self._truth), np.bincount(self._truth).argmax()))
        return {**{name: average.mean for name, average in values.items()}, "AUROC": 0.5}

    def _votes(self, guess: Ints) -> dict[str, Average]:
        right = (guess == self._truth).astype(np.float64)
        return {
            "macro-F1": self._macro.f1({"": guess}, self._present)[""][0],
            "macro recall": self._macro.mean({"": right}, self._present)[""][0],
            "accuracy": self._plain.mean({"": right}, [np.array([0])])[""][0],
        }
