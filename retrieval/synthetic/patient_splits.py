"""Labelled real images, dealt to training and test by patient."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from retrieval.arrays import Bools, Ints, Vectors
from retrieval.errors import EvaluationError


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """n real images of known class."""

    source: str
    vectors: Vectors
    """float32[n, d], unit rows."""
    classes: tuple[str, ...]
    """One an image, in words."""
    patients: tuple[str, ...]
    slides: tuple[str, ...]
    """Empty where not known; drawn for intervals where there is one test patient."""
    reports: tuple[str, ...]
    left_out: int = 0
    """Images without a category."""


@dataclass(frozen=True, eq=False)
class Experiment:
    """The images whose class at least two patients have; classes and patients as numbers."""

    names: tuple[str, ...]
    vectors: Vectors
    classes: Ints
    patients: Ints
    patient_names: tuple[str, ...]
    slides: tuple[str, ...]
    reports: tuple[str, ...]
    left_out: int
    """Images of other classes, or without one."""

    @classmethod
    def of(cls, images: LabelledImages) -> Experiment:
        """Raises `EvaluationError` where fewer than two classes are left."""
        whose = defaultdict(set)
        for name, patient in zip(images.classes, images.patients, strict=True):
            whose[name].add(patient)
        known = [name for name, patients in whose.items() if len(patients) > 1]
        if len(known) < 2:
            raise EvaluationError(
                f"{images.source} has {len(known)} classes that at least two patients have: two are needed to tell "
                "apart. Name categories and patients in the manifest."
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
            slides=tuple(images.slides[place] for place in keep),
            reports=tuple(images.reports[place] for place in keep),
            left_out=images.left_out + len(images.classes) - len(keep),
        )

    def rounds(
        self, folds: int, repeats: int, test_patients: Collection[str]
    ) -> Iterator[tuple[Bools, np.random.Generator]]:
        """Which images are tested, bool[n], in each round, and the chance of the round's other draws.

        Patients are dealt class by class, so that a class of as many patients as folds is tested in each.

        Raises `EvaluationError` where nobody would be trained on or tested.
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
            dealt = [patient for queue in self._by_rarest(np.unique(self.patients), rng) for patient in queue]
            for fold in range(min(folds, len(dealt))):
                yield np.isin(self.patients, dealt[fold::folds]), rng

    def spread(self, patients: Ints, rng: np.random.Generator) -> Ints:
        """These patients in a random order in which their rarest classes take turns, so that a first part of it has
        some of each, as far as it can."""
        placed = [
            ((turn + rng.random()) / len(queue), patient)
            for queue in self._by_rarest(patients, rng)
            for turn, patient in enumerate(queue)
        ]
        return np.array([patient for _, patient in sorted(placed)], dtype=np.int64)

    def _by_rarest(self, patients: Ints, rng: np.random.Generator) -> list[list[int]]:
        """These patients by the rarest class that each has, the rarest first, in random order within."""
        often = np.array([len(np.unique(self.patients[self.classes == one])) for one in range(len(self.names))])
        queues: dict[int, list[int]] = defaultdict(list)
        for patient in rng.permutation(patients).tolist():
            own = np.unique(self.classes[self.patients == patient])
            queues[int(own[often[own].argmin()])].append(patient)
        return [queues[one] for one in sorted(queues, key=lambda one: (often[one], one))]

    def texts(self, places: Ints) -> tuple[dict[str, int], int]:
        """The different reports of these images and the class each stands for, and how many stand for several."""
        stands: dict[str, set[int]] = defaultdict(set)
        for place in places.tolist():
            if self.reports[place].strip():
                stands[self.reports[place]].add(int(self.classes[place]))
        clear = {text: next(iter(of)) for text, of in sorted(stands.items()) if len(of) == 1}
        return clear, len(stands) - len(clear)

    def clusters(self, places: Ints) -> tuple[Ints, str]:
        """What is resampled for intervals over these images, int[n], and its name: patients, or of a single one its
        slides where all are known, or its images."""
        if len(np.unique(self.patients[places])) > 1:
            return self.patients[places], "patients"
        slides = np.array(self.slides)[places]
        if (slides != "").all() and len(np.unique(slides)) > 1:
            return np.unique(slides, return_inverse=True)[1], "slides"
        return places, "images"
