"""Labelled real images, split into training and test by patient."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from generation import text_sha256
from generation.training.checkpoint import TRAINING
from generation.training.data.holdout import HELD_OUT, read_held_out
from retrieval.arrays import Bools, Ints, Vectors
from retrieval.errors import EvaluationError

NO_CATEGORY = "Has no category."
ONE_PATIENT = "Is of a category that only one patient has."


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """n real images of known class; tuples hold one entry an image."""

    source: str
    vectors: Vectors
    """float32[n, d], unit rows."""
    classes: tuple[str, ...]
    """Names of the classes."""
    patients: tuple[str, ...]
    slides: tuple[str, ...]
    """Empty where not known; resampled for intervals where there is one test patient."""
    reports: tuple[str, ...]
    left_out: Counter[str] = field(default_factory=Counter)
    """Images or rows that are not among them, by reason."""
    derived: int = 0
    """Images whose category was read from their report."""
    patients_named: bool = True
    """Whether every image's patient was named. If not, `patients` are cases, or images that belong to none."""


def trained_patients(patients: Collection[str], model: Path | str) -> frozenset[str]:
    """Of these patients, those that a model may have been trained on: none where `coin train` did not make it, and all
    but those that it held out where it did.

    Args:
        model: the folder of a LoRA or an encoder, or a file in it.

    Raises:
        EvaluationError: which patients the training held out is not known.
    """
    path = Path(model).expanduser()
    folder = path.parent if path.is_file() else path
    if not (folder / TRAINING).is_file():
        folder = folder.resolve().parent  # weights of a step lie in a folder of their own
    if not (folder / TRAINING).is_file():
        return frozenset()
    held_out = read_held_out(folder)
    if held_out is None:
        raise EvaluationError(
            f"Which patients {folder.name} was trained on is not known: its folder has no {HELD_OUT}, since its "
            "training named no patients, or an earlier version made it. Run the training's command once more with a "
            "manifest that names patients."
        )
    return frozenset(patient for patient in patients if text_sha256(patient) not in held_out)


