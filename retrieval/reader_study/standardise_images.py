"""Pictures whose files do not reveal whether they are generated: one format, size and compression, no metadata.

A picture may be recognised by more than its content. These are removed or made equal:

    name, date, metadata, marks     only pixels are taken over; the file is named by the hash of its own bytes, and
                                    files are written in the order of these names, with one date
    size of the file                all are filled up to the largest
    size and proportions            the central square, reduced to one side; nothing is ever enlarged, which blurs
    format and compression          every picture becomes a JPEG as coarse as the coarsest JPEG among the sources, so
                                    that blocks and ringing are no sign of a camera, nor their absence one of a model

A PNG that was a JPEG once keeps traces of it that cannot be read from the file: these stay.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import numpy as np
from PIL import Image, JpegImagePlugin

Fit = Literal["whole", "centre"]
FITS: Final[tuple[Fit, ...]] = ("whole", "centre")
"""whole: the largest central square, reduced. centre: the square is cut out at the source's own resolution."""
FINEST: Final = 98
"""JPEG quality where no source is coarser: no artefacts are visible, even where a picture is enlarged fivefold."""
_LARGEST_STEP: Final = 255  # of a baseline JPEG's tables
_SUBSAMPLED: Final = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}


@dataclass(frozen=True)
class Compression:
    """The compression of a JPEG: its quantization tables and its chroma subsampling."""

    luminance: tuple[int, ...]
    """64 steps; the larger, the coarser."""
    chrominance: tuple[int, ...]
    subsampling: int
    """0, 1 or 2: colours at full, half or quarter resolution."""

    @property
    def quality(self) -> int:
        """The libjpeg quality, 1 to 100, whose luminance table comes nearest."""
        mine = sum(self.luminance)
        return min(range(1, 101), key=lambda quality: abs(sum(_of_quality(quality).luminance) - mine))

    def __str__(self) -> str:
        return f"JPEG quality {self.quality}, {_SUBSAMPLED[self.subsampling]}"


def compression_of(data: bytes) -> Compression | None:
    """The compression of a JPEG file; None for every other format, and for bytes that are no picture."""
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            assert isinstance(image, JpegImagePlugin.JpegImageFile)
            luminance, *others = (image.quantization[key] for key in sorted(image.quantization))
            sampling = JpegImagePlugin.get_sampling(image)
    except (OSError, SyntaxError, ValueError, KeyError):
        return None
    chrominance = np.max(others or [luminance], axis=0)  # a grey one has no table of its own
    # -1 is a sampling that Pillow cannot write; the coarsest of those it can is the safe reading of it.
    return Compression(
        tuple(luminance), tuple(int(step) for step in chrominance), sampling if sampling in (0, 1) else 2
    )


def coarsest(found: Iterable[Compression | None]) -> Compression:
    """A compression whose every step is at least as coarse as in all of those found and in `FINEST`."""
    known = [_of_quality(FINEST), *(each for each in found if each is not None)]

    def steps(tables: list[tuple[int, ...]]) -> tuple[int, ...]:
        return tuple(int(step) for step in np.minimum(np.max(tables, axis=0), _LARGEST_STEP))

    return Compression(
        steps([each.luminance for each in known]),
        steps([each.chrominance for each in known]),
        max(each.subsampling for each in known),
    )


def squared(image: Image.Image, *, side: int, fit: Fit) -> Image.Image:
    """The central part of an RGB image as `side` × `side` pixels, without metadata.

    Raises:
        ValueError: the image's shorter side is less than `side`; enlarging would be visible.
    """
    shorter = min(image.size)
    if shorter < side:
        raise ValueError(f"the image is {image.width} × {image.height} and would have to be enlarged to {side}")
    cut = side if fit == "centre" else shorter
    left, top = (image.width - cut) // 2, (image.height - cut) // 2
    square = Image.fromarray(np.asarray(image.convert("RGB"))[top : top + cut, left : left + cut])
    return square if cut == side else square.resize((side, side), Image.Resampling.LANCZOS)


def compressed(square: Image.Image, compression: Compression) -> bytes:
    """The bytes of a JPEG file of the picture, without metadata."""
    file = io.BytesIO()
    square.save(
        file,
        "JPEG",
        qtables=[list(compression.luminance), list(compression.chrominance)],
        subsampling=compression.subsampling,
        optimize=False,  # the standard Huffman tables: with tables of its own every header would differ
    )
    return file.getvalue()


def alike(files: Sequence[bytes]) -> list[bytes]:
    """JPEG files of one length, filled with zeros after their end, which decoders do not read: what a generator made is
    smoother, and its files are smaller."""
    longest = max(len(data) for data in files)
    return [data.ljust(longest, b"\0") for data in files]


@lru_cache(maxsize=101)
def _of_quality(quality: int) -> Compression:
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "JPEG", quality=quality, subsampling=0)
    found = compression_of(file.getvalue())
    assert found is not None
    return found
