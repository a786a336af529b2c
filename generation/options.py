"""The options of a generation, checked before anything is loaded or generated."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass

from generation.errors import SettingsError
from generation.model.model_files import ModelFiles
from generation.model.presets import Preset

_LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True)
class GenerationOptions:
    """Checked options. `size` is the edge in pixels."""

    preset: Preset
    size: int
    batch_size: int


def check_options(
    files: ModelFiles, preset: Preset, size: int | None, batch_size: int, negative_prompt: str
) -> GenerationOptions:
    """The options, where the model can do what they ask for.

    Args:
        preset: with the guidance that is used.
        size: edge in pixels; None is the base's own.

    Raises:
        SettingsError: batch size or size are impossible, or the negative prompt is too long or without effect.
    """
    if batch_size < 1:
        raise SettingsError(f"The batch size is {batch_size}: at least 1 is needed.")
    if negative_prompt:
        tokens, limit = files.tokens.count(negative_prompt), files.tokens.limit
        if tokens > limit:
            raise SettingsError(
                f"The negative prompt takes {tokens} tokens, and the encoders read {limit}: shorten it."
            )
        if preset.guidance <= 1:
            raise SettingsError(
                f"A negative prompt works through guidance above 1, and {preset.name!r} samples at "
                f"{preset.guidance:g}: leave it out, or raise the guidance."
            )
    edge, step = files.base.size if size is None else size, files.base.size_step
    if edge < step or edge % step:
        raise SettingsError(f"The image size is {edge}: the base {files.base.name} needs a multiple of {step}.")
    return GenerationOptions(preset, edge, batch_size)


def check_seeds(n: int, seed: int, seeds: Sequence[int] | None) -> tuple[int, ...]:
    """The seeds; None are the `n` from `seed` on. Raises `SettingsError` where there is none, or an impossible one."""
    if seeds is None:
        if n < 1:
            raise SettingsError(f"{n} images were requested: at least 1 is needed.")
        seeds = range(seed, seed + n)
    if not seeds:
        raise SettingsError("The list of seeds is empty: one seed an image is needed.")
    if min(seeds) < 0 or max(seeds) > _LARGEST_SEED:
        raise SettingsError(f"A seed is a whole number from 0 to {_LARGEST_SEED}.")
    return tuple(operator.index(number) for number in seeds)  # plain integers, also from numpy
