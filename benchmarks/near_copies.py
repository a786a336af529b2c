"""Are near copies of an image flagged, and different images not?

    python -m benchmarks.near_copies

On the shared real smears: each image is compared with the images of other patients nearest to it (none should count as
a copy), and altered copies of some images with their originals (all should).
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageFilter
from tqdm import tqdm

from benchmarks.machine import describe_machine
from index_store import decode_image
from retrieval import Encoder
from retrieval.generated.near_duplicate import (
    CANDIDATES,
    HASH_BITS,
    NEAR_COPY_BITS,
    hash_distance,
    hash_distances,
    orientation_hashes,
)

SHARED = Path(__file__).parents[1] / "../shared/data/cytology/manifest.csv"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--manifest", type=Path, default=SHARED)
    parser.add_argument("--altered", type=int, default=300, help="images of which altered copies are made")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(arguments)
    if not options.manifest.is_file():
        print(f"There is no manifest {options.manifest}: name one with --manifest.", file=sys.stderr)
        return 1
    with options.manifest.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    encoder = Encoder(device=options.device).load()
    sampled = set(np.random.default_rng(0).choice(len(rows), min(options.altered, len(rows)), replace=False).tolist())
    vectors, hashes, copies = [], [], []
    for index, row in enumerate(tqdm(rows, desc="images", file=sys.stderr)):
        image = decode_image(options.manifest.parent / row["image"])
        vectors.append(encoder.encode_images([image])[0])
        hashes.append(orientation_hashes(image))
        if index in sampled:
            altered = altered_copies(image)
            altered_vectors = encoder.encode_images(list(altered.values()))
            copies.append((index, altered_vectors, {name: orientation_hashes(copy) for name, copy in altered.items()}))
    print(describe_machine())
    _different(np.stack(vectors), np.stack(hashes), rows)
    _altered(np.stack(vectors), np.stack(hashes), copies)
    return 0


def altered_copies(image: Image.Image) -> dict[str, Image.Image]:
    """The image with each of the slight changes that a copy may have."""
    width, height = image.size
    x, y = max(1, round(width * 0.025)), max(1, round(height * 0.025))
    central = image.crop((x, y, width - x, height - y))
    stained = np.clip(np.asarray(image) * [1.05, 0.95, 1.03], 0, 255).astype(np.uint8)
    turned = _jpeg(central.transpose(Image.Transpose.TRANSVERSE), 70)
    return {
        "JPEG, quality 50": _jpeg(image, 50),
        "half size and back": image.resize((max(1, width // 2), max(1, height // 2))).resize(image.size),
        "128 × 128": image.resize((128, 128)),
        "blur": image.filter(ImageFilter.GaussianBlur(max(width, height) / 128)),
        "stain ± 5 %": Image.fromarray(stained),
        "brightness + 15 %": ImageEnhance.Brightness(image).enhance(1.15),
        "brightness - 15 %": ImageEnhance.Brightness(image).enhance(0.85),
        "contrast - 20 %": ImageEnhance.Contrast(image).enhance(0.8),
        "mirrored": image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        "quarter turn": image.transpose(Image.Transpose.ROTATE_90),
        "crop of 5 %, central": central,
        "crop of 5 %, corner": image.crop((0, 0, width - 2 * x, height - 2 * y)),
        "crop, turn, JPEG, brightness": ImageEnhance.Brightness(turned).enhance(1.1),
    }


def _different(vectors: npt.NDArray[np.float32], hashes: npt.NDArray[np.bool_], rows: list[dict[str, str]]) -> None:
    patients = np.array([row["patient"] for row in rows])
    least = []
    for index, vector in enumerate(vectors):
        nearest = np.argsort(-np.where(patients == patients[index], -np.inf, vectors @ vector))[:CANDIDATES]
        least.append(min(hash_distance(hashes[index], hashes[other, 0]) for other in nearest))
    flagged = sum(bits <= NEAR_COPY_BITS for bits in least)
    print(
        f"\ndifferent: {flagged} of {len(rows)} images are within {NEAR_COPY_BITS} of {HASH_BITS} bits of one of the ",
        end="",
    )
    print(f"{CANDIDATES} nearest of other patients; least 10: {sorted(least)[:10]}, median {np.median(least):.0f}")
    # As `retrieval.synthetic.memorisation` compares: with every image, found by the encoder or not.
    apart = np.min([hash_distances(hashes[:, way], hashes[:, 0]) for way in range(hashes.shape[1])], axis=0)
    nearest = np.where(patients[:, None] == patients, HASH_BITS, apart).min(axis=1)
    flagged = int((nearest <= NEAR_COPY_BITS).sum())
    print(f"different, compared with all: {flagged} of {len(rows)}; least 10: {sorted(nearest.tolist())[:10]}")


def _altered(
    vectors: npt.NDArray[np.float32],
    hashes: npt.NDArray[np.bool_],
    copies: list[tuple[int, npt.NDArray[np.float32], dict[str, npt.NDArray[np.bool_]]]],
) -> None:
    print(f"\n| altered copies (n = {len(copies)}) | hash alike | original among the nearest | flagged |")
    print("|---|---|---|---|")
    for number, name in enumerate(copies[0][2]):
        alike, near = [], []
        for original, altered_vectors, orientations in copies:
            alike.append(hash_distance(orientations[name], hashes[original, 0]) <= NEAR_COPY_BITS)
            scores = vectors @ altered_vectors[number]
            near.append((scores > scores[original]).sum() < CANDIDATES)
        both = np.array(alike) & np.array(near)
        print(f"| {name} | {np.mean(alike):.3f} | {np.mean(near):.3f} | {both.mean():.3f} |")


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


if __name__ == "__main__":
    raise SystemExit(main())
