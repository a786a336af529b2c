"""What one block of a slide shows at low power, counted over small squares."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from index_store.slides.ground import STAINED, STEPS, Ground

Map = NDArray[np.float32]

NUCLEUS: Final = 0.14
"""Optical density by which a nucleus is darker than what surrounds it, over 6 and 18 µm."""
LAYERS: Final = 1.0
"""Mean optical density over 64 µm above which cells lie on cells: wider than a cluster of cells."""
BLACK: Final = 1.0
"""Mean optical density over 18 µm of the colour absorbed least: a fold, or dirt. Stains let one colour pass."""
FOLD_UM: Final = 150.0
"""Length of a fold, at least: shorter black things are clusters of cells."""
FLAT: Final = 0.035
"""Share of its density by which ink varies within 6 µm, at most."""
INKED: Final = 0.5
"""Optical density of ink, at least."""
BUBBLE_UM: Final = (20.0, 400.0)
"""Diameters of bubbles and holes that spoil a field."""
ROUND: Final = 0.7
"""Share that a bubble fills of the ellipse round it, at least: gaps between cells have corners."""
MAPS: Final = (*("read", "nuclei", "stained", "dark", "thick", "fold", "ink", "bubble", "density", "detail", "red"),)


def block_maps(pixels: NDArray[np.uint8], ground: Ground, shape: tuple[int, int], um: float) -> dict[str, Map]:
    """The maps of one block of `shape` squares.

    Nuclei are sought at full size, by sums over 3 × 3 and 9 × 9 pixels; whatever is wider, on a quarter of it.
    """
    found = ground.densities(pixels)
    stained = found.most > STAINED * STEPS
    near, around = box_sums(found.red)
    peak = near.astype(np.int16) * 9 - around.astype(np.int16)
    nuclei = (peak > NUCLEUS * STEPS * 81) & (near > ground.dark * 0.6 * STEPS * 9)
    nuclei &= peak >= _highest(peak)
    detail = (np.abs(found.red.astype(np.int16) * 9 - near.astype(np.int16)) // 9).astype(np.uint8)

    coarse = _Coarse(4 * um)
    most, least, red, calm = (coarse.of(values) for values in (found.most, found.least, found.red, detail))
    ink = (coarse.mean(calm, 18) < FLAT * coarse.mean(red, 18)) & (coarse.mean(red, 18) > INKED * STEPS)
    thick = (coarse.mean(most, 64) > LAYERS * STEPS) & ~ink
    fold = _long(coarse.mean(least, 18) > BLACK * STEPS, FOLD_UM / coarse.um) & ~ink
    bright = coarse.of(ground.brighter(pixels) * np.uint8(255)) > 127
    single = stained & ~np.repeat(np.repeat(thick, 4, axis=0), 4, axis=1)[: stained.shape[0], : stained.shape[1]]
    halved = np.asarray(Image.fromarray(stained * np.uint8(255)).reduce(2)) > 127
    maps = {
        "read": np.ones(shape, np.float32),
        "nuclei": _summed(nuclei, shape),
        "stained": _shares(stained, shape),
        "dark": _shares(single & (found.red > ground.dark * STEPS), shape),
        "thick": _shares(thick, shape),
        "fold": _shares(fold, shape),
        "ink": _shares(ink, shape),
        "bubble": np.maximum(_shares(_bubbles(halved, 2 * um), shape), _shares(bright, shape)),
        "density": _shares(found.most * single, shape) / STEPS,
        "detail": _shares(detail * single, shape) / STEPS,
        "red": _shares(found.red * single, shape) / STEPS,
    }
    return {name: values.astype(np.float32) for name, values in maps.items()}


@dataclass(frozen=True)
class _Coarse:
    """Pictures of a quarter of the width and height, for what is wide."""

    um: float
    """µm a pixel."""

    def of(self, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.asarray(Image.fromarray(values).reduce(4))

    def mean(self, values: NDArray[np.uint8], width_um: float) -> Map:
        size = max(1, 2 * round((width_um / self.um - 1) / 2) + 1)
        averaged: Map = ndimage.uniform_filter(values, size, output=np.float32)
        return averaged


def box_sums(values: NDArray[np.uint8]) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """uint16[height, width] each: sums of uint8[height, width] over the 3 × 3 and the 9 × 9 pixels round each one; the
    edge's pixels count on beyond it."""
    padded = np.pad(values, 4, mode="edge").astype(np.uint16)
    high, wide = values.shape
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    three = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    nine = three[:high] + three[3 : high + 3] + three[6 : high + 6]
    nine = nine[:, :wide] + nine[:, 3 : wide + 3] + nine[:, 6 : wide + 6]
    return three[3 : high + 3, 3 : wide + 3], nine


