"""The process in which one slide is read: requests on its standard input, answers on its output (`slide.py`)."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from pathlib import Path
from typing import BinaryIO, Final

from index_store.files.process_limits import MEMORY, NO_MEMORY, limit_this_process, say
from index_store.slides.readers.open_reader import open_reader
from index_store.slides.readers.reader import Reader, RegionUnreadable, SlideRefused

PROCESSOR_SECONDS: Final = 3600


def main(path: Path) -> None:
    """Open the slide, say what it is, and answer requests until the input ends."""
    limit_this_process(MEMORY, PROCESSOR_SECONDS)
    logging.disable(logging.CRITICAL)  # pydicom and wsidicom log file names and values
    warnings.simplefilter("ignore")  # of Pillow and pydicom, about files nobody vouches for
    out = sys.stdout.buffer
    say(out, {"started": True})  # what fails from here on is due to the slide
    try:
        reader = open_reader(path)
    except SlideRefused as refusal:
        say(out, {"what": refusal.what, "advice": refusal.advice})
        return
    except OSError as error:
        say(out, {"what": f"cannot be read ({error.strerror})", "advice": "Check that it is there, and may be read."})
        return
    except MemoryError:
        sys.exit(NO_MEMORY)
    say(out, {"info": reader.info.as_dict()})
    for line in sys.stdin.buffer:
        try:
            _answer(out, reader, json.loads(line))
        except MemoryError:
            sys.exit(NO_MEMORY)


def _answer(out: BinaryIO, reader: Reader, request: list[int]) -> None:
    x, y, width, height, level, plane = request
    try:
        pixels = reader.read(x, y, width, height, level, plane).tobytes()
    except RegionUnreadable as error:
        say(out, {"unreadable": str(error)})
        return
    say(out, {"bytes": len(pixels)})
    out.write(pixels)
    out.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
