"""A tiled TIFF with coarser levels, as OpenSlide's driver of generic slides reads it. Pillow writes no tiles."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TILE = 256
SHORT, LONG, RATIONAL = 3, 4, 5


def write_pyramid(
    path: Path,
    pixels: NDArray[np.uint8],
    *,
    mpp: float | None = None,
    steps: Sequence[int] = (1, 4, 16),
    quality: int = 85,
) -> Path:
    """Write `pixels`, uint8[height, width, 3], and the levels that are `steps` times coarser, as tiles in JPEG."""
    whole = Image.fromarray(pixels)
    with path.open("wb") as file:
        file.write(struct.pack("<2sHI", b"II", 42, 0))
        pointer = 4  # where the place of the next directory is written
        for step in steps:
            level = whole if step == 1 else whole.reduce(step)
            tiles = []
            for tile in _tiles(level):
                buffer = io.BytesIO()
                tile.save(buffer, "JPEG", quality=quality, subsampling=0)
                tiles.append((file.tell(), buffer.getbuffer().nbytes))
                file.write(buffer.getvalue())
            pointer = _directory(file, pointer, level.size, tiles, None if mpp is None else mpp * step, step > 1)
    return path


def _tiles(level: Image.Image) -> list[Image.Image]:
    width, height = level.size
    boxes = [(x, y, x + TILE, y + TILE) for y in range(0, height, TILE) for x in range(0, width, TILE)]
    return [level.crop(box) for box in boxes]  # what lies beyond the edge is black


def _directory(
    file: io.BufferedWriter,
    pointer: int,
    size: tuple[int, int],
    tiles: list[tuple[int, int]],
    mpp: float | None,
    reduced: bool,
) -> int:
    """Write one level's directory; return where the place of the next one is to be written."""
    outside: dict[int, int] = {}

    def put(tag: int, data: bytes) -> None:
        file.write(b"\0" * (file.tell() % 2))
        outside[tag] = file.tell()
        file.write(data)

    put(258, struct.pack("<3H", 8, 8, 8))
    put(324, struct.pack(f"<{len(tiles)}I", *(start for start, _ in tiles)))
    put(325, struct.pack(f"<{len(tiles)}I", *(length for _, length in tiles)))
    entries = [
        (254, LONG, 1, int(reduced)),
        (256, LONG, 1, size[0]),
        (257, LONG, 1, size[1]),
        (258, SHORT, 3, outside[258]),
        (259, SHORT, 1, 7),  # JPEG
        (262, SHORT, 1, 6),  # YCbCr
        (277, SHORT, 1, 3),
        (322, LONG, 1, TILE),
        (323, LONG, 1, TILE),
        (324, LONG, len(tiles), outside[324] if len(tiles) > 1 else tiles[0][0]),
        (325, LONG, len(tiles), outside[325] if len(tiles) > 1 else tiles[0][1]),
        (530, SHORT, 2, 1 | 1 << 16),  # colour is not subsampled
    ]
    if mpp is not None:
        resolution = struct.pack("<2I", round(10_000 / mpp * 1000), 1000)
        for tag in (282, 283):
            put(tag, resolution)
            entries.append((tag, RATIONAL, 1, outside[tag]))
        entries.append((296, SHORT, 1, 3))  # a centimetre
    file.write(b"\0" * (file.tell() % 2))
    start = file.tell()
    file.write(struct.pack("<H", len(entries)))
    for tag, kind, count, value in sorted(entries):
        file.write(struct.pack("<HHII", tag, kind, count, value))
    following = file.tell()
    file.write(struct.pack("<I", 0))
    file.seek(pointer)
    file.write(struct.pack("<I", start))
    file.seek(0, 2)
    return following
