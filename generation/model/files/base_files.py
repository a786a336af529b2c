"""Which files make up an SDXL base in diffusers' layout: configurations, and one set of weights for each component."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from generation.errors import WeightsNotFoundError
from generation.model.files.weight_files import is_pickled, refusal

# `model` is transformers' name, the other diffusers'; large models come in numbered shards.
_WEIGHTS = re.compile(r"(?:diffusion_pytorch_)?model(?:\.(?P<variant>\w+))?(?:-\d{5}-of-\d{5})?\.safetensors")
_INDEX = re.compile(r"(?:diffusion_pytorch_)?model(?:\.\w+)?\.safetensors\.index(?:\.\w+)?\.json")
CONFIGS = {
    "config.json",
    "scheduler_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.json",
    "preprocessor_config.json",
}


def no_base(where: str, names: Iterable[str]) -> WeightsNotFoundError:
    """The error for a folder or repository without a pipeline, of whose files `names` are."""
    files = sorted(name for name in names if "/" not in name and (name.endswith(".safetensors") or is_pickled(name)))
    hint = (
        f"Where {files[0]} is a single-file checkpoint, bring it in once: coin base import "
        f"{shlex.quote(f'{where}/{files[0]}')} OUT"
        if files
        else "Give the folder that save_pretrained(...) wrote, with unet/, vae/ and the others inside."
    )
    return WeightsNotFoundError(f"There is no SDXL base in {where}: it has no model_index.json. {hint}")


def wanted_files(names: Iterable[str], *, half: bool, pickled: bool = False, base: str = "") -> list[str]:
    """The files of a repository that make up a base or a VAE: configurations, and one set of weights a folder.

    Args:
        pickled: where a folder has only pickled weights, take those. Raises `UnsafeWeightsError` for it otherwise.
        base: the hub id of what must be a base. Raises `WeightsNotFoundError` where it is none.
    """
    names = list(names)
    if base and "model_index.json" not in names:
        raise no_base(base, names)
    by_folder: dict[str, list[PurePosixPath]] = {}
    for name in names:
        path = PurePosixPath(name)
        if len(path.parts) <= 2:
            by_folder.setdefault(str(path.parent), []).append(path)
    wanted: list[PurePosixPath] = []
    for folder, paths in by_folder.items():
        chosen = [path for path in paths if path.name in CONFIGS or path.name == "model_index.json"]
        is_model = any(path.name == "config.json" for path in paths)
        matches = [(path, match) for path in paths if (match := _WEIGHTS.fullmatch(path.name))]
        plain, fp16 = ([path for path, match in matches if match["variant"] == variant] for variant in (None, "fp16"))
        weights = fp16 if half and fp16 else plain or fp16
        if is_model and not weights and (risky := [path for path in paths if is_pickled(path)]):
            if not pickled:
                raise refusal(Path(base, risky[0]), f"coin base import {base} OUT" if base else "")
            weights = risky
        chosen += [*weights, *(path for path in paths if weights and _INDEX.fullmatch(path.name))]
        if folder == "." and pickled:
            chosen += [path for path in paths if path.name.lower().startswith(("readme", "licen"))]
        wanted += chosen
    return sorted(map(str, wanted))


def weights_in(component: Path, variant: str | None) -> list[Path]:
    """The safetensors files of a component, of that variant."""
    matches = ((path, _WEIGHTS.fullmatch(path.name)) for path in sorted(component.iterdir()))
    return [path for path, match in matches if match and match["variant"] == variant]


def indices_in(component: Path, variant: str | None) -> list[Path]:
    """The files of a component that say which of its weights' files holds which tensor, of that variant."""
    mark = "" if variant is None else f".{variant}."
    found = (path for path in sorted(component.iterdir()) if _INDEX.fullmatch(path.name))
    return [path for path in found if (mark in path.name if mark else ".fp16." not in path.name)]
