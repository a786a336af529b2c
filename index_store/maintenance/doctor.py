"""Examining an archive: the records with each other, with the log, with the index, and with the files.

Examining changes nothing. Repairing puts right what can be put right without deciding anything: what is derived is
made anew, what belongs to nothing is deleted, and afterwards all is examined once more. What is missing stays missing,
and is named.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select

from index_store.catalog.catalog import Catalog
from index_store.catalog.change_log import log_head
from index_store.catalog.databases.migrations import current_version
from index_store.catalog.models import ArchiveRow
from index_store.catalog.reembedding import coverage
from index_store.errors import ArchiveBusyError, StorageError
from index_store.files.image_store import ImageStore
from index_store.maintenance.file_checks import check_files, check_index_folder
from index_store.maintenance.findings import Diagnosis, Examination, Finding, diagnosis
from index_store.maintenance.index_checks import check_index
from index_store.maintenance.record_checks import check_database, check_log, check_records, check_vectors
from index_store.maintenance.status import counts
from index_store.search.protocols import VectorSearch

if TYPE_CHECKING:
    from index_store.catalog.import_plan import Progress


class Doctor:
    """Examines one archive."""

    def __init__(self, path: Path, catalog: Catalog, store: ImageStore, index: VectorSearch) -> None:
        self._path = path
        self._catalog = catalog
        self._store = store
        self._index = index
        self._told = 0

    def examine(self, *, checksums: bool, recalled: int, repair: bool, progress: Progress | None) -> Examination:
        """See `Archive.examine`. Repairing needs the writer's lock."""
        files, tested, found = self._look(checksums=checksums, recalled=recalled, progress=progress)
        findings = [one.finding for one in found]
        if repair and any(one.repair for one in found):
            for one in found:
                if one.repair is not None:
                    one.repair()
            self._told = len(self._index.notes)  # that a repair rebuilt the index is no finding
            # What was put right is what a second look does not find. No repair changes a file's content.
            _, tested, after = self._look(checksums=False, recalled=recalled, progress=None)
            left = {(one.finding.check, one.finding.what) for one in after}
            findings = [
                dataclasses.replace(one.finding, repaired=(one.finding.check, one.finding.what) not in left)
                if one.repair is not None
                else one.finding
                for one in found
            ]
            said = {(finding.check, finding.what) for finding in findings}
            findings += [one.finding for one in after if (one.finding.check, one.finding.what) not in said]
        return self._summary(files, checksums, tested, findings)

    def _look(self, *, checksums: bool, recalled: int, progress: Progress | None) -> tuple[int, int, list[Diagnosis]]:
        with self._catalog.reading() as session:
            found = check_database(session)
            found += check_vectors(session, self._catalog)
            found += check_log(session, self._catalog)
            found += check_records(session, self._catalog)
            found += check_index_folder(session, self._path / "index")
        self._index.close()  # what was saved is what is to be examined, not what this process made of it
        tested = 0
        try:
            tested, of_index = check_index(self._index, recalled=recalled, told=self._told)
            found += of_index
        except (StorageError, ArchiveBusyError) as error:  # vectors are damaged, a server is away, a writer at work
            found += diagnosis("index", "the index could not be examined", [error], "Repair what was found first.")
        self._told = len(self._index.notes)
        files, of_files = check_files(self._catalog, self._store, checksums=checksums, progress=progress)
        return files, tested, found + of_files

    def _summary(self, files: int, checksums: bool, tested: int, findings: list[Finding]) -> Examination:
        with self._catalog.reading() as session:
            archive = session.scalars(select(ArchiveRow)).one()
            patients, cases, images = counts(session)
            return Examination(
                path=self._path,
                name=archive.name,
                uuid=archive.uuid,
                schema_version=current_version(),
                patients=patients,
                cases=cases,
                images=images,
                encoders=coverage(session),
                files=files,
                checksums=checksums,
                recalled=tested,
                log_sequence=log_head(session).sequence,
                findings=tuple(findings),
            )
