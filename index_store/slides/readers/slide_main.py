"""The process in which one slide is read: requests on its standard input, answers on its output (`slide.py`)."""

from __future__ import annotations

import json
import logging
import struct
import sys
import warnings
from pathlib import Path
from typing import Any, BinaryIO, Final

from index_store.files.process_limits import limit_this_process
from index_store.slides.readers.open_reader import open_reader
from index_store.slides.readers.reader import Reader, RegionUnreadable, SlideRefused

MEMORY: Final = 1024**3
"""Bytes of address space; wsidicom and pydicom with their libraries take some 270 MB of it before a slide is opened."""
PROCESSOR_SECONDS: Final = 3600


def main(path: Path) -> None:
    """Open the slide, say what it is, and answer requests until the input ends."""
    limit_this_process(MEMORY, PROCESSOR_SECONDS)
    logging.disable(logging.CRITICAL)  # pydicom and wsidicom log file names and values
    warnings.simplefilter("ignore")  # of Pillow and pydicom, about files nobody vouches for
    out = sys.stdout.buffer
    try:
        reader = open_reader(path)
    except SlideRefused as refusal:
        _say(out, {"what": refusal.what, "advice": refusal.advice})
        return
    except OSError as error:
        _say(out, {"what": f"cannot be read ({error.strerror})", "advice": "Check that it is there, and may be read."})
        return
    _say(out, {"info": reader.info.as_dict()})
    for line in sys.stdin.buffer:
        _answer(out, reader, json.loads(line))


def _answer(out: BinaryIO, reader: Reader, request: list[int]) -> None:
    x, y, width, height, level, plane = request
    try:
        pixels = reader.read(x, y, width, height, level, plane).tobytes()
    except RegionUnreadable as error:
        _say(out, {"unreadable": str(error)})
        return
    _say(out, {"bytes": len(pixels)})
    out.write(pixels)
    out.flush()


def _say(out: BinaryIO, answer: dict[str, Any]) -> None:
    text = json.dumps(answer).encode()
    out.write(struct.pack(">I", len(text)) + text)
    out.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