def _highest(values: NDArray[np.int16]) -> NDArray[np.int16]:
    """The highest of the 3 × 3 pixels round each one."""
    padded = np.pad(values, 1, mode="edge")
    rows = np.maximum(np.maximum(padded[:-2], padded[1:-1]), padded[2:])
    highest: NDArray[np.int16] = np.maximum(np.maximum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
    return highest


def _summed(values: NDArray[np.generic], shape: tuple[int, int]) -> Map:
    """Sums of a block over its squares."""
    rows = np.append(_edges(values.shape[0], shape[0]), values.shape[0])
    bands = np.empty((shape[0], values.shape[1]), np.uint16)
    for number, (top, bottom) in enumerate(itertools.pairwise(rows)):  # six times as fast as reduceat here
        np.sum(values[top:bottom], axis=0, dtype=np.uint16, out=bands[number])
    total: Map = np.add.reduceat(bands, _edges(values.shape[1], shape[1]), axis=1, dtype=np.float32)
    return total


def _shares(values: NDArray[np.generic], shape: tuple[int, int]) -> Map:
    """Means of a block over its squares."""
    rows, columns = _edges(values.shape[0], shape[0]), _edges(values.shape[1], shape[1])
    area = np.diff(np.append(rows, values.shape[0]))[:, None] * np.diff(np.append(columns, values.shape[1]))[None]
    return (_summed(values, shape) / area).astype(np.float32)


def _edges(pixels: int, squares: int) -> NDArray[np.int64]:
    return (np.arange(squares) * (pixels / squares)).astype(np.int64)


def _long(mask: NDArray[np.bool_], pixels: float) -> NDArray[np.bool_]:
    """Those parts of the mask that hang together over so many pixels."""
    labels, _ = ndimage.label(mask)
    long = [
        number
        for number, place in enumerate(ndimage.find_objects(labels), start=1)
        if np.hypot(*(part.stop - part.start for part in place)) >= pixels
    ]
    found: NDArray[np.bool_] = np.isin(labels, long)
    return found


def _bubbles(stained: NDArray[np.bool_], um: float) -> NDArray[np.bool_]:
    """Round spaces that are closed all around: bubbles under the cover slip, drops of fat."""
    labels, _ = ndimage.label(~stained)
    area = np.bincount(labels.ravel())
    objects = ndimage.find_objects(labels)
    round_ones = []
    for number in np.flatnonzero(area[1:] >= ROUND * np.pi / 4 * (BUBBLE_UM[0] / um) ** 2) + 1:
        high, wide = (part.stop - part.start for part in objects[number - 1])
        at_edge = any(
            part.start == 0 or part.stop == n for part, n in zip(objects[number - 1], stained.shape, strict=True)
        )
        fits = BUBBLE_UM[0] <= max(high, wide) * um <= BUBBLE_UM[1] and min(high, wide) >= 0.6 * max(high, wide)
        if fits and not at_edge and area[number] >= ROUND * np.pi / 4 * high * wide:
            round_ones.append(number)
    found: NDArray[np.bool_] = np.isin(labels, round_ones)
    return found
