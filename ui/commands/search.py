"""`coin search`: the nearest cases to a report, an image, or a case."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ui.commands.output import echo
from ui.commands.reports import read_report
from ui.options import MODEL_SETTINGS, as_json, with_filters, with_settings
from ui.progress import progress
from ui.service import Service
from ui.settings import Settings
from ui.text import search_text

if TYPE_CHECKING:
    from index_store import CaseFilter


@click.command()
@click.option("--text", metavar="REPORT", help="Search by this report text.")
@click.option("--text-file", type=click.Path(path_type=Path), help="Search by the report in this file; - is stdin.")
@click.option("--image", type=click.Path(path_type=Path), help="Search by this image file.")
@click.option("--case", metavar="CASE", help="Search by this case of the archive.")
@click.option("--include-own-patient", is_flag=True, help="With --case: other cases of that patient, too.")
@with_settings("k", "n_images", "seed", "preset", "archive", *MODEL_SETTINGS)
@with_filters
@as_json
def search(
    settings: Settings,
    where: CaseFilter | None,
    text: str | None,
    text_file: Path | None,
    image: Path | None,
    case: str | None,
    include_own_patient: bool,
    as_json: bool,
) -> None:
    """Find the cases of the archive that are nearest to a report, an image, or a case.

    A report becomes synthetic images, and these are compared with the archive's. Results are cases, at most one a
    patient, nearest first, each with its report.
    """
    if sum(given is not None for given in (text, text_file, image, case)) != 1:
        raise click.UsageError("give exactly one of --text, --text-file, --image and --case")
    if include_own_patient and case is None:
        raise click.UsageError("--include-own-patient goes with --case")
    service = Service(settings)
    if image is not None:
        result = service.by_image(image, label=image.name, where=where)
    elif case is not None:
        result = service.by_case(case, where=where, include_own_patient=include_own_patient)
    else:
        report = text if text is not None else read_report(text_file or Path("-"))
        with progress("Generating", unit="steps") as draw:
            result = service.by_report(report, where=where, progress=draw)
    if as_json:
        from retrieval import to_json

        echo(to_json(result))
    else:
        echo(search_text(result))
