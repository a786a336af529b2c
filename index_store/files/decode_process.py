"""A picture decoded in a process of its own, under a limit of memory and of time.

For JPEG 2000 and DICOM, which may hold it: what its decoder takes depends on tables throughout the file (layers,
precincts, code blocks), so that no header bounds it. The process reads the file on its standard input and writes the
picture's rows.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import threading

from PIL import Image

from index_store.files.bit_depth import bands
from index_store.files.headers.refusal import CUT_OUT, EXPORT, EXPORT_AGAIN, PictureRefused
from index_store.files.process_limits import single_threaded_environment

MEMORY = 1024**3
"""Bytes of address space, of which Python and its libraries take some 200 MB."""
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
    command = [sys.executable, "-X", "utf8", "-m", "index_store.files.decode_one"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=single_threaded_environment(),
    ) as process:
        timer = threading.Timer(SECONDS, process.kill)
        writer = threading.Thread(target=_feed, args=(process, data), daemon=True)
        timer.start()
        writer.start()
        try:
            return _received(process, max_pixels, size)
        finally:
            timer.cancel()
            process.kill()
            writer.join()


def _feed(process: subprocess.Popen[bytes], data: bytes) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(data)
        process.stdin.close()
    except OSError:  # it ended before it had read all: its answer says why
        pass


def _received(process: subprocess.Popen[bytes], max_pixels: int, size: tuple[int, int] | None) -> Answer:
    assert process.stdout is not None
    head = process.stdout.read(4)
    if len(head) < 4:
        raise PictureRefused(
            f"would take more than {MEMORY // 1024**2} MB or {SECONDS} s to decode", f"{EXPORT} {CUT_OUT}"
        )
    answer = json.loads(process.stdout.read(struct.unpack(">I", head)[0]))
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
        part = process.stdout.read(3 * width * rows)
        if len(part) < 3 * width * rows:
            raise PictureRefused("is damaged or cut short", EXPORT_AGAIN)
        image.paste(Image.frombytes("RGB", (width, rows), part), box[:2])
    return image, tuple(answer["notes"]), answer["mpp"], answer["mpp_source"]
