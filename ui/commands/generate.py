"""`coin generate`: synthetic images of a report, as PNG files that say what they are."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from retrieval.notice import RESEARCH_USE
from ui.commands.output import echo, echo_json
from ui.commands.reports import read_report
from ui.options import GENERATOR_SETTINGS, as_json, with_settings
from ui.progress import progress
from ui.service import make_generator
from ui.settings import Settings
from ui.text import generation_text


@click.command()
@click.option("--text", metavar="REPORT", help="The report.")
@click.option("--text-file", type=click.Path(path_type=Path), help="The report in this file; - is stdin.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Folder for the images. [default: .]",
)
@click.option("--size", type=click.IntRange(64, 2048), help="Pixels a side. [default: as the base was trained]")
@as_json
@with_settings("n_images", "seed", "preset", "base", "lora", "device", *GENERATOR_SETTINGS, "cache", "cache_mb")
def generate(
    settings: Settings, text: str | None, text_file: Path | None, out: Path, size: int | None, as_json: bool
) -> None:
    """Turn a report into synthetic images and save them as PNG.

    Each file carries its provenance: prompt, seed, preset, the models' fingerprints, and that it is synthetic.
    """
    if (text is None) == (text_file is None):
        raise click.UsageError("give exactly one of --text and --text-file")
    report = text if text is not None else read_report(text_file or Path("-"))
    from generation import save_png

    generator = make_generator(settings)
    out.mkdir(parents=True, exist_ok=True)
    with progress("Generating", unit="steps") as draw:
        made = generator.generate(
            report, n=settings.n_images, seed=settings.seed, preset=settings.preset, size=size, progress=draw
        )
    saved = []
    for image in made.images:
        note = image.provenance
        # The report's hash, not its words: file names end up in listings and logs.
        name = f"coin-{note.report_sha256[:8]}-{note.preset}-{note.width}px-seed{note.seed}.png"
        saved.append(dataclasses.replace(image, path=save_png(image.image, out / name, note)))
    made = dataclasses.replace(made, images=tuple(saved))
    if as_json:
        echo_json(
            {
                "prompt": made.prompt,
                "seconds": made.seconds,
                "images": [{"path": image.path, "provenance": image.provenance} for image in saved],
            }
        )
    else:
        echo(f"{generation_text(made)}\n\n{RESEARCH_USE}")
