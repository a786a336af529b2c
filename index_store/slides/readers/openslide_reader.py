"""Slides of the scanners' own formats, by OpenSlide."""

from __future__ import annotations

import mmap
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PIL import Image

from index_store.files.headers.refusal import PictureRefused
from index_store.files.headers.tiff_directories import read_directories
from index_store.slides.readers.fingerprint import fingerprint
from index_store.slides.readers.reader import RegionUnreadable, SlideRefused
from index_store.slides.readers.scale import believed_mpp, number
from index_store.slides.records import OPENSLIDE, Level, SlideInfo

if TYPE_CHECKING:
    from openslide import OpenSlide

FORMATS: Final = ("aperio", "hamamatsu", "mirax", "leica", "ventana", "philips", "trestle", "generic-tiff")
"""Not `sakura` (a database) nor `zeiss`: nobody here has tried them; DICOM has a reader of its own.
All but `mirax` are single TIFF files; Hamamatsu's VMS and VMU, text files that name others by any path, are refused."""
_COMPANION = re.compile(r"(?m)^\s*(?:FILE_\d+|INDEXFILE)\s*=\s*(.*?)\s*$")
COPY = "Copy it again from the scanner."


class OpenSlideReader:
    """A slide of one focal plane. The pictures of label and whole glass that OpenSlide offers are never asked for."""

    def __init__(self, path: Path) -> None:
        import openslide

        vendor = openslide.OpenSlide.detect_format(str(path))
        if vendor is None:
            raise SlideRefused("is not a slide that can be read here, or is damaged or cut short")
        if vendor not in FORMATS or (vendor != "mirax" and not _is_tiff(path)):
            raise SlideRefused(f"is a slide of a format that is not read here ({vendor})")
        self._files = [path, *(_companions(path) if vendor == "mirax" else ())]
        self._path = path
        self._slide = self._open()
        self.info = self._described(vendor)

    def read(self, x: int, y: int, width: int, height: int, level: int, plane: int) -> Image.Image:
        """As in `reader.Reader`."""
        import openslide

        try:
            found = self._slide.read_region((x, y), level, (width, height))
        except openslide.OpenSlideError as error:
            # After an error OpenSlide's handle answers nothing but that error.
            self._slide.close()
            self._slide = self._open()
            raise RegionUnreadable(type(error).__name__) from error
        if found.getchannel("A").getextrema() == (255, 255):
            return found.convert("RGB")
        opaque = Image.new("RGB", found.size, self._background)
        opaque.paste(found, mask=found.getchannel("A"))
        return opaque

    def _open(self) -> OpenSlide:
        import openslide

        try:
            return openslide.OpenSlide(str(self._path))
        except openslide.OpenSlideError as error:
            raise SlideRefused(f"is damaged or cut short ({_first_line(error)})", COPY) from error

    def _described(self, vendor: str) -> SlideInfo:
        properties = self._slide.properties
        colour = properties.get("openslide.background-color", "FFFFFF")
        self._background = f"#{colour}" if re.fullmatch("[0-9A-Fa-f]{6}", colour) else "#FFFFFF"
        mpp, note = believed_mpp(number(properties.get("openslide.mpp-x")), number(properties.get("openslide.mpp-y")))
        notes = [note] if note else []
        more = _pages_of_size(self._path, self._slide.dimensions) - 1
        if more > 0:
            notes.append(f"{more} further pages of its full size (focal planes or channels) are not read.")
        pairs = zip(self._slide.level_dimensions, self._slide.level_downsamples, strict=True)
        return SlideInfo(
            OPENSLIDE,
            vendor,
            tuple(Level(width, height, float(downsample)) for (width, height), downsample in pairs),
            mpp,
            number(properties.get("openslide.objective-power")),
            (None,),
            fingerprint(self._files),
            tuple(notes),
        )


def _pages_of_size(path: Path, size: tuple[int, int]) -> int:
    """How many pages of a TIFF are so large; 0 where its directories cannot be read."""
    try:
        with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return sum(page.size == size for page in read_directories(data)[1])
    except PictureRefused:
        return 0


def _is_tiff(path: Path) -> bool:
    with path.open("rb") as handle:
        return handle.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _first_line(error: Exception) -> str:
    """What OpenSlide says, without the path that it may name."""
    return re.sub(r"\S*[/\\]\S*", "a file", str(error).partition("\n")[0])[:200]


def _companions(path: Path) -> list[Path]:
    """The files of a MIRAX slide, in the folder of its name.

    `Slidedat.ini` names them, and OpenSlide joins what it says to the folder: a name that leads out is refused.
    """
    folder = path.with_suffix("")
    listed = folder / "Slidedat.ini"
    try:
        with listed.open("rb") as handle:
            text = handle.read(4 * 1024**2).decode("utf-8", errors="replace")
    except OSError as error:
        raise SlideRefused("lacks the folder of its name with Slidedat.ini", "Copy both, side by side.") from error
    files = [listed, *(folder / name for name in dict.fromkeys(_COMPANION.findall(text)))]
    root = folder.resolve()
    if any(root not in file.resolve().parents for file in files):
        raise SlideRefused("names files outside of its own folder", COPY)
    return [file for file in files if file.is_file()]
