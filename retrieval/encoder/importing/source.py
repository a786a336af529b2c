"""What is to be imported: a hub repository, a folder or a file, and the files of it that matter."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from generation import PICKLED_SUFFIXES
from retrieval.encoder.formats.files import CHECKPOINTS, SETTINGS, check_shards, last_state, training_checkpoint
from retrieval.encoder.formats.open_clip_folder import HUB_PREFIX
from retrieval.encoder.model_files import LOCAL_PREFIX, choose_weights, fetch
from retrieval.errors import EncoderLoadError


@dataclass(frozen=True)
class EncoderSource:
    """A source on this machine's disk."""

    name: str
    """A hub id, or the last name of a local path."""
    folder: Path
    weights: tuple[Path, ...]
    """Safetensors files where there are any, else pickled ones."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Of a training of open_clip, the options that it was run with (`params.txt`), as written."""

    @property
    def pickled(self) -> bool:
        """Whether the weights are pickled."""
        return self.weights[0].suffix.lower() in PICKLED_SUFFIXES


def find_source(source: str | Path) -> EncoderSource:
    """A local folder or file, or a hub id (with or without `hf-hub:`), which is fetched.

    Raises EncoderLoadError where it cannot be found or holds no weights.
    """
    text = str(source).removeprefix(LOCAL_PREFIX)
    path = Path(text).expanduser()
    if path.is_file():
        return EncoderSource(path.resolve().name, path.parent, (path,), _run_settings(path))
    if path.is_dir():
        if checkpoint := _last_checkpoint(path):
            name = f"{path.resolve().name}, {checkpoint.name}"
            return EncoderSource(name, checkpoint.parent, (checkpoint,), _run_settings(checkpoint))
        return EncoderSource(path.resolve().name, path, _weights(path, text))
    hub_id = text.removeprefix(HUB_PREFIX)
    if hub_id.count("/") != 1 or text.startswith((".", "/", "~")):
        raise EncoderLoadError(f"There is no file or folder {text}, and it is no hub id of the form org/name.")
    folder = fetch(hub_id, pickled=True)
    return EncoderSource(hub_id, folder, _weights(folder, hub_id))


def _last_checkpoint(folder: Path) -> Path | None:
    """Of the folder of a training run of open_clip, or of its `checkpoints`, the last state; None for other folders."""
    inside = folder / CHECKPOINTS if (folder / CHECKPOINTS).is_dir() else folder
    known = inside.name == CHECKPOINTS and (inside.parent / SETTINGS).is_file()
    return last_state(inside) if known else None


def _run_settings(checkpoint: Path) -> dict[str, str]:
    """The lines of the `params.txt` that open_clip's training writes beside its folder of checkpoints."""
    path = checkpoint.parent.parent / SETTINGS
    if checkpoint.parent.name != CHECKPOINTS or not path.is_file():
        return {}
    lines = (line.partition(":") for line in path.read_text(encoding="utf-8", errors="replace").splitlines()[:1000])
    return {name.strip(): value.strip() for name, _, value in lines if value.strip() not in ("", "None")}


def _weights(folder: Path, name: str) -> tuple[Path, ...]:
    files = choose_weights([path.name for path in folder.iterdir()], pickled=True)
    others = sorted(path.name for path in folder.glob("*.safetensors"))
    if not files and len(others) == 1:
        files = others
    if len(files) > 1 and not all("-of-" in file for file in files):
        raise EncoderLoadError(f"{name} holds several files of weights ({', '.join(files)}): name the one to import.")
    if not files and (checkpoint := training_checkpoint(folder)):
        raise EncoderLoadError(
            f"{name} holds no weights of an encoder itself, and those of a training below it: name one of them, and "
            f"its architecture with --arch, or the run's folder where a {SETTINGS} lies in it. For example: coin "
            f"encoder import {shlex.quote(str(checkpoint))} OUT"
        )
    if not files:
        held = f" ({', '.join(others)}: name the one to import)" if others else ""
        raise EncoderLoadError(f"{name} holds no weights of an encoder in a place that is known{held}.")
    check_shards(Path(name), files)
    return tuple(folder / file for file in files)
