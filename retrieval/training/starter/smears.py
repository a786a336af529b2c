"""Licensed real smears as training pairs: those of the training patients only.

`../shared/data/cytology` holds CRIC (CC BY 4.0), BCCD (MIT) and Pathology Atlas (MIT) images. Patients are held out
by a hash of their name, so that the same ones stay out in every run and can be tested on.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from generation.training.data.holdout import is_held_out
from retrieval.training.losses import UNSAID
from retrieval.training.starter.sampler import Pairs

FIELD_CROPS = 8  # closer looks at a field, beside the whole of it
CLOSEST_PX = 100  # side of the closest look: a cell's crop
DRAWN = {"cell": 0.6, "field": 0.2, "look": 0.2}  # how often each kind of image is drawn, where a manifest has it
LABEL_TEMPER = 0.3  # a category with ten times the images is drawn twice as often
PATIENT_TEMPER = 0.5  # … and a patient with four times those of a category, too


def load_smears(
    manifest: Path, *, first_label: int, size: int = 128, leave_out: Callable[[str], bool] = is_held_out
) -> Pairs:
    """Training pairs of a manifest in the archive's columns, without the patients that `leave_out` names.

    Images are squares of `size` px, cut as the encoder cuts them; of a field also some closer looks, down to a cell's
    size. The label of an image is its (site, category, stain, kind), numbered from `first_label`. An image without a
    category has a label of its own: nobody said that two of them show the same. A closer look has none where its site
    has several categories: a field's is that of its most severe cell, which need not be in sight.
    The report is the manifest's own, with the site in brackets in half of the wordings (COIN's second style), since the
    manifest's reports are category lines alone. Rare categories and patients with few images are drawn more often than
    they occur.
    """
    with manifest.open(newline="", encoding="utf-8") as handle:
        rows = [row for row in csv.DictReader(handle) if not leave_out(row["patient"])]
    rng = np.random.default_rng(0)
    images, row_of, kinds = [], [], []
    for i, row in enumerate(rows):
        with Image.open(manifest.parent / row["image"]) as opened:
            image = opened.convert("RGB")
        looks = [image]
        if row["kind"] == "field" and min(image.size) > CLOSEST_PX:
            looks += [_closer_look(image, rng) for _ in range(FIELD_CROPS)]
        images += [np.asarray(ImageOps.fit(look, (size, size), Image.Resampling.BICUBIC)) for look in looks]
        row_of += [i] * len(looks)
        kinds += [row["kind"], *["look"] * (len(looks) - 1)]
    return as_pairs([rows[i] for i in row_of], kinds, np.stack(images), first_label)


def as_pairs(
    rows: Sequence[Mapping[str, str]], kinds: Sequence[str], images: NDArray[np.uint8], first_label: int
) -> Pairs:
    """Images uint8[n, size, size, 3] as `load_smears` gives them, with the manifest's row and the kind of each."""
    shown = [_shown(row, kind) for row, kind in zip(rows, kinds, strict=True)]
    alone = ["" if row["category"] else row["image"] for row in rows]
    label, group, statement, patient = (
        _numbers(names)
        for names in (
            [(*what, image) for what, image in zip(shown, alone, strict=True)],
            shown,
            [row["report"] for row in rows],
            [row["patient"] for row in rows],
        )
    )
    kind = np.array(kinds)
    categories: dict[str, set[str]] = {}
    for row in rows:
        categories.setdefault(row["site"], set()).add(row["category"])
    several = np.array([len(categories[row["site"]]) > 1 for row in rows])

    def report(i: int, rng: np.random.Generator) -> str:
        row = rows[i]
        named = rng.random() < 0.5 and row["site"] != "unspecified" and not row["report"].startswith("(")
        return f"({row['site'].capitalize()}) {row['report']}" if named else row["report"]

    return Pairs(
        images, np.where(several & (kind == "look"), UNSAID, first_label + label), report,
        statements=first_label + statement, patients=patient, chances=_chances(group, patient, kind),
    )  # fmt: skip


def _shown(row: Mapping[str, str], kind: str) -> tuple[str, ...]:
    # With the stain: Papanicolaou and Giemsa are to stay apart, however much each of them varies.
    return row["site"], row["category"], row.get("stain", ""), kind


def _numbers(names: Sequence[str | tuple[str, ...]]) -> NDArray[np.int64]:
    """The place of each name among the different ones, sorted: int64[n]."""
    place = {name: i for i, name in enumerate(sorted(set(names)))}
    return np.array([place[name] for name in names])


def _closer_look(field: Image.Image, rng: np.random.Generator) -> Image.Image:
    side = int(np.exp(rng.uniform(np.log(CLOSEST_PX), np.log(min(field.size)))))
    left, top = (int(rng.integers(length - side + 1)) for length in field.size)
    return field.crop((left, top, left + side, top + side))


def _chances(label: NDArray[np.int64], patient: NDArray[np.int64], kind: NDArray[np.str_]) -> NDArray[np.float64]:
    """How often each image is drawn: labels, and the patients of each, by their number of images to a power below 1;
    kinds as `DRAWN` says."""
    chances = np.zeros(len(label))
    for one in np.unique(label):
        of_label = label == one
        _, which, count = np.unique(patient[of_label], return_inverse=True, return_counts=True)
        share = count[which] ** (PATIENT_TEMPER - 1.0)
        chances[of_label] = of_label.sum() ** LABEL_TEMPER * share / share.sum()
    for one, drawn in DRAWN.items():
        chances[kind == one] *= drawn / max(chances[kind == one].sum(), np.finfo(float).tiny)
    return chances / chances.sum()
