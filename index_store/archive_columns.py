"""What an archive knows of all its cases at once, without reading their records, and what else was made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy.orm import Session

from index_store.catalog import case_reader
from index_store.catalog.case_reader import CaseReader
from index_store.catalog.catalog import Catalog
from index_store.catalog.change_log import changed_cases, log_head
from index_store.catalog.counts.kept import Counts, stored
from index_store.files.image_store import ImageStore
from index_store.search.derived_files import Derived, DerivedFiles, DerivedName
from index_store.search.image_table import ImageTable, distinct
from index_store.search.image_table_sync import ImageTableSync
from index_store.vectors import Ids, LogPosition

if TYPE_CHECKING:
    from index_store.catalog.filters import CaseFilter


class ArchiveColumns:
    """Base of `ArchiveQueries`: counts, ids of many, and what is kept for the next process."""

    _catalog: Catalog
    _images: ImageStore
    _image_table: ImageTableSync
    _derived: DerivedFiles

    def image_table(self, where: CaseFilter | None = None) -> ImageTable:
        """The labels of all images, or of those that a filter permits, as columns: for what counts or samples many.

        Kept in memory and in the folder `index/`: the first call of all reads the tables of cases and images, later
        ones, and those of later processes, what has changed since.
        """
        with self._catalog.reading() as session:
            table = self._image_table.at(log_head(session))
            if table is not None:
                return self._image_table.only(table, where, self._excluded(session, where))
        # In a transaction that begins now: one that began before may see less than another thread has read.
        with self._catalog.reading(anew=True) as session:
            table = self._image_table.table(session)
            return self._image_table.only(table, where, self._excluded(session, where))

    def _excluded(self, session: Session, where: CaseFilter | None) -> Ids:
        """int64[n]: the images of the patients and cases that a filter leaves out."""
        if where is None or not where.excludes:
            return np.empty(0, dtype=np.int64)
        return CaseReader(session, self._images).excluded(where)

    def facets(self) -> dict[str, dict[str, int]]:
        """What can be filtered by: for site, system, category, stain, preparation, kind and source, the values that
        occur with their number of cases, most frequent first."""
        with self._catalog.reading() as session:
            kept = stored(session)
        if kept is not None:
            return Counts(kept).facets()
        return {name: dict(values) for name, values in self.image_table().facets.items()}

    def labels(self) -> dict[tuple[str, str, str], int]:
        """The combinations of site, system and category that occur, as written, with their number of cases."""
        with self._catalog.reading() as session:
            kept = stored(session)
        if kept is not None:
            return Counts(kept).labels()
        table = self.image_table()
        return {labels: len(np.unique(table.cases[rows])) for labels, rows in table.by_labels()}

    def case_ids(self, where: CaseFilter | None = None) -> Ids:
        """int64[n], ascending: the cases with at least one image that `where` permits. Loads no records."""
        return distinct(self.image_table(where).cases)

    def changed_cases(self, position: LogPosition) -> Ids | None:
        """int64[n], ascending: the cases that were added, or of which an image, the report or a label was changed,
        since the change log was at `position` (`ImageTable.position`). None where that is not of this log."""
        with self._catalog.reading() as session:
            return changed_cases(session, position)

    def patient_ids(self, keys: Iterable[str]) -> dict[str, int]:
        """The ids of the patients with these keys, as in `ImageTable.patients`; unknown keys are left out."""
        with self._catalog.reading() as session:
            return case_reader.patient_ids(session, keys)

    def read_derived(self, name: DerivedName) -> Derived | None:
        """What `write_derived` has kept under this name, in whichever process. None where there is nothing that fits:
        a file that is damaged, of another format or of other records, or images were removed or changed since."""
        with self._catalog.reading() as session:
            return self._derived.read(session, name)

    def write_derived(self, name: DerivedName, derived: Derived) -> bool:
        """Keep something that was made of the records for the next process (see `search/derived_files.py`).

        Returns whether it is kept. Where it is not (nothing may be written, the disk is full), nothing is lost but the
        time to make it again.
        """
        return self._derived.write(name, derived)

    def write_derived_later(self, name: DerivedName, make: Callable[[], Derived]) -> None:
        """As `write_derived`, of what `make` gives, in a thread: `close` waits for it, nobody else."""
        self._derived.write_later(name, make)

    def patient_keys(self, ids: Iterable[int]) -> dict[int, str]:
        """The keys of the patients with these ids (`ImageTable.patients`); unknown ids are left out."""
        with self._catalog.reading() as session:
            return case_reader.patient_keys(session, ids)
