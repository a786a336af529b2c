"""`coin demo`: the whole system in one command, on drawn phantoms."""

from __future__ import annotations

from pathlib import Path

import click

from ui.commands.options import with_settings
from ui.commands.output import echo
from ui.commands.progress import progress
from ui.settings import Settings
from ui.text.archive import add_text
from ui.text.search import search_text


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo"),
    show_default=True,
    help="Folder for all that the demo makes.",
)
@with_settings("k", "n_images", "seed", "preset", "device", "cache")
def demo(settings: Settings, out: Path) -> None:
    """Build a small archive of drawn phantoms, and search it by a report and by an image."""
    from ui.commands.demo_run import run_demo

    made = run_demo(out, settings, bar=progress)
    echo(f"Archive of phantoms at '{made.archive}': {add_text(made.added)}\n")
    echo(f"=== By report ===\n{search_text(made.by_report)}\n")
    echo(f"=== By image ===\n{search_text(made.by_image)}\n")
    echo(f"Generated images: {', '.join(str(path) for path in made.images)}")
    echo(f"Picture of both results: {made.sheet}")
    echo(f"Open the view: coin ui --archive {made.archive}   (in a checkout: make ui)")
