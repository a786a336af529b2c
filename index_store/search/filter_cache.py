"""Which images a filter permits, cached until the records change.

To list 10 % of a million images takes the database longer than to search them. Users filter by the same few values
again and again, and the archive's revision says when a list may have changed.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from threading import Lock

import numpy as np

from index_store.catalog.case_reader import CaseReader
from index_store.catalog.filters import CaseFilter
from index_store.search.image_table import ImageTable
from index_store.vectors import Ids, Selection

MAX_IDS = 4_000_000
"""Ids cached in all (32 MB)."""


class FilterCache:
    """Selections by filter, of one revision. May be shared by threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._revision = -1
        self._included: OrderedDict[CaseFilter, Ids] = OrderedDict()

    def selection(
        self, reader: CaseReader, where: CaseFilter | None, revision: int, table: ImageTable | None = None
    ) -> tuple[Selection | None, Ids]:
        """The images that a filter permits, None for all, and those of its excluded patients and cases, int64[n].

        Args:
            reader: of a session that sees this revision.
            table: the labels at this revision, where they are in memory; a list of them takes the database longer.
        """
        # Exclusions change from query to query (the query's own patient), and are listed quickly.
        excluded = reader.excluded(where) if where is not None and where.excludes else np.empty(0, np.int64)
        if where is None or not (where.includes or where.excludes):
            return None, excluded
        if not where.includes:
            return Selection(excluded, excluding=True), excluded
        included = self._list_included(reader, replace(where, exclude_patients=(), exclude_cases=()), revision, table)
        return Selection(included[~np.isin(included, excluded)] if len(excluded) else included), excluded

    def clear(self) -> None:
        """Forget all lists."""
        with self._lock:
            self._included.clear()

    def _list_included(self, reader: CaseReader, where: CaseFilter, revision: int, table: ImageTable | None) -> Ids:
        with self._lock:
            if revision == self._revision and where in self._included:
                self._included.move_to_end(where)
                return self._included[where]
        ids = np.sort(reader.included(where)) if table is None else table.only(where, np.empty(0, np.int64)).ids
        with self._lock:
            if revision > self._revision:
                self._revision = revision
                self._included.clear()
            if revision == self._revision:
                self._included[where] = ids
                while sum(map(len, self._included.values())) > MAX_IDS:
                    self._included.popitem(last=False)
        return ids
