"""The images that generated ones are compared with: those of a training manifest, or of an archive.

Vectors and fingerprints (hashes and keypoints) of images, which are expensive, are cached by the content of the files:
in another comparison, after an interruption, or with a manifest that grew, only new files are read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Vectors
from retrieval.copies.fingerprint import KIND, Fingerprint, FingerprintStore, fingerprint
from retrieval.copies.picture_hash import HASH_BITS, Bits
from retrieval.encoder.content_hashes import content_hashes
from retrieval.encoder.embedding_cache import EmbeddingCache, embedding_key
from retrieval.encoder.encoder import Encoder, Progress
from retrieval.encoder.thumbnails import Thumbnails
from retrieval.errors import EvaluationError
from retrieval.synthetic.picture_reader import read_images

if TYPE_CHECKING:
    import PIL.Image

    from index_store import Archive, ManifestRow, Problem


@dataclass(frozen=True, eq=False)
class References:
    """n images of known patients, each with a unit vector and a perceptual hash."""

    source: str
    """The manifest's or the archive's name."""
    names: tuple[str, ...]
    """As a manifest writes them; of an archive its case and the image's id."""
    paths: tuple[Path, ...]
    patients: tuple[str, ...]
    vectors: Vectors
    """float32[n, d]."""
    hashes: Bits
    """bool[n, 256]."""
    patients_named: bool
    """Whether every image's patient was named. If not, an image or a case counts as a patient of its own."""
    skipped: tuple[Problem, ...] = ()
    rows: tuple[ManifestRow, ...] = ()
    """One an image, where they are of a manifest; site and category that it does not give are read from the report."""
    keys: tuple[str, ...] = ()
    """One an image: its fingerprint's in `prints`."""
    prints: FingerprintStore | None = None
    """What parts of an image are recognised by; None: they were not requested."""
    work: Path | None = None
    """The folder that keeps what was made of them."""


def manifest_references(
    manifest: Path | str,
    encoder: Encoder | Thumbnails,
    *,
    images: Path | str | None = None,
    work: Path | None = None,
    progress: Progress | None = None,
    prints: bool = True,
) -> References:
    """The images of a manifest (formats and columns as of `index_store.read_manifest`), read where they lie.

    Args:
        images: the folder that its paths are relative to; by default the manifest's own.
        work: folder that keeps vectors and fingerprints; None: they are computed again.
        progress: counts files that were read.
        prints: make the fingerprints that copies are found by; without them the hashes are empty.

    Raises:
        index_store.ManifestError: the manifest cannot be read.
        EvaluationError: not one image can be read.
        EncoderLoadError, EncodingError: as the encoder raises.
    """
    from index_store import Problem, count_reasons, read_manifest

    read = read_manifest(manifest, images=images)
    rows = list({row.path: row for row in read.rows}.values())
    problems = list(read.problems)
    named: list[tuple[str, Path, str]] = []
    patients, kept = [], []
    for row, sha256 in zip(rows, content_hashes([row.path for row in rows], work=work), strict=True):
        if isinstance(sha256, Exception):
            problems.append(Problem(f"line {row.line}", "its image cannot be read", "Check the file."))
            continue
        named.append((row.image, row.path, sha256))
        patients.append(row.patient)
        kept.append(row)
    store = open_fingerprints(work) if prints else None
    vectors, readable = describe_images(named, encoder, work, progress, prints=store)
    for position in np.flatnonzero(~readable):
        problems.append(Problem(f"line {kept[position].line}", "its image cannot be decoded", "Export it again."))
    where = np.flatnonzero(readable)
    keys = tuple(fingerprint_key(named[position][2]) for position in where)
    if not len(where):
        reasons = "".join(f" Left out: {n} × {reason}" for reason, n in sorted(count_reasons(problems).items()))
        raise EvaluationError(f"{read.path.name} names no image that can be read.{reasons}")
    return References(
        source=read.path.name,
        names=tuple(named[position][0] for position in where),
        paths=tuple(named[position][1] for position in where),
        patients=tuple(patients[position] for position in where),
        vectors=vectors,
        hashes=_whole_hashes(store, keys),
        patients_named=all(row.names_patient or row.phantom for row in kept),
        skipped=tuple(problems),
        rows=tuple(kept[position] for position in where),
        keys=keys if store is not None else (),
        prints=store,
        work=work,
    )


