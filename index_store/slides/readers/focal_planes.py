"""A TIFF whose pages are one field at several heights: as cameras on a microscope write a stack."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from PIL import Image, TiffImagePlugin

from index_store.slides.readers.fingerprint import fingerprint
from index_store.slides.readers.reader import RegionUnreadable, SlideRefused
from index_store.slides.readers.scale import believed_mpp, number
from index_store.slides.records import PLANES, Level, SlideInfo

MOST_PAGES: Final = 200
MOST_PIXELS: Final = 64_000_000
TILE_WIDTH, NEW_SUBFILE_TYPE, REDUCED = 322, 254, 1
_MICROMETRES = {2: 25_400.0, 3: 10_000.0}
"""By the TIFF tag ResolutionUnit: inch, centimetre."""


def page_sizes(path: Path) -> list[tuple[int, int]]:
    """The size of each page of a TIFF, or nothing where it is none, or one of a slide's (tiles, or reduced pages)."""
    Image.MAX_IMAGE_PIXELS = None  # a slide's level 0 is larger, and is not decoded here
    try:
        with Image.open(path, formats=["TIFF"]) as image:
            assert isinstance(image, TiffImagePlugin.TiffImageFile)
            sizes = []
            for page in range(min(image.n_frames, MOST_PAGES + 1)):
                image.seek(page)
                tags = image.tag_v2
                if TILE_WIDTH in tags or tags.get(NEW_SUBFILE_TYPE, 0) & REDUCED:
                    return []
                sizes.append((int(tags[TiffImagePlugin.IMAGEWIDTH]), int(tags[TiffImagePlugin.IMAGELENGTH])))
            return sizes
    except Exception:  # noqa: BLE001 - damaged: OpenSlide says what is wrong
        return []


class PlanesReader:
    """Pages of one size, the first one the lowest. The page last read is kept."""

    def __init__(self, path: Path) -> None:
        sizes = page_sizes(path)
        width, height = sizes[0]
        if len(sizes) > MOST_PAGES:
            raise SlideRefused(f"has more than {MOST_PAGES} pages", "Keep the planes near the focus.")
        if width * height > MOST_PIXELS:
            raise SlideRefused(f"has pages of more than {MOST_PIXELS // 1_000_000} megapixels")
        self._image = Image.open(path, formats=["TIFF"])
        tags = self._image.tag_v2 if isinstance(self._image, TiffImagePlugin.TiffImageFile) else {}
        unit = _MICROMETRES.get(tags.get(TiffImagePlugin.RESOLUTION_UNIT, 2), 0.0)
        found = [number(tags.get(tag)) for tag in (TiffImagePlugin.X_RESOLUTION, TiffImagePlugin.Y_RESOLUTION)]
        mpp, note = believed_mpp(*(unit / value if value else None for value in found))
        self._kept: tuple[int, Image.Image] | None = None
        self.info = SlideInfo(
            PLANES,
            "TIFF",
            (Level(width, height, 1.0),),
            mpp,
            None,
            (None,) * len(sizes),
            fingerprint([path]),
            (note,) if note else (),
        )

    def read(self, x: int, y: int, width: int, height: int, level: int, plane: int) -> Image.Image:
        """As in `reader.Reader`."""
        if self._kept is None or self._kept[0] != plane:
            try:
                self._image.seek(plane)
                self._kept = plane, self._image.convert("RGB")
            except Exception as error:  # Pillow raises whatever its decoders do
                raise RegionUnreadable(type(error).__name__) from error
        whole = Image.new("RGB", (width, height), "white")
        whole.paste(self._kept[1], (-x, -y))
        return whole
