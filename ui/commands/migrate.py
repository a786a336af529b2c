"""`coin migrate`: bring an archive of an earlier version up to date."""

from __future__ import annotations

from pathlib import Path

import click

from ui.commands.options import as_json, with_settings
from ui.commands.output import echo, echo_json
from ui.commands.progress import progress
from ui.errors import NoArchiveError
from ui.settings import Settings
from ui.text.maintenance import migration_text


@click.command()
@click.option(
    "--backup",
    type=click.Path(path_type=Path),
    help="New folder for the backup.  [default: ARCHIVE.schema-N, beside the archive]",
)
@click.option(
    "--backed-up",
    is_flag=True,
    help="There is a backup, and none is made: needed where the records are on a PostgreSQL server.",
)
@as_json
@with_settings("archive")
def migrate(settings: Settings, backup: Path | None, backed_up: bool, as_json: bool) -> None:
    """Bring an archive of an earlier version up to date, after a backup.

    Nobody may have the archive open, to read or to write: end views and other commands on it first, on every host.
    Earlier versions cannot open it afterwards, so update them all before. `coin restore` makes an archive of the
    backup, whose pictures are the archive's own files under second names where the disk can do that.
    """
    from index_store import Archive

    if backup is not None and backed_up:
        raise click.UsageError("--backup makes a backup and --backed-up makes none: give one of them")
    if not Path(settings.archive).exists():
        raise NoArchiveError(f"there is no archive at '{settings.archive}': name one with --archive or COIN_ARCHIVE")
    with progress("Backing up", unit="pictures") as update:
        done = Archive.migrate(settings.archive, backup=backup, backed_up=backed_up, progress=update)
    if as_json:
        echo_json(done)
    else:
        echo(migration_text(done))
