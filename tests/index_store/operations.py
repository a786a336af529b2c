"""Everything that changes an archive, each as a function of a folder that can be begun again after it was cut short.

Imported by the test and by the processes that are killed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from index_store import Archive, Derived, DerivedName, NotAnArchiveError, OutdatedArchiveError, read_manifest
from tests.index_store.archive_builders import (
    FINGERPRINT,
    OTHER,
    add_manifest,
    embed_images,
    embed_reports,
    reembed,
    simple_rows,
    write_manifest,
)

CASES, MORE = 3, 5


@dataclass(frozen=True)
class Operation:
    """`prepare` fills an empty folder; `act` does the work, or what is left of it."""

    prepare: Callable[[Path], object]
    act: Callable[[Path], object]
    place: str = "archive"
    """What is made or changed, within the folder."""


def _begun(root: Path) -> None:
    """An archive of three cases, and a manifest of five."""
    manifest = write_manifest(root / "manifest.csv", simple_rows(CASES))
    with Archive.create(root / "archive") as archive:
        add_manifest(archive, manifest)
    write_manifest(root / "manifest.csv", simple_rows(MORE))


def _add(root: Path, *, in_place: bool = False) -> None:
    with Archive.open(root / "archive") as archive:
        add_manifest(archive, root / "manifest.csv", batch=1, in_place=in_place)


def _create(root: Path) -> None:
    if not (root / "archive" / "archive.sqlite").exists():
        Archive.create(root / "archive").close()


def _update(root: Path) -> None:
    rows = [{**row, "report": f"{row['report']} Changed.", "patient": "one"} for row in simple_rows(CASES)]
    with Archive.open(root / "archive") as archive:
        plan = archive.pending(read_manifest(write_manifest(root / "changed.csv", rows)).rows)
        archive.update(plan.changed)


def _remove(root: Path) -> None:
    with Archive.open(root / "archive") as archive:
        for key in ("case-1", "case-2"):
            if key in {case.key for case in archive.cases()}:
                archive.remove(key)


def _reembed(root: Path) -> None:
    with Archive.open(root / "archive") as archive:
        reembed(archive, OTHER, batch=2)


def _embedded_anew(root: Path) -> None:
    _begun(root)
    _reembed(root)


def _give_text_role(root: Path) -> None:
    with Archive.open(root / "archive") as archive:
        reembed(archive, OTHER, batch=2, role="text")


def _two_encoders(root: Path) -> None:
    """Three cases, whose texts another encoder compares, and a manifest of five."""
    _begun(root)
    _give_text_role(root)


def _add_with_two(root: Path) -> None:
    """The images of the manifest by the one encoder, then what the other lacks."""
    _add(root)
    with Archive.open(root / "archive") as archive:
        embed_images(archive, OTHER, batch=1)
        embed_reports(archive, batch=1, fingerprint=OTHER)


def _take_text_role(root: Path) -> None:
    """The image role's encoder compares texts again, and the other is dropped."""
    with Archive.open(root / "archive") as archive:
        archive.switch_encoder(FINGERPRINT)
        archive.drop_encoder(OTHER)


def _drop(root: Path) -> None:
    with Archive.open(root / "archive") as archive:
        archive.drop_encoder(FINGERPRINT)


def _spoilt(root: Path) -> None:
    """What `--repair` can put right, though nothing of ours makes it: a line less in the log, a patient, wrong counts,
    a file."""
    _begun(root)
    with closing(sqlite3.connect(root / "archive" / "archive.sqlite")) as connection, connection:
        connection.execute("DELETE FROM changes WHERE image_id = 2")
        connection.execute("INSERT INTO patients (key) VALUES ('nobody')")
        connection.execute("UPDATE counts SET number = number + 1 WHERE kind IN ('images', 'labels')")
    (root / "archive" / "images" / "stray.png").write_bytes(b"stray")


def _repair(root: Path) -> None:
    with Archive.open(root / "archive") as archive:
        archive.examine(repair=True)


def _back_up(root: Path) -> None:
    with Archive.open(root / "archive", read_only=True) as archive:
        if not (root / "backup").exists():
            archive.back_up(root / "backup")


def _backed_up(root: Path) -> None:
    _begun(root)
    _back_up(root)


def _restore(root: Path) -> None:
    if not (root / "new").exists():
        Archive.restore(root / "backup", root / "new")


def _old(root: Path) -> None:
    (root / "archive").mkdir()
    with closing(sqlite3.connect(root / "archive" / "archive.sqlite")) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.executescript(Path(__file__).with_name("archive_version_1.sql").read_text(encoding="utf-8"))


def _kept(root: Path) -> None:
    """An archive with what is derived of its labels."""
    _begun(root)
    _keep(root)


def _keep(root: Path) -> None:
    """As a process that answers: the labels, and something made of them."""
    with Archive.open(root / "archive", read_only=True, keep_derived=True) as archive:
        position = archive.image_table().position
        archive.write_derived(DerivedName("sums", 1), Derived(position, {"sum": archive.image_table().ids.cumsum()}))


def _migrate(root: Path) -> None:
    Archive.migrate(root / "archive")


OPERATIONS = {
    "create": Operation(lambda root: None, _create),
    "add": Operation(_begun, _add),
    "add in place": Operation(_begun, lambda root: _add(root, in_place=True)),
    "update": Operation(_begun, _update),
    "remove": Operation(_begun, _remove),
    "re-embed": Operation(_begun, _reembed),
    "give the text role": Operation(_begun, _give_text_role),
    "add with two encoders": Operation(_two_encoders, _add_with_two),
    "remove with two encoders": Operation(_two_encoders, _remove),
    "take the text role": Operation(_two_encoders, _take_text_role),
    "drop an encoder": Operation(_embedded_anew, _drop),
    "repair": Operation(_spoilt, _repair),
    "back up": Operation(_begun, _back_up, "backup"),
    "restore": Operation(_backed_up, _restore, "new"),
    "migrate": Operation(_old, _migrate),
    "keep what is derived": Operation(_begun, _keep),
    "remove what is kept": Operation(_kept, _remove),
}

State = object
"""Comparable."""


def state(root: Path, place: str, scratch: Path) -> State:
    """What is in the archive (or the backup) at `place`, as a reader sees it; a word where it cannot be read yet."""
    folder = root / place
    if place == "backup":
        if not folder.exists():
            return "no backup"
        Archive.restore(folder, scratch)
        folder = scratch
    try:
        with Archive.open(folder, read_only=True) as archive:
            status = archive.status()
            return (
                (status.patients, status.log_sequence, archive.encoder, archive.encoder_of("text")),
                [(c.key, c.patient, c.report, c.site, [i.sha256 for i in c.images]) for c in archive.cases()],
                archive.encoders(),
                (status.cases, status.images, status.derived, status.scales, archive.facets(), archive.labels()),
            )
    except NotAnArchiveError:
        return "no archive"
    except OutdatedArchiveError:
        return "outdated"
