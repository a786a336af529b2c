"""A JPEG whose decoder is watched: libjpeg only warns where the coded data end before the picture, or go on after it.

Bytes that were overwritten in the middle mostly have one of the two effects, since codes of another length follow. The
decoder gets the data in two steps. A whole picture is finished exactly between them: not before its last bytes were
handed over, and without what follows them.
"""

from __future__ import annotations

import io

from PIL import JpegImagePlugin

SPARE = 16
"""Bytes at the end that a picture may do without."""
PADDING = 4096
"""Zeros or ones at the end that some writers fill up their coded data with."""


class WatchedJpeg(JpegImagePlugin.JpegImageFile):
    """A picture of one scan, whose coded data end at `end`."""

    def __init__(self, data: bytes, end: int) -> None:
        super().__init__(io.BytesIO(data))
        self._end = end
        tail = data[max(0, end - PADDING) : end]
        self._before_last = end - len(tail) + len(tail.rstrip(b"\0\xff")) - SPARE
        self._steps = 0

    def load_read(self, read_bytes: int) -> bytes:
        """The next bytes for the decoder."""
        assert self.fp is not None
        position = self.fp.tell()
        if position < self._before_last:
            return self.fp.read(min(read_bytes, self._before_last - position))
        self._steps += 1
        if self._steps == 1:  # zeros in place of the end's marker: the decoder reads ahead of what it needs
            return self.fp.read(max(0, self._end - position)) + bytes(SPARE)
        return self.fp.read(read_bytes)

    def damage(self) -> str:
        """What is wrong with the data of a picture that was loaded; empty for nothing."""
        if self._steps == 0:
            return "is damaged (its data go on after its last row)"
        return "is damaged or cut short (its data end before its last row)" if self._steps > 1 else ""
