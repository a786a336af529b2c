"""Phantoms: cytology-like fields rendered from known morphology, each with a report. No patient, no licence.

A phantom is one finding of `PROFILES` and a number; everything else (stain, counts, sizes, wording) follows from them.
So a phantom is rendered the same every time, pixel for pixel, and what two phantoms share is known exactly. Its random
numbers come from a hash of site, finding, split and number: a profile that is added, removed or moved changes none of
the others' phantoms.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from math import floor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from generation.atomic_write import private_folder, write_atomic
from generation.csv_text import csv_text
from generation.phantom.arrangement import ARRANGEMENTS, Placement
from generation.phantom.background import BACKGROUNDS
from generation.phantom.canvas import FIELD_UM, Canvas
from generation.phantom.cells import CELLS, CellType, render_cell
from generation.phantom.morphology import Morphology
from generation.phantom.palette import STAINS
from generation.phantom.profiles import PROFILES, Profile
from generation.phantom.reports import write_report
from generation.phantom.wording import Wording

PHANTOM_NOTICE = "Phantom: drawn by a program from known morphology. Not a patient. Research use only."
SPLITS = ("train", "held-out")


class View(NamedTuple):
    """What a phantom's picture shows of its smear: a field, or one cell of the finding in the middle; and its width."""

    kind: str = "field"
    width_um: float = FIELD_UM


FIELD = View()


