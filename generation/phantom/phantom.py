"""Phantoms: cytology-like fields rendered from known morphology, each with a report. No patient, no licence.

A phantom is one finding of `PROFILES` and a seed; everything else (stain, counts, sizes, wording) follows from them.
So a phantom is rendered the same every time, pixel for pixel, and what two phantoms share is known exactly.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from generation.atomic_write import private_folder, write_atomic
from generation.csv_text import csv_text
from generation.phantom.arrangement import ARRANGEMENTS
from generation.phantom.background import BACKGROUNDS
from generation.phantom.canvas import Canvas
from generation.phantom.cells import CELLS, render_cell
from generation.phantom.morphology import Morphology
from generation.phantom.palette import STAINS
from generation.phantom.profiles import PROFILES, Profile
from generation.phantom.reports import write_report
from generation.phantom.wording import Wording

PHANTOM_NOTICE = "Phantom: drawn by a program from known morphology. Not a patient. Research use only."
SPLITS = ("train", "held-out")


@dataclass(frozen=True)
class Phantom:
    """One phantom case: a finding, a seed, and the split whose wordings its report uses."""

    profile: Profile
    seed: int
    split: str = "train"

    @property
    def key(self) -> str:
        """A stable name, unique by finding, split and seed."""
        slug = f"{self.profile.site} {self.profile.finding}".replace(" ", "-").lower()
        return f"phantom-{slug}-{self.split}-{self.seed}"

    @cached_property
    def morphology(self) -> Morphology:
        """The sampled morphology: same seed, same values."""
        rng = self._rng(1)
        profile = self.profile
        first = profile.populations[0]
        cell = CELLS[first.cell]
        backgrounds = tuple(part.element for part in profile.backgrounds if rng.random() < part.share)
        stain = str(rng.choice(profile.stains))
        return Morphology(
            profile.site, profile.system, profile.category, profile.finding, stain,
            preparation=str(rng.choice(["conventional smear", "liquid-based"])),
            cell=first.cell,
            nuclear_diameter=round(cell.nucleus * float(np.clip(rng.normal(1.0, 0.06), 0.85, 1.15)), 2),
            nc_ratio=cell.nc,
            chromasia=round(cell.chromasia * float(rng.uniform(0.9, 1.1)), 2),
            irregularity=cell.irregularity,
            arrangement=first.arrangement,
            cellularity=int(rng.integers(first.fewest, first.most + 1)),
            background=backgrounds,
        )  # fmt: skip

    @cached_property
    def report(self) -> str:
        """The diagnostic report, in one of COIN's two styles."""
        wording = Wording(self._rng(2), held_out=self.split == "held-out")
        return write_report(self.morphology, wording)

    def render(self, size: int = 128) -> Image.Image:
        """Render the field as an RGB image of `size` × `size` pixels; it is always 96 µm wide."""
        canvas = self.stained(size)
        rng = canvas.rng
        return canvas.photograph(
            blur_um=float(rng.uniform(0.15, 0.5)),
            noise=0.012,
            gain=rng.normal(1.0, 0.015, 3).astype(np.float32),
            vignette=float(rng.uniform(0.0, 0.12)),
        )

    def stained(self, size: int) -> Canvas:
        """The field in optical density, before it is photographed."""
        rng = self._rng(3)
        canvas = Canvas(size, STAINS[self.morphology.stain], rng)
        known = self.morphology
        # Liquid-based preparations lose part of what lies between the cells.
        kept = 0.65 if known.preparation == "liquid-based" else 1.0
        amounts = {part.element: part.amount * kept for part in self.profile.backgrounds}
        for element in known.background:
            BACKGROUNDS[element](canvas, float(np.clip(amounts[element] * rng.uniform(0.7, 1.3), 0, 1.2)))
        for number, population in enumerate(self.profile.populations):
            kind, count = CELLS[population.cell], int(rng.integers(population.fewest, population.most + 1))
            if number == 0:
                kind = replace(kind, nucleus=known.nuclear_diameter, chromasia=known.chromasia)
                count = known.cellularity
            if count:
                for x, y, angle in ARRANGEMENTS[population.arrangement](rng, count, kind.diameter):
                    render_cell(canvas, x, y, kind, angle=angle)
        canvas.density *= rng.uniform(0.85, 1.18)  # staining time
        canvas.density *= rng.normal(1.0, 0.05, 3).astype(np.float32)  # one laboratory's dye lots
        return canvas

    def _rng(self, purpose: int) -> np.random.Generator:
        # The split is part of the stream: a held-out phantom shares no random numbers with a training one.
        index = PROFILES.index(self.profile)
        return np.random.default_rng([SPLITS.index(self.split), index, self.seed, purpose])


def phantom_cases(n: int, *, seed: int = 0, split: str = "train") -> list[Phantom]:
    """`n` phantoms, balanced over site × category; a category's findings alternate.

    The split "held-out" uses wordings and random numbers that "train" never uses. Raises ValueError for another split.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    classes: dict[tuple[str, str], list[Profile]] = {}
    for profile in PROFILES:
        classes.setdefault((profile.site, profile.category), []).append(profile)
    # Striding over the classes by a step coprime to their number spreads a small n over all sites.
    groups = list(classes.values())
    step = next(step for step in (17, 13, 11, 7) if np.gcd(step, len(groups)) == 1)
    phantoms = []
    for i in range(n):
        turn, position = divmod(i, len(groups))
        group = groups[position * step % len(groups)]
        phantoms.append(Phantom(group[turn % len(group)], seed * 1_000_003 + i, split))
    return phantoms


def write_phantoms(folder: Path, phantoms: list[Phantom], *, size: int = 128) -> Path:
    """Write the phantoms' images (PNG, marked as phantoms in their text metadata) and `manifest.csv`.

    Returns the manifest's path. Columns are the archive's own, with `phantom` = true on every row.
    """
    folder = Path(folder)
    private_folder(folder / "images")
    manifest = folder / "manifest.csv"
    columns = ("image", "case", "patient", "site", "system", "category", "stain", "preparation", "report", "kind",
               "license", "source", "phantom", "finding")  # fmt: skip
    rows = []
    for phantom in phantoms:
        m = phantom.morphology
        name = f"images/{phantom.key}.png"
        info = PngInfo()
        info.add_text("Description", PHANTOM_NOTICE)
        info.add_text("coin-phantom", json.dumps({"key": phantom.key, "seed": phantom.seed, "finding": m.finding}))
        phantom.render(size).save(folder / name, pnginfo=info)
        rows.append(
            {
                "image": name,
                "case": phantom.key,
                "patient": phantom.key,
                "site": m.site,
                "system": m.system,
                "category": m.category,
                "stain": m.stain,
                "preparation": m.preparation,
                "report": phantom.report,
                "kind": "field",
                "license": "Apache-2.0",
                "source": "phantom",
                "phantom": "true",
                "finding": m.finding,
            }
        )
    write_atomic(manifest, csv_text(columns, rows).encode())
    return manifest
