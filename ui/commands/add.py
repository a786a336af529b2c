"""`coin add`: add the images and reports of a manifest to the archive."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ui.archive_encoders import image_encoder, note_encoder, text_encoder
from ui.commands.options import as_json, with_field_choice, with_settings, with_wait
from ui.commands.output import echo, echo_json
from ui.commands.progress import progress
from ui.service import open_archive
from ui.settings import Settings
from ui.text.archive import add_text

if TYPE_CHECKING:
    from index_store import FieldChoice


@click.command()
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    help="Folder that the manifest's image names start from. [default: the manifest's own]",
)
@click.option("--in-place", is_flag=True, help="Leave the images where they are and store their paths.")
@click.option(
    "--mpp",
    type=click.FloatRange(0.05, 20),
    metavar="MICROMETRES",
    help="µm a pixel of all images of which neither the manifest nor their file says it.",
)
@with_field_choice
@click.option("--batch-size", type=click.IntRange(1, 4096), default=64, show_default=True, help="Images a batch.")
@click.option(
    "--derive/--no-derive",
    default=True,
    show_default=True,
    help="Extract site and category from the report where the manifest leaves them out.",
)
@click.option(
    "--redact", is_flag=True, help="Replace direct identifiers (names, dates, record numbers …) before storing."
)
@click.option("--refuse", is_flag=True, help="Store nothing if there are direct identifiers.")
@with_wait
@click.option(
    "--ray", default="", metavar="ADDRESS", help="Embed on a Ray cluster: HOST:6379, or auto. [default: here]"
)
@click.option(
    "--ray-workers", type=click.IntRange(0, 4096), default=0, help="Workers there. [default: one for each GPU]"
)
@as_json
@with_settings("archive", "encoder", "text_encoder", "device", "cache")
def add(
    settings: Settings,
    manifest: Path,
    images: Path | None,
    in_place: bool,
    mpp: float | None,
    choice: FieldChoice,
    batch_size: int,
    derive: bool,
    redact: bool,
    refuse: bool,
    wait: float,
    ray: str,
    ray_workers: int,
    as_json: bool,
) -> None:
    """Add the cases of MANIFEST (CSV, TSV, JSONL or COIN's .xlsx) to the archive.

    Columns: image and report are needed; case, patient, slide, site, system, category, stain, preparation, kind,
    license, source and mpp (µm a pixel) or objective (40x) are read where present; others are kept as attributes.
    Images that the archive has already are skipped, so the same command resumes an interrupted run. Rows that cannot be
    used are skipped and named; the exit code is 1 where none can be used. Generated images are not accepted.

    An image may be a whole slide (SVS, NDPI, MRXS, SCN, BIF, pyramidal TIFF; a folder of a DICOM series): fields of it
    are chosen and cut out, and become the images of its case. See what would be chosen with `coin slides look`.

    Where the manifest leaves out site, system or category, they are extracted from the report and marked as such; a
    value given later replaces them.

    Reports, further columns, keys and file names are searched for direct identifiers: names after a title or a label,
    dates, record numbers, telephone numbers, addresses. By default they are counted and stored unchanged. A name
    that nothing of the kind stands beside is not found: remove identifiers before you add.

    With --ray, the machines of a Ray cluster read and embed the images, which must be readable by all of them
    under the same path; reports and patients are not sent. This process writes the archive.

    Where a report is replaced, the images that were generated from the former one leave the cache (--cache).

    With --text-encoder, --encoder compares images, and the other one texts: it embeds images and reports, too.
    """
    if redact and refuse:
        raise click.UsageError("give only one of --redact and --refuse")
    from generation import GenerationCache
    from retrieval import RayWorkers, add_manifest, forget_generated

    with (
        RayWorkers(ray, count=ray_workers) if ray else contextlib.nullcontext() as workers,
        open_archive(settings.archive) as archive,
        progress("Adding", unit="images") as update,
        progress("Embedding reports", unit="reports") as update_reports,
    ):
        encoder, for_texts = image_encoder(archive, settings), text_encoder(archive, settings)
        with archive.writer(timeout=wait):
            summary = add_manifest(
                archive,
                manifest,
                encoder,
                text_encoder=for_texts,
                images=images,
                in_place=in_place,
                mpp=mpp,
                choice=choice,
                batch_size=batch_size,
                derive=derive,
                identifiers="redact" if redact else "refuse" if refuse else "warn",
                progress=update,
                embedding=update_reports,
                workers=workers,
                replaced=partial(forget_generated, GenerationCache(settings.cache_folder)),
            )
            note_encoder(archive, encoder)
            note_encoder(archive, for_texts)
    if as_json:
        echo_json(summary)
    else:
        echo(add_text(summary))
    if summary.skipped and not (summary.added or summary.updated or summary.unchanged):
        click.get_current_context().exit(1)
