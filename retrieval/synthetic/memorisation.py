"""Whether a whole set of generated images copies the images that the weights were trained on.

    generated images ─► vectors, hashes in 8 orientations ─┐
                                                           ├─► near copies, the nearest pairs, how near in general
    reference images ─► vectors, hashes (cached) ──────────┘              baseline: real images to other patients'

Near copies are found by the perceptual hash, with the threshold of `near_duplicate`, among *all* references: unlike
there, the encoder need not find the original first, which it does for 96 to 100 % of altered copies. On the 2,766
shared images that flags one pair of different patients, in any orientation: two overlapping photographs of one blood
smear (`python -m benchmarks.near_copies`).

Nearness is compared with a baseline: each reference's similarity to the nearest image of *another* patient. Were
generated images no nearer to the references than other patients' real images are, the two distributions would agree;
where they lie nearer, they show more of single references than the kind of material explains. Neither proves that an
image is private.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from retrieval.arrays import Floats
from retrieval.encoder.encoder import Encoder, Progress
from retrieval.errors import EvaluationError
from retrieval.generated.near_duplicate import NEAR_COPY_BITS, hash_distances, orientation_hashes
from retrieval.synthetic.dataset import RECIPE
from retrieval.synthetic.plan import SPLIT
from retrieval.synthetic.references import References, read_images

if TYPE_CHECKING:
    import PIL.Image


QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
NEAREST: Final = 20
"""Pairs that are named beside the near copies."""
ENDINGS: Final = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"})
_BLOCK: Final = 512


@dataclass(frozen=True)
class CopyPair:
    """A generated image and a reference."""

    image: str
    """Below the folder that was checked."""
    image_path: Path
    reference: str
    """As its manifest or archive names it."""
    reference_path: Path
    similarity: float
    """Cosine in the encoder's space."""
    hash_distance: int
    """Bits that differ of 256, in the orientation where fewest do."""

    @property
    def near_copy(self) -> bool:
        """Whether the hashes are within the threshold."""
        return self.hash_distance <= NEAR_COPY_BITS


@dataclass(frozen=True)
class Nearness:
    """A distribution of similarities to the nearest image."""

    images: int
    mean: float
    quantiles: dict[str, float]
    """By share of the images at or below: "0.05", "0.5" …"""


@dataclass(frozen=True)
class CopyReport:
    """The result of comparing a set of generated images with references."""

    folder: Path
    images: int
    unreadable: int
    """Files of the folder that could not be decoded, and were not compared."""
    source: str
    references: int
    patients: int
    patients_named: bool
    skipped: int
    """References that could not be used."""
    encoder: str
    fingerprint: str
    threshold_bits: int
    near_copies: tuple[CopyPair, ...]
    """Each image that copies a reference, once, with the reference whose hash is nearest."""
    nearest: tuple[CopyPair, ...]
    """Of the others, those most similar to a reference, most similar first."""
    generated: Nearness
    baseline: Nearness | None
    """Of the references, each to the nearest image of another patient; None where there is one patient alone."""
    baseline_near_copies: int
    """References within the threshold of another patient's image: what the hash flags wrongly, or true duplicates.
    Turned ones are not looked for here."""
    nearer_than_baseline_95: float | None
    """Share of generated images that lie nearer to a reference than 95 % of references lie to another patient's; 0.05
    were they alike."""
    nearer_than_baseline: float | None
    """Chance that a generated image lies nearer to its nearest reference than a reference to its nearest of another
    patient; 0.5 were they alike."""


