"""Licensed real smears as training pairs, those of the training patients only.

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

from generation.phantom import PROFILES
from generation.phantom.wording import WORDS, Wording
from generation.training.data.holdout import is_held_out
from retrieval.training.losses import UNLABELLED
from retrieval.training.starter.sampler import Pairs

FIELD_CROPS = 8
"""Random crops of a field, beside the whole of it."""
CLOSEST_PX = 100
"""Edge of the smallest crop: a cell's."""
KIND_SHARES = {"cell": 0.6, "field": 0.2, "look": 0.2}
"""How often each kind of image is sampled if a manifest has it; "look" is a crop of a field."""
BLOOD = ("Blood film", "Peripheral blood film", "Red blood cells and leukocytes")
"""Other words for what the manifest calls a peripheral blood smear, without a category."""
LABEL_TEMPER = 0.3
"""A category with ten times the images is sampled twice as often."""
PATIENT_TEMPER = 0.5
"""A patient with four times the images of a category is sampled twice as often."""


def load_smears(
    manifest: Path, *, first_label: int, size: int = 128, leave_out: Callable[[str], bool] = is_held_out
) -> Pairs:
    """Training pairs of a manifest in the archive's columns, without the patients for which `leave_out` is true.

    Images are squares of `size` px, cut as the encoder cuts them; of a field also some random crops, down to a cell's
    size. The label of an image is its (site, category, stain, kind), numbered from `first_label`. An image without a
    category has a label of its own: two of them may show different findings. A crop is unlabelled if its site has
    several categories: a field's category is that of its most severe cell, which the crop may not show.
    The report is the manifest's own, with the site in brackets in half of the wordings (COIN's second style), since the
    manifest's reports are category lines only. Rare categories and patients with few images are sampled more often
    than they occur.
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
            looks += [_random_crop(image, rng) for _ in range(FIELD_CROPS)]
        images += [np.asarray(ImageOps.fit(look, (size, size), Image.Resampling.BICUBIC)) for look in looks]
        row_of += [i] * len(looks)
        kinds += [row["kind"], *["look"] * (len(looks) - 1)]
    return as_pairs([rows[i] for i in row_of], kinds, np.stack(images), first_label)


def as_pairs(
    rows: Sequence[Mapping[str, str]], kinds: Sequence[str], images: NDArray[np.uint8], first_label: int
) -> Pairs:
    """Pairs of images uint8[n, size, size, 3] as `load_smears` makes them, with manifest row and kind of each."""
    shown = [_shown(row, kind) for row, kind in zip(rows, kinds, strict=True)]
    uncategorised = ["" if row["category"] else row["image"] for row in rows]
    label, group, statement, patient = (
        _numbers(names)
        for names in (
            [(*finding, image) for finding, image in zip(shown, uncategorised, strict=True)],
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
        images, np.where(several & (kind == "look"), UNLABELLED, first_label + label), report,
        statements=first_label + statement, patients=patient, chances=_chances(group, patient, kind),
        captions=lambda i, rng: _caption(rows[i], kinds[i], rng),
    )  # fmt: skip


def _caption(row: Mapping[str, str], kind: str, rng: np.random.Generator) -> str:
    """The diagnosis in the words of the phantoms' reports, or in the row's own where they have no such finding; before
    it the site and "single cell", as in a phantom's short caption."""
    findings = [p.finding for p in PROFILES if (p.site, p.category) == (row["site"], row["category"])]
    if row["site"] != "cervix":  # elsewhere a category is of several diagnoses
        findings = [finding for finding in findings if finding == "metastatic carcinoma"]
    if findings:
        diagnosis = Wording(rng, held_out=False).pick(WORDS.findings[row["site"], findings[0]].diagnoses)
    else:
        own = row["report"].rstrip(".")
        diagnosis = own if row["site"] != "blood" else str(rng.choice([own, *BLOOD]))
    place = "" if row["site"] == "unspecified" else f"({row['site'].capitalize()}{', single cell' * (kind == 'cell')}) "
    return f"{place}{diagnosis}."


def _shown(row: Mapping[str, str], kind: str) -> tuple[str, ...]:
    """The finding of an image. The stain is part of it, so that Papanicolaou and Giemsa are kept apart."""
    return row["site"], row["category"], row.get("stain", ""), kind


def _numbers(names: Sequence[str | tuple[str, ...]]) -> NDArray[np.int64]:
    """The number of each name among the different ones in sorted order: int64[n]."""
    number = {name: i for i, name in enumerate(sorted(set(names)))}
    return np.array([number[name] for name in names])


def _random_crop(field: Image.Image, rng: np.random.Generator) -> Image.Image:
    side = int(np.exp(rng.uniform(np.log(CLOSEST_PX), np.log(min(field.size)))))
    left, top = (int(rng.integers(length - side + 1)) for length in field.size)
    return field.crop((left, top, left + side, top + side))


def _chances(label: NDArray[np.int64], patient: NDArray[np.int64], kind: NDArray[np.str_]) -> NDArray[np.float64]:
    """How often each image is sampled, float64[n].

    Labels, and the patients of each label, count by their number of images to a power below 1; kinds by KIND_SHARES.
    """
    chances = np.zeros(len(label))
    for value in np.unique(label):
        has_label = label == value
        _, which, count = np.unique(patient[has_label], return_inverse=True, return_counts=True)
        share = count[which] ** (PATIENT_TEMPER - 1.0)
        chances[has_label] = has_label.sum() ** LABEL_TEMPER * share / share.sum()
    for name, share_of_kind in KIND_SHARES.items():
        chances[kind == name] *= share_of_kind / max(chances[kind == name].sum(), np.finfo(float).tiny)
    return chances / chances.sum()
