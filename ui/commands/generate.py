"""`coin generate`: synthetic images of a report, or a data set of many reports, as PNG files with provenance."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from retrieval import RESEARCH_USE
from ui.commands.generate_set import generate_set
from ui.commands.options import GENERATOR_SETTINGS, MODEL_SETTINGS, as_json, with_settings
from ui.commands.output import echo, echo_json
from ui.commands.progress import progress
from ui.commands.report_input import read_report
from ui.service import make_generator
from ui.settings import Settings
from ui.text.generation import generation_text

if TYPE_CHECKING:
    from retrieval import Share


def _share(context: click.Context, parameter: click.Parameter, value: str | None) -> Share | None:
    if value is None:
        return None
    number, slash, total = value.partition("/")
    if not (slash and number.isdecimal() and total.isdecimal()):
        raise click.BadParameter(f"'{value}' is no share: write 2/8 for the second of eight.")
    from retrieval import Share

    return Share(int(number), int(total))


@click.command()
@click.option("--text", metavar="REPORT", help="The report.")
@click.option("--text-file", type=click.Path(path_type=Path), help="The report in this file; - is stdin.")
@click.option(
    "--manifest",
    type=click.Path(path_type=Path),
    help="Generate a data set from every report of this table (CSV, TSV, JSONL or COIN's .xlsx).",
)
@click.option(
    "--per-report", type=click.IntRange(1, 1000), help="Images for each report of the table. [default: --n-images]"
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the images. [default: . for one report; required for a data set]",
)
@click.option(
    "--shard",
    callback=_share,
    metavar="K/N",
    help="Generate only the K-th of N shares of the table's reports: one process for each GPU, on any number of "
    "machines. Run once more without it when all are done.",
)
@click.option(
    "--batch-size", type=click.IntRange(1, 256), default=4, show_default=True, help="Images generated at once (table)."
)
@click.option(
    "--copy-check",
    "against",
    type=click.Path(path_type=Path),
    metavar="MANIFEST",
    help="Then compare the set with this manifest's images, the training images of the weights: copy-report.json.",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    help="Folder that the image names of --copy-check start from. [default: the manifest's own]",
)
@click.option("--size", type=click.IntRange(64, 2048), help="Pixels a side. [default: as the base was trained]")
@as_json
@with_settings("n_images", "seed", "preset", *MODEL_SETTINGS, *GENERATOR_SETTINGS)
def generate(
    settings: Settings,
    text: str | None,
    text_file: Path | None,
    manifest: Path | None,
    per_report: int | None,
    out: Path | None,
    shard: Share | None,
    batch_size: int,
    against: Path | None,
    images: Path | None,
    size: int | None,
    as_json: bool,
) -> None:
    """Turn a report, or a table of them, into synthetic images and save them as PNG.

    Each file carries its provenance: prompt, seed, preset, the models' fingerprints, and that it is synthetic.

    With --manifest, the folder becomes a data set: train/CLASS/ for torchvision's ImageFolder, train/metadata.jsonl for
    Hugging Face's `datasets`, manifest.csv with every column of the table, a dataset card and a contact sheet. Images
    that exist are not generated again, so the same command resumes an interrupted run, or adds new rows of the table.
    Where the table gives no category, it is read from the report, as `coin add` does. Exact duplicates are dropped.
    """
    if images is not None and against is None:
        raise click.UsageError("--images goes with --copy-check")
    if sum(given is not None for given in (text, text_file, manifest)) != 1:
        raise click.UsageError("give exactly one of --text, --text-file and --manifest")
    if manifest is not None:
        if out is None:
            raise click.UsageError("a data set needs its own folder: give --out")
        if shard is not None and against is not None:
            raise click.UsageError("--copy-check goes with the run without --shard that completes the set")
        generate_set(
            settings,
            manifest,
            out,
            per_report=per_report or settings.n_images,
            share=shard,
            batch_size=batch_size,
            against=against,
            images=images,
            size=size,
            as_json=as_json,
        )
        return
    if per_report is not None or shard is not None or against is not None:
        raise click.UsageError("--per-report, --shard and --copy-check go with --manifest")
    out = out or Path()
    report = text if text is not None else read_report(text_file or Path("-"))
    from generation import private_folder, save_png

    generator = make_generator(settings)
    private_folder(out)
    with progress("Generating", unit="steps") as update:
        generation = generator.generate(
            report, n=settings.n_images, seed=settings.seed, preset=settings.preset, size=size, progress=update
        )
    saved = []
    for image in generation.images:
        note = image.provenance
        # The report's hash, not its words: file names end up in listings and logs.
        name = f"coin-{note.report_sha256[:8]}-{note.preset}-{note.width}px-seed{note.seed}.png"
        saved.append(dataclasses.replace(image, path=save_png(image.image, out / name, note)))
    generation = dataclasses.replace(generation, images=tuple(saved))
    if as_json:
        echo_json(
            {
                "prompt": generation.prompt,
                "seconds": generation.seconds,
                "images": [{"path": image.path, "provenance": image.provenance} for image in saved],
            }
        )
    else:
        echo(f"{generation_text(generation)}\n\n{RESEARCH_USE}")
