"""Small whole slides for tests: a pyramid of some fields' width, with nuclei on a pale ground, and hand-made damage."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from benchmarks.pyramid import write_pyramid

MPP = 0.5
FIELD = 256
"""Pixels of the edge of a field of 128 µm."""


def glass(fields: int = 4, *, seed: int = 0, cells: int = 40) -> NDArray[np.uint8]:
    """uint8[n, n, 3], `fields` fields wide, with some `cells` nuclei on each."""
    rng = np.random.default_rng(seed)
    size = fields * FIELD
    density = np.zeros((size, size, 3), np.float32)
    yy, xx = np.mgrid[-12:13, -12:13]
    for _ in range(cells * fields * fields):
        x, y = rng.integers(12, size - 13, 2)
        radius = rng.uniform(5, 9)
        nucleus = 1 / (1 + np.exp(2 * (np.hypot(xx, yy * rng.uniform(0.8, 1.2)) - radius)))
        nucleus *= 1 + 0.3 * rng.standard_normal(nucleus.shape)
        density[y - 12 : y + 13, x - 12 : x + 13] += nucleus[..., None] * np.array([0.9, 1.2, 0.6], np.float32)
    density += 0.03 * rng.random((size, size, 1), np.float32)
    return (245 * np.exp(-np.clip(density, 0, 2.5))).astype(np.uint8)


def small_slide(path: Path, fields: int = 4, *, seed: int = 0, cells: int = 40, mpp: float | None = MPP) -> Path:
    """A slide of `fields` × `fields` fields of 128 µm."""
    return write_pyramid(path, glass(fields, seed=seed, cells=cells), mpp=mpp, steps=(1, 4))


def damage(path: Path, *, level: int, tiles: Iterable[int]) -> None:
    """Overwrite tiles of a level with zeros."""
    with Image.open(path) as image:
        assert isinstance(image, TiffImagePlugin.TiffImageFile)
        image.seek(level)
        starts, lengths = image.tag_v2[324], image.tag_v2[325]
    with path.open("r+b") as file:
        for tile in tiles:
            file.seek(starts[tile])
            file.write(bytes(lengths[tile]))
