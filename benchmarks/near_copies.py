"""Are copies of training images found, whatever was done to them, and other patients' images left alone?

    python -m benchmarks.near_copies

On the shared real smears. Patients are divided: images of one half are the references, and copies of them are planted,
each altered in one way, of squares that a training sees and of whole pictures, from square originals and from 4:3 ones.
Images of the other half are what a generator that copies nothing could give: each flagged one is a false alarm.
Measured are `coin copy-check`, which compares with every reference, and the check of generated queries, which looks at
the references that the encoder finds nearest.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter
from tqdm import tqdm

from benchmarks.machine import describe_machine
from generation.training.data.crops import views
from index_store import decode_image
from retrieval import Encoder
from retrieval.arrays import Floats, Vectors
from retrieval.copies.fingerprint import FingerprintStore, fingerprint
from retrieval.copies.keypoints import grey_picture
from retrieval.copies.overlap import COPIED, PIXELS, shared_part
from retrieval.copies.picture_hash import NEAR_COPY_BITS
from retrieval.copies.reference_search import ReferenceSearch, Searched, searched
from retrieval.generated.near_duplicate import CANDIDATES, is_copy
from retrieval.statistics.estimate import exact_interval
from retrieval.synthetic.memorisation import LEAST_KEYPOINTS, baseline, extreme_similarity
from retrieval.synthetic.references import References

SHARED = Path(__file__).parents[1] / "../shared/data/cytology/manifest.csv"
GENERATED, TRAINED, CORES = 448_904, 112_226, 16
"""COIN's set, its training images, and the cores for which the sum is printed."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--manifest", type=Path, default=SHARED)
    parser.add_argument("--references", type=int, default=1000, help="images of the first half of the patients")
    parser.add_argument("--altered", type=int, default=100, help="originals of each shape of which copies are made")
    parser.add_argument("--others", type=int, default=1400, help="images of the other patients")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(arguments)
    if not options.manifest.is_file():
        print(f"There is no manifest {options.manifest}: name one with --manifest.", file=sys.stderr)
        return 1
    with options.manifest.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    rng = np.random.default_rng(0)
    first, second = _halves(rows)
    known = [first[place] for place in rng.permutation(len(first))[: options.references]]
    others = [second[place] for place in rng.permutation(len(second))[: options.others]]
    check = Check(options.manifest.parent, known, Encoder(device=options.device).load())
    print(describe_machine())
    for name, wanted in (("square", True), ("4:3", False)):
        check.planted(name, [row for row, square in zip(known, check.square, strict=True) if square == wanted], options)
    check.false_alarms(others)
    check.cost()
    return 0


