"""`coin encoder import`: bring a published encoder in, once; it works offline from then on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ui.commands.options import as_json
from ui.commands.output import echo, echo_json
from ui.text.imports import imported_encoder_text

POOLINGS = ("model", "cls", "mean", "cls+mean")


@click.group()
def encoder() -> None:
    """Encoders: what turns images and texts into vectors that can be compared."""


@encoder.command("import")
@click.argument("source")
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--arch",
    metavar="NAME",
    help="The architecture, for weights without a configuration: a name of open_clip (ViT-B-16), timm:NAME, or a "
    "folder that holds open_clip_config.json.",
)
@click.option(
    "--text-config",
    type=click.Path(path_type=Path, exists=True),
    help="The config.json of a text tower of transformers (BERT), where it is not beside the weights.",
)
@click.option(
    "--pooling",
    type=click.Choice(POOLINGS),
    help="How an encoder of timm that reads images only makes one vector. [default: as published]",
)
@click.option("--mpp", type=click.FloatRange(0, min_open=True), help="The scale that the encoder wants, in µm a pixel.")
@click.option(
    "--field-um",
    type=click.FloatRange(0, min_open=True),
    help="Cut images of known scale into fields of this side in µm, and compare their mean. [default: whole images]",
)
@click.option(
    "--model-args",
    metavar="JSON",
    help="For a model of timm: arguments that its authors set in code and no file says, as its card has them "
    "('{\"num_heads\": 24}').",
)
@as_json
def import_(
    source: str,
    out: Path,
    arch: str | None,
    text_config: Path | None,
    pooling: str | None,
    mpp: float | None,
    field_um: float | None,
    model_args: str | None,
    as_json: bool,
) -> None:
    """Bring the encoder SOURCE in as the new folder OUT.

    SOURCE is a hub id (org/name), a folder or a file, as open_clip, transformers or timm publish encoders. OUT holds
    all that is needed offline, with a model card (README.md). Pickled weights (.bin, .pt) are read by this command
    alone, in a process of its own under limits. The model is loaded and tried before OUT appears.
    """
    from retrieval import import_encoder

    done = import_encoder(
        source,
        out,
        arch=arch,
        text_config=text_config,
        pooling=pooling,
        mpp=mpp,
        field_um=field_um,
        model_args=_arguments(model_args),
    )
    if as_json:
        files = done.files
        reads = [name for name, can in (("images", files.reads_images), ("texts", files.reads_texts)) if can]
        echo_json(
            {
                "folder": str(done.folder),
                "format": files.format,
                "dim": files.dim,
                "image_size": files.image_size,
                "mpp": files.mpp,
                "field_um": files.field_um,
                "reads": reads,
                "fingerprint": files.fingerprint,
                "changes": list(done.changes),
                "notes": list(done.notes),
            }
        )
    else:
        echo(imported_encoder_text(done))


def _arguments(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise click.BadParameter(f'{text} is no JSON object, such as {{"num_heads": 24}}.', param_hint="--model-args")
    return found
