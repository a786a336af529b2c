"""The files of a backup, and building a folder that gets its name only when it is complete.

    backup.json       `BackupDescriptor`: the archive, its counts, the catalog's checksum; written last
    catalog.sqlite    the database as it was at one moment; holds the checksum of every picture
    images/           the stored pictures

Its files have other names than an archive's, so that nobody opens, and thereby changes, a backup.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from index_store.atomic_write import private_folder, sync_folder, write_durably
from index_store.catalog.layout import DATABASE, LOCK_FILES
from index_store.errors import BackupError, NotAnArchiveError
from index_store.files.locks import WriterLock
from index_store.maintenance.file_checks import Expected

if TYPE_CHECKING:
    from index_store.catalog.import_plan import Progress

BACKUP_FILE, CATALOG, IMAGES = "backup.json", "catalog.sqlite", "images"
UNFINISHED = "restoring"
"""A file of this name marks a folder that is not an archive yet."""
FORMAT = 1
_OURS = (BACKUP_FILE, CATALOG, IMAGES, UNFINISHED, DATABASE, "index")
"""Prefixes of the names in a folder that is being built."""
BUILDER = "builder"
_LOCKS = {*LOCK_FILES, f"{BUILDER}.lock", f"{BUILDER}.txt"}
COPIERS = 8
BLOCK = 1 << 20


@dataclass(frozen=True)
class BackupDescriptor:
    """The description of a backup."""

    format: int
    archive: str
    """The archive's uuid."""
    name: str
    schema_version: int
    created: str
    patients: int
    cases: int
    images: int
    files: int
    """Stored pictures in the backup."""
    in_place: int
    """Images outside the archive's folder, which are not in the backup."""
    damaged: tuple[str, ...]
    """Stored pictures that were missing or altered when it was made, and are not in the backup."""
    catalog_sha256: str


def write_descriptor(folder: Path, descriptor: BackupDescriptor) -> None:
    """Write the description of a backup durably."""
    write_durably(folder / BACKUP_FILE, lambda file: file.write(json.dumps(asdict(descriptor), indent=1).encode()))


def read_descriptor(folder: Path) -> BackupDescriptor:
    """The description of the backup in `folder`.

    Raises:
        BackupError: there is no finished backup, it is damaged, or it was made by a newer version.
    """
    try:
        values = json.loads((folder / BACKUP_FILE).read_text("utf-8"))
        if int(values["format"]) > FORMAT:
            raise BackupError(f"The backup {folder} was made by a newer version. Update coin-retrieval to restore it.")
        return BackupDescriptor(**{**values, "damaged": tuple(values["damaged"])})
    except FileNotFoundError as error:
        raise BackupError(
            f"There is no finished backup in {folder}: it has no {BACKUP_FILE}. Name a folder that `coin backup` made."
        ) from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BackupError(f"{folder / BACKUP_FILE} is damaged ({type(error).__name__}). Use another backup.") from error


@contextmanager
def built(target: Path) -> Iterator[Path]:
    """A folder beside `target` to build in; it becomes `target` at the end of the block, whole and durable.

    Interrupted, it stays as `target`.partial, and the next attempt resumes in it: the pictures that were copied stay,
    all else is begun anew. One attempt at a time.

    Raises:
        BackupError: `target` is not empty, or the folder beside it holds other files.
        ArchiveBusyError: another attempt is in progress; names its process.
    """
    target = target.absolute()
    building = target.with_name(f"{target.name}.partial")
    _refuse_filled(target)
    private_folder(building)
    # Another lock than the writer's, under which the archive in this folder is written.
    with WriterLock(building, name=BUILDER, locked=private_folder(building / IMAGES)).hold():
        _refuse_filled(target)
        left = [entry for entry in building.iterdir() if entry.name not in _LOCKS]
        for entry in left:
            if not entry.name.startswith(_OURS):
                raise BackupError(f"{building} holds other files ({entry.name}). Move it out of the way.")
        for entry in left:
            if entry.name != IMAGES:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        yield building
        for name in _LOCKS:
            (building / name).unlink(missing_ok=True)
        sync_folder(building)
        if target.exists():
            target.rmdir()  # it was empty; this fails where it no longer is
        building.replace(target)
        sync_folder(target.parent)


