"""The images that generated ones are compared with: those of a training manifest, or of an archive.

Vectors and perceptual hashes of a manifest's images, which are expensive, are cached by the content of the files and
the encoder's fingerprint: in another comparison, or with a manifest that grew, only new files are read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Vectors
from retrieval.encoder.embedding_cache import EmbeddingCache, embedding_key
from retrieval.encoder.encoder import Encoder, Progress
from retrieval.encoder.thumbnails import Thumbnails
from retrieval.errors import EvaluationError
from retrieval.generated.near_duplicate import HASH_BITS, Bits, picture_hash

if TYPE_CHECKING:
    import PIL.Image

    from index_store import Archive, ManifestRow, Problem


BATCH: Final = 64
_WORKERS: Final = 8
_HASH: Final = "phash 16"
"""The kind of hash in the cache; another kind must have another name."""


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
    """One an image, where they are of a manifest."""


def manifest_references(
    manifest: Path | str,
    encoder: Encoder | Thumbnails,
    *,
    images: Path | str | None = None,
    work: Path | None = None,
    progress: Progress | None = None,
) -> References:
    """The images of a manifest (formats and columns as of `index_store.read_manifest`), read where they lie.

    Args:
        images: the folder that its paths are relative to; by default the manifest's own.
        work: folder that keeps vectors and hashes; None: they are computed again.
        progress: counts files that were read.

    Raises:
        index_store.ManifestError: the manifest cannot be read.
        EvaluationError: not one image can be read.
        EncoderLoadError, EncodingError: as the encoder raises.
    """
    from index_store import ImageProblem, Problem, content_hash, read_manifest

    read = read_manifest(manifest, images=images)
    rows = list({row.path: row for row in read.rows}.values())
    problems = list(read.problems)
    named: list[tuple[str, Path, str]] = []
    patients, kept = [], []
    for row in rows:
        try:
            named.append((row.image, row.path, content_hash(row.path)))
            patients.append(row.patient)
            kept.append(row)
        except (OSError, ImageProblem):
            problems.append(Problem(f"line {row.line}", "its image cannot be read", "Check the file."))
    vectors, hashes, readable = describe_images(named, encoder, work, progress)
    for place in np.flatnonzero(~readable):
        problems.append(Problem(f"line {kept[place].line}", "its image cannot be decoded", "Export it again."))
    where = np.flatnonzero(readable)
    if not len(where):
        raise EvaluationError(f"{read.path.name} names no image that can be read: there is nothing to compare with.")
    return References(
        source=read.path.name,
        names=tuple(named[place][0] for place in where),
        paths=tuple(named[place][1] for place in where),
        patients=tuple(patients[place] for place in where),
        vectors=vectors,
        hashes=hashes,
        patients_named=all(row.names_patient or row.phantom for row in kept),
        skipped=tuple(problems),
        rows=tuple(kept[place] for place in where),
    )


def archive_references(
    archive: Archive, encoder: Encoder, *, work: Path | None = None, progress: Progress | None = None
) -> References:
    """Every image of an archive, with its stored vectors.

    Args:
        work: folder that keeps hashes; None: they are computed again.
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
    cases = archive.cases()
    images = [(case, image) for case in cases for image in case.images]
    hashes, readable = _hashes([(image.path, image.sha256, image.file_sha256) for _, image in images], work, progress)
    where = np.flatnonzero(readable)
    lost = [images[place] for place in np.flatnonzero(~readable)]
    kept = [images[place] for place in where]
    if not kept:
        raise EvaluationError("Not one image of the archive can be read: run `coin doctor`.")
    return References(
        source=archive.path.name,
        names=tuple(f"{case.key} (image {image.id})" for case, image in kept),
        paths=tuple(image.path for _, image in kept),
        patients=tuple(case.patient for case, _ in kept),
        vectors=archive.vectors_of([image.id for _, image in kept], encoder.fingerprint),
        hashes=hashes,
        patients_named=all(case.phantom or case.patient != case.key for case, _ in kept),
        skipped=tuple(
            Problem(f"case {case.key}, image {image.id}", "cannot be read", "Run `coin doctor`.")
            for case, image in lost
        ),
    )


