"""A JPEG whose decoder is watched: libjpeg only warns where coded data end before their blocks or go on after them.

Bytes that were overwritten mostly have one of the two effects, since codes of another length follow. Coded data stand
in pieces, between restart markers and scans. The decoder gets each piece without the marker that follows. A decoder
that has all of a piece's blocks looks for the marker, and passes over every byte at once; one that lacks a block takes
no single byte, since it reads codes from at least 57 bits. So a whole piece is finished with its last bytes, neither
before nor later.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

from PIL import Image, ImageFile, JpegImagePlugin

LAST = 4
"""Bytes at the end of a piece that are handed over one by one."""
AT_ONCE = 3
"""So many bytes that are passed over one after another show that the decoder looks for a marker."""
PADDING = 4096
"""Zeros or ones at the end that some writers fill up their coded data with."""
_ONE = b"\xff\0"
"""A byte of ones, as coded data hold it: a writer fills its last byte up with them."""
_READ_AHEAD = 8 * _ONE
_BYTES = re.compile(rb"\xff.|[^\xff]|\xff$", re.S)


class WatchedJpeg(JpegImagePlugin.JpegImageFile):
    """A picture, and where the pieces of its coded data begin and end."""

    damage = ""
    """What is wrong with the data of a picture that was loaded; empty for nothing."""

    def __init__(self, data: bytes, pieces: Sequence[tuple[int, int]]) -> None:
        super().__init__(io.BytesIO(data))
        self._data, self._pieces = data, pieces

    def load(self) -> Image.core.PixelAccess | None:
        """Decode the picture where that was not done yet."""
        if self.tile:
            self.load_prepare()
            codec, extents, _, arguments = self.tile[0]
            decoder = Image._getdecoder(self.mode, codec, arguments, self.decoderconfig)
            try:
                decoder.setimage(self.im, extents)
                self.damage = _damage(_Decoder(decoder), self._data, self._pieces)
            finally:
                decoder.cleanup()
            self.tile = []
        return super().load()


class _Decoder:
    """Pillow's decoder, and what it was given and has not taken yet."""

    def __init__(self, decoder: Image.core.ImagingDecoder | ImageFile.PyDecoder) -> None:
        self._decoder, self._left = decoder, b""
        self.finished = False

    def takes(self, data: bytes) -> bool:
        """Hand over `data`: whether all was taken."""
        if not self.finished:
            self._left += data
            taken, error = self._decoder.decode(self._left)
            if error < 0:
                raise OSError("its data cannot be decoded")
            self.finished = taken < 0
            self._left = self._left[taken:]
        return self.finished or not self._left


def _damage(decoder: _Decoder, data: bytes, pieces: Sequence[tuple[int, int]]) -> str:
    """Decode the picture: what is wrong with its data."""
    damage, position = "", 0
    for start, end in pieces:
        stop = max(start, end - PADDING)
        stop += len(data[stop:end].rstrip(b"\0\xff"))
        last = max(start, stop - LAST)
        decoder.takes(data[position:last])
        taken = 0
        for each in _BYTES.findall(data[last:stop]):
            over = decoder.finished
            taken = taken + 1 if decoder.takes(each) else 0
        if stop > last and (over or taken >= AT_ONCE):
            damage = damage or "is damaged (its data go on after their last block)"
        decoder.takes(data[stop:end] + _READ_AHEAD)
        if not all(decoder.takes(_ONE) for _ in range(AT_ONCE)):
            damage = damage or "is damaged or cut short (its data end before their last block)"
        position = end
    decoder.takes(data[position:])
    if not decoder.finished:
        raise OSError("it has no end")
    return damage
