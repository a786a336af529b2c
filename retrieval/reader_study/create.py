"""Creating a blinded reader study: select the images, make their files alike, and write all into a folder."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from retrieval.copies.picture_hash import NEAR_COPY_BITS, Bits, hash_distance, orientation_hashes
from retrieval.errors import ReaderStudyError
from retrieval.notice import RESEARCH_USE
from retrieval.reader_study.candidates import Candidate, archive_candidates, generated_candidates
from retrieval.reader_study.ratings import create_ratings
from retrieval.reader_study.selection import Selection, select
from retrieval.reader_study.standardise_images import (
    FITS,
    Compression,
    Fit,
    alike,
    coarsest,
    compressed,
    compression_of,
    squared,
)
from retrieval.reader_study.study import (
    CARD,
    FORMAT,
    PICTURES,
    RATINGS,
    SCALE,
    TRUTH,
    Origin,
    Picture,
    ReaderStudy,
    Truth,
    study_path,
)

if TYPE_CHECKING:
    from PIL.Image import Image

    from index_store import Archive, CaseFilter

Progress = Callable[[int, int], None]
WRITTEN: Final = 315_532_800
"""When every picture's file was written, as its dates say: 1980-01-01, the earliest that every archive format has."""
SMALLEST: Final = 32
"""Pixels; smaller pictures cannot be rated."""


def create_reader_study(
    folder: Path | str,
    name: str,
    archive: Archive,
    generated: Path | str,
    *,
    n_real: int = 50,
    n_generated: int = 50,
    seed: int = 0,
    side: int | None = None,
    fit: Fit = "whole",
    labels: bool = True,
    where: CaseFilter | None = None,
    progress: Progress | None = None,
) -> ReaderStudy:
    """Create the study `name` in `folder`, completely or not at all.

    Args:
        generated: a folder of generated images with their provenance (`coin generate`, the cache).
        side: pixels of the square pictures; by default the side that most generated images have.
        fit: how a larger image becomes such a square; see `standardise_images.FITS`.
        labels: show readers site and category. It is done only where each picture has its counterpart of the same site
            and category in the other half; otherwise the labels would reveal the origin.
        where: which of the archive's images may be selected.
        progress: counts pictures that were read.

    Raises:
        ReaderStudyError: the name is taken or invalid, or too few images can be used; the message says why.
    """
    folder = Path(folder)
    path = study_path(folder, name)
    if path.exists():
        raise ReaderStudyError(f"There is something at {path} already: choose another name. A study is never replaced.")
    if fit not in FITS or n_real < 1 or n_generated < 1 or (side is not None and side < SMALLEST):
        raise ReaderStudyError(
            f"A reading needs at least one image of each kind, a side of at least {SMALLEST} pixels and a fit of "
            f"{' or '.join(FITS)}."
        )
    made, left_out = generated_candidates(Path(generated), archive)
    side = side or _usual_side(made)
    chosen = _Chooser(archive_candidates(archive, where), made, side, fit, left_out, progress)
    selection = chosen.choose(n_real, n_generated, seed)
    compression = coarsest(chosen.compression.values())
    files: dict[str, bytes] = {}
    origins: dict[str, Origin] = {}
    candidates = (*selection.real, *selection.generated)
    made_files = alike([compressed(chosen.squares[candidate.sha256], compression) for candidate in candidates])
    for candidate, data in zip(candidates, made_files, strict=True):
        files[key := hashlib.sha256(data).hexdigest()] = data
        origins[key] = Origin(
            candidate.generated,
            candidate.phantom,
            candidate.sha256,
            candidate.site,
            candidate.category,
            candidate.case,
            candidate.provenance,
            "" if candidate.generated else candidate.owner,
        )
    shows_labels = labels and selection.all_matched
    # In the order of their hashes, which does not depend on real or generated.
    truth = Truth(dict(sorted(origins.items())), selection.by_category, selection.by_site, left_out, archive.name)
    pictures = [
        Picture(key, origin.site, origin.category) if shows_labels else Picture(key)
        for key, origin in truth.origins.items()
    ]
    card = {
        "format": FORMAT,
        "name": name,
        "uuid": uuid.uuid4().hex,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": seed,
        "side": side,
        "fit": fit,
        "compression": str(compression),
        "shows_labels": shows_labels,
        "phantoms": _how_many(truth.count("phantom"), n_real),
        "scale": [asdict(axis) for axis in SCALE],
        "pictures": [asdict(picture) for picture in pictures],
    }
    _write(path, card, truth, files)
    return ReaderStudy(path)


