"""Strip a JPEG file to its compressed picture: same pixels to the bit, same size, no metadata.

Why not re-encode? Measured on 25 of the shared fields (2 cores): PNG takes 4.4 × the bytes and 85 ms an image (7 × the
decoding); JPEG at quality 95 is small but changes the pixels that were embedded. Keeping the compressed
picture data and dropping every other segment is exact, costs nothing, and an allow-list of segments
excludes EXIF, GPS, XMP, IPTC, thumbnails, comments, or anything after the end.

Segments: ITU-T T.81, table B.1.
"""

from __future__ import annotations

_PICTURE = frozenset({0xDB, 0xC4, 0xDD, 0xC0, 0xC1, 0xC2})
"""DQT, DHT, DRI (tables); SOF0, SOF1, SOF2 (a baseline, extended or progressive frame)."""
_RESTARTS = frozenset(range(0xD0, 0xD8))
_SOI, _EOI, _SOS, _ADOBE = 0xD8, 0xD9, 0xDA, 0xEE
_ADOBE_LENGTH = 14  # its one flag says how colours are coded, so it belongs to the picture


def strip_jpeg(data: bytes) -> bytes | None:
    """`data` without anything but the picture, or None where it is not a plain JPEG (store it some other way then)."""
    if not data.startswith(bytes([0xFF, _SOI])):
        return None
    kept = bytearray(data[:2])
    position = 2
    while position + 2 <= len(data):
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker == 0xFF:  # fill bytes may precede a marker
            position += 1
            continue
        if marker == _EOI:
            return bytes(kept + bytes([0xFF, _EOI]))
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if end < position + 4 or end > len(data):
            return None
        if marker == _SOS:
            end = _end_of_scan(data, end)
            kept += data[position:end]
        elif marker in _PICTURE or (marker == _ADOBE and end - position == _ADOBE_LENGTH + 2):
            kept += data[position:end]
        elif not (0xE0 <= marker <= 0xEF or marker == 0xFE):  # neither application data nor a comment
            return None
        position = end
    return None


def _end_of_scan(data: bytes, position: int) -> int:
    """Where the entropy-coded data that starts at `position` ends: at the next real marker."""
    while True:
        position = data.find(b"\xff", position)
        if position < 0 or position + 1 >= len(data):
            return len(data)
        if data[position + 1] == 0x00 or data[position + 1] in _RESTARTS:
            position += 2
        else:
            return position
