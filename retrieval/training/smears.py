"""Licensed real smears as training pairs: those of the training patients only.

`../shared/data/cytology` holds CRIC (CC BY 4.0), BCCD (MIT) and Pathology Atlas (MIT) images. Patients are held out
by a hash of their name, so that the same ones stay out in every run and can be tested on.
"""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from .clip import Pairs

HELD_OUT_FIFTH = 0  # of five hash groups, this one is never trained on


def is_held_out(patient: str) -> bool:
    """Whether a patient's images are kept for testing (one patient in five, by name)."""
    return int(hashlib.sha256(patient.encode()).hexdigest(), 16) % 5 == HELD_OUT_FIFTH


def load_smears(manifest: Path, *, first_label: int, size: int = 128) -> Pairs:
    """Training pairs of a manifest in the archive's columns: squares of `size` px, cut as the encoder cuts them.

    The label of an image is its (site, category, kind), numbered from `first_label`; its report is the manifest's
    own, with the site in brackets in half of the wordings (COIN's second style), since the manifest's reports are
    category lines alone.
    """
    with manifest.open(newline="", encoding="utf-8") as handle:
        rows = [row for row in csv.DictReader(handle) if not is_held_out(row["patient"])]
    kinds = sorted({(row["site"], row["category"], row["kind"]) for row in rows})
    images = np.empty((len(rows), size, size, 3), np.uint8)
    for i, row in enumerate(rows):
        with Image.open(manifest.parent / row["image"]) as image:
            images[i] = np.asarray(ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.BICUBIC))
    labels = first_label + np.array([kinds.index((row["site"], row["category"], row["kind"])) for row in rows])

    def report(i: int, rng: np.random.Generator) -> str:
        row = rows[i]
        named = rng.random() < 0.5 and row["site"] != "unspecified" and not row["report"].startswith("(")
        return f"({row['site'].capitalize()}) {row['report']}" if named else row["report"]

    return Pairs(images, labels, report)
