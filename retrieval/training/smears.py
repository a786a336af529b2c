"""Licensed real smears as training pairs: those of the training patients only.

`../shared/data/cytology` holds CRIC (CC BY 4.0), BCCD (MIT) and Pathology Atlas (MIT) images. Patients are held out
by a hash of their name, so that the same ones stay out in every run and can be tested on.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from .clip import Pairs

HELD_OUT_FIFTH = 0  # of five hash groups, this one is never trained on
FIELD_CROPS = 3  # closer looks at a field, beside the whole of it
CLOSEST_PX = 100  # side of the closest look: a cell's crop
CELL_SHARE = 0.65  # of the draws, where a manifest has both cells and fields
TEMPER = 0.5  # a category or patient with four times the images is drawn twice as often


def is_held_out(patient: str) -> bool:
    """Whether a patient's images are kept for testing (one patient in five, by name)."""
    return int(hashlib.sha256(patient.encode()).hexdigest(), 16) % 5 == HELD_OUT_FIFTH


def load_smears(
    manifest: Path, *, first_label: int, size: int = 128, leave_out: Callable[[str], bool] = is_held_out
) -> Pairs:
    """Training pairs of a manifest in the archive's columns, without the patients that `leave_out` names.

    Images are squares of `size` px, cut as the encoder cuts them; of a field also some closer looks, down to a cell's
    size. The label of an image is its (site, category, stain, kind), numbered from `first_label`; its report is the
    manifest's own, with the site in brackets in half of the wordings (COIN's second style), since the manifest's
    reports are category lines alone. Rare categories and patients with few images are drawn more often than they occur.
    """
    with manifest.open(newline="", encoding="utf-8") as handle:
        rows = [row for row in csv.DictReader(handle) if not leave_out(row["patient"])]
    rng = np.random.default_rng(0)
    images, row_of = [], []
    for i, row in enumerate(rows):
        with Image.open(manifest.parent / row["image"]) as opened:
            image = opened.convert("RGB")
        looks = [image]
        if row["kind"] == "field" and min(image.size) > CLOSEST_PX:
            looks += [_closer_look(image, rng) for _ in range(FIELD_CROPS)]
        images += [np.asarray(ImageOps.fit(look, (size, size), Image.Resampling.BICUBIC)) for look in looks]
        row_of += [i] * len(looks)
    kinds = sorted({_kind(row) for row in rows})
    patients = sorted({row["patient"] for row in rows})
    label = np.array([kinds.index(_kind(rows[i])) for i in row_of])
    patient = np.array([patients.index(rows[i]["patient"]) for i in row_of])
    cell = np.array([rows[i]["kind"] == "cell" for i in row_of])

    def report(i: int, rng: np.random.Generator) -> str:
        row = rows[row_of[i]]
        named = rng.random() < 0.5 and row["site"] != "unspecified" and not row["report"].startswith("(")
        return f"({row['site'].capitalize()}) {row['report']}" if named else row["report"]

    return Pairs(
        np.stack(images), first_label + label, report, patients=patient, chances=_chances(label, patient, cell)
    )


def _kind(row: dict[str, str]) -> tuple[str, ...]:
    # With the stain: Papanicolaou and Giemsa are to stay apart, however much each of them varies.
    return row["site"], row["category"], row.get("stain", ""), row["kind"]


def _closer_look(field: Image.Image, rng: np.random.Generator) -> Image.Image:
    side = int(np.exp(rng.uniform(np.log(CLOSEST_PX), np.log(min(field.size)))))
    left, top = (int(rng.integers(length - side + 1)) for length in field.size)
    return field.crop((left, top, left + side, top + side))


def _chances(label: NDArray[np.int64], patient: NDArray[np.int64], cell: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How often each image is drawn: labels, and the patients of each, by their number of images to the `TEMPER`."""
    chances = np.zeros(len(label))
    for one in np.unique(label):
        of_label = label == one
        _, which, count = np.unique(patient[of_label], return_inverse=True, return_counts=True)
        share = count[which] ** (TEMPER - 1.0)
        chances[of_label] = of_label.sum() ** TEMPER * share / share.sum()
    if cell.any() and not cell.all():
        chances[cell] *= CELL_SHARE / chances[cell].sum()
        chances[~cell] *= (1 - CELL_SHARE) / chances[~cell].sum()
    return chances / chances.sum()
