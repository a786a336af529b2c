"""Whether a generated image is nearly the same picture as a reference image, or as another one of its set.

Diffusion models can reproduce images that they were trained on (Carlini et al., Extracting Training Data from Diffusion
Models, 2023). An image that copies a reference is not made from the report, and may show what belongs to a patient.

    generated image ─► its nearest references (encoder) ─┬─► perceptual hashes of their squares, 8 orientations
                                                         └─► keypoints that agree, and the pixels below them

The hash (`retrieval.copies.picture_hash`) recognises a whole picture, or a square of it as a training cuts one;
keypoints (`retrieval.copies.overlap`) recognise a part of it, turned or larger. The rates of both, by what was done to
the copy, and the false alarms are those of `python -m benchmarks.near_copies` (docs/synthetic-data.md).

The encoder must find the original among the nearest first: what is not flagged is not proven to be new. A least
similarity beside the hash prevented no false flag and lost copies when it was tried, so there is none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from retrieval.arrays import Vectors
from retrieval.copies.fingerprint import Fingerprint, fingerprint
from retrieval.copies.keypoints import Array, grey_picture, keypoints
from retrieval.copies.overlap import PIXELS, Overlap, shared_part
from retrieval.copies.picture_hash import (
    HASH_BITS,
    NEAR_COPY_BITS,
    Bits,
    hash_distances,
    orientation_hashes,
    picture_hash,
)

if TYPE_CHECKING:
    import PIL.Image

    from index_store import Archive

CANDIDATES: Final = 10
"""Nearest reference images that a generated image is compared with."""
BLOCK: Final = 1024
"""Pictures that are compared with all before them at a time."""
_FEW: Final = 64
_REMEMBERED: Final = 512
"""Fingerprints of reference images kept in the process: some 100 KB each."""


@dataclass(frozen=True)
class NearestReference:
    """The reference that an image copies or, where it copies none, the one nearest to it in the encoder's space."""

    case_key: str
    image_id: int
    similarity: float
    """Cosine, in [-1, 1]."""
    hash_distance: int | None
    """Bits that differ of 256, in the orientation and the square of the reference where fewest do. None where the
    reference's file cannot be read."""
    part: Overlap | None = None
    """Where keypoints of both agree: the part of the image that may lie in the reference."""

    @property
    def near_copy(self) -> bool:
        """Whether the image counts as a copy of this reference, or of a part of it."""
        return is_copy(self.hash_distance, self.part)


def nearest_references(
    archive: Archive, images: Sequence[PIL.Image.Image], vectors: Vectors, *, fingerprint: str
) -> tuple[NearestReference | None, ...]:
    """For each generated image (RGB) with its unit vector, float32[n, d], its nearest reference.

    None in an empty archive. The whole archive is looked at: a copy of a case that a query's filter excludes is a copy.
    """
    if archive.encoder is None or not images:
        return (None,) * len(images)
    hits = archive.search(vectors, CANDIDATES, fingerprint=fingerprint)
    cases = archive.cases_of_images({hit.image_id for found in hits for hit in found})
    nearest: list[NearestReference | None] = []
    for image, found in zip(images, hits, strict=True):
        orientations, keys, grey = orientation_hashes(image), keypoints(image), grey_picture(image, PIXELS)
        references = []
        for hit in found:
            if hit.image_id not in cases:  # removed since it was found
                continue
            case = cases[hit.image_id]
            record = next(image for image in case.images if image.id == hit.image_id)
            known = _known(record.path, record.file_sha256)
            distance = None if known is None else int(hash_distances(orientations, known[0].windows).min())
            part = None if known is None else shared_part(keys, grey, known[0].keypoints, partial(_second, known))
            references.append(NearestReference(case.key, hit.image_id, hit.score, distance, part))
        copied = [reference for reference in references if reference.near_copy]
        nearest.append(
            min(copied, key=lambda reference: (reference.hash_distance, reference.image_id))
            if copied
            else max(references, key=lambda reference: (reference.similarity, -reference.image_id), default=None)
        )
    return tuple(nearest)