def describe_images(
    named: Sequence[tuple[str, Path, str]],
    encoder: Encoder | Thumbnails,
    work: Path | None,
    progress: Progress | None,
    *,
    checksums: Sequence[str] = (),
) -> tuple[Vectors, Bits, npt.NDArray[np.bool_]]:
    """Vectors float32[m, d] and hashes bool[m, 256] of the files that can be decoded, and which of the n these are,
    bool[n].

    Args:
        named: n times name, path and content hash.
        work: folder that caches both by content; None: nothing is kept.
        progress: counts files that were read.
        checksums: n times what a file's own bytes must hash to; empty: they are not compared.
    """
    cache = EmbeddingCache(None if work is None else work / "images" / encoder.fingerprint[:16], encoder.dim)
    hashes = _hash_cache(work)
    keys = [embedding_key({"image": sha256, "encoder": encoder.fingerprint}) for _, _, sha256 in named]
    hash_keys = [_hash_key(sha256) for _, _, sha256 in named]

    def keep(places: list[int], images: list[PIL.Image.Image]) -> None:
        cache.put([keys[place] for place in places], encoder.encode_images(images))
        hashes.put([hash_keys[place] for place in places], _as_floats(images))

    missing = [place for place, key in enumerate(keys) if key not in cache or hash_keys[place] not in hashes]
    read_images(
        [(place, named[place][1]) for place in missing],
        keep,
        progress,
        checksums=[checksums[place] for place in missing] if checksums else (),
    )
    readable = np.array(
        [key in cache and hash_key in hashes for key, hash_key in zip(keys, hash_keys, strict=True)], dtype=bool
    )
    where = np.flatnonzero(readable)
    return cache.take([keys[i] for i in where]), hashes.take([hash_keys[i] for i in where]) > 0, readable


def _hashes(
    files: Sequence[tuple[Path, str, str]], work: Path | None, progress: Progress | None
) -> tuple[Bits, npt.NDArray[np.bool_]]:
    """Hashes bool[m, 256] of the files (path, hash of the source, checksum of the file) that can be decoded; which of
    the n these are, bool[n]."""
    hashes = _hash_cache(work)
    keys = [_hash_key(sha256) for _, sha256, _ in files]

    def keep(places: list[int], images: list[PIL.Image.Image]) -> None:
        hashes.put([keys[place] for place in places], _as_floats(images))

    missing = [place for place, key in enumerate(keys) if key not in hashes]
    read_images(
        [(place, files[place][0]) for place in missing],
        keep,
        progress,
        checksums=[files[place][2] for place in missing],
    )
    readable = np.array([key in hashes for key in keys], dtype=bool)
    return hashes.take([keys[place] for place in np.flatnonzero(readable)]) > 0, readable


def read_images(
    files: Sequence[tuple[int, Path]],
    keep: Callable[[list[int], list[PIL.Image.Image]], None],
    progress: Progress | None,
    *,
    checksums: Sequence[str] = (),
) -> None:
    """Decode numbered files a batch at a time, and call `keep` with the numbers and images of those that can be.

    Args:
        checksums: of the files in their order; one that differs counts as unreadable. Empty: they are not compared.
    """
    expected = checksums or [""] * len(files)
    with ThreadPoolExecutor(min(_WORKERS, os.cpu_count() or 1)) as pool:
        for start in range(0, len(files), BATCH):
            batch = files[start : start + BATCH]
            decoded = list(pool.map(_decoded, [path for _, path in batch], expected[start : start + BATCH]))
            good = [(number, image) for (number, _), image in zip(batch, decoded, strict=True) if image is not None]
            if good:
                keep([number for number, _ in good], [image for _, image in good])
            if progress is not None:
                progress(start + len(batch), len(files))


def _hash_cache(work: Path | None) -> EmbeddingCache:
    return EmbeddingCache(None if work is None else work / "images" / _HASH.replace(" ", "-"), HASH_BITS)


def _hash_key(sha256: str) -> str:
    return embedding_key({"image": sha256, "hash": _HASH})


def _as_floats(images: Sequence[PIL.Image.Image]) -> Vectors:
    """Hashes as the cache holds them, float32[n, 256] of 0 and 1."""
    return np.stack([picture_hash(image) for image in images]).astype(np.float32)


def _decoded(path: Path, expected: str) -> PIL.Image.Image | None:
    from index_store import ImageProblem, decode_image

    try:
        return decode_image(path, expected=expected)
    except ImageProblem:
        return None