def copy_verified(source: Path, target: Path, sha256: str) -> bool:
    """Copy a file if its content has this SHA-256 (hex). A target that has the right content already stays.

    Returns:
        Whether `target` has the content; if not, there is no new copy.

    Raises:
        FileNotFoundError: there is no `source`.
        OSError: the disk refuses.
    """
    with contextlib.suppress(OSError), target.open("rb") as existing:
        if hashlib.file_digest(existing, "sha256").hexdigest() == sha256:
            return True
    with source.open("rb") as original:

        def write(copy: BinaryIO) -> None:
            seen = hashlib.sha256()
            while block := original.read(BLOCK):
                seen.update(block)
                copy.write(block)
            if seen.hexdigest() != sha256:
                raise _AlteredError

        try:
            write_durably(target, write)
        except _AlteredError:
            return False
    return True


def copy_images(
    files: Iterable[Expected],
    target: Path,
    copies: dict[Path, Path],
    *,
    linked: bool = False,
    progress: Progress | None,
) -> list[Expected]:
    """Copy stored pictures durably; other files under `target`, of an attempt before, are deleted.

    Args:
        files: the pictures.
        target: the folder of the copies.
        copies: for the path of each picture that of its copy, under `target`.
        linked: give the files second names rather than copy them, where the disk can do that; nothing is read.
        progress: called with how many pictures were copied, and of how many.

    Returns:
        The pictures that are missing or altered; they have no copy.
    """
    wanted = list(files)
    private_folder(target)
    needed = {copies[file.path] for file in wanted}
    for old in [path for path in target.rglob("*") if path.is_file() and path not in needed]:
        old.unlink()
    folders = {path.parent for path in needed}
    for folder in folders:
        private_folder(folder)

    def copy(file: Expected) -> bool:
        try:
            if linked and _linked(file.path, copies[file.path]):
                return True
            return copy_verified(file.path, copies[file.path], file.sha256)
        except FileNotFoundError:
            return False

    damaged = []
    with ThreadPoolExecutor(COPIERS) as pool:
        for done, (file, sound) in enumerate(zip(wanted, pool.map(copy, wanted), strict=True), start=1):
            if not sound:
                damaged.append(file)
                copies[file.path].unlink(missing_ok=True)
            if progress is not None:
                progress(done, len(wanted))
        list(pool.map(sync_folder, [*folders, target]))
    return damaged


def _linked(source: Path, target: Path) -> bool:
    """Whether `target` is a second name of the file by now. Raises FileNotFoundError where there is no `source`."""
    try:
        target.unlink(missing_ok=True)
        target.hardlink_to(source)
    except FileNotFoundError:
        raise
    except OSError:  # another disk, or a file system without links
        return False
    return True


def refuse_within(inner: Path, outer: Path) -> None:
    """Raise `BackupError` where one of the two folders lies within the other."""
    first, second = inner.resolve(), outer.resolve()
    if first == second or first.is_relative_to(second) or second.is_relative_to(first):
        raise BackupError(f"{inner} and {outer} lie within each other. Name a folder elsewhere, best on another disk.")


def refuse_others(path: Path) -> None:
    """Raise `NotAnArchiveError` for a folder that is no archive yet, or a backup."""
    if (path / UNFINISHED).exists():
        raise NotAnArchiveError(f"{path} is an archive that is being restored, or was not finished. Restore again.")
    if (path / BACKUP_FILE).is_file() and not (path / DATABASE).exists():
        raise NotAnArchiveError(f"{path} is a backup of an archive. Make an archive of it first (`coin restore`).")


def _refuse_filled(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BackupError(f"{target} is there already, and nothing is overwritten. Name a new folder.")


class _AlteredError(Exception):
    """The content is not what it should be."""