class Check:
    """The references, and both ways of comparing pictures with them."""

    def __init__(self, folder: Path, rows: list[dict[str, str]], encoder: Encoder) -> None:
        self._folder, self._encoder, self._rows = folder, encoder, rows
        self.store = FingerprintStore(None)
        self.paths = [folder / row["image"] for row in rows]
        self.keys = [hashlib.sha256(row["image"].encode()).hexdigest() for row in rows]
        self.square, self.greys, vectors = [], [], []
        started = time.process_time()
        for key, path in zip(self.keys, tqdm(self.paths, desc="references", file=sys.stderr), strict=True):
            image = decode_image(path)
            self.store.put([key], [fingerprint(image)])
            self.square.append(image.width == image.height)
        self._reference_seconds = (time.process_time() - started) / len(rows)
        for path in self.paths:
            image = decode_image(path)
            self.greys.append(grey_picture(image, PIXELS))
            vectors.append(encoder.encode_images([image])[0])
        self.vectors: Vectors = np.stack(vectors)
        self.search = ReferenceSearch(self.store, self.keys, self.paths)
        self.extreme = extreme_similarity(_real_baseline(self))
        self._looked = self._matched = 0.0
        self._pictures = 0

    def planted(self, name: str, rows: list[dict[str, str]], options: argparse.Namespace) -> None:
        """Copies of originals of one shape, altered in each way."""
        rows = rows[: options.altered]
        print(f"\n{name} originals, n = {len(rows)}: found [95 % interval]\n")
        print("| copy | `coin copy-check` | by hash | by a part | similarity alone | a generated query's check |")
        print("|---|---|---|---|---|---|")
        if not rows:
            return
        images = [decode_image(self._folder / row["image"]) for row in rows]
        for alteration, alter in tqdm(ALTERATIONS.items(), desc=name, file=sys.stderr):
            copies = [
                alter(image, np.random.default_rng(number), images[number - 1]) for number, image in enumerate(images)
            ]
            found = np.array(self.flagged(copies))
            print(f"| {alteration} | " + " | ".join(_share(int(way.sum()), len(rows)) for way in found.T) + " |")

    def false_alarms(self, rows: list[dict[str, str]]) -> None:
        """Images of other patients."""
        found = []
        for start in tqdm(range(0, len(rows), 100), desc="others", file=sys.stderr):
            found += self.flagged([decode_image(self._folder / row["image"]) for row in rows[start : start + 100]])
        flags = np.array(found)
        print(f"\nfalse alarms, {len(rows)} images of other patients against {len(self.keys)} references:\n")
        for number, name in enumerate(("copy-check", "hash", "part", "similarity alone", "a generated query's check")):
            print(f"- {name}: {_share(int(flags[:, number].sum()), len(rows))}")
            for row in np.flatnonzero(flags[:, number])[:6]:
                print(f"    {rows[row]['image']}")
        plain = sum(self.store.count(key) < LEAST_KEYPOINTS for key in self.keys)
        print(f"\nreferences with fewer than {LEAST_KEYPOINTS} keypoints: {plain} of {len(self.keys)}")
        known = "not known: too few references" if self.extreme is None else f"{self.extreme:.4f}"
        print(f"thresholds: {NEAR_COPY_BITS} bits, correlation {COPIED}, similarity {known}")

    def flagged(self, pictures: list[Image.Image]) -> list[tuple[bool, bool, bool, bool, bool]]:
        """Of each picture: copy-check, by hash, by part, by similarity alone, and the check of generated queries."""
        similar = self._encoder.encode_images(pictures) @ self.vectors.T
        started = time.process_time()
        looked = [searched(picture) for picture in pictures]
        self._looked += time.process_time() - started
        started = time.process_time()
        with ThreadPoolExecutor(1) as pool:
            matches = self.search.match(looked, similar.argmax(axis=1).tolist(), pool)
        self._matched += time.process_time() - started
        self._pictures += len(pictures)
        results = []
        for row, one, match in zip(similar, looked, matches, strict=True):
            by_hash, by_part = match.hash_distance <= NEAR_COPY_BITS, match.part is not None and match.part.copied
            extreme = self.extreme is not None and bool(row.max() > self.extreme)
            results.append((by_hash or by_part, by_hash, by_part, extreme, self._as_query(row, one)))
        return results

    def _as_query(self, similar: Vectors, picture: Searched) -> bool:
        for place in np.argsort(-similar)[:CANDIDATES].tolist():
            points = self.store.keypoints(self.keys[place])
            part = shared_part(picture.keypoints, picture.grey, points, partial(self.greys.__getitem__, place))
            if is_copy(self.search.distance(picture, place), part):
                return True
        return False

    def cost(self) -> None:
        """Seconds of one core, and what COIN's sizes would take."""
        look, match = self._looked / self._pictures, self._matched / self._pictures
        print(
            f"\none core: a reference {self._reference_seconds * 1e3:.0f} ms (decoded, hashed, keypoints), a generated "
            f"image {look * 1e3:.0f} ms, and {match * 1e3:.1f} ms to compare it with {len(self.keys)} references"
        )
        seconds = (TRAINED * self._reference_seconds + GENERATED * (look + match)) / CORES
        print(
            f"{GENERATED:,} against {TRAINED:,} on {CORES} cores: {seconds / 60:.0f} minutes, without decoding and "
            "encoding the generated images, if each comparison took what it takes here"
        )


def _halves(rows: list[dict[str, str]]) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Rows of every second patient of each source, and of the others."""
    patients = {row["patient"]: row["image"].partition("/")[0] for row in rows}
    order = sorted(patients, key=lambda patient: (patients[patient], patient))
    chosen = set(order[::2])
    return [row for row in rows if row["patient"] in chosen], [row for row in rows if row["patient"] not in chosen]


def _real_baseline(check: Check) -> Floats:
    hashes = np.stack([check.store.windows(key)[0] for key in check.keys])
    patients = tuple(row["patient"] for row in check._rows)
    references = References("", tuple(check.keys), tuple(check.paths), patients, check.vectors, hashes, True)
    base, flagged = baseline(references)
    return np.empty(0) if base is None else base[~flagged]


Alteration = Callable[[Image.Image, np.random.Generator, Image.Image], Image.Image]
"""A picture, its random numbers and another picture become an altered copy."""


def seen(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A square as a training cuts it, at a random place, upright."""
    side = min(image.size)
    left, top = (round((length - side) * rng.random()) for length in image.size)
    return image.crop((left, top, left + side, top + side))


