"""Pictures that mislead or cost much, made byte by byte: what Pillow itself does not write."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from PIL import Image


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(values: np.ndarray, *, further: bytes = b"") -> bytes:
    """A PNG of uint8 or uint16[height, width, channels]."""
    height, width, channels = values.shape
    deep = values.dtype == np.uint16
    rows = b"".join(b"\0" + (row.astype(">u2") if deep else row).tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16 if deep else 8, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    body = png_chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", head) + further + body + png_chunk(b"IEND", b"")


def blank_png(width: int, height: int, *, depth: int, colour: int) -> bytes:
    """A PNG of zeros in few bytes."""
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    packer = zlib.compressobj(9)
    row = b"\0" * (1 + (width * bits + 7) // 8)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    palette = png_chunk(b"PLTE", b"\1\2\3" * 2) if colour == 3 else b""
    parts = png_chunk(b"IHDR", head) + palette + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def tiff_page(
    values: np.ndarray, *, order: str = "<", compression: int = 1, tags: dict[int, tuple[str, object]] | None = None
) -> dict[int, tuple[str, object]]:
    """The tags of a page of [height, width] or [height, width, channels]; `tags` adds or replaces some."""
    height, width = values.shape[:2]
    channels = values.shape[2] if values.ndim == 3 else 1
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    page: dict[int, tuple[str, object]] = {
        256: ("I", width),
        257: ("I", height),
        258: ("H", (values.dtype.itemsize * 8,) * channels),
        259: ("H", compression),
        262: ("H", 2 if channels >= 3 else 1),
        273: ("data", zlib.compress(data) if compression == 8 else data),
        277: ("H", channels),
        278: ("I", height),
        339: ("H", (kind,) * channels),
    }
    return page | (tags or {})


def tiff(*pages: dict[int, tuple[str, object]], order: str = "<") -> bytes:
    """A TIFF of these pages. A tag's value is (format of `struct`, numbers), ("s", text) or ("data", strips)."""
    out = bytearray((b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8))
    pointer = 4
    for page in pages:
        page = dict(page)
        data = page.pop(273)[1]
        strips: tuple[bytes, ...] = data if isinstance(data, tuple) else (data,)
        starts = []
        for strip in strips:
            starts.append(len(out))
            out += strip
        page[273], page[279] = ("I", tuple(starts)), ("I", tuple(map(len, strips)))
        out += b"\0" * (len(out) % 2)
        entries, values = b"", bytearray()
        start = len(out) + 2 + 12 * len(page) + 4
        for tag, (form, value) in sorted(page.items()):
            tag = 270 if tag == 271 and form == "s" else tag  # a second description, as tifffile writes one
            if form == "s":
                raw, code, count = str(value).encode() + b"\0", 2, len(str(value).encode()) + 1
            else:
                numbers = value if isinstance(value, tuple) else (value,)
                raw = struct.pack(f"{order}{len(numbers)}{form}", *numbers)
                code, count = {"B": 1, "H": 3, "I": 4}[form], len(numbers)
            if len(raw) > 4:
                raw, extra = struct.pack(order + "I", start + len(values)), raw
                values += extra + b"\0" * (len(extra) % 2)
            entries += struct.pack(order + "HHI", tag, code, count) + raw.ljust(4, b"\0")
        struct.pack_into(order + "I", out, pointer, len(out))
        out += struct.pack(order + "H", len(page)) + entries
        pointer = len(out)
        out += b"\0\0\0\0" + values
    return bytes(out)


def tiff_with_inner(outer: dict[int, tuple[str, object]], *inner: dict[int, tuple[str, object]]) -> bytes:
    """A TIFF of one page that points to the others (SubIFDs)."""
    data = bytearray(tiff(outer | {330: ("I", tuple(range(len(inner))) if len(inner) > 1 else 0)}, *inner))
    (directory,) = struct.unpack_from("<I", data, 4)
    positions, at, values = [], directory, 0
    while at:
        positions.append(at)
        (tags,) = struct.unpack_from("<H", data, at)
        if at == directory:
            entry = next(
                at + 2 + 12 * n for n in range(tags) if struct.unpack_from("<H", data, at + 2 + 12 * n)[0] == 330
            )
            values = entry + 8 if len(inner) == 1 else struct.unpack_from("<I", data, entry + 8)[0]
        at += 2 + 12 * tags
        (following,) = struct.unpack_from("<I", data, at)
        struct.pack_into("<I", data, at, 0)
        at = following
    struct.pack_into(f"<{len(inner)}I", data, values, *positions[1:])
    return bytes(data)


def many_scans(side: int, scans: int, *, phone: bool = False) -> bytes:
    """A progressive JPEG with its last scan repeated; `phone`: within the header of a file of two pictures."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (200, 180, 220)).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last = data[data.rindex(b"\xff\xda") : -2]
    whole = data[:-2] + last * scans + b"\xff\xd9"
    return phone_jpeg(whole) if phone else whole


def phone_jpeg(data: bytes) -> bytes:
    """The JPEG with the header of a multi-picture file, and a second picture behind."""
    buffer = io.BytesIO()
    small = Image.new("RGB", (16, 16))
    small.save(buffer, "MPO", save_all=True, append_images=[small])
    phone = buffer.getvalue()
    at = phone.index(b"MPF\0") - 4
    segment = phone[at : at + 2 + struct.unpack(">H", phone[at + 2 : at + 4])[0]]
    second = io.BytesIO()
    small.save(second, "JPEG")
    return data[:2] + segment + data[2:] + second.getvalue()


def exif_bomb(tags: int, length: int) -> bytes:
    """EXIF data whose tags all point to the same bytes."""
    entries = b"".join(struct.pack("<HHII", 0x9000 + n, 7, length, 8) for n in range(tags))
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", tags) + entries + bytes(max(4, length - len(entries)))


def smear(seed: int = 0, size: Sequence[int] = (48, 40)) -> np.ndarray:
    """uint8[height, width, 3]: a bright ground with dark spots."""
    generator = np.random.default_rng(seed)
    width, height = size
    values = generator.normal(220, 6, (height, width, 3))
    for _ in range(6):
        y, x = generator.integers(0, height - 6), generator.integers(0, width - 6)
        values[y : y + 6, x : x + 6] = generator.integers(60, 140, 3)
    return np.clip(values, 0, 255).astype(np.uint8)
