"""`coin augment-check`: whether synthetic images help to train a classifier of these cases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ui.commands.options import GENERATOR_SETTINGS, MODEL_SETTINGS, as_json, with_settings
from ui.commands.output import echo, echo_json
from ui.commands.progress import progress
from ui.service import Service
from ui.settings import Settings
from ui.text.evaluation.augment import augment_text, verdicts

if TYPE_CHECKING:
    from retrieval import Encoder, LabelledImages, SyntheticSource, Thumbnails


@click.command("augment-check")
@click.option(
    "--manifest",
    type=click.Path(path_type=Path),
    help="Use the labelled images of this manifest. [default: those of --archive]",
)
@click.option(
    "--images",
    "folder",
    type=click.Path(path_type=Path),
    help="Folder that the manifest's image names start from. [default: the manifest's own]",
)
@click.option(
    "--kind", "kinds", multiple=True, metavar="NAME", help="Only the manifest's images of this kind; may be repeated."
)
@click.option(
    "--synthetic",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Use the synthetic images of this set (`coin generate --manifest`). [default: generate them]",
)
@click.option(
    "--per-class",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Synthetic images to generate for each class: about half a second each on a CPU.",
)
@click.option(
    "--folds",
    type=click.IntRange(2, 100),
    default=5,
    show_default=True,
    help="Cross-validation folds, of whole patients.",
)
@click.option(
    "--repeats", type=click.IntRange(1, 100), default=3, show_default=True, help="Repeats, each with other folds."
)
@click.option(
    "--real-fraction",
    "fractions",
    type=click.FloatRange(0, 1, min_open=True),
    multiple=True,
    help="Train on the real images of this fraction of the training patients; may be repeated. [default: 1]",
)
@click.option(
    "--classifier",
    type=click.Choice(["probe", "network"]),
    default="probe",
    show_default=True,
    help="A linear probe on the encoder's vectors, or a small network from scratch: 15 seconds a training on a CPU, "
    "three trainings a fold.",
)
@click.option(
    "--test-patients",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Test on the patients named in this file, one on each line, and train on all others, instead of folds.",
)
@as_json
@with_settings("preset", "archive", *MODEL_SETTINGS, *GENERATOR_SETTINGS)
def augment_check(
    settings: Settings,
    manifest: Path | None,
    folder: Path | None,
    kinds: tuple[str, ...],
    synthetic: Path | None,
    per_class: int,
    folds: int,
    repeats: int,
    fractions: tuple[float, ...],
    classifier: str,
    test_patients: Path | None,
    as_json: bool,
) -> None:
    """Train a small classifier on real, on synthetic and on both, and test it on held-out patients.

    The classifier is a linear probe on the encoder's vectors, or a small network trained from scratch. Synthetic images
    are generated from the training patients' reports only; they are kept beside --cache, so that an interrupted check
    resumes. Figures have 95 % intervals over patients; differences from real images alone are paired. Patients that the
    LoRA or the encoder was trained on (`coin train`) are not tested.
    """
    if (kinds or folder is not None) and manifest is None:
        raise click.UsageError("--kind and --images go with --manifest")
    from retrieval import Encoder, Thumbnails, require_maker, train_network, train_probe
    from retrieval import augment_check as check

    if synthetic is not None:  # before models are loaded
        require_maker(synthetic, settings.lora)
    named = () if test_patients is None else _names(test_patients)
    service = Service(settings)
    click.get_current_context().call_on_close(service.close)
    network = classifier == "network"
    encoder = (
        Thumbnails()
        if network
        else service.encoder
        if manifest is None
        else Encoder(settings.encoder, device=settings.device)  # no archive takes part
    )
    images = _images(service, encoder, manifest, folder, kinds)
    source = _source(service, encoder, synthetic, per_class)
    with progress("Generating", unit="images") as update:
        result = check(
            images,
            source,
            encoder=(encoder.name, encoder.fingerprint),
            folds=folds,
            repeats=repeats,
            fractions=fractions or (1.0,),
            test_patients=named,
            models=_models(settings, network=network),
            train=train_network if network else train_probe,
            progress=update,
        )
    if as_json:
        echo_json({"result": result, "verdicts": verdicts(result)})
    else:
        echo(augment_text(result))


def _images(
    service: Service,
    encoder: Encoder | Thumbnails,
    manifest: Path | None,
    folder: Path | None,
    kinds: tuple[str, ...],
) -> LabelledImages:
    from retrieval import archive_images, manifest_images

    with progress("Reading the images", unit="images") as update:
        if manifest is None:
            return archive_images(service.archive, encoder, work=service.settings.work_folder, progress=update)
        work = service.settings.work_folder
        return manifest_images(manifest, encoder, images=folder, kinds=kinds, work=work, progress=update)


def _models(settings: Settings, *, network: bool) -> list[str]:
    """Weights that take part and may have been trained on the images' patients."""
    return [path for path in (settings.lora, None if network else settings.encoder) if path]


def _source(service: Service, encoder: Encoder | Thumbnails, synthetic: Path | None, per_class: int) -> SyntheticSource:
    from retrieval import GeneratedImages, GenerationPlan, SetImages

    work = service.settings.work_folder
    if synthetic is not None:
        with progress("Reading the set", unit="images") as update:
            return SetImages(synthetic, encoder, work=work, progress=update)
    plan = GenerationPlan(service.generator, preset=service.settings.preset)
    return GeneratedImages(plan, encoder, per_class=per_class, work=work)


def _names(path: Path) -> tuple[str, ...]:
    from ui.commands.report_input import read_report

    names = tuple(line.strip() for line in read_report(path).splitlines() if line.strip())
    if not names:
        raise click.UsageError(f"'{path}' names no patient: write one on each line")
    return names
