"""Cases looked up by what stands in their records, with nothing compared or ranked: the start of their keys, site,
system, category, words of the report.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from retrieval.arrays import Ints
from retrieval.language.archive_labels import archive_labels
from retrieval.language.words.terms import words_of
from retrieval.search.reports.report_index import ReportIndex

if TYPE_CHECKING:
    from index_store import Archive


def find_cases(archive: Archive, reports: ReportIndex, text: str, *, limit: int) -> list[str]:
    """The keys of `limit` cases at most: first those that begin with the text, then those that have each of its words
    in the report, or at the start of a word of site, system or category, in the order in which they were added.

    Reads the records of what it returns; all else is looked up in indexes and columns that searches keep in memory.
    """
    found = dict.fromkeys(archive.keys_beginning(text.strip(), limit=limit))
    words = words_of(text)
    if words and len(found) < limit:
        ids = _having_all(archive, reports, words)[:limit]
        found |= dict.fromkeys(report.case_key for report in archive.reports_of(ids.tolist()))
    return list(found)[:limit]


def _having_all(archive: Archive, reports: ReportIndex, words: list[str]) -> Ints:
    """int64[n], ascending: the ids of the cases that have all the words."""
    table, labels = archive.image_table(), archive_labels(archive)
    having = [[reports.case_ids[reports.words.containing([word])]] for word in words]
    for written, rows in table.by_labels():
        said = words_of(" ".join(written + labels.shown(*written)))
        for word, ids in zip(words, having, strict=True):
            if any(each.startswith(word) for each in said):
                ids.append(table.cases[rows])
    return reduce(np.intersect1d, [np.unique(np.concatenate(ids)) for ids in having])
