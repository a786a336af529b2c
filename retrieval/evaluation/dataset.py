"""The cases of an archive that have a category, as arrays: the queries and candidates of an evaluation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from retrieval.arrays import Ints
from retrieval.assessment.confounders import ConfounderValues
from retrieval.errors import EvaluationError
from retrieval.evaluation.labels import Label
from retrieval.language.archive_labels import ArchiveLabels

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
    derived_cases: tuple[bool, ...] = ()
    """One a case: whether its category was extracted from its report."""
    patients_named: bool = True
    """Whether every case's patient was named, or it is a phantom. If not, a case counts as a patient."""

    @property
    def patients(self) -> int:
        """How many there are."""
        return int(self.patient_of.max()) + 1

    @property
    def derived(self) -> int:
        """How many of the cases have a category that was extracted from their report."""
        return sum(self.derived_cases)


def read_labelled(archive: Archive) -> LabelledCases:
    """The archive's cases that have a category, read page by page: memory holds what is kept of them, not their
    records. Raises EvaluationError where they allow no evaluation."""
    if not len(archive.case_ids()):
        raise EvaluationError("The archive is empty, so there is nothing to evaluate: add cases with `coin add`.")
    return labelled_cases(archive.each_case())


def labelled_cases(cases: Iterable[Case]) -> LabelledCases:
    """Those of the cases that have a category.

    Raises EvaluationError where no case has one, where all are of one patient, or where no category is shared by
    two patients: without the query's patient nothing relevant would be left.
    """
    given, confounders = 0, ConfounderValues()
    kept: list[_Kept] = []
    images: list[tuple[int, int, Path, str, str]] = []
    for case in cases:
        given += 1
        if case.category and case.images:
            for image in case.images:
                images.append((image.id, len(kept), image.path, image.sha256, image.file_sha256))
                confounders.add(case, image)
            kept.append(_Kept.of(case))
    if not kept:
        raise EvaluationError(
            f"None of the archive's {given} cases has a category, so nothing says which results are right: "
            "put a `category` column (and `site`, `system`) into the manifest and run `coin add` again."
        )
    patients = sorted({case.patient for case in kept})
    if len(patients) == 1:
        raise EvaluationError(
            f"The archive's {len(kept)} cases with a category are all of one patient, and the query's patient is "
            "left out: add cases of other patients, or name the patients in the manifest."
        )
    order = sorted(range(len(kept)), key=lambda i: kept[i].key)
    position = np.argsort(order)
    known = [kept[i] for i in order]
    of_archive = ArchiveLabels(Counter(case.labels for case in known))
    label_of = {written: _label(*of_archive.shown(*written)) for written in of_archive.written}
    labels = tuple(label_of[case.labels] for case in known)
    if len({(label, case.patient) for label, case in zip(labels, known, strict=True)}) == len(set(labels)):
        raise EvaluationError(
            "Every category of the archive is of a single patient, so that no query has anything to find: add cases "
            "of further patients."
        )
    number = {patient: i for i, patient in enumerate(patients)}
    ids, owners, paths, hashes, checksums = zip(*images, strict=True)
    by_id = np.argsort(np.array(ids, dtype=np.int64))
    return LabelledCases(
        keys=tuple(case.key for case in known),
        ids=np.array([case.id for case in known], dtype=np.int64),
        labels=labels,
        patient_of=np.array([number[case.patient] for case in known], dtype=np.int64),
        patient_names=tuple(case.patient for case in known),
        case_of=position[np.array(owners, dtype=np.int64)][by_id],
        image_ids=np.array(ids, dtype=np.int64)[by_id],
        paths=tuple(paths[i] for i in by_id),
        hashes=tuple(hashes[i] for i in by_id),
        checksums=tuple(checksums[i] for i in by_id),
        reports=tuple(case.report for case in known),
        confounders=confounders.codes(by_id),
        phantoms=sum(case.phantom for case in known),
        unlabelled=given - len(known),
        derived_cases=tuple(case.derived for case in known),
        patients_named=all(case.phantom or case.patient != case.key for case in known),
    )


class _Kept(NamedTuple):
    """What is kept of a case."""

    key: str
    id: int
    patient: str
    labels: tuple[str, str, str]
    """As written."""
    report: str
    phantom: bool
    derived: bool
    """Whether its category was extracted from the report."""

    @classmethod
    def of(cls, case: Case) -> _Kept:
        labels = (case.site, case.system, case.category)
        return cls(case.key, case.id, case.patient, labels, case.report, case.phantom, "category" in case.derived)


def _label(site: str, system: str, category: str) -> Label:
    return Label(site, category, system)
