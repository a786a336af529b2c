"""`coin copy-check`: how near a set of generated images is to the images that the weights were trained on."""

from __future__ import annotations

from pathlib import Path

import click

from ui.archive_encoders import image_encoder
from ui.commands.options import as_json, with_settings
from ui.commands.output import echo, echo_json
from ui.commands.progress import progress
from ui.pictures.synthetic_sheet import pairs_sheet
from ui.service import open_archive
from ui.settings import Settings
from ui.text.evaluation.synthetic import copy_record, copy_text


@click.command("copy-check")
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the generated images: a set of `coin generate --manifest`, or any.",
)
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    metavar="MANIFEST",
    help="Compare with the images of this manifest. [default: with those of --archive]",
)
@click.option(
    "--against-images",
    type=click.Path(path_type=Path),
    help="Folder that the image names of --against start from. [default: the manifest's own]",
)
@click.option(
    "--sheet",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also save the nearest pairs side by side as this PNG file. It shows reference images.",
)
@as_json
@with_settings("archive", "encoder", "device", "cache")
def copy_check(
    settings: Settings,
    images: Path,
    against: Path | None,
    against_images: Path | None,
    sheet: Path | None,
    as_json: bool,
) -> None:
    """Report copies among generated images, and their similarity to reference images in general.

    Looked for, against every reference: whole pictures and the squares that a training cuts out of them (perceptual
    hash, in any orientation); parts, turned, mirrored or enlarged (keypoints and pixels); and images more alike to one
    reference than references are to one another. The similarity of the set as a whole is reported beside that of
    the references to other patients' images. Fingerprints, vectors and results are kept beside --cache: a check that
    was interrupted resumes. This is a measurement: it does not prove that an image is private.
    """
    if sheet is not None and not sheet.parent.is_dir():
        raise click.BadParameter(
            f"there is no folder '{sheet.parent}': make it, or name another.", param_hint="--sheet"
        )
    if against_images is not None and against is None:
        raise click.UsageError("--against-images goes with --against")
    from retrieval import Encoder, archive_references, check_copies, images_of, manifest_references

    files = images_of(images)
    with progress("Reading the references", unit="images") as update:
        if against is not None:
            encoder = Encoder(settings.encoder, device=settings.device)
            references = manifest_references(
                against, encoder, images=against_images, work=settings.work_folder, progress=update
            )
        else:
            with open_archive(settings.archive, read_only=True) as archive:
                encoder = image_encoder(archive, settings)
                references = archive_references(archive, encoder, work=settings.work_folder, progress=update)
    with progress("Checking for copies", unit="images") as update:
        report = check_copies(files, references, encoder, progress=update)
    if sheet is not None:
        pairs_sheet(report, sheet)
    if as_json:
        echo_json(copy_record(report))
    else:
        echo(copy_text(report))
