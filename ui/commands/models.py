"""`coin models check`: what would be loaded from where, what it takes, and whether it fits, in seconds."""

from __future__ import annotations

import click

from ui.commands.options import as_json, with_settings
from ui.commands.output import echo, echo_json
from ui.model_check import check_models
from ui.settings import Settings
from ui.text.imports import model_check_text


@click.group()
def models() -> None:
    """Models: base, LoRA and encoder together."""


@models.command()
@as_json
@with_settings("base", "lora", "few_step_lora", "vae", "encoder", "text_encoder", "device", "dtype", "memory")
def check(settings: Settings, as_json: bool) -> None:
    """Say what would be loaded, what memory it takes, whether the LoRA fits, and which channels there will be.

    No weights are loaded and nothing is fetched: what is neither on this machine nor in the hub's cache is named. The
    sums of memory are estimates. The exit code is 1 where a model cannot be used, or memory will not suffice.
    """
    found = check_models(settings)
    if as_json:
        echo_json(found.to_dict())
    else:
        echo(model_check_text(found))
    too_little = found.main_memory_available is not None and found.main_memory > found.main_memory_available
    too_little |= found.gpu_memory_available is not None and found.gpu_memory > found.gpu_memory_available
    if found.problems or too_little:
        click.get_current_context().exit(1)
