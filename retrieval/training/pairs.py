"""One's own images and reports, of a manifest or an archive, as pairs to train on."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generation.errors import TrainingDataError
from generation.training.data.latent_cache import ProgressFactory, no_progress
from generation.training.data.pairs import ATTRIBUTES, TrainingPair
from retrieval.encoder.content_hashes import content_hashes
from retrieval.language.archive_labels import meant_filter
from retrieval.language.label_reader import missing_labels

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

    from index_store import Archive, CaseFilter, PlannedImage

_ORIENTATION = 0x0112
_ON_ITS_SIDE = (5, 6, 7, 8)
_GONE = "An image of the archive is gone, damaged or altered: `coin doctor` names it."
_NO_REPORT = "The case has no report."


@dataclass(frozen=True)
class OwnPairs:
    """Pairs, and the number of rows or images left out by reason. No reason names a file or a patient."""

    pairs: tuple[TrainingPair, ...]
    skipped: Mapping[str, int]


def manifest_pairs(
    manifest: Path | str,
    *,
    images: Path | str | None = None,
    work: Path | None = None,
    progress: ProgressFactory = no_progress,
) -> OwnPairs:
    """The pairs of a manifest, read as `coin add` reads it, with the same limits.

    Site and category that it does not give are read from the reports where they are shown. Files are hashed now, unless
    `work` keeps the hash of a file of that size and time of change, and decoded when a pair is loaded.

    Raises:
        index_store.ManifestError: the manifest as a whole cannot be read.
        TrainingDataError: not one row gives a pair.
    """
    from index_store import PlannedImage, count_reasons, read_manifest

    read = read_manifest(manifest, images=images)
    skipped = count_reasons(read.problems)
    pairs = []
    with progress("Reading images", unit="images") as show:
        hashes = content_hashes([row.path for row in read.rows], work=work, progress=show)
    for row, content in zip(read.rows, hashes, strict=True):
        if isinstance(content, Exception):
            skipped[_nameless(content, row.path)] += 1
            continue
        pairs.append(
            TrainingPair(
                content=content,
                patient=row.patient,
                report=row.report,
                load=partial(_load_planned, PlannedImage(row, content)),
                case=row.case,
                patient_named=bool(row.names_patient or row.phantom),
                attributes=_attributes(row, row),
                derive=None
                if row.site and row.category
                else partial(missing_labels, row.report, row.site, row.system, row.category),
                size=partial(_size, row.path),
            )
        )
    return _own(pairs, skipped)


def archive_pairs(archive: Archive, where: CaseFilter | None = None) -> OwnPairs:
    """The pairs of an archive, `where` filters cases and images.

    Raises `TrainingDataError` if there is none.
    """
    skipped: Counter[str] = Counter()
    pairs = []
    for case in archive.cases(meant_filter(archive, where)):
        if not case.report.strip():
            skipped[_NO_REPORT] += len(case.images)
            continue
        pairs += [
            TrainingPair(
                content=image.sha256,
                patient=case.patient,
                report=case.report,
                load=partial(_load_stored, image.path, image.file_sha256),
                case=case.key,
                patient_named=case.phantom or case.patient != case.key,
                attributes=_attributes(case, image),
                size=partial(_stored_size, image.width, image.height),
            )
            for image in case.images
        ]
    return _own(pairs, skipped)


def _own(pairs: Sequence[TrainingPair], skipped: Mapping[str, int]) -> OwnPairs:
    if not pairs:
        reasons = "".join(f" Left out: {count} × {reason}" for reason, count in sorted(skipped.items()))
        raise TrainingDataError(
            f"There are no images with reports to learn from.{reasons} Name a manifest or archive with some; --images "
            "names the folder that a manifest's image names start from."
        )
    return OwnPairs(tuple(pairs), skipped)


def _attributes(case: Any, image: Any) -> dict[str, str]:
    """The known ones of ATTRIBUTES, of the case or of its image; a manifest's row is both."""
    known = {name: getattr(case if hasattr(case, name) else image, name) for name in ATTRIBUTES}
    for name in ("stain", "kind"):
        known[name] = getattr(image, name)
    known["phantom"] = "yes" if known["phantom"] else ""
    return {name: value for name, value in known.items() if value}


def _load_planned(planned: PlannedImage) -> Picture:
    from index_store import ImageProblem

    try:
        return planned.load().image
    except ImageProblem as error:
        raise TrainingDataError(_nameless(error, planned.row.path)) from error


def _size(path: Path) -> tuple[int, int] | None:
    """Width and height by the file's header, as the picture stands upright; None where the header does not say it."""
    from PIL import Image

    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")
            width, height = image.size
            return (height, width) if image.getexif().get(_ORIENTATION, 1) in _ON_ITS_SIDE else (width, height)
    except Exception:  # noqa: BLE001 - whatever is wrong with it is said when it is decoded
        return None


def _stored_size(width: int, height: int) -> tuple[int, int]:
    return width, height


def _load_stored(path: Path, checksum: str) -> Picture:
    from index_store import ImageProblem, decode_image

    try:
        return decode_image(path, expected=checksum)
    except (OSError, ImageProblem) as error:
        raise TrainingDataError(_GONE) from error


def _nameless(error: Exception, path: Path) -> str:
    """The reason why an image cannot be used, without its name, which may identify a patient."""
    if isinstance(error, OSError):
        return f"The image cannot be read ({error.strerror})."
    return str(error).replace(path.name, "The image", 1).partition(". ")[0].rstrip(".") + "."
