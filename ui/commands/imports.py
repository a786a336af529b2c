"""`coin lora import` and `coin base import`: models of others become folders of ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ui.commands.options import as_json
from ui.commands.output import echo, echo_json
from ui.text.imports import import_text

if TYPE_CHECKING:
    from generation import Imported

_OUT = click.Path(path_type=Path)


@click.group()
def lora() -> None:
    """Bring in a LoRA."""


@click.group()
def base() -> None:
    """Bring in an SDXL base."""


@lora.command("import")
@click.argument("source")
@click.argument("out", type=_OUT)
@click.option(
    "--base",
    "of",
    metavar="BASE",
    help="The base that it belongs to: a folder or a hub id. [default: SDXL 1.0's layers]",
)
@as_json
def import_lora_command(source: str, out: Path, of: str | None, as_json: bool) -> None:
    """Bring a LoRA into the new folder OUT.

    SOURCE is a hub id (org/name, org/name/folder, org/name/file.safetensors), a folder or a file: of peft, diffusers,
    kohya or LyCORIS (LoRA, LoCon, LoHa, LoKr, DoRA), as safetensors or pickled (.bin, .pt, .ckpt). OUT holds
    safetensors in diffusers' layout, and a README.md with source, revision, licence as published and checksums.

    Pickled files are read here and by no other command: in a process of its own, under limits of memory and time,
    tensors only.
    """
    from generation import import_lora

    _show(import_lora(source, out, base=of), as_json)


@base.command("import")
@click.argument("source")
@click.argument("out", type=_OUT)
@click.option(
    "--layout",
    metavar="BASE",
    help="For a single-file checkpoint: the base whose configurations and tokenizers it has. [default: SDXL 1.0]",
)
@click.option("--half", is_flag=True, help="Of a hub id, take the fp16 files where there are any.")
@as_json
def import_base_command(source: str, out: Path, layout: str | None, half: bool, as_json: bool) -> None:
    """Bring an SDXL base into the new folder OUT.

    SOURCE is a hub id (org/name), a folder in diffusers' layout, or a single-file checkpoint (also of the hub:
    org/name/file.safetensors), as safetensors or pickled. OUT is what --base takes, with a README.md as `coin lora
    import` writes it.
    """
    from generation import import_base

    _show(import_base(source, out, layout=layout, half=half), as_json)


def _show(made: Imported, as_json: bool) -> None:
    if as_json:
        echo_json({"import": made})
    else:
        echo(import_text(made))
