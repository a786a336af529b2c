"""`coin doctor`: check an archive for damage, and repair what can be repaired."""

from __future__ import annotations

import click

from ui.commands.options import as_json, with_settings, with_wait
from ui.commands.output import echo, echo_json
from ui.commands.progress import progress
from ui.service import open_archive
from ui.settings import Settings
from ui.text.maintenance import examination_text


@click.command()
@click.option(
    "--repair", is_flag=True, help="Repair what can be repaired: indexes, the change log, orphaned records and files."
)
@click.option("--quick", is_flag=True, help="Only check that image files exist; do not compare their checksums.")
@click.option(
    "--recall",
    type=click.IntRange(0),
    default=10_000,
    show_default=True,
    metavar="N",
    help="Search with this many stored vectors, evenly spaced; each must find itself.",
)
@with_wait
@as_json
@with_settings("archive")
def doctor(settings: Settings, repair: bool, quick: bool, recall: int, wait: float, as_json: bool) -> None:
    """Examine the archive: database, records, vectors, change log, index, image files.

    Without --repair nothing is written. The exit code is 0 where nothing is wrong or all was repaired, 1 where
    a problem is left that needs a person. Cases and images are named; reports are not quoted.
    """
    with open_archive(settings.archive, read_only=not repair) as archive, progress("Reading", unit="files") as update:
        if repair:
            with archive.writer(timeout=wait):
                found = archive.examine(checksums=not quick, recalled=recall, repair=True, progress=update)
        else:
            found = archive.examine(checksums=not quick, recalled=recall, progress=update)
    if as_json:
        from dataclasses import asdict

        echo_json({"healthy": found.healthy, **asdict(found)})
    else:
        echo(examination_text(found))
    if not found.healthy:
        click.get_current_context().exit(1)