def is_copy(hash_distance: int | None, part: Overlap | None) -> bool:
    """Whether the distance of two hashes, or the part that two pictures share, makes one a copy of the other."""
    return (hash_distance is not None and hash_distance <= NEAR_COPY_BITS) or (part is not None and part.copied)


def evidence(hash_distance: int | None, part: Overlap | None) -> str:
    """Why an image counts as a copy, or what was found of one, in words."""
    words = [] if hash_distance is None else [f"{hash_distance} of {HASH_BITS} bits of their hashes differ"]
    if part is not None:
        mirrored = ", mirrored" if part.mirrored else ""
        words.append(
            f"{part.share:.0%} of the picture{mirrored} lie in it by {part.pairs} keypoints, with a correlation of "
            f"{part.correlation:.2f}"
        )
    return "; ".join(words) or "its file cannot be read"


@dataclass(frozen=True, eq=False)
class ImageHashes:
    """The two hashes by which images are compared."""

    pixels: str
    """SHA-256, in hex, of size and RGB values: equal for the same pixels in any file."""
    bits: Bits
    """Perceptual hash, bool[256] (`picture_hash`)."""


@dataclass(frozen=True)
class Duplicates:
    """By position in the sequence that was compared: the first image that each later one repeats."""

    exact: Mapping[int, int]
    """The same pixels."""
    near: Mapping[int, int]
    """Other pixels, and at most `NEAR_COPY_BITS` of 256 bits apart as they lie (turned copies are not looked for)."""


def hash_image(image: PIL.Image.Image) -> ImageHashes:
    """Both hashes of an RGB image."""
    digest = hashlib.sha256(f"{image.width} {image.height}\n".encode())
    digest.update(image.tobytes())
    return ImageHashes(digest.hexdigest(), picture_hash(image))


def find_duplicates(hashes: Sequence[ImageHashes]) -> Duplicates:
    """Compare every image with all before it, as copies are looked for: an exact index of their hashes (FAISS).

    Time grows with the square of their number, at a few billionths of a second a pair (docs/synthetic-data.md).
    """
    import faiss

    first: dict[str, int] = {}
    exact: dict[int, int] = {}
    for position, image in enumerate(hashes):
        before = first.setdefault(image.pixels, position)
        if before != position:
            exact[position] = before
    kept = [position for position in range(len(hashes)) if position not in exact]
    near: dict[int, int] = {}
    if not kept:
        return Duplicates(exact, near)
    bits = np.packbits(np.stack([hashes[position].bits for position in kept]), axis=1)
    index: Any = faiss.IndexBinaryFlat(HASH_BITS)
    for start in range(0, len(kept), BLOCK):
        block = bits[start : start + BLOCK]
        index.add(block)
        rows = np.flatnonzero(index.search(block, 2)[0][:, 1] <= NEAR_COPY_BITS)  # the first found is the image itself
        for few in range(0, len(rows), _FEW):  # each may be like all before it
            some = rows[few : few + _FEW]
            limits, _, found = index.range_search(block[some], NEAR_COPY_BITS + 1)
            for number, row in enumerate(some.tolist()):
                like = int(found[int(limits[number]) : int(limits[number + 1])].min())
                if like < start + row:
                    near[kept[start + row]] = kept[like]
    return Duplicates(exact, near)


def _known(path: Path, file_sha256: str) -> tuple[Fingerprint, Array] | None:
    from index_store import ImageProblem

    try:
        return _reference(path, file_sha256)
    except ImageProblem:
        return None


@lru_cache(maxsize=_REMEMBERED)
def _reference(path: Path, file_sha256: str) -> tuple[Fingerprint, Array]:
    """Raises `index_store.ImageProblem`, also where the file is not the one that was added."""
    from index_store import decode_image

    image = decode_image(path, expected=file_sha256)
    return fingerprint(image), grey_picture(image, PIXELS)


def _second(known: tuple[Fingerprint, Array]) -> Array:
    return known[1]
