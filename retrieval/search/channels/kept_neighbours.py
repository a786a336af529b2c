"""What the archive's own sampled cases find without a filter, kept: a calibration under a filter takes from it what the
filter permits, in place of comparing the sample with all images again.

It is the same calibration. The kept patients are a random sample of all, so those that a filter permits are one of the
permitted; and of a list of the nearest images the permitted ones are the nearest permitted ones. What a list does not
say (a filter permits too few of it, or not all images of the case that was compared) is searched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from retrieval.arrays import Floats, Ints, Vectors

if TYPE_CHECKING:
    from index_store import Archive, DerivedName, Hit, ImageTable

DEPTH: Final = 128
"""Images in the list of a case."""
LEAST_IMAGES: Final = 20_000
"""Fewer are compared in some hundredths of a second, and nothing is kept."""
MOST_ADDED: Final = 2_000
"""Images added since, which are compared with the sample; with more, nothing that is kept is used."""
FORMAT: Final = 1


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest images of each of s cases, of another patient each."""

    cases: Ints
    """int64[s], ascending"""
    singles: Ints
    """int64[s]: the one image of each that was compared, or would have been."""
    sizes: Ints
    """int64[s]: how many images each had."""
    images: Ints
    """int64[s, DEPTH], best first"""
    scores: Floats
    """float64[s, DEPTH]"""
    added: Ints
    """int64[a], ascending: the images added since, which are in no list."""

    def row(self, case: int, images: int) -> int | None:
        """The row of a case that still has so many images; None where there is none."""
        row = int(np.searchsorted(self.cases, case))
        known = row < len(self.cases) and self.cases[row] == case and self.sizes[row] == images
        return row if known else None

    def hits(self, row: int, query: Vectors, added: Vectors) -> tuple[Ints, Floats]:
        """The nearest images, int64[n], best first, and their scores, float64[n].

        Args:
            query: float32[d], what was compared.
            added: float32[a, d], the vectors of `added`.
        """
        scores = np.concatenate([self.scores[row], (added @ query).astype(np.float64)])
        images = np.concatenate([self.images[row], self.added])
        order = np.lexsort((images, -scores))
        # An image beyond the list may be as near as its last one.
        order = order[scores[order] >= self.scores[row, -1]]
        return images[order], scores[order]


def keep_neighbours(
    archive: Archive, name: DerivedName, table: ImageTable, cases: Ints, singles: Ints, hits: list[list[Hit]]
) -> None:
    """Keep the lists of the s cases int64[s], which are of the archive as `table` has it."""
    from index_store import Derived

    full = np.array([len(each) == DEPTH for each in hits], dtype=bool)
    if not full.any():
        return
    images = [table.images_of(case) for case in cases[full].tolist()]
    lists = np.array([each for each, is_full in zip(hits, full, strict=True) if is_full], dtype=np.float64)
    arrays = {
        "cases": cases[full],
        "singles": singles[full],
        "sizes": np.array([len(each) for each in images], dtype=np.int64),
        "images": lists[..., 0].astype(np.int64),  # ids are below 2 ** 53
        "scores": lists[..., 1],
    }
    archive.write_derived(name, Derived(table.position, arrays, {"last": int(table.ids[-1])}))


def read_neighbours(archive: Archive, name: DerivedName) -> Neighbours | None:
    """What was kept, as far as it can be used for the archive as it is now."""
    kept = archive.read_derived(name)
    if kept is None:
        return None
    table = archive.image_table()
    # Nothing was removed since, or it would not have been read: what is new has higher ids.
    added = table.ids[np.searchsorted(table.ids, kept.values["last"], side="right") :]
    if len(added) > MOST_ADDED or table.position.sequence < kept.position.sequence:
        return None
    return Neighbours(**kept.arrays, added=added)


def neighbours_name(fingerprint: str, kind: str) -> DerivedName:
    """Of the lists of an encoder and a type of query."""
    from index_store import DerivedName

    return DerivedName("neighbours", FORMAT, f"{fingerprint} {kind}", keep=4)
