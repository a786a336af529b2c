"""What it costs to keep a slide's fields as JPEG: bytes, pixels, and the encoder's vectors, against PNG.

python -m benchmarks.field_compression ../shared/data/slides/csf-mgg.svs …
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from index_store import FieldChoice, Slide, choose_fields
from retrieval import Encoder

WAYS: dict[str, dict[str, Any]] = {
    "PNG": {"format": "PNG", "compress_level": 1},
    **{f"JPEG {quality}": {"format": "JPEG", "quality": quality, "subsampling": 0} for quality in (80, 90, 95)},
    "JPEG 95, colour halved": {"format": "JPEG", "quality": 95, "subsampling": 2},
}


def fields_of(path: Path, most: int) -> list[Image.Image]:
    """The fields that are chosen of a slide, as they are read."""
    with Slide(path) as slide:
        chosen = choose_fields(slide, FieldChoice(most=most)).fields
        return [Image.fromarray(slide.read_region(f.x, f.y, f.pixels, f.pixels, f.level, f.plane)) for f in chosen]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slides", nargs="+", type=Path)
    parser.add_argument("--fields", type=int, default=16)
    arguments = parser.parse_args()
    encoder = Encoder(device="cpu")
    print("| slide | kept as | kB a field | PSNR, dB (worst) | cosine to the field (worst) |\n|---|---|---|---|---|")
    for path in arguments.slides:
        fields = fields_of(path, arguments.fields)
        vectors = encoder.encode_images(fields)
        for name, way in WAYS.items():
            files = [io.BytesIO() for _ in fields]
            for field, file in zip(fields, files, strict=True):
                field.save(file, **way)
            kept = [Image.open(file).convert("RGB") for file in files]
            errors = [
                float(np.mean((np.asarray(field, np.float64) - np.asarray(image)) ** 2))
                for field, image in zip(fields, kept, strict=True)
            ]
            worst = 10 * np.log10(255**2 / max(errors)) if max(errors) else np.inf
            cosines = (encoder.encode_images(kept) * vectors).sum(axis=1)
            size = np.mean([file.getbuffer().nbytes for file in files]) / 1000
            print(f"| {path.stem} | {name} | {size:.0f} | {worst:.1f} | {cosines.min():.4f} |")
        others = vectors @ vectors.T - 2 * np.eye(len(fields))
        print(f"| {path.stem} | the nearest other field | | | {others.max(axis=1).mean():.4f} (mean) |")


if __name__ == "__main__":
    sys.exit(main())
