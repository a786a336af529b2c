"""`coin reading`: blinded reader studies of real and generated images: create, list, results, close."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from retrieval import RESEARCH_USE
from ui.commands.options import as_json, with_filters, with_settings
from ui.commands.output import echo, echo_json, write_file
from ui.commands.progress import progress
from ui.service import Service
from ui.settings import Settings
from ui.text.evaluation.reading import progress_text, results_text, study_text
from ui.text.layout import clean

if TYPE_CHECKING:
    from index_store import CaseFilter

CACHE: Final = "cache"
_FILE: Final = click.Path(dir_okay=False, writable=True, path_type=Path)


@click.group()
def reading() -> None:
    """Blinded reader studies: readers rate real and generated images without knowing which is which."""


@reading.command()
@click.argument("name")
@click.option(
    "--generated",
    required=True,
    metavar="FOLDER|cache",
    help="Folder of generated images with provenance, as `coin generate --out` makes it; or `cache`: those of --cache.",
)
@click.option("--n-real", type=click.IntRange(1), default=50, show_default=True, help="Images of the archive.")
@click.option("--n-generated", type=click.IntRange(1), default=50, show_default=True, help="Generated images.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Seed of the selection and of the order.",
)
@click.option(
    "--size",
    type=click.IntRange(32, 4096),
    help="Pixels a side of every picture; smaller images are left out. [default: as most generated images]",
)
@click.option(
    "--fit",
    type=click.Choice(("whole", "centre")),
    default="whole",
    show_default=True,
    help="Of a larger image, use the largest central square, reduced; or the centre at full resolution.",
)
@click.option(
    "--labels/--hide-labels",
    default=True,
    help="Show the stated site and category, where real and generated images have the same. [default: --labels]",
)
@with_filters
@with_settings("archive", "readings", "cache")
def new(
    settings: Settings,
    name: str,
    generated: str,
    n_real: int,
    n_generated: int,
    seed: int,
    size: int | None,
    fit: str,
    labels: bool,
    where: CaseFilter | None,
) -> None:
    """Create the study NAME: sample images, balanced over site and category, and freeze them.

    All pictures get the same size, format and compression, and no metadata. Keep the study's folder from readers: it
    shows which pictures are generated.
    """
    from retrieval import create_reader_study

    service = Service(settings)
    click.get_current_context().call_on_close(service.close)
    with progress("Reading", unit="images") as update:
        study = create_reader_study(
            settings.readings_folder,
            name,
            service.archive,
            settings.cache_folder if generated == CACHE else Path(generated),
            n_real=n_real,
            n_generated=n_generated,
            seed=seed,
            side=size,
            fit="centre" if fit == "centre" else "whole",
            labels=labels,
            where=where,
            progress=update,
        )
    echo(study_text(study))


@reading.command("list")
@as_json
@with_settings("readings")
def list_(settings: Settings, as_json: bool) -> None:
    """List the studies, their readers, and the readers' progress."""
    from retrieval import open_reader_study, progress_of, reader_study_names

    folder = settings.readings_folder
    progress_by_name = {}
    for name in reader_study_names(folder):
        study = open_reader_study(folder, name)
        progress_by_name[name] = progress_of(study)
        study.close()
    if as_json:
        echo_json({"folder": folder, "readings": progress_by_name})
        return
    lines = [progress_text(name, readers) for name, readers in progress_by_name.items()]
    echo("\n".join([*(lines or [f"There is no study in {folder}."]), "", RESEARCH_USE]))


@reading.command()
@click.argument("name")
@click.option(
    "--csv", "csv_file", type=_FILE, help="Also write every rating, with the picture's origin, to this CSV file."
)
@as_json
@with_settings("readings")
def results(settings: Settings, name: str, csv_file: Path | None, as_json: bool) -> None:
    """Show the results of the readers who have closed the study NAME. JSON has every rating as well."""
    from retrieval import evaluate_reader_study, open_reader_study, rating_rows, rows_csv

    study = open_reader_study(settings.readings_folder, name)
    click.get_current_context().call_on_close(study.close)
    figures, rows = evaluate_reader_study(study), rating_rows(study)
    if csv_file is not None:
        write_file(csv_file, rows_csv(rows))
    if as_json:
        echo_json({"results": figures, "ratings": rows})
    else:
        echo(results_text(figures))


@reading.command()
@click.argument("name")
@click.option("--reader", required=True, metavar="NAME", help="Reader whose ratings are to be frozen.")
@with_settings("readings")
def close(settings: Settings, name: str, reader: str) -> None:
    """Close the study NAME for a reader who will not return. Unanswered questions stay missing."""
    from retrieval import open_reader_study

    study = open_reader_study(settings.readings_folder, name)
    click.get_current_context().call_on_close(study.close)
    study.ratings.close_reader(reader)
    echo(clean(f"The ratings of '{reader}' are frozen, and count from now on."))
