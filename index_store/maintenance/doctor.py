"""Examine an archive: the records among themselves, and against the log, the index and the files.

Examining changes nothing. Repairing corrects only what needs no decision: derived data are made anew, orphaned data are
deleted, and all is examined once more. What is missing is only reported.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select

from index_store.catalog.catalog import Catalog
from index_store.catalog.change_log import log_head
from index_store.catalog.counts.kept import Counts
from index_store.catalog.counts.tally import whole_tally
from index_store.catalog.databases.migrations import schema_version
from index_store.catalog.encoders import serving_encoders
from index_store.catalog.models import ArchiveRow
from index_store.catalog.reembedding import coverage
from index_store.errors import ArchiveBusyError, StorageError
from index_store.files.image_store import ImageStore
from index_store.maintenance.file_checks import (
    check_derived,
    check_files,
    check_index_folder,
    check_permissions,
)
from index_store.maintenance.findings import Diagnosis, Examination, Finding, diagnosis
from index_store.maintenance.index_checks import check_index
from index_store.maintenance.record_checks import check_counts, check_database, check_log, check_records, check_vectors
from index_store.maintenance.scale_checks import check_scales
from index_store.maintenance.status import counts
from index_store.search.protocols import VectorSearch

if TYPE_CHECKING:
    from index_store.catalog.import_plan import Progress


class Doctor:
    """Examines, and repairs, one archive."""

    def __init__(self, path: Path, catalog: Catalog, store: ImageStore, index: VectorSearch) -> None:
        self._path = path
        self._catalog = catalog
        self._store = store
        self._index = index
        self._reported_notes = 0

    def examine(self, *, checksums: bool, recalled: int, repair: bool, progress: Progress | None) -> Examination:
        """See `Archive.examine`. Repairing needs the writer's lock."""
        files, tested, diagnoses = self._check(checksums=checksums, recalled=recalled, progress=progress)
        findings = [diagnosis.finding for diagnosis in diagnoses]
        if repair and any(diagnosis.repair for diagnosis in diagnoses):
            for diagnosis in diagnoses:
                if diagnosis.repair is not None:
                    diagnosis.repair()
            self._reported_notes = len(self._index.notes)  # a rebuild by a repair is no finding
            # Repaired is what a second examination does not find. No repair changes a file's content.
            _, tested, remaining = self._check(checksums=False, recalled=recalled, progress=None)
            left = {_identity(diagnosis.finding) for diagnosis in remaining}
            findings = [
                dataclasses.replace(finding, repaired=repair is not None and _identity(finding) not in left)
                for finding, repair in ((diagnosis.finding, diagnosis.repair) for diagnosis in diagnoses)
            ]
            known = {_identity(finding) for finding in findings}
            findings += [diagnosis.finding for diagnosis in remaining if _identity(diagnosis.finding) not in known]
        return self._summary(files, checksums, tested, findings)

    def _check(self, *, checksums: bool, recalled: int, progress: Progress | None) -> tuple[int, int, list[Diagnosis]]:
        with self._catalog.reading() as session:
            found = check_database(session)
            found += check_vectors(session, self._catalog)
            found += check_log(session, self._catalog)
            found += check_records(session, self._catalog)
            found += check_scales(session)
            if all(diagnosis.finding.harmless for diagnosis in found):  # otherwise they differ because of that
                found += check_counts(session, self._catalog)
            found += check_index_folder(session, self._path / "index")
            found += check_derived(session, self._path / "index", session.scalars(select(ArchiveRow.uuid)).one())
            by_encoder = {encoder.id: role for role, encoder in reversed(serving_encoders(session).items())}
        self._index.close()  # examine the saved index, not the state of this process
        tested = 0
        for role in reversed(by_encoder.values()):  # once where one encoder has both
            try:
                searched, found_in_index = check_index(
                    self._index, role, recalled=recalled, reported=self._reported_notes
                )
                tested, found = tested + searched, found + found_in_index
            except (StorageError, ArchiveBusyError) as error:  # vectors are damaged, a server is away, a writer at work
                found += diagnosis("index", "the index could not be examined", [error], "Repair what was found first.")
            self._reported_notes = len(self._index.notes)
        files, found_in_files = check_files(self._catalog, self._store, checksums=checksums, progress=progress)
        return files, tested, found + found_in_files + check_permissions(self._path)

    def _summary(self, files: int, checksums: bool, tested: int, findings: list[Finding]) -> Examination:
        with self._catalog.reading() as session:
            archive = session.scalars(select(ArchiveRow)).one()
            patients, cases, images = counts(session)
            return Examination(
                path=self._path,
                name=archive.name,
                uuid=archive.uuid,
                schema_version=schema_version(session.connection()),
                patients=patients,
                cases=cases,
                images=images,
                encoders=coverage(session, Counts(whole_tally(session))),
                files=files,
                checksums=checksums,
                recalled=tested,
                log_sequence=log_head(session).sequence,
                findings=tuple(findings),
            )


def _identity(finding: Finding) -> tuple[str, str]:
    """By which a finding is recognised in a second examination."""
    return finding.check, finding.what
