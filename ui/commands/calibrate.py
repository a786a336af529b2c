"""`coin calibrate`: calibrate the novelty check of searches by generated images on this archive and encoder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from retrieval import RESEARCH_USE
from ui.commands.options import CACHE_SETTINGS, MODEL_SETTINGS, as_json, with_filters, with_settings
from ui.commands.output import echo, echo_json
from ui.commands.progress import progress
from ui.service import Service
from ui.settings import Settings
from ui.text.archive import calibration_text

if TYPE_CHECKING:
    from index_store import CaseFilter


@click.command()
@click.option(
    "--reports",
    type=click.IntRange(20),
    default=100,
    show_default=True,
    help="Generate images for this many of the archive's reports, one for each patient: about a second each on a CPU.",
)
@click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder that keeps the images. A search looks beside --cache. [default: beside --cache]",
)
@with_settings("n_images", "preset", "archive", *MODEL_SETTINGS, "text_encoder", *CACHE_SETTINGS)
@with_filters
@as_json
def calibrate(settings: Settings, where: CaseFilter | None, reports: int, work: Path | None, as_json: bool) -> None:
    """Calibrate the novelty check of searches by generated images: was anything comparable found?

    Images are generated from the archive's own reports, as a search generates and checks them, and their similarity to
    other patients' nearest cases gives the threshold. They are kept, and an interrupted run resumes: a search with the
    same weights, preset and number of images uses the threshold, and `coin evaluate --generate` adds to the images.
    Searches by image and by text need no such run. Also shown: how well the check of a generated image's site does on
    the archive's own images.

    With filters: for searches under the same filters.
    """
    from retrieval import GenerationPlan, calibrate_archive

    service = Service(settings)
    plan = GenerationPlan(service.generator, reports=reports, images=settings.n_images, preset=settings.preset)
    with progress("Generating", unit="reports") as update:
        calibration = calibrate_archive(
            service.archive,
            service.encoder,
            plan,
            text_encoder=service.text_encoder,
            work=work or settings.work_folder,
            where=where,
            progress=update,
        )
    if as_json:
        echo_json(
            {"site": calibration.sites, "rules": calibration.rules, "generated": plan.words(), "notice": RESEARCH_USE}
        )
    else:
        echo(calibration_text(calibration, plan.words()))
