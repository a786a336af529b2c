"""The cases of an archive that have a category, as arrays: the queries and candidates of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from retrieval.arrays import Ints
from retrieval.assessment.confounders import confounder_codes
from retrieval.errors import EvaluationError
from retrieval.evaluation.labels import Label
from retrieval.language.archive_labels import labels_of

if TYPE_CHECKING:
    from index_store import Archive, Case


@dataclass(frozen=True, eq=False)
class LabelledCases:
    """n cases of p patients with m images.

    Cases are ordered by key, patients by name and images by id, whatever order they came in, so that every figure made
    from them is the same for the same archive.
    """

    keys: tuple[str, ...]
    ids: Ints
    """int[n], the cases' ids in the archive."""
    labels: tuple[Label, ...]
    """One a case: the same for all that mean the same, however they are written."""
    patient_of: Ints
    """int[n], a case's patient, from 0 to p - 1."""
    patient_names: tuple[str, ...]
    """One a case: its patient by name."""
    case_of: Ints
    """int[m], an image's case."""
    image_ids: Ints
    """int[m], ascending."""
    paths: tuple[Path, ...]
    """One an image."""
    hashes: tuple[str, ...]
    """One an image: of its source file's bytes (`Image.sha256`)."""
    checksums: tuple[str, ...]
    """One an image: of the bytes at its path (`Image.file_sha256`)."""
    reports: tuple[str, ...]
    """One a case; blank where there is none."""
    confounders: Mapping[str, Ints]
    """By field, int[m], one an image (`confounders.confounder_codes`)."""
    phantoms: int
    """How many of the cases are rendered phantoms, which have no patient."""
    unlabelled: int
    """Cases of the archive that have no category: neither queries nor candidates."""
    derived: int = 0
    """How many of the cases have a category that was extracted from their report."""

    @property
    def patients(self) -> int:
        """How many there are."""
        return int(self.patient_of.max()) + 1


def read_labelled(archive: Archive) -> LabelledCases:
    """The archive's cases that have a category. Raises EvaluationError where they allow no evaluation."""
    cases = archive.cases()
    if not cases:
        raise EvaluationError("The archive is empty, so there is nothing to evaluate: add cases with `coin add`.")
    return labelled_cases(cases)


def labelled_cases(cases: Sequence[Case]) -> LabelledCases:
    """Those of the cases that have a category.

    Raises EvaluationError where no case has one, where all are of one patient, or where no category is shared by
    two patients: without the query's patient nothing relevant would be left.
    """
    known = sorted((case for case in cases if case.category and case.images), key=lambda case: case.key)
    if not known:
        raise EvaluationError(
            f"None of the archive's {len(cases)} cases has a category, so nothing says which results are right: "
            "put a `category` column (and `site`, `system`) into the manifest and run `coin add` again."
        )
    patients = sorted({case.patient for case in known})
    if len(patients) == 1:
        raise EvaluationError(
            f"The archive's {len(known)} cases with a category are all of one patient, and the query's patient is "
            "left out: add cases of other patients, or name the patients in the manifest."
        )
    of_archive = labels_of(known)
    shown = (of_archive.shown(case.site, case.system, case.category) for case in known)
    labels = tuple(Label(site, category, system) for site, system, category in shown)
    if len({(label, case.patient) for label, case in zip(labels, known, strict=True)}) == len(set(labels)):
        raise EvaluationError(
            "Every category of the archive is of a single patient, so that no query has anything to find: add cases "
            "of further patients."
        )
    number = {patient: i for i, patient in enumerate(patients)}
    images = sorted(
        ((image.id, i, image) for i, case in enumerate(known) for image in case.images), key=lambda entry: entry[0]
    )
    ids = np.array([image_id for image_id, _, _ in images], dtype=np.int64)
    return LabelledCases(
        keys=tuple(case.key for case in known),
        ids=np.array([case.id for case in known], dtype=np.int64),
        labels=labels,
        patient_of=np.array([number[case.patient] for case in known], dtype=np.int64),
        patient_names=tuple(case.patient for case in known),
        case_of=np.array([i for _, i, _ in images], dtype=np.int64),
        image_ids=ids,
        paths=tuple(image.path for _, _, image in images),
        hashes=tuple(image.sha256 for _, _, image in images),
        checksums=tuple(image.file_sha256 for _, _, image in images),
        reports=tuple(case.report for case in known),
        confounders=confounder_codes(known, ids),
        phantoms=sum(case.phantom for case in known),
        unlabelled=len(cases) - len(known),
        derived=sum("category" in case.derived for case in known),
    )
