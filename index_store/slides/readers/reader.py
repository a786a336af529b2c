"""What a reader of slides is. Readers run in the slide's own process only (`slide_main.py`)."""

from __future__ import annotations

from typing import Protocol

from PIL import Image

from index_store.slides.records import SlideInfo

EXPORT = "Export it from the scanner's software as SVS, pyramidal TIFF or DICOM."


class SlideRefused(Exception):
    """A slide that is not opened: what is wrong with it continues "slide.svs …", and what to do."""

    def __init__(self, what: str, advice: str = EXPORT) -> None:
        super().__init__(what)
        self.what = what
        self.advice = advice


class RegionUnreadable(Exception):
    """A place of a slide that cannot be decoded; others may."""


class Reader(Protocol):
    """An open slide."""

    info: SlideInfo

    def read(self, x: int, y: int, width: int, height: int, level: int, plane: int) -> Image.Image:
        """RGB of `width` × `height` pixels of `level` whose upper left corner is (x, y) in pixels of level 0.

        What lies beyond the slide or was not scanned has the slide's background colour.

        Raises:
            RegionUnreadable: a tile of it is damaged.
        """
        ...