def images_of(folder: Path | str) -> tuple[Path, list[Path]]:
    """The folder and its image files, in order: of a synthetic set the images in class folders, else all below.

    Raises:
        EvaluationError: there are none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise EvaluationError(f"There is no folder {folder}. Name the folder of the generated images.")
    if (folder / RECIPE).is_file():
        found = sorted((folder / SPLIT).glob("*/*.png"))
    else:
        found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file())
    if not found:
        raise EvaluationError(f"{folder} holds no images ({', '.join(sorted(ENDINGS))}). Name another folder.")
    return folder, found


def check_copies(
    images: tuple[Path, Sequence[Path]],
    references: References,
    encoder: Encoder,
    *,
    progress: Progress | None = None,
) -> CopyReport:
    """Compare images (`images_of`) with all references, a block of images at a time.

    Raises:
        EvaluationError: not one image can be read.
        EncoderLoadError, EncodingError: as the encoder raises.
    """
    folder, files = images
    found: list[tuple[int, int, float, int]] = []  # image, reference, similarity, bits
    nearest: list[float] = []

    def compare(places: list[int], pictures: list[PIL.Image.Image]) -> None:
        similar = encoder.encode_images(pictures) @ references.vectors.T
        turned = np.stack([orientation_hashes(picture) for picture in pictures])
        every = hash_distances(turned.reshape(-1, turned.shape[2]), references.hashes)
        bits = every.reshape(*turned.shape[:2], -1).min(axis=1)
        for row, place in enumerate(places):
            copied = int(bits[row].argmin())
            at = copied if bits[row, copied] <= NEAR_COPY_BITS else int(similar[row].argmax())
            found.append((place, at, float(similar[row, at]), int(bits[row, at])))
            nearest.append(float(similar[row].max()))

    read_images(list(enumerate(files)), compare, progress)
    if not found:
        raise EvaluationError(f"Not one image in {folder} can be read. Check that these are images.")
    pairs = [
        CopyPair(
            str(files[place].relative_to(folder)),
            files[place],
            references.names[at],
            references.paths[at],
            similarity,
            bits,
        )
        for place, at, similarity, bits in found
    ]
    copies = sorted((pair for pair in pairs if pair.near_copy), key=lambda pair: (pair.hash_distance, pair.image))
    others = sorted((pair for pair in pairs if not pair.near_copy), key=lambda pair: (-pair.similarity, pair.image))
    base, flagged = baseline(references)
    own = np.array(nearest)
    return CopyReport(
        folder=folder,
        images=len(found),
        unreadable=len(files) - len(found),
        source=references.source,
        references=len(references.names),
        patients=len(set(references.patients)),
        patients_named=references.patients_named,
        skipped=len(references.skipped),
        encoder=encoder.name,
        fingerprint=encoder.fingerprint,
        threshold_bits=NEAR_COPY_BITS,
        near_copies=tuple(copies),
        nearest=tuple(others[:NEAREST]),
        generated=_nearness(own),
        baseline=None if base is None else _nearness(base),
        baseline_near_copies=flagged,
        nearer_than_baseline_95=None if base is None else float((own > np.quantile(base, 0.95)).mean()),
        nearer_than_baseline=None if base is None else _greater(own, base),
    )


def baseline(references: References) -> tuple[Floats | None, int]:
    """The similarity of each reference to the nearest image of another patient, float64[n], and how many have one
    within the hash's threshold. None where all are of one patient."""
    _, patient = np.unique(np.array(references.patients), return_inverse=True)
    if patient.max(initial=0) == 0:
        return None, 0
    near, flagged = np.empty(len(patient)), 0
    for start in range(0, len(patient), _BLOCK):
        rows = slice(start, start + _BLOCK)
        own = patient[rows, None] == patient
        near[rows] = np.where(own, -np.inf, references.vectors[rows] @ references.vectors.T).max(axis=1)
        bits = hash_distances(references.hashes[rows], references.hashes)
        flagged += int(((bits <= NEAR_COPY_BITS) & ~own).any(axis=1).sum())
    return near, flagged


def _nearness(values: Floats) -> Nearness:
    quantiles = np.quantile(values, QUANTILES)
    return Nearness(
        len(values), float(values.mean()), {f"{q:g}": float(v) for q, v in zip(QUANTILES, quantiles, strict=True)}
    )


def _greater(some: Floats, others: Floats) -> float:
    """The probability that a value of `some`, float64[n], is greater than one of `others`, float64[m], ties counted as
    one half: Mann-Whitney's U divided by n m."""
    ordered = np.sort(others)
    below, up_to = (np.searchsorted(ordered, some, side=side) for side in ("left", "right"))
    return float((below + up_to).mean() / 2 / len(others))
