"""Which images a filter permits, kept while the records are what they were.

To list 10 % of a million images takes the database longer than to search them. People filter by the same few values
again and again, and the archive's revision says when the answer may have changed.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from threading import Lock

import numpy as np

from index_store.catalog.case_reader import CaseReader
from index_store.catalog.filters import CaseFilter
from index_store.vectors import Ids, Selection

MOST = 4_000_000
"""Ids kept in all (32 MB)."""


class FilterCache:
    """Selections by filter, of one revision. May be shared by threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._revision = -1
        self._kept: OrderedDict[CaseFilter, Ids] = OrderedDict()

    def selection(self, reader: CaseReader, where: CaseFilter | None, revision: int) -> tuple[Selection | None, Ids]:
        """What `CaseReader.selection` says, and the images of the patients and cases that are left out; the reader sees
        this revision.
        """
        # What is left out changes from query to query (its own patient), and is quickly found.
        left_out = reader.excluded(where) if where is not None and where.excludes else np.empty(0, np.int64)
        if where is None or not (where.includes or where.excludes):
            return None, left_out
        if not where.includes:
            return Selection(left_out, excluding=True), left_out
        included = self._included(reader, replace(where, exclude_patients=(), exclude_cases=()), revision)
        return Selection(included[~np.isin(included, left_out)] if len(left_out) else included), left_out

    def _included(self, reader: CaseReader, where: CaseFilter, revision: int) -> Ids:
        with self._lock:
            if revision == self._revision and where in self._kept:
                self._kept.move_to_end(where)
                return self._kept[where]
        ids = np.sort(reader.included(where))
        with self._lock:
            if revision > self._revision:
                self._revision = revision
                self._kept.clear()
            if revision == self._revision:
                self._kept[where] = ids
                while sum(map(len, self._kept.values())) > MOST:
                    self._kept.popitem(last=False)
        return ids
