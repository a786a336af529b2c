"""A picture decoded in a process of its own, under a limit of memory and of time.

For JPEG 2000 and DICOM, which may hold it: what its decoder takes depends on tables throughout the file (layers,
precincts, code blocks), so that no header bounds it. The process reads the file on its standard input and writes the
picture's rows.
"""

from __future__ import annotations

import contextlib
import sys

from PIL import Image

from index_store.files.bit_depth import bands
from index_store.files.headers.refusal import CUT_OUT, EXPORT, EXPORT_AGAIN, PictureRefused
from index_store.files.process_limits import FREE, MEMORY, LimitedProcess, NotStarted

SECONDS = 60
AVAILABLE = bool(sys.executable)


Answer = tuple[Image.Image, tuple[str, ...], float | None, str]


def decode(data: bytes, *, max_pixels: int, size: tuple[int, int] | None = None) -> Answer:
    """The picture, its notes, its scale (µm a pixel, None where it is unknown) and how that is known.

    Args:
        size: width and height by its headers, where they were read.

    Raises:
        PictureRefused: as of `decode_within`, or it took more memory or time than the limits.
    """
    try:
        with contextlib.closing(LimitedProcess("index_store.files.decode_one")) as process, process.within(SECONDS):
            process.feed(data)
            return _received(process, max_pixels, size)
    except NotStarted as reason:
        what = f"could not be decoded, since no process could be started for it ({reason})"
        raise PictureRefused(what, FREE) from reason


def _received(process: LimitedProcess, max_pixels: int, size: tuple[int, int] | None) -> Answer:
    process.check_started()
    answer = process.answer()
    if answer is None:
        what, advice = process.why_it_ended(memory=MEMORY, seconds=SECONDS)
        raise PictureRefused(what, advice or f"{EXPORT} {CUT_OUT}")
    if "what" in answer:
        raise PictureRefused(answer["what"], answer["advice"])
    width, height = answer["size"]
    if width * height > max_pixels:
        raise PictureRefused(f"has {width} × {height} pixels; the limit is {max_pixels / 1e6:.0f} megapixels", CUT_OUT)
    if size is not None and size != (width, height):
        raise PictureRefused("is damaged: its headers give two sizes", EXPORT_AGAIN)
    image = Image.new("RGB", (width, height), None)
    for box in bands(width, height):
        rows = box[3] - box[1]
        part = process.output.read(3 * width * rows)
        if len(part) < 3 * width * rows:
            raise PictureRefused("is damaged or cut short", EXPORT_AGAIN)
        image.paste(Image.frombytes("RGB", (width, rows), part), box[:2])
    return image, tuple(answer["notes"]), answer["mpp"], answer["mpp_source"]
