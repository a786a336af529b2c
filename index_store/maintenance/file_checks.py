"""Check whether the image files are those of the records: none missing, none altered, none orphaned."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from index_store.atomic_write import temporary_name
from index_store.catalog import orphan_files
from index_store.catalog.case_reader import in_chunks
from index_store.catalog.catalog import Catalog
from index_store.catalog.databases.migrations import SLIDES_VERSION, schema_version
from index_store.catalog.encoders import serving_encoders
from index_store.catalog.models import CaseRow, EmbeddingRow, EncoderRow, ImageRow, OrphanFileRow, SlideRow
from index_store.files.image_store import ImageStore
from index_store.files.permissions import close_to_others, open_to_others
from index_store.files.source_file import content_hash
from index_store.index.storage import index_stem
from index_store.maintenance.findings import Diagnosis, diagnosis
from index_store.maintenance.record_checks import image_name
from index_store.search.derived_files import unfit_files

if TYPE_CHECKING:
    from index_store.catalog.import_plan import Progress

READERS = 8
_INDEX_FILE = re.compile(r"(?P<stem>[0-9a-f]{16})[.-]")


@dataclass(frozen=True)
class Expected:
    """A file that images need."""

    path: Path
    sha256: str
    image_id: int
    case: str
    in_place: bool
    is_overview: bool = False
    """Of a slide, whose id `image_id` is then."""

    def __str__(self) -> str:
        return f"case {self.case}, overview of a slide" if self.is_overview else image_name(self.case, self.image_id)


def expected_files(session: Session, store: ImageStore) -> list[Expected]:
    """Every image file once, in the order of the images; then the overviews of slides."""
    query = (
        select(CaseRow.key, ImageRow.id, ImageRow.file, ImageRow.path, ImageRow.file_sha256)
        .join(CaseRow, CaseRow.id == ImageRow.case_id)
        .order_by(ImageRow.id)
    )
    found: dict[Path, Expected] = {}
    for key, image_id, file, path, sha256 in session.execute(query):
        where = store.path(file) if file else Path(path)
        found.setdefault(where, Expected(where, sha256, image_id, key, in_place=not file))
    if schema_version(session.connection()) >= SLIDES_VERSION:
        slides = select(CaseRow.key, SlideRow.id, SlideRow.overview, SlideRow.overview_sha256).join(SlideRow.case)
        for key, slide_id, file, sha256 in session.execute(slides.where(SlideRow.overview != "").order_by(SlideRow.id)):
            where = store.path(file)
            found.setdefault(where, Expected(where, sha256, slide_id, key, in_place=False, is_overview=True))
    return list(found.values())


def unsound(
    files: Sequence[Expected], *, checksums: bool, progress: Progress | None = None
) -> tuple[list[Expected], list[Expected]]:
    """The files that are missing (or cannot be read), and those whose content is not what was stored."""

    def state(file: Expected) -> str:
        try:
            if not checksums:
                return "" if file.path.is_file() else "missing"
            return "" if content_hash(file.path) == file.sha256 else "altered"
        except OSError:
            return "missing"

    states = []
    with ThreadPoolExecutor(READERS) as pool:
        for done, found in enumerate(pool.map(state, files), start=1):
            states.append(found)
            if progress is not None:
                progress(done, len(files))
    missing = [file for file, found in zip(files, states, strict=True) if found == "missing"]
    altered = [file for file, found in zip(files, states, strict=True) if found == "altered"]
    return missing, altered


def check_files(
    catalog: Catalog, store: ImageStore, *, checksums: bool, progress: Progress | None
) -> tuple[int, list[Diagnosis]]:
    """How many files the images need, and what is wrong.

    Other processes may add and remove images meanwhile: files that they have noted, or deleted, are no findings.
    """
    on_disk = store.names()  # before the records are read, so that each of these files has a row or a note by then
    with catalog.reading() as session:
        files = expected_files(session, store)
        noted = set(session.scalars(select(OrphanFileRow.name)))
    missing, altered = unsound(files, checksums=checksums, progress=progress)
    with catalog.reading() as session:
        missing, altered = still_wanted(session, missing), still_wanted(session, altered)
    needed = {file.path for file in files if not file.in_place}
    unneeded = [name for name in on_disk if store.listed(name) not in needed and store.listed(name).is_file()]
    known = noted | {temporary_name(Path(name)).as_posix() for name in noted}
    left = [name for name in unneeded if name not in known]
    waiting = [name for name in unneeded if name in known]
    stored = "Copy them from a backup (`coin show CASE` names the files), or remove their cases."
    outside = "Put the files back where they were, or add the manifest again with the folder where they are now."
    return len(files), [
        *diagnosis("files", "stored image files are missing", [f for f in missing if not f.in_place], stored),
        *diagnosis("files", "stored image files were altered", [f for f in altered if not f.in_place], stored),
        *diagnosis("files", "images added in place are missing", [f for f in missing if f.in_place], outside),
        *diagnosis("files", "images added in place were altered", [f for f in altered if f.in_place], outside),
        *diagnosis(
            "files",
            "files lie in the store that no image needs",
            left,
            "With --repair they are deleted. Where the database was restored from an older backup, they are images "
            "added since: add their manifests again.",
            repair=partial(store.sweep, left),
        ),
        *diagnosis(
            "files",
            "files wait to be deleted that a killed command left",
            waiting,
            "The next command that writes, or --repair, deletes them.",
            repair=partial(orphan_files.collect, catalog, store),
            harmless=True,
        ),
    ]


def check_permissions(folder: Path) -> list[Diagnosis]:
    """Check for files that other accounts may read: made by an earlier version, or copied."""
    loose = open_to_others(folder)
    return diagnosis(
        "files",
        "files and folders of the archive can be read or changed by other accounts",
        [path.relative_to(folder) if path != folder else "the folder itself" for path in loose],
        "With --repair they are for their owner alone.",
        repair=partial(close_to_others, loose),
        harmless=True,
    )


def check_index_folder(session: Session, folder: Path) -> list[Diagnosis]:
    """Check for index files of encoders that have no vectors here."""
    serving = [encoder.id for encoder in serving_encoders(session).values()]
    used = EncoderRow.id.in_(select(EmbeddingRow.encoder_id)) | EncoderRow.id.in_(serving)
    known = {index_stem(fingerprint) for fingerprint in session.scalars(select(EncoderRow.fingerprint).where(used))}
    left = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        match = _INDEX_FILE.match(path.name)
        if path.is_file() and match and match["stem"] not in known:
            left.append(path)
    return diagnosis(
        "index",
        "index files belong to no encoder of this archive",
        [path.name for path in left],
        "With --repair they are deleted.",
        repair=partial(_unlink, left),
        harmless=True,
    )


def check_derived(session: Session, folder: Path, archive: str) -> list[Diagnosis]:
    """Check for derived files that no process will use."""
    unfit = dict(unfit_files(session, folder, archive))
    return diagnosis(
        "index",
        "files that were derived from the records are not used",
        [f"{path.name}: {reason}" for path, reason in unfit.items()],
        "Nothing was lost: they are made anew when they are needed. With --repair they are deleted.",
        repair=partial(_unlink, list(unfit)),
        harmless=True,
    )


def still_wanted(session: Session, files: Sequence[Expected]) -> list[Expected]:
    """Those of the files whose image was not removed meanwhile."""
    existing: set[tuple[bool, int]] = set()
    for is_overview, row in ((False, ImageRow), (True, SlideRow)):
        for part in in_chunks(file.image_id for file in files if file.is_overview == is_overview):
            existing.update((is_overview, found) for found in session.scalars(select(row.id).where(row.id.in_(part))))
    return [file for file in files if (file.is_overview, file.image_id) in existing]


def _unlink(paths: Iterable[Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
