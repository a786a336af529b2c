"""The files of a LoRA: in a file, a folder, a sub-folder, or on the hub."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from generation.errors import UnsafeWeightsError, WeightsError, WeightsNotFoundError
from generation.model.files.hub import fetch, split_hub_id
from generation.model.files.weight_files import (
    STARTER,
    check_safetensors,
    display_name,
    fingerprint,
    is_pickled,
    pickled_among,
    refusal,
)
from generation.model.lora.names import PARTS

_USUAL = ("pytorch_lora_weights.safetensors", "adapter_model.safetensors")  # of diffusers, of peft
_OF_A_BASE = ("model", "diffusion_pytorch_model")
_CONFIG = "adapter_config.json"
_DEEPEST = 3


@dataclass(frozen=True)
class LoraFile:
    """One safetensors file of a LoRA.

    `config` is peft's adapter_config.json, where the file is in peft's layout; `part` is the part of the base that the
    file is for where its names do not say it (peft saves one adapter a model).
    """

    path: Path
    config: Path | None = None
    part: str = ""


@dataclass(frozen=True)
class Lora:
    """A LoRA: mostly one safetensors file. `path` is the file, or the folder of several."""

    name: str
    path: Path
    files: tuple[LoraFile, ...]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the files' names and content."""
        found: dict[str, Path] = {}
        for file in self.files:
            prefix = f"{file.part}/" if len(self.files) > 1 else ""
            found |= {prefix + path.name: path for path in (file.path, file.config) if path is not None}
        return fingerprint(found)


def find_lora(source: str | Path) -> Lora:
    """The LoRA at `source`: a .safetensors file, a folder with one in it or below it, or a hub id.

    On the hub, `org/name/sub/folder` and `org/name/file.safetensors` name one of several.

    Raises `WeightsNotFoundError`, `UnsafeWeightsError` (a pickle) or `WeightsError` (several files, corrupt). Whether
    it fits the base shows when both are loaded.
    """
    path = Path(source).expanduser()
    if not path.exists():
        path = fetch_lora(source)
    found = [path] if path.is_file() else [path / name for name in choose_lora(_below(path), str(source))]
    if path.is_dir() and not found:
        raise _nothing_in(path, source)
    files = []
    for file in found:
        if is_pickled(file):
            raise refusal(file, _import(source))
        check_safetensors(file)
        part = file.parent.name if file.parent.name in PARTS else ""
        files.append(LoraFile(file, peft_config(file, file.parent), part))
    return Lora(display_name(source), files[0].path if len(files) == 1 else path, tuple(files))


def fetch_lora(source: str | Path, *, pickled: bool = False) -> Path:
    """The LoRA's file or folder in the hub's cache. `pickled`: also where there are only pickled weights.

    Raises `WeightsNotFoundError` for what is no hub id, and where there is nothing.
    """
    split = split_hub_id(source)
    if split is None:
        hint = " The starter is part of this project: install it again." if STARTER in Path(source).parents else ""
        raise WeightsNotFoundError(
            f"There is no LoRA at {source}. Give a local path that exists, or a hub id of the form org/name, "
            f"org/name/folder or org/name/file.safetensors.{hint}"
        )
    hub_id, inside = split

    def wanted(names: list[str]) -> list[str]:
        below = [name for name in names if not inside or name == inside or name.startswith(f"{inside}/")]
        safe = [name for name in below if name.endswith(".safetensors")]
        if not safe and (risky := [name for name in below if is_pickled(name)]) and not pickled:
            raise refusal(Path(hub_id, risky[0]), _import(source))
        beside = {str(PurePosixPath(name).with_name(_CONFIG)) for name in safe}
        chosen = [*safe, *(name for name in names if name in beside)]
        if pickled:
            chosen += [name for name in below if is_pickled(name)] if not safe else []
            chosen += [name for name in names if "/" not in name and name.lower().startswith(("readme", "licen"))]
        return chosen

    folder = fetch(hub_id, "LoRA", wanted)
    if not (folder / inside).exists():
        raise WeightsNotFoundError(f"The hub's repository {hub_id} has no {inside}, or it is not in the cache.")
    return folder / inside


def choose_lora(names: Iterable[str], where: str) -> list[str]:
    """The files of the one LoRA among the names of a folder's safetensors files; none if there are none.

    One directly in the folder goes before those of sub-folders. Sub-folders named after the parts of a base
    (`unet/`, `text_encoder/`) are one LoRA together. Raises `WeightsError` where there are several to choose from.
    """
    by_folder: dict[str, list[str]] = {}
    for name in sorted(names):
        by_folder.setdefault(str(PurePosixPath(name).parent), []).append(name)
    if "." in by_folder:
        return [_one_of(by_folder["."], where)]
    folders = {
        folder: files
        for folder, files in by_folder.items()
        if len(PurePosixPath(folder).parts) <= _DEEPEST
        and not all(PurePosixPath(file).name.startswith(_OF_A_BASE) for file in files)
    }
    if folders and set(folders) <= set(PARTS):
        return [_one_of(files, f"{where}/{folder}") for folder, files in folders.items()]
    if len(folders) > 1:
        shown = ", ".join(sorted(folders, key=lambda name: (len(name), name)))
        last = max(folders, key=lambda name: (len(name), name))
        raise WeightsError(f"There are several LoRAs in {where} ({shown}). Name the one to use: {where}/{last}")
    return [_one_of(files, f"{where}/{folder}") for folder, files in folders.items()]


def _one_of(files: list[str], where: str) -> str:
    for usual in _USUAL:
        if preferred := [name for name in files if PurePosixPath(name).name == usual]:
            return preferred[0]
    if len(files) > 1:
        names = ", ".join(PurePosixPath(name).name for name in files)
        raise WeightsError(f"There are several LoRAs in {where} ({names}). Name the file to use.")
    return files[0]


def _below(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*.safetensors")]


def _nothing_in(folder: Path, source: str | Path) -> UnsafeWeightsError | WeightsNotFoundError:
    if pickled := pickled_among(folder.iterdir()) or pickled_among(folder.rglob("*")):
        return refusal(pickled, _import(source))
    return WeightsNotFoundError(f"There is no LoRA in {folder}: it holds no .safetensors file.")


def _import(source: str | Path) -> str:
    return f"coin lora import {shlex.quote(str(source))} OUT"


def peft_config(path: Path, folder: Path) -> Path | None:
    """The adapter_config.json in `folder`, if the safetensors file `path` is in peft's layout; else None.

    In that layout the strength stands in a file of its own; in the others such a file would be another's.
    """
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        of_peft = any(key.startswith("base_model.model.") for key in file.keys())  # noqa: SIM118
    config = folder / _CONFIG
    return config if of_peft and config.is_file() else None
