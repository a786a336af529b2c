"""Whether a whole set of generated images copies the images that the weights were trained on.

    generated images ─► vectors, hashes, keypoints ─────────┐
                                                            ├─► copies, extreme similarity, how near in general
    reference images ─► vectors, fingerprints (cached) ─────┘              baseline: real images to other patients'

Copies are found among *all* references (`retrieval.copies.reference_search`): of whole pictures and of the squares that
a training sees, by the perceptual hash, and of parts, turned and larger or smaller, by keypoints and the pixels below
them. The rates, and the false alarms, are measured (`python -m benchmarks.near_copies`).

Similarity in the encoder's space is compared with a baseline: each reference's to the nearest image of *another*
patient. An image that is nearer to a reference than almost any of these is an alarm by itself. The distributions as
wholes say whether generated images show more of single references than the kind of material explains, and nothing of
single images. Nothing here proves that an image is private.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from generation.worker_pool import workers
from retrieval.arrays import Floats
from retrieval.copies.fingerprint import KIND
from retrieval.copies.overlap import COPIED
from retrieval.copies.picture_hash import NEAR_COPY_BITS, hash_distances
from retrieval.copies.reference_search import Match, ReferenceSearch, Searched, searched
from retrieval.encoder.encoder import Encoder, Progress
from retrieval.errors import EvaluationError
from retrieval.generated.near_duplicate import is_copy
from retrieval.synthetic.checked_images import CheckedImage, CheckedImages
from retrieval.synthetic.copy_report import CopyPair, CopyReport, Nearness
from retrieval.synthetic.dataset import RECIPE
from retrieval.synthetic.picture_reader import read_images
from retrieval.synthetic.plan import SPLIT
from retrieval.synthetic.references import References

if TYPE_CHECKING:
    import PIL.Image


QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
NEAREST: Final = 20
"""Pairs that are named beside the near copies."""
ENDINGS: Final = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"})
LEAST_KEYPOINTS: Final = 12
"""With fewer keypoints a picture is so plain that a copied part is not recognised."""
EXTREME: Final = 0.002
"""Share of the references that may be more alike to another patient's image than what raises an alarm."""
FEWEST: Final = round(1 / EXTREME)
METHOD: Final = "copies 1"
"""How images are compared; results of another way must have another name."""
_BLOCK: Final = 512


def images_of(folder: Path | str) -> tuple[Path, list[Path]]:
    """The folder and its image files, in order: of a synthetic set the images in class folders, else all below.

    Raises:
        EvaluationError: there are none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise EvaluationError(f"There is no folder {folder}. Name the folder of the generated images.")
    if (folder / RECIPE).is_file():
        found = sorted((folder / SPLIT).rglob("*.png"))
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

    What was compared is kept in the references' work folder: a check that was interrupted resumes.

    Raises:
        EvaluationError: not one image can be read, or the references have no fingerprints.
        EncoderLoadError, EncodingError: as the encoder raises.
    """
    from index_store import count_reasons

    folder, files = images
    if references.prints is None:
        raise EvaluationError("The references were read without fingerprints: read them with prints=True.")
    kept = CheckedImages(references.work, (METHOD, KIND, encoder.fingerprint, *references.keys))
    found = {position: result for position, path in enumerate(files) if (result := kept.get(path)) is not None}
    missing = [(position, path) for position, path in enumerate(files) if position not in found]
    if missing:
        search = ReferenceSearch(references.prints, references.keys, references.paths)
        with workers(len(missing)) as pool:

            def compare(positions: list[int], pictures: list[PIL.Image.Image], looked: list[Searched]) -> None:
                similar = encoder.encode_images(pictures) @ references.vectors.T
                results = [
                    _checked(row, result, match, search)
                    for row, result, match in zip(
                        similar, looked, search.match(looked, similar.argmax(axis=1).tolist(), pool), strict=True
                    )
                ]
                kept.add([files[position] for position in positions], results)
                found.update(zip(positions, results, strict=True))

            read_images(missing, compare, progress, look=searched, pool=pool)
    if not found:
        raise EvaluationError(f"Not one image in {folder} can be read. Check that these are images.")
    pairs = [
        CopyPair(
            str(files[position].relative_to(folder)),
            files[position],
            references.names[result.reference],
            references.paths[result.reference],
            result.similarity,
            result.hash_distance,
            result.part,
        )
        for position, result in sorted(found.items())
    ]
    base, flagged = baseline(references)
    extreme = None if base is None else extreme_similarity(base[~flagged])
    copies = sorted((pair for pair in pairs if pair.near_copy), key=lambda pair: (pair.hash_distance, pair.image))
    others = sorted((pair for pair in pairs if not pair.near_copy), key=lambda pair: (-pair.similarity, pair.image))
    alarms = [pair for pair in others if extreme is not None and pair.similarity > extreme]
    own = np.array([result.nearest for _, result in sorted(found.items())])
    return CopyReport(
        folder=folder,
        images=len(found),
        unreadable=len(files) - len(found),
        plain=sum(result.keypoints < LEAST_KEYPOINTS for result in found.values()),
        plain_references=sum(references.prints.count(key) < LEAST_KEYPOINTS for key in references.keys),
        source=references.source,
        references=len(references.names),
        patients=len(set(references.patients)),
        patients_named=references.patients_named,
        skipped=count_reasons(references.skipped),
        encoder=encoder.name,
        fingerprint=encoder.fingerprint,
        threshold_bits=NEAR_COPY_BITS,
        threshold_correlation=COPIED,
        near_copies=tuple(copies),
        extreme=extreme,
        alarms=tuple(alarms),
        nearest=tuple(others[len(alarms) : len(alarms) + NEAREST]),
        generated=_nearness(own),
        baseline=None if base is None else _nearness(base),
        baseline_near_copies=int(flagged.sum()),
        nearer_than_baseline_95=None if base is None else float((own > np.quantile(base, 0.95)).mean()),
        nearer_than_baseline=None if base is None else _greater(own, base),
    )


def _checked(similar: Floats, picture: Searched, match: Match, search: ReferenceSearch) -> CheckedImage:
    """The result of one image; `similar` float32[n] are its similarities to all references."""
    most, at, bits, part = int(similar.argmax()), match.reference, match.hash_distance, match.part
    if not is_copy(bits, part) and at != most:
        at, bits, part = most, search.distance(picture, most), None
    return CheckedImage(at, float(similar[at]), float(similar[most]), bits, part, len(picture.keypoints))


def extreme_similarity(base: Floats) -> float | None:
    """The similarity that one in `EXTREME` of references at most exceeds with another patient's image; None where the
    references, float64[n], are too few to tell."""
    if len(base) < FEWEST:
        return None
    return float(np.sort(base)[-1 - int(len(base) * EXTREME)])


def baseline(references: References) -> tuple[Floats | None, npt.NDArray[np.bool_]]:
    """The similarity of each reference to the nearest image of another patient, float64[n], and which have one within
    the hash's threshold, bool[n]. None where all are of one patient."""
    _, patient = np.unique(np.array(references.patients), return_inverse=True)
    flagged = np.zeros(len(patient), dtype=bool)
    if patient.max(initial=0) == 0:
        return None, flagged
    near = np.empty(len(patient))
    for start in range(0, len(patient), _BLOCK):
        rows = slice(start, start + _BLOCK)
        own = patient[rows, None] == patient
        near[rows] = np.where(own, -np.inf, references.vectors[rows] @ references.vectors.T).max(axis=1)
        bits = hash_distances(references.hashes[rows], references.hashes)
        flagged[rows] = ((bits <= NEAR_COPY_BITS) & ~own).any(axis=1)
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
