"""`coin backup`, `coin restore`: copy a live archive, and restore an archive from a copy."""

from __future__ import annotations

from pathlib import Path

import click

from ui.commands.options import as_json, with_settings
from ui.commands.output import echo, echo_json
from ui.commands.progress import progress
from ui.service import open_archive
from ui.settings import Settings
from ui.text.maintenance import backup_text, restoration_text

_FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("target", type=_FOLDER)
@click.option("--incomplete", is_flag=True, help="Leave out pictures that are missing or altered, and list them.")
@as_json
@with_settings("archive")
def backup(settings: Settings, target: Path, incomplete: bool, as_json: bool) -> None:
    """Copy the archive, as it is at this moment, into the new folder TARGET.

    Others may search, add and remove meanwhile. Every picture's checksum is compared. The folder appears when the
    backup is complete; the same command resumes an interrupted one. It contains neither images added in place nor the
    index, which a restore rebuilds. Reports and pictures are not encrypted: protect it as you protect the archive.
    """
    with open_archive(settings.archive, read_only=True) as archive, progress("Copying", unit="pictures") as update:
        card = archive.back_up(target, allow_damaged=incomplete, progress=update)
    if as_json:
        from dataclasses import asdict

        echo_json({"target": target, **asdict(card)})
    else:
        echo(backup_text(target, card))


@click.command()
@click.argument("source", metavar="BACKUP", type=_FOLDER)
@click.option("--incomplete", is_flag=True, help="Restore the intact pictures where others are damaged.")
@as_json
@with_settings("archive")
def restore(settings: Settings, source: Path, incomplete: bool, as_json: bool) -> None:
    """Restore the archive of BACKUP to the new folder that --archive names. Nothing is overwritten.

    Every checksum is compared, the index is built, and the archive is examined (as by `coin doctor`) before the folder
    appears; the same command resumes an interrupted one.
    """
    from index_store import Archive

    with progress("Copying", unit="pictures") as update:
        restored = Archive.restore(source, settings.archive, allow_damaged=incomplete, progress=update)
    if as_json:
        echo_json(restored)
    else:
        echo(restoration_text(restored))
