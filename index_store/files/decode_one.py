"""The process in which `decode_process.py` has one picture decoded: file on the standard input, rows on the output."""

from __future__ import annotations

import sys

from index_store.files.bit_depth import bands
from index_store.files.decode import Decoded, decode_within
from index_store.files.decode_process import SECONDS
from index_store.files.dicom_image import decode_dicom
from index_store.files.headers.kinds import format_of
from index_store.files.headers.refusal import EXPORT_AGAIN, PictureRefused
from index_store.files.headers.structure import read_structure
from index_store.files.process_limits import MEMORY, NO_MEMORY, limit_this_process, say


def _decoded(data: bytes) -> Decoded:
    try:
        kind = format_of(data)
        return decode_dicom(data) if kind is None else decode_within(data, read_structure(data, kind))
    except (PictureRefused, MemoryError):
        raise
    except Exception as error:  # as in `decode_picture`
        raise PictureRefused(f"is damaged or cut short ({error})", EXPORT_AGAIN) from error


def main() -> None:
    """Decode what is on the standard input."""
    out = sys.stdout.buffer
    say(out, {"started": True})  # what fails from here on is due to the picture
    data = sys.stdin.buffer.read()
    limit_this_process(MEMORY, SECONDS)
    try:
        found = _decoded(data)
    except MemoryError:
        sys.exit(NO_MEMORY)
    except PictureRefused as refusal:
        say(out, {"what": refusal.what, "advice": refusal.advice})
        return
    scale = {"mpp": found.mpp, "mpp_source": found.mpp_source}
    say(out, {"size": list(found.image.size), "notes": list(found.notes), **scale})
    for box in bands(*found.image.size):
        out.write(found.image.crop(box).tobytes())
    out.flush()


if __name__ == "__main__":
    main()
