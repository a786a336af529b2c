"""DICOM VL whole slide images. The one module that uses wsidicom, whose API changes between minor versions.

What is read of a file that is not opened as a level: `ALLOWED`, nothing else. Files of labels, overviews and thumbnails
get no further than that. wsidicom parses the headers of the levels; of those, only geometry, scale and focal planes
leave the slide's process.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from PIL import Image

from index_store.files.headers.slides import MEDIA_DIRECTORY, files_of_series
from index_store.slides.readers.fingerprint import fingerprint
from index_store.slides.readers.reader import RegionUnreadable, SlideRefused
from index_store.slides.readers.scale import believed_mpp, number
from index_store.slides.records import DICOM, Level, SlideInfo

if TYPE_CHECKING:
    from wsidicom import WsiDicom

ALLOWED: Final = ("SOPClassUID", "ImageType", "SeriesInstanceUID", "OpticalPathSequence")
"""Of the last, the objective's power alone is looked at."""
WHOLE_SLIDE: Final = "1.2.840.10008.5.1.4.1.1.77.1.6"
MOST_FILES: Final = 10_000
CACHE: Final = 32 * 1024**2
ONE_SERIES = "Name a folder with the files of one slide, or one file of it."


class DicomReader:
    """One series: every level and focal plane of it."""

    def __init__(self, path: Path) -> None:
        from wsidicom import WsiDicom
        from wsidicom.config import Settings

        files, objective, notes = _levels_of(path)
        settings = Settings(
            decoded_frame_cache_size=CACHE, encoded_frame_cache_size=CACHE, strict_tile_size_check=False
        )
        try:
            self._slide: WsiDicom = WsiDicom.open(files, settings=settings)
            pyramid = self._slide.pyramid
            self._levels = sorted(pyramid, key=lambda level: -level.size.width)
            heights: list[float | None] = sorted(self._levels[0].focal_planes) or [None]
            spacing = self._slide.mpp
        except Exception as error:  # wsidicom raises whatever its parts do
            raise SlideRefused(f"is a DICOM slide that cannot be read ({type(error).__name__})") from error
        base = self._levels[0].size
        mpp, note = believed_mpp(number(spacing.width), number(spacing.height))
        if len(self._slide.pyramids) > 1:
            notes.append(f"It holds {len(self._slide.pyramids)} pictures of the glass; the first one is read.")
        self.info = SlideInfo(
            DICOM,
            "DICOM",
            tuple(Level(level.size.width, level.size.height, base.width / level.size.width) for level in self._levels),
            mpp,
            objective,
            tuple(heights),
            fingerprint(files),
            (*notes, *([note] if note else [])),
        )

    def read(self, x: int, y: int, width: int, height: int, level: int, plane: int) -> Image.Image:
        """As in `reader.Reader`."""
        found = self._levels[level]
        scale = self.info.levels[level].downsample
        left, top = round(x / scale), round(y / scale)
        cut = (max(left, 0), max(top, 0), min(left + width, found.size.width), min(top + height, found.size.height))
        whole = Image.new("RGB", (width, height), "white")
        if cut[0] >= cut[2] or cut[1] >= cut[3]:
            return whole
        depth = self.info.planes[plane]
        # A coarse level may have been written for one plane only.
        near = None if depth is None else min(found.focal_planes, key=lambda z: abs(z - depth))
        try:
            part = self._slide.read_region(cut[:2], found.level, (cut[2] - cut[0], cut[3] - cut[1]), z=near, threads=1)
        except Exception as error:  # as above
            raise RegionUnreadable(type(error).__name__) from error
        if not isinstance(part, Image.Image):
            raise RegionUnreadable("not a picture")
        whole.paste(part.convert("RGB"), (cut[0] - left, cut[1] - top))
        return whole


def _levels_of(path: Path) -> tuple[list[Path], float | None, list[str]]:
    """The files of the series' levels, the objective's power, and notes."""
    folder = path if path.is_dir() else path.parent
    wanted = None if path.is_dir() or path.name == MEDIA_DIRECTORY else _allowed(path).get("SeriesInstanceUID")
    listed = sorted(islice(files_of_series(folder), MOST_FILES + 1))
    if len(listed) > MOST_FILES:
        raise SlideRefused(f"lies in a folder of more than {MOST_FILES} files", ONE_SERIES)
    root, series, outside, damaged = folder.resolve(), dict[str, list[Path]](), 0, 0
    objective = None
    for file in listed:
        if not file.is_file():
            continue
        if root not in file.resolve().parents:
            outside += 1
            continue
        try:
            header = _allowed(file)
        except Exception:  # noqa: BLE001 - pydicom raises whatever its parts do
            damaged += 1
            continue
        uid = str(header.get("SeriesInstanceUID", ""))
        kinds = [str(kind) for kind in header.get("ImageType", ())]
        if header.get("SOPClassUID") != WHOLE_SLIDE or "VOLUME" not in kinds or (wanted and uid != wanted):
            continue
        series.setdefault(uid, []).append(file)
        optics = header.get("OpticalPathSequence") or [{}]
        objective = objective or number(optics[0].get("ObjectiveLensPower"))
    if not series:
        raise SlideRefused("holds no DICOM whole slide image", ONE_SERIES)
    if len(series) > 1:
        raise SlideRefused(f"holds {len(series)} DICOM series", ONE_SERIES)
    notes = [f"{outside} links out of the slide's folder were not followed."] if outside else []
    notes += [f"{damaged} files of the slide's folder are not DICOM or are damaged."] if damaged else []
    return next(iter(series.values())), objective, notes


def _allowed(path: Path) -> Any:
    """A header's `ALLOWED` attributes, as pydicom's dataset."""
    import pydicom

    return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(ALLOWED))
