"""Whether a generated image is nearly the same picture as a reference image, or as another one of its set.

Diffusion models can reproduce images that they were trained on (Carlini et al., Extracting Training Data from Diffusion
Models, 2023). An image that copies a reference is not made from the report, and may show what belongs to a patient.

    generated image ─► its nearest references (encoder) ─► perceptual hashes, 8 orientations ─► smallest distance

The hash is `imagehash.phash` with 16 × 16 coefficients: signs about the median of the lowest frequencies of the grey
image, 256 bits. The threshold was measured (`python -m benchmarks.near_copies`), on the 2,766 images of 381
patients in `../shared/data/cytology`:

- different: of 2,766 images, each compared with the 10 images of other patients nearest to it, none was within
  `NEAR_COPY_BITS`, and compared with all of them 2 (0.07 %): two overlapping photographs of one blood smear;
- altered: of 300 images, all were within it of their own copy after JPEG (quality 50), half or 128 px size,
  brightness ± 15 %, contrast − 20 %, a stain shift of 5 %, blur, mirroring, a quarter turn, or a central crop of 5 %,
  and 99.7 % after crop, turn, JPEG and brightness together. A crop of 5 % from one corner is found in 23 % only.

The encoder must find the original first. With the starter the original is among the nearest 10 of these 2,766 for at
least 98 % of the copies, but for 94 % of those altered in four ways at once: what is not flagged is not proven to be
new. A least similarity beside the hash prevented no false flag and lost copies when it was tried (with an earlier
starter), so there is none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Vectors

if TYPE_CHECKING:
    import PIL.Image

    from index_store import Archive

Bits = npt.NDArray[np.bool_]

CANDIDATES: Final = 10
"""Nearest reference images that a generated image is compared with."""
HASH_SIDE: Final = 16
HASH_BITS: Final = HASH_SIDE**2
NEAR_COPY_BITS: Final = 60
"""Of 256 bits: at this distance or below, an image counts as a near copy."""
_PIXELS: Final = 4 * HASH_SIDE
"""The hash looks at a picture of this side, which `imagehash` would make anyway, once for each orientation."""
BLOCK: Final = 1024
"""Pictures that are compared with all before them at a time."""
_REMEMBERED: Final = 4096
"""Hashes of reference images kept in the process: 256 bytes each."""


@dataclass(frozen=True)
class NearestReference:
    """The reference that an image copies or, where it copies none, the one nearest to it in the encoder's space."""

    case_key: str
    image_id: int
    similarity: float
    """Cosine, in [-1, 1]."""
    hash_distance: int | None
    """Bits that differ of 256, in the orientation where fewest do. None where the reference's file cannot be read."""

    @property
    def near_copy(self) -> bool:
        """Whether the image counts as a copy of this reference."""
        return self.hash_distance is not None and self.hash_distance <= NEAR_COPY_BITS


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
        orientations = orientation_hashes(image)
        references = []
        for hit in found:
            if hit.image_id not in cases:  # removed since it was found
                continue
            case = cases[hit.image_id]
            record = next(image for image in case.images if image.id == hit.image_id)
            distance = _distance(orientations, record.path, record.file_sha256)
            references.append(NearestReference(case.key, hit.image_id, hit.score, distance))
        copied = [reference for reference in references if reference.near_copy]
        nearest.append(
            min(copied, key=lambda reference: (reference.hash_distance, reference.image_id))
            if copied
            else max(references, key=lambda reference: (reference.similarity, -reference.image_id), default=None)
        )
    return tuple(nearest)


def orientation_hashes(image: PIL.Image.Image) -> Bits:
    """The hash of an image as it is, then of its other turns and mirror images, bool[8, 256]."""
    import PIL.Image

    small = _small(image)
    return np.stack([_hash(small), *(_hash(small.transpose(way)) for way in PIL.Image.Transpose)])


def picture_hash(image: PIL.Image.Image) -> Bits:
    """The hash of an image as it is, bool[256]."""
    return _hash(_small(image))


def hash_distances(some: Bits, others: Bits) -> npt.NDArray[np.int16]:
    """Bits, of 256, that differ between each of bool[n, 256] and each of bool[m, 256]: int16[n, m].

    As a matrix product of signs, which is exact in float32 and many times faster than comparing bits.
    """
    left, right = (np.where(bits, np.float32(1), np.float32(-1)) for bits in (some, others))
    return ((HASH_BITS - left @ right.T) / 2).astype(np.int16)


def hash_distance(orientations: Bits, reference: Bits) -> int:
    """Bits, of 256, that differ from a reference's hash in the orientation where fewest do."""
    return int((orientations != reference).sum(axis=-1).min())


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
    """Compare every image with all before it. Time grows with the square of their number (docs/synthetic-data.md)."""
    first: dict[str, int] = {}
    exact: dict[int, int] = {}
    for position, image in enumerate(hashes):
        before = first.setdefault(image.pixels, position)
        if before != position:
            exact[position] = before
    kept = np.array([position for position in range(len(hashes)) if position not in exact], dtype=np.int64)
    near: dict[int, int] = {}
    if not len(kept):
        return Duplicates(exact, near)
    bits = np.stack([hashes[position].bits for position in kept])
    for start in range(0, len(kept), BLOCK):
        end = min(start + BLOCK, len(kept))
        before_it = np.arange(end) < np.arange(start, end)[:, None]
        alike = (hash_distances(bits[start:end], bits[:end]) <= NEAR_COPY_BITS) & before_it
        for row in np.flatnonzero(alike.any(axis=1)):
            near[int(kept[start + row])] = int(kept[alike[row].argmax()])
    return Duplicates(exact, near)


def _distance(orientations: Bits, path: Path, file_sha256: str) -> int | None:
    from index_store import ImageProblem

    try:
        return hash_distance(orientations, _reference_hash(path, file_sha256))
    except ImageProblem:
        return None


@lru_cache(maxsize=_REMEMBERED)
def _reference_hash(path: Path, file_sha256: str) -> Bits:
    """Raises `index_store.ImageProblem`, also where the file is not the one that was added."""
    from index_store import decode_image

    return picture_hash(decode_image(path, expected=file_sha256))


def _small(image: PIL.Image.Image) -> PIL.Image.Image:
    import PIL.Image

    return image.convert("L").resize((_PIXELS, _PIXELS), PIL.Image.Resampling.LANCZOS)


def _hash(small: PIL.Image.Image) -> Bits:
    import imagehash

    bits: Bits = imagehash.phash(small, hash_size=HASH_SIDE, highfreq_factor=_PIXELS // HASH_SIDE).hash.ravel()
    return bits