class _Chooser:
    """Selects among readable images: one that cannot be used is left out, and another takes its place."""

    def __init__(
        self,
        real: Sequence[Candidate],
        generated: Sequence[Candidate],
        side: int,
        fit: Fit,
        left_out: Counter[str],
        progress: Progress | None,
    ) -> None:
        self.squares: dict[str, Image] = {}
        self.compression: dict[str, Compression | None] = {}
        self._hashes: dict[str, Bits] = {}
        self._unfit: set[str] = set()
        self._side, self._fit, self._left_out, self._progress = side, fit, left_out, progress
        self._real, self._generated = self._large_enough(real), self._large_enough(generated)

    def choose(self, n_real: int, n_generated: int, seed: int) -> Selection:
        """A selection of exactly so many images, all of them loaded into `squares`."""
        while True:
            usable = [
                [candidate for candidate in pool if candidate.sha256 not in self._unfit]
                for pool in (self._real, self._generated)
            ]
            for found, wanted, what in zip(usable, (n_real, n_generated), ("real", "generated"), strict=True):
                if len(found) < wanted:
                    raise ReaderStudyError(self._too_few(len(found), wanted, what))
            selection = select(usable[0], usable[1], n_real=n_real, n_generated=n_generated, seed=seed)
            chosen = (*selection.real, *selection.generated)
            # All of them, also after one that fails: the next round then has fewer to load.
            fit = [self._load(candidate, len(chosen)) for candidate in chosen]
            if all(fit) and not self._repeats(chosen):
                kept = {candidate.sha256 for candidate in chosen}
                self.compression = {key: compression for key, compression in self.compression.items() if key in kept}
                return selection

    def _large_enough(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        kept = [candidate for candidate in candidates if candidate.shorter >= self._side]
        if small := len(candidates) - len(kept):
            self._left_out[f"smaller than {self._side} pixels: they would have to be enlarged, which shows"] += small
        return kept

    def _load(self, candidate: Candidate, total: int) -> bool:
        from index_store import ImageProblem, decode_image, read_source

        if candidate.sha256 in self.squares:
            return True
        try:
            data = read_source(candidate.path)
            image = decode_image(data, expected=candidate.file_sha256)
        except ImageProblem:
            return self._refuse(candidate, "that cannot be read")
        if min(image.size) < self._side:  # the file says otherwise than the records
            return self._refuse(candidate, "of another size than is recorded")
        if not candidate.generated and _is_marked(data):
            return self._refuse(candidate, "of the archive that carry the mark of a generated image")
        self.squares[candidate.sha256] = squared(image, side=self._side, fit=self._fit)
        self.compression[candidate.sha256] = compression_of(data)
        if self._progress:
            self._progress(min(len(self.squares), total), total)
        return True

    def _repeats(self, chosen: Sequence[Candidate]) -> bool:
        """Exclude images that nearly repeat another one; whether there were any. A model that generates the same image
        repeatedly would be recognised by that alone, and ratings of equal pictures are not independent."""
        kept: list[Bits] = []
        before = len(self._unfit)
        for candidate in chosen:
            if candidate.sha256 not in self._hashes:
                self._hashes[candidate.sha256] = orientation_hashes(self.squares[candidate.sha256])
            turned = self._hashes[candidate.sha256]
            if any(hash_distance(turned, other) <= NEAR_COPY_BITS for other in kept):
                self._refuse(candidate, "nearly the same as another picture that was chosen")
            else:
                kept.append(turned[0])
        return len(self._unfit) > before

    def _refuse(self, candidate: Candidate, why: str) -> bool:
        self._unfit.add(candidate.sha256)
        self._left_out[why] += 1
        return False

    def _too_few(self, usable: int, wanted: int, what: str) -> str:
        reasons = "; ".join(f"{count} {why}" for why, count in self._left_out.items())
        more = "add images to the archive" if what == "real" else "generate more with `coin generate --out FOLDER`"
        return (
            f"{wanted} {what} images were requested, and {usable} can be used"
            + (f" (left out: {reasons})" if reasons else "")
            + f". Choose fewer with --n-{what}, choose another --size, or {more}."
        )


def _how_many(count: int, total: int) -> str:
    return "none" if not count else "all" if count == total else "some"


def _usual_side(candidates: Sequence[Candidate]) -> int:
    sides = Counter(candidate.shorter for candidate in candidates)
    return max(sides, key=lambda side: (sides[side], side), default=SMALLEST)


def _is_marked(data: bytes) -> bool:
    """Whether the file is labelled as generated, also where its provenance was altered."""
    import PIL.Image

    from generation.provenance import KEY

    with PIL.Image.open(io.BytesIO(data)) as image:
        return KEY in image.info


def _write(path: Path, card: dict[str, Any], truth: Truth, files: dict[str, bytes]) -> None:
    """Build the folder under another name, and give it its own when all of it is on disk."""
    from index_store.atomic_write import private_folder, sync_folder, write_durably

    def put(target: Path, data: bytes) -> None:
        write_durably(target, lambda file: file.write(data))

    private_folder(path.parent)
    # Readable by its owner alone: it holds the origins.
    building = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        private_folder(building / PICTURES)
        for key, data in sorted(files.items()):  # by their hashes: no order tells real from generated
            put(building / PICTURES / f"{key}.jpg", data)
            os.utime(building / PICTURES / f"{key}.jpg", (WRITTEN, WRITTEN))
        document = _json_bytes(asdict(replace(truth, left_out=dict(truth.left_out))))
        put(building / TRUTH, document)
        put(building / CARD, _json_bytes({**card, "truth_sha256": hashlib.sha256(document).hexdigest()}))
        create_ratings(building / RATINGS)
        for folder in (building / PICTURES, building):
            sync_folder(folder)
        building.rename(path)  # refuses where somebody was faster: the folder there is not empty
        sync_folder(path.parent)
    except OSError as error:
        if path.exists():
            raise ReaderStudyError(f"There is something at {path} already: choose another name.") from error
        raise
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _json_bytes(document: dict[str, Any]) -> bytes:
    return json.dumps({"notice": RESEARCH_USE, **document}, ensure_ascii=False, indent=1).encode() + b"\n"