@dataclass(frozen=True)
class Phantom:
    """One phantom case: a finding, a number, the split whose wordings its report uses, and what its picture shows.

    Two views of one number are of the same smear. Raises ValueError for a cell of a finding that may have none.
    """

    profile: Profile
    number: int
    split: str = "train"
    view: View = FIELD

    def __post_init__(self) -> None:
        if not _shows(self.profile, self.view):
            raise ValueError(f"no {self.view.kind} {self.view.width_um} µm wide shows '{self.profile.finding}'")

    @property
    def patient(self) -> str:
        """The name of the smear, by finding, split and number."""
        slug = f"{self.profile.site} {self.profile.finding}".replace(" ", "-").lower()
        return f"phantom-{slug}-{self.split}-{self.number}"

    @property
    def key(self) -> str:
        """A stable name, unique by smear and view."""
        return self.patient if self.view == FIELD else f"{self.patient}-{self.view.kind}-{self.view.width_um:g}um"

    @property
    def seed(self) -> int:
        """A number from 0 to 2³¹ − 1 that hardly any other smear has, such as for what is generated from its report."""
        return self._hash("seed") % 2**31

    @cached_property
    def morphology(self) -> Morphology:
        """The sampled morphology: same number, same values."""
        rng = self.stream("morphology")
        profile = self.profile
        first = profile.populations[0]
        cell = CELLS[first.cell]
        backgrounds = tuple(part.element for part in profile.backgrounds if rng.random() < part.share)
        stain = str(rng.choice(profile.stains))
        return Morphology(
            profile.site, profile.system, profile.category, profile.finding, stain,
            preparation=str(rng.choice(profile.preparations)),
            kind=self.view.kind,
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
        wording = Wording(self.stream("report"), held_out=self.split == "held-out")
        return write_report(self.morphology, wording)

    def mpp(self, size: int) -> float:
        """Micrometres a pixel of a rendering of that size."""
        return self.view.width_um / size

    def render(self, size: int = 128) -> Image.Image:
        """Render the view as an RGB image of `size` × `size` pixels."""
        canvas = self.stained(size)
        rng = canvas.rng = self.stream("camera")
        return canvas.photograph(
            blur_um=float(rng.uniform(0.15, 0.5)),
            noise=0.012,
            gain=rng.normal(1.0, 0.015, 3).astype(np.float32),
            vignette=float(rng.uniform(0.0, 0.12)),
        )

    def stained(self, size: int) -> Canvas:
        """The view in optical density, before it is photographed."""
        left, top = self._corner
        width = self.view.width_um
        canvas = Canvas(size, STAINS[self.morphology.stain], self._field(0, 0), width=width, left=left, top=top)
        self._draw(canvas, 0, 0)
        columns, rows = (
            range(floor(start / FIELD_UM), floor((start + width - 1e-6) / FIELD_UM) + 1) for start in (left, top)
        )
        for column, row in ((column, row) for column in columns for row in rows if (column, row) != (0, 0)):
            self._draw(canvas.beside(column, row, self._field(column, row)), column, row)
        rng = self.stream("stain")
        canvas.density *= rng.uniform(0.85, 1.18)  # staining time
        canvas.density *= rng.normal(1.0, 0.05, 3).astype(np.float32)  # one laboratory's dye lots
        return canvas

    def _draw(self, canvas: Canvas, column: int, row: int) -> None:
        """One field of the smear: (0, 0) is the phantom's own, the others lie beside it and are seen in wide views."""
        # Liquid-based preparations lose part of what lies between the cells.
        kept = 0.65 if self.morphology.preparation == "liquid-based" else 1.0
        amounts = {part.element: part.amount * kept for part in self.profile.backgrounds}
        for element in self.morphology.background:
            BACKGROUNDS[element](canvas, float(np.clip(amounts[element] * canvas.rng.uniform(0.7, 1.3), 0, 1.2)))
        for kind, places in self._cells(column, row):
            for x, y, angle in places:
                render_cell(canvas, x, y, kind, angle=angle)

    def _cells(self, column: int, row: int) -> list[tuple[CellType, list[Placement]]]:
        """The cells of a field of the smear, population by population."""
        rng = self.stream(f"cells {column} {row}")
        known, found = self.morphology, []
        for number, population in enumerate(self.profile.populations):
            kind, count = CELLS[population.cell], int(rng.integers(population.fewest, population.most + 1))
            if number == 0:
                kind = replace(kind, nucleus=known.nuclear_diameter, chromasia=known.chromasia)
                count = known.cellularity if (column, row) == (0, 0) else count
            found.append((kind, ARRANGEMENTS[population.arrangement](rng, count, kind.diameter) if count else []))
        return found

    @cached_property
    def _corner(self) -> tuple[float, float]:
        """Left and top of the view on the phantom's own field, in µm.

        A cell and a narrow field have a cell of the finding in the middle: of three, the one that stands freest.
        """
        middle = (FIELD_UM / 2, FIELD_UM / 2)
        if self.view.kind == "cell" or self.view.width_um < FIELD_UM:
            populations = self._cells(0, 0)
            every = np.array([place[:2] for _, places in populations for place in places]).reshape(-1, 2)
            inside = [place[:2] for place in populations[0][1] if min(place[:2]) >= 0 and max(place[:2]) < FIELD_UM]
            some = self.stream("view").permutation(np.array(inside or [middle]))[:3]
            gaps = [np.sort(np.hypot(*(every - place).T))[1:2].sum() for place in some]
            middle = tuple(some[int(np.argmax(gaps))].tolist())
        return middle[0] - self.view.width_um / 2, middle[1] - self.view.width_um / 2

    def _field(self, column: int, row: int) -> np.random.Generator:
        return self.stream(f"field {column} {row}")

    def stream(self, purpose: str) -> np.random.Generator:
        """Random numbers of this smear for one purpose. No other smear and no other purpose has them."""
        return np.random.default_rng(self._hash(purpose))

    def _hash(self, purpose: str) -> int:
        words = (self.profile.site, self.profile.finding, self.split, str(self.number), purpose)
        return int.from_bytes(blake2b("\n".join(words).encode(), digest_size=16).digest(), "big")


def _shows(profile: Profile, view: View) -> bool:
    """Whether a view shows the finding: a cell does where every field has one."""
    return view.kind == "field" or (view.kind == "cell" and profile.populations[0].fewest > 0)


def phantom_cases(
    n: int,
    *,
    seed: int = 0,
    split: str = "train",
    profiles: Sequence[Profile] = PROFILES,
    views: Sequence[View] = (FIELD,),
) -> list[Phantom]:
    """`n` phantoms, balanced over site × category; a category's findings alternate.

    The split "held-out" uses wordings and random numbers that "train" never uses. A finding's phantoms are numbered by
    themselves: which of them are among the first n depends on the other profiles, what each one is does not.

    Args:
        seed: another one gives other phantoms.
        profiles: the findings. views: of a finding's phantoms, in turn; those that do not show it are left out.

    Raises:
        ValueError: another split, or no profile that a view shows.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    shown = {profile: [view for view in views if _shows(profile, view)] for profile in profiles}
    classes: dict[tuple[str, str], list[Profile]] = {}
    for profile, its_views in shown.items():
        if its_views:
            classes.setdefault((profile.site, profile.category), []).append(profile)
    if not classes:
        raise ValueError("none of the views shows a finding of these profiles")
    # Striding over the classes by a step coprime to their number spreads a small n over all sites.
    groups = list(classes.values())
    step = next(step for step in (17, 13, 11, 7) if np.gcd(step, len(groups)) == 1)
    phantoms = []
    for i in range(n):
        turn, position = divmod(i, len(groups))
        group = groups[position * step % len(groups)]
        count, member = divmod(turn, len(group))
        profile = group[member]
        view = shown[profile][count % len(shown[profile])]
        phantoms.append(Phantom(profile, seed * 1_000_003 + count, split, view))
    return phantoms


def write_phantoms(folder: Path, phantoms: list[Phantom], *, size: int = 128) -> Path:
    """Write the phantoms' images (PNG, marked as phantoms in their text metadata) and `manifest.csv`.

    Returns the manifest's path. Columns are the archive's own, with `phantom` = true on every row. The scale is in the
    manifest and in each file.
    """
    folder = Path(folder)
    private_folder(folder / "images")
    manifest = folder / "manifest.csv"
    columns = ("image", "case", "patient", "site", "system", "category", "stain", "preparation", "report", "kind",
               "mpp", "license", "source", "phantom", "finding")  # fmt: skip
    rows = []
    for phantom in phantoms:
        m = phantom.morphology
        name = f"images/{phantom.key}.png"
        info = PngInfo()
        info.add_text("Description", PHANTOM_NOTICE)
        info.add_text("coin-phantom", json.dumps({"key": phantom.key, "finding": m.finding}))
        dots = 25_400 / phantom.mpp(size)  # an inch
        phantom.render(size).save(folder / name, pnginfo=info, dpi=(dots, dots))
        rows.append(
            {
                "image": name,
                "case": phantom.key,
                "patient": phantom.patient,
                "site": m.site,
                "system": m.system,
                "category": m.category,
                "stain": m.stain,
                "preparation": m.preparation,
                "report": phantom.report,
                "kind": m.kind,
                "mpp": f"{phantom.mpp(size):.6g}",
                "license": "Apache-2.0",
                "source": "phantom",
                "phantom": "true",
                "finding": m.finding,
            }
        )
    write_atomic(manifest, csv_text(columns, rows).encode())
    return manifest
