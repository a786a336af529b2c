"""`coin evaluate`: how well the archive's own cases find each other."""

from __future__ import annotations

from pathlib import Path

import click

from ui.commands.output import echo, json_text
from ui.evaluation_page import evaluation_page
from ui.evaluation_text import evaluation_text
from ui.options import with_settings
from ui.progress import progress
from ui.service import open_archive
from ui.settings import Settings


def _checked(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    # Before the work and not after it: minutes of figures must not be lost to a mistyped folder.
    if path is not None and not path.parent.is_dir():
        raise click.BadParameter(f"there is no folder '{path.parent}': make it, or name another.")
    return path


_FILE = click.Path(dir_okay=False, writable=True, path_type=Path)


@click.command()
@click.option("--json", "json_file", type=_FILE, callback=_checked, help="Also write all figures to this JSON file.")
@click.option("--html", "html_file", type=_FILE, callback=_checked, help="Also draw them: a page that opens anywhere.")
@click.option("--sample", type=click.IntRange(1), help="Ask with this many cases, drawn at random. [default: all]")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Of the sample and of the resampled patients.",
)
@click.option(
    "--histogram/--no-histogram",
    default=True,
    help="Rank by colour alone, too; reads every image once. [default: --histogram]",
)
@with_settings("archive")
def evaluate(
    settings: Settings, json_file: Path | None, html_file: Path | None, sample: int | None, seed: int, histogram: bool
) -> None:
    """Measure image search on the archive's own cases, against chance and against colour.

    Leave-one-patient-out: every case with a category asks by its stored vectors, its own patient is left out, and a
    result is right where site, reporting system and category are the query's. No model is loaded. The same archive
    and seed give the same figures.
    """
    from retrieval import evaluate_archive
    from retrieval.questions import ordinal

    with (
        open_archive(settings.archive, read_only=True) as archive,
        progress("Reading colours", unit="images") as reading,
        progress("Evaluating", unit="queries") as draw,
    ):
        evaluation = evaluate_archive(
            archive, sample=sample, seed=seed, gain=ordinal, histogram=histogram, progress=draw, reading=reading
        )
    if json_file is not None:
        json_file.write_text(json_text(evaluation) + "\n", encoding="utf-8")
    if html_file is not None:
        html_file.write_text(evaluation_page(evaluation), encoding="utf-8")
    echo(evaluation_text(evaluation))
