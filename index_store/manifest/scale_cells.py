"""The scale of a manifest's images: a column of µm a pixel, or of the objective.

The number itself wins over the objective, of which the scale is nominal: 10 µm divided by the magnification, as
scanners are made (40x is 0.25, 20x is 0.5, 10x is 1.0 µm a pixel). A camera on a microscope has another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from index_store.manifest.cells import is_placeholder
from index_store.records import lines_text
from index_store.scale import MANIFEST, MAX_MPP, MIN_MPP, OBJECTIVE, mpp_of_objective, mpp_of_text

_MPP = re.compile(r"mpp[xy]?|((µm|μm|um|mu|microns?|micromet(er|re)s?)(per|a)?(px|pixels?))|pixelsize(inµm|um|µm|μm)")
_OBJECTIVE = re.compile(r"objective(magnification|power|lens)?|(nominal)?magnification")


class ScaleCells:
    """Reads the scale of one row after the other, and counts the objectives that it cannot read."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.mpp_columns = tuple(column for column in columns if _MPP.fullmatch(_squeezed(column)))
        """Those that give µm a pixel, however they are spelt."""
        self._objectives = tuple(column for column in columns if _OBJECTIVE.fullmatch(_squeezed(column)))
        self.columns = (*self.mpp_columns, *self._objectives)
        """All that give a scale."""
        self._unread: list[int] = []

    def scale(self, line: int, cells: Mapping[str, str]) -> tuple[float | None, str]:
        """µm a pixel and how it is known; (None, "") where the row does not say.

        Raises:
            ValueError: what a cell says cannot be the scale of a microscope's image.
        """
        for column in self.mpp_columns:
            if (value := cells.get(column, "")) and not is_placeholder(value):
                mpp = mpp_of_text(value)
                if mpp is None:
                    raise ValueError(f"gives no scale in column {column[:40]} (µm a pixel, {MIN_MPP} to {MAX_MPP:g})")
                return mpp, MANIFEST
        for column in self._objectives:
            if (value := cells.get(column, "")) and not is_placeholder(value):
                mpp = mpp_of_objective(value)
                if mpp is not None:
                    return mpp, OBJECTIVE
                self._unread.append(line)
        return None, ""

    def notes(self) -> tuple[str, ...]:
        """What was not understood."""
        if not self._unread:
            return ()
        return (
            f"the objective could not be read ({lines_text(self._unread)}), and gives no scale. Write it as in 40x, or "
            "give µm a pixel in a column `mpp`.",
        )


def _squeezed(column: str) -> str:
    return re.sub(r"[\s_\-./()\[\]]+", "", column).casefold()
