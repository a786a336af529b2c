"""What phantoms are made of, and coarse measures of how they are drawn: what `drawings.json` keeps.

    python -m tests.generation.phantom.drawings    writes it anew, after a change of the phantoms that is meant

The starter was trained on phantoms, and figures in the documents were measured on them: both hold for the phantoms as
they are. A change of these is a decision, followed by a training and by the benchmarks.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from generation.phantom import PROFILES, Phantom
from generation.phantom.arrangement import ARRANGEMENTS
from generation.phantom.background import BACKGROUNDS
from generation.phantom.canvas import FIELD_UM, Canvas
from generation.phantom.cells import CELLS, render_cell
from generation.phantom.palette import STAINS

KEPT = Path(__file__).with_name("drawings.json")
BLOCKS = 3
"""Blocks a side, over which a drawing is averaged: rounding that differs between machines does not show."""


def tables() -> dict[str, str]:
    """A digest of each table of numbers that phantoms are drawn from."""
    kept = {"cells": CELLS, "profiles": PROFILES, "stains": STAINS}
    return {name: hashlib.sha256(repr(table).encode()).hexdigest() for name, table in kept.items()}


def measured() -> dict[str, list[float]]:
    """Mean colours (0-255) or densities of the blocks of each drawing; places (µm) and angles of each arrangement."""
    found = {}
    for profile in PROFILES:
        field = np.asarray(Phantom(profile, number=7).render(48), np.float64)
        found[f"field: {profile.site}, {profile.finding}"] = blocks(field)
    stain = next(iter(STAINS.values()))
    for name, kind in CELLS.items():
        canvas = Canvas(60, stain, np.random.default_rng(1))
        for place in range(9):  # what one cell in ten has is seen
            x, y = (place % 3 + 0.5) * FIELD_UM / 3, (place // 3 + 0.5) * FIELD_UM / 3
            render_cell(canvas, x, y, kind)
        found[f"cells: {name}"] = blocks(100 * canvas.density)
    for name, draw in BACKGROUNDS.items():
        canvas = Canvas(48, stain, np.random.default_rng(1))
        draw(canvas, 0.8)
        found[f"background: {name}"] = blocks(100 * canvas.density)
    for name, arrange in ARRANGEMENTS.items():
        for n in (4, 30):
            placed = arrange(np.random.default_rng(n), n, 8.0)
            found[f"arrangement: {name}, {n}"] = [
                round(value, 2) for place in placed for value in place if value is not None
            ]
    return found


def blocks(drawing: np.ndarray) -> list[float]:
    """Means over `BLOCKS` × `BLOCKS` blocks of float[size, size, 3], in a list."""
    side = len(drawing) // BLOCKS
    means = drawing.reshape(BLOCKS, side, BLOCKS, side, 3).mean(axis=(1, 3))
    return [round(float(mean), 2) for mean in means.ravel()]


def main() -> None:
    document = json.dumps({"tables": tables(), "measured": measured()})
    KEPT.write_text(document.replace('], "', '],\n"') + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