@dataclass(frozen=True, eq=False)
class PatientSplits:
    """The n images whose class at least two patients have; classes and patients as numbers."""

    names: tuple[str, ...]
    """Of the classes."""
    vectors: Vectors
    """float32[n, d], unit rows."""
    classes: Ints
    """int[n]: positions in `names`."""
    patients: Ints
    """int[n]: positions in `patient_names`."""
    patient_names: tuple[str, ...]
    slides: tuple[str, ...]
    reports: tuple[str, ...]
    left_out: Counter[str]
    """Images and rows that are not among them, by reason."""

    @classmethod
    def from_images(cls, images: LabelledImages) -> PatientSplits:
        """Raises `EvaluationError` where fewer than two classes are left."""
        patients_of = defaultdict(set)
        for name, patient in zip(images.classes, images.patients, strict=True):
            patients_of[name].add(patient)
        known = [name for name, patients in patients_of.items() if len(patients) > 1]
        if len(known) < 2:
            raise EvaluationError(
                f"{images.source} has {len(known)} classes that at least two patients have, and two are "
                "needed. Name categories and patients in the manifest."
            )
        keep = np.flatnonzero(np.isin(np.array(images.classes), known))
        names, classes = np.unique(np.array(images.classes)[keep], return_inverse=True)
        people, patients = np.unique(np.array(images.patients)[keep], return_inverse=True)
        return cls(
            names=tuple(names.tolist()),
            vectors=images.vectors[keep],
            classes=classes,
            patients=patients,
            patient_names=tuple(people.tolist()),
            slides=tuple(images.slides[position] for position in keep),
            reports=tuple(images.reports[position] for position in keep),
            left_out=images.left_out + Counter({ONE_PATIENT: len(images.classes) - len(keep)}),
        )

    def trained_on(self, models: Sequence[Path | str]) -> frozenset[str]:
        """Names of the patients that any of the models may have been trained on. Raises as `trained_patients`."""
        return frozenset().union(*(trained_patients(self.patient_names, model) for model in models))

    def untrained(self, test_patients: Collection[str], trained_on: Collection[str]) -> Collection[str]:
        """The patients to test on by name, none of which a model was trained on; empty: all take turns.

        Raises:
            EvaluationError: one that is named was trained on, or all were.
        """
        trained = set(trained_on)
        if named := trained & set(test_patients):
            raise EvaluationError(
                f"{len(named)} of the test patients named may be among those that a model was trained on. Leave them "
                f"out; {HELD_OUT} beside the model says who was held out."
            )
        if not trained or test_patients:
            return test_patients
        free = set(self.patient_names) - trained
        if not free:
            raise EvaluationError(
                "A model may have been trained on each of these patients, so that none is left to test on. Add "
                f"patients that its training held out ({HELD_OUT} beside the model)."
            )
        return free

    def rounds(
        self, folds: int, repeats: int, test_patients: Collection[str]
    ) -> Iterator[tuple[Bools, np.random.Generator]]:
        """The test images of each round, bool[n], and the generator for the round's other random choices.

        Patients are distributed class by class, so that a class of as many patients as folds is tested in each.

        Args:
            folds: rounds a repetition; with fewer patients, one each.
            repeats: how often the patients are distributed anew.
            test_patients: names of the patients to test on, in one round a repetition, instead of folds.

        Raises:
            EvaluationError: nobody would be trained on or tested.
        """
        for repeat in range(repeats):
            rng = np.random.default_rng([repeat, folds])
            if test_patients:
                test = np.isin(np.array(self.patient_names)[self.patients], sorted(test_patients))
                if test.all() or not test.any():
                    raise EvaluationError(
                        f"Of the {len(self.patient_names)} patients with usable images, "
                        f"{'all' if test.all() else 'none'} are named as test patients. Name some of them."
                    )
                yield test, rng
                continue
            distributed = [patient for queue in self._by_rarest(np.unique(self.patients), rng) for patient in queue]
            for fold in range(min(folds, len(distributed))):
                yield np.isin(self.patients, distributed[fold::folds]), rng

    def order_patients(self, patients: Ints, rng: np.random.Generator) -> Ints:
        """The patients int[p] in a random order, int[p], in which their rarest classes alternate, so that any first
        part of it has patients of each class, as far as possible."""
        keyed = [
            ((turn + rng.random()) / len(queue), patient)
            for queue in self._by_rarest(patients, rng)
            for turn, patient in enumerate(queue)
        ]
        return np.array([patient for _, patient in sorted(keyed)], dtype=np.int64)

    def _by_rarest(self, patients: Ints, rng: np.random.Generator) -> list[list[int]]:
        """The patients grouped by the rarest class that each has, the rarest first, in random order within a group."""
        counts = np.array([len(np.unique(self.patients[self.classes == label])) for label in range(len(self.names))])
        queues: dict[int, list[int]] = defaultdict(list)
        for patient in rng.permutation(patients).tolist():
            own = np.unique(self.classes[self.patients == patient])
            queues[int(own[counts[own].argmin()])].append(patient)
        return [queues[label] for label in sorted(queues, key=lambda label: (counts[label], label))]

    def report_classes(self, images: Ints) -> tuple[dict[str, int], int]:
        """The class of each distinct report of some images, int[m], and how many reports have several classes."""
        found: dict[str, set[int]] = defaultdict(set)
        for image in images.tolist():
            if self.reports[image].strip():
                found[self.reports[image]].add(int(self.classes[image]))
        unique = {text: next(iter(classes)) for text, classes in sorted(found.items()) if len(classes) == 1}
        return unique, len(found) - len(unique)

    def clusters(self, images: Ints) -> tuple[Ints, str]:
        """The units to resample for intervals over some images, int[m], of each image int[m], and their name.

        These are patients; of a single patient the slides, where all are known and there are several, or else the
        images.
        """
        if len(np.unique(self.patients[images])) > 1:
            return self.patients[images], "patients"
        slides = np.array(self.slides)[images]
        if (slides != "").all() and len(np.unique(slides)) > 1:
            return np.unique(slides, return_inverse=True)[1], "slides"
        return images, "images"
