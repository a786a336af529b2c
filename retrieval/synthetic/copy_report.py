"""What a copy check found, and what it could have found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from retrieval.copies.overlap import Overlap
from retrieval.generated.near_duplicate import is_copy


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
    """Bits that differ of 256, in the orientation and the square of the reference where fewest do."""
    part: Overlap | None
    """Where keypoints of both agree: the part of the image that may lie in the reference."""

    @property
    def near_copy(self) -> bool:
        """Whether hashes or a shared part make the image a copy of the reference."""
        return is_copy(self.hash_distance, self.part)

    @property
    def words(self) -> str:
        """How near the two are."""
        near = f"similarity {self.similarity:.3f}, {self.hash_distance} bits"
        if self.part is None or not self.part.copied:
            return near
        mirrored = ", mirrored" if self.part.mirrored else ""
        return f"{near}, {self.part.share:.0%} of the picture{mirrored}, correlation {self.part.correlation:.2f}"


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
    plain: int
    """Images with too few keypoints for a copied part to be recognised: of these only whole pictures are."""
    plain_references: int
    """References of which the same holds."""
    source: str
    references: int
    patients: int
    """Different ones. Without `patients_named` these are cases, or images that belong to none."""
    patients_named: bool
    skipped: Mapping[str, int]
    """References that could not be used, by reason."""
    encoder: str
    fingerprint: str
    threshold_bits: int
    threshold_correlation: float
    near_copies: tuple[CopyPair, ...]
    """Each image that copies a reference, or a part of one, once, with that reference."""
    extreme: float | None
    """Similarity that almost no reference reaches with an image of another patient: more than it is an alarm. None:
    the references are too few to say, or all of one patient."""
    alarms: tuple[CopyPair, ...]
    """Images that copy no reference by hash or part, and are more alike to one than `extreme`."""
    nearest: tuple[CopyPair, ...]
    """Of the others, those most similar to a reference, most similar first."""
    generated: Nearness
    baseline: Nearness | None
    """Of the references, each to the nearest image of another patient; None where there is one patient alone."""
    baseline_near_copies: int
    """References within the hash's threshold of another patient's image: flagged wrongly, or true duplicates. Turned
    ones are not looked for here."""
    nearer_than_baseline_95: float | None
    """Share of generated images that lie nearer to a reference than 95 % of references lie to another patient's; 0.05
    were they alike."""
    nearer_than_baseline: float | None
    """Chance that a generated image lies nearer to its nearest reference than a reference to its nearest of another
    patient; 0.5 were they alike."""

    @property
    def others(self) -> str:
        """Whose images a reference is compared with, in words."""
        return "another patient's image" if self.patients_named else "another image"

    @property
    def clean(self) -> bool:
        """Whether nothing was found where everything that is looked for could have been."""
        whole = self.patients_named and not (self.plain or self.plain_references or self.unreadable or self.skipped)
        return whole and self.extreme is not None and not self.near_copies and not self.alarms