def part(image: Image.Image, share: float, rng: np.random.Generator) -> Image.Image:
    """A part of the area anywhere in the picture, of its shape."""
    width, height = (round(length * share**0.5) for length in image.size)
    left, top = rng.integers(image.width - width + 1), rng.integers(image.height - height + 1)
    return image.crop((left, top, left + width, top + height))


def turned(image: Image.Image, degrees: float) -> Image.Image:
    """Turned about the middle, and cut to a square without corners of the background."""
    angle = np.radians(abs(degrees))
    side = int(min(image.size) / (np.cos(angle) + np.sin(angle)))
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.rotate(degrees, Image.Resampling.BICUBIC).crop((left, top, left + side, top + side))


def beside(image: Image.Image, other: Image.Image) -> Image.Image:
    """The left half of a picture, and another's right half."""
    pasted = other.resize(image.size)
    pasted.paste(image.crop((0, 0, image.width // 2, image.height)), (0, 0))
    return pasted


def _view(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    content = hashlib.sha256(rng.bytes(8)).hexdigest()
    *_, last = views(image, content, range(2), size=min(512, *image.size), crop="random")
    return last.image


def _edges(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    """The picture without these shares of its width and height."""
    width, height = image.size
    return image.crop(
        (round(width * left), round(height * top), width - round(width * right), height - round(height * bottom))
    )


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    """Compressed and read again."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def _stained(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.clip(np.asarray(image) * [1.05, 0.95, 1.03], 0, 255).astype(np.uint8))


ALTERATIONS: dict[str, Alteration] = {
    "the whole picture, verbatim": lambda image, rng, other: image,
    "the training's own view: square, turned, mirrored": lambda image, rng, other: _view(image, rng),
    "square, 128 px": lambda image, rng, other: seen(image, rng).resize((128, 128), Image.Resampling.LANCZOS),
    "square, JPEG of quality 50": lambda image, rng, other: jpeg(seen(image, rng), 50),
    "square, mirrored": lambda image, rng, other: seen(image, rng).transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "square, quarter turn": lambda image, rng, other: seen(image, rng).transpose(Image.Transpose.ROTATE_90),
    "square, brightness + 20 %": lambda image, rng, other: ImageEnhance.Brightness(seen(image, rng)).enhance(1.2),
    "square, brightness - 20 %": lambda image, rng, other: ImageEnhance.Brightness(seen(image, rng)).enhance(0.8),
    "square, stain ± 5 %": lambda image, rng, other: _stained(seen(image, rng)),
    "square, blur": lambda image, rng, other: seen(image, rng).filter(ImageFilter.GaussianBlur(min(image.size) / 128)),
    "square, turned by 5°": lambda image, rng, other: turned(seen(image, rng), 5),
    "square, turned by 15°": lambda image, rng, other: turned(seen(image, rng), -15),
    "square, 75 % of its area": lambda image, rng, other: part(seen(image, rng), 0.75, rng),
    "square, half of its area": lambda image, rng, other: part(seen(image, rng), 0.5, rng),
    "half of its area, turned, 128 px, JPEG, darker": lambda image, rng, other: ImageEnhance.Brightness(
        jpeg(part(seen(image, rng), 0.5, rng).transpose(Image.Transpose.TRANSVERSE).resize((128, 128)), 70)
    ).enhance(0.9),
    "5 % cut from one corner": lambda image, rng, other: _edges(image, 0, 0, 0.05, 0.05),
    "the middle without 10 %": lambda image, rng, other: _edges(image, 0.05, 0.05, 0.05, 0.05),
    "one half": lambda image, rng, other: image.crop((0, 0, image.width // 2, image.height)),
    "one half beside another picture's": lambda image, rng, other: beside(image, other),
    "a quarter of its area": lambda image, rng, other: part(seen(image, rng), 0.25, rng),
    "the middle 10 % of its area": lambda image, rng, other: _edges(seen(image, rng), 0.342, 0.342, 0.342, 0.342),
}


def _share(found: int, of: int) -> str:
    low, high = exact_interval(found, of)
    return f"{found / of:.1%} [{low:.1%}, {high:.1%}]"


if __name__ == "__main__":
    raise SystemExit(main())