def archive_references(
    archive: Archive, encoder: Encoder, *, work: Path | None = None, progress: Progress | None = None
) -> References:
    """Every image of an archive, with its stored vectors.

    Args:
        work: folder that keeps fingerprints; None: they are computed again.
        progress: counts files that were read.

    Raises:
        EvaluationError: the archive is empty, or not one image can be read.
        index_store.EncoderMismatchError: another encoder embedded it.
    """
    from index_store import EncoderMismatchError, Problem

    known = archive.encoder
    if known is None:
        raise EvaluationError("The archive is empty, so there is nothing to compare with: add cases with `coin add`.")
    if known.fingerprint != encoder.fingerprint:
        raise EncoderMismatchError(
            f"The archive was embedded with {known.name} ({known.fingerprint[:12]}), not with {encoder.name} "
            f"({encoder.fingerprint[:12]}). Name the archive's own encoder with --encoder."
        )
    # Of each case what names it, without its report.
    images = [
        (dataclasses.replace(case, report="", images=()), image)
        for case in archive.each_case()
        for image in case.images
    ]
    store = open_fingerprints(work)
    every = [fingerprint_key(image.sha256) for _, image in images]
    missing = [position for position, key in enumerate(every) if key not in store]

    def keep(positions: list[int], _: list[PIL.Image.Image], made: list[Any]) -> None:
        _put(store, [every[position] for position in positions], made)

    read_images(
        [(position, images[position][1].path) for position in missing],
        keep,
        progress,
        look=fingerprint,
        checksums=[images[position][1].file_sha256 for position in missing],
    )
    readable = np.array([key in store for key in every], dtype=bool)
    where = np.flatnonzero(readable)
    lost = [images[position] for position in np.flatnonzero(~readable)]
    kept = [images[position] for position in where]
    keys = tuple(every[position] for position in where)
    if not kept:
        raise EvaluationError("Not one image of the archive can be read: run `coin doctor`.")
    return References(
        source=archive.path.name,
        names=tuple(f"{case.key} (image {image.id})" for case, image in kept),
        paths=tuple(image.path for _, image in kept),
        patients=tuple(case.patient for case, _ in kept),
        vectors=archive.vectors_of([image.id for _, image in kept], encoder.fingerprint),
        hashes=_whole_hashes(store, keys),
        patients_named=all(case.phantom or case.patient != case.key for case, _ in kept),
        skipped=tuple(
            Problem(f"case {case.key}, image {image.id}", "cannot be read", "Run `coin doctor`.")
            for case, image in lost
        ),
        keys=keys,
        prints=store,
        work=work,
    )


def describe_images(
    named: Sequence[tuple[str, Path, str]],
    encoder: Encoder | Thumbnails,
    work: Path | None,
    progress: Progress | None,
    *,
    checksums: Sequence[str] = (),
    prints: FingerprintStore | None = None,
) -> tuple[Vectors, npt.NDArray[np.bool_]]:
    """Vectors float32[m, d] of the files that can be decoded, and which of the n these are, bool[n].

    Args:
        named: n times name, path and content hash.
        work: folder that caches vectors by content; None: nothing is kept.
        progress: counts files that were read.
        checksums: n times what a file's own bytes must hash to; empty: they are not compared.
        prints: also put each image's fingerprint there.
    """
    cache = EmbeddingCache(None if work is None else work / "images" / encoder.fingerprint[:16], encoder.dim)
    keys = [embedding_key({"image": sha256, "encoder": encoder.fingerprint}) for _, _, sha256 in named]
    print_keys = [fingerprint_key(sha256) for _, _, sha256 in named] if prints is not None else []

    def known(position: int) -> bool:
        return keys[position] in cache and (prints is None or print_keys[position] in prints)

    def keep(positions: list[int], images: list[PIL.Image.Image], made: list[Any]) -> None:
        cache.put([keys[position] for position in positions], encoder.encode_images(images))
        if prints is not None:
            _put(prints, [print_keys[position] for position in positions], made)

    missing = [position for position in range(len(named)) if not known(position)]
    read_images(
        [(position, named[position][1]) for position in missing],
        keep,
        progress,
        look=None if prints is None else fingerprint,
        checksums=[checksums[position] for position in missing] if checksums else (),
    )
    readable = np.array([known(position) for position in range(len(named))], dtype=bool)
    return cache.take([keys[position] for position in np.flatnonzero(readable)]), readable


def open_fingerprints(work: Path | None) -> FingerprintStore:
    """The fingerprints that the folder keeps. Raises `EvaluationError`: it cannot be made or read."""
    folder = None if work is None else work / "images" / KIND.replace(" ", "-").replace(",", "")
    try:
        return FingerprintStore(folder)
    except OSError as error:
        raise EvaluationError(f"The work folder {work} cannot be used ({error.strerror}): name another.") from error


def fingerprint_key(sha256: str) -> str:
    """By the content of the image."""
    return embedding_key({"image": sha256, "fingerprint": KIND})


def _put(store: FingerprintStore, keys: list[str], made: list[Fingerprint]) -> None:
    try:
        store.put(keys, made)
    except OSError as error:
        raise EvaluationError(f"Fingerprints cannot be kept ({error.strerror}): make room.") from error


def _whole_hashes(store: FingerprintStore | None, keys: Sequence[str]) -> Bits:
    """bool[n, 256]: of each picture as it is."""
    if store is None or not keys:
        return np.empty((0, HASH_BITS), dtype=bool)
    return np.stack([store.windows(key)[0] for key in keys])
