"""What every format shares: an encoder's files found and checked, and the model that they become."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shlex
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from generation import PICKLED_SUFFIXES, WeightsError, file_sha256
from generation.model.files import weight_files
from generation.model.files.network_size import no_larger_than
from generation.model.files.weight_files import missing_shards, pointer_refusal
from retrieval.errors import EncoderLoadError

if TYPE_CHECKING:
    import PIL.Image
    import torch

DESCRIPTION: Final = "encoder.json"
"""Written by `coin encoder import` beside the model: what the published files do not say."""
TOKENIZER_FILES: Final = (
    "added_tokens.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)
SINGLE: Final = "model.safetensors"
CHECKPOINTS: Final = "checkpoints"
SETTINGS: Final = "params.txt"
"""Where open_clip's training keeps the states of a run, and beside that folder the options that it was run with."""
_EPOCH: Final = re.compile(r"epoch_(\d+)\.pt")
# What names where a configuration came from, and decides no vector.
_BOOKKEEPING: Final = frozenset(
    {"_name_or_path", "_commit_hash", "transformers_version", "architectures", "torch_dtype", "dtype", "use_cache"}
)


class LoadedEncoder(Protocol):
    """A model on its device, in evaluation mode. Its vectors need not be of unit length."""

    device: str
    """"cuda", "mps" or "cpu"."""

    def prepare(self, image: PIL.Image.Image) -> torch.Tensor:
        """One RGB image as the model wants it: float32[3, height, width]."""

    def encode_images(self, images: torch.Tensor) -> torch.Tensor:
        """float[n, 3, height, width] on the device -> float[n, dim]."""

    def encode_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """n texts -> float[n, dim], cut off at the context. Raises EncoderLoadError without a tokenizer."""


@dataclass(frozen=True)
class EncoderFiles(ABC):
    """One encoder on disk, checked and fingerprinted; nothing of it is loaded yet."""

    path: Path
    name: str
    """For readers: a hub id as it is, or the folder's name."""
    dim: int
    """Length of a vector."""
    fingerprint: str
    """sha256 (hex) over everything that decides a vector, and nothing else: no path, no name of the weights' file."""
    reads_images: bool
    reads_texts: bool
    image_size: int | None
    """Edge in pixels of the square that an image becomes; None where the files do not say."""
    mpp: float | None
    """The scale that the model wants, in µm a pixel, where its description states one."""
    weights: tuple[Path, ...]
    """The safetensors files."""
    field_um: float | None = field(default=None, kw_only=True)
    """The side in µm of the fields that it sees of an image whose scale is known; None: every image is seen whole. Part
    of the fingerprint."""

    @property
    @abstractmethod
    def format(self) -> str:
        """The layout's name, for readers."""

    @abstractmethod
    def load(self, device: str) -> LoadedEncoder:
        """The model on a device that exists. Raises EncoderLoadError."""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a model's folder. Raises EncoderLoadError where it is broken."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        if pointer := pointer_refusal(path):
            raise EncoderLoadError(pointer) from error
        raise EncoderLoadError(f"{path} could not be read as JSON ({error}). Fetch the model again.") from error
    if not isinstance(content, dict):
        raise EncoderLoadError(f"{path} holds no JSON object. Fetch the model again.")
    return content


def read_description(folder: Path) -> dict[str, Any]:
    """What `coin encoder import` noted in the folder; empty where the folder is as published."""
    path = folder / DESCRIPTION
    return read_json(path) if path.is_file() else {}


def without_bookkeeping(config: Any) -> Any:
    """A configuration without the entries that decide no vector, at every depth."""
    if isinstance(config, Mapping):
        return {key: without_bookkeeping(value) for key, value in config.items() if key not in _BOOKKEEPING}
    return [without_bookkeeping(value) for value in config] if isinstance(config, list) else config


def check_safetensors(path: Path) -> None:
    """Raise EncoderLoadError for a file that is no whole safetensors file: header and length only."""
    try:
        weight_files.check_safetensors(path)
    except WeightsError as error:
        raise EncoderLoadError(str(error)) from error


def model_weights(folder: Path) -> tuple[Path, ...]:
    """The weights of a folder in the layout of transformers and timm: one file, or numbered shards.

    Raises EncoderLoadError where there are none, naming the pickled ones that are there instead.
    """
    files = [folder / SINGLE]
    if not files[0].is_file():
        files = sorted(folder.glob("model-*-of-*.safetensors"))
    if not files:
        raise EncoderLoadError(f"{folder} holds no model.safetensors.{pickled_hint(folder)}")
    check_shards(folder, [path.name for path in files])
    for path in files:
        check_safetensors(path)
    return tuple(files)


@contextlib.contextmanager
def made_within(weights: Sequence[Path]) -> Iterator[None]:
    """Make a network in the block that is not far larger than its weights. Raises EncoderLoadError for one that is."""
    try:
        with no_larger_than(weights):
            yield
    except WeightsError as error:
        raise EncoderLoadError(str(error)) from error


def check_shards(folder: Path, names: Sequence[str]) -> None:
    """Raise EncoderLoadError where weights were published in numbered parts, and some are not there."""
    if missing := missing_shards(names):
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise EncoderLoadError(
            f"{folder} holds only some of its parts of weights: {', '.join(missing[:3])}{more} "
            f"{'is' if len(missing) == 1 else 'are'} missing. Fetch the model again."
        )


def last_state(folder: Path) -> Path | None:
    """Of the states that open_clip's training kept in a folder the one of the last epoch; None without any."""
    epochs = {int(match[1]): path for path in folder.iterdir() if (match := _EPOCH.fullmatch(path.name))}
    latest = folder / "epoch_latest.pt"
    return epochs[max(epochs)] if epochs else latest if latest.is_file() else None


def training_checkpoint(folder: Path) -> Path | None:
    """The last state of a training run in or just below a folder; None where there is none."""
    for inside in (folder / CHECKPOINTS, *sorted(folder.glob(f"*/{CHECKPOINTS}"))[:100]):
        if inside.is_dir() and (state := last_state(inside)):
            return state
    return None


def pickled_hint(folder: Path) -> str:
    """A sentence (with a leading space) on the pickled weights of a folder and how to bring them in."""
    if checkpoint := training_checkpoint(folder):
        of_run = checkpoint.parent.parent
        return (
            f" It holds the states of a training ({checkpoint.name}), which are pickled and read by one command "
            f"alone, in a process of its own. Bring the model in once: coin encoder import "
            f"{shlex.quote(str(of_run))} OUT"
        )
    others = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in PICKLED_SUFFIXES)
    if not others:
        return " Give a folder with safetensors weights, or 'hf-hub:org/name'."
    return (
        f" It holds {', '.join(others)}: pickled weights can run code, and only one command reads them, in a process "
        f"of its own. Bring the model in once: coin encoder import {shlex.quote(str(folder))} OUT"
    )


def digest(parts: Mapping[str, Any]) -> str:
    """sha256 (hex) over the canonical JSON of what decides a vector."""
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def tensors_sha256(files: Sequence[Path]) -> str:
    """sha256 (hex) over names, types, shapes and values of all tensors, in order of their names.

    Files that hold the same tensors agree, however they are split, ordered and annotated.
    """
    found: dict[str, tuple[Path, int, Mapping[str, Any]]] = {}
    for path in files:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        found |= {name: (path, 8 + length, entry) for name, entry in header.items()}
    total = hashlib.sha256()
    for name in sorted(found):
        path, start, entry = found[name]
        first, last = entry["data_offsets"]
        values = hashlib.sha256()
        with path.open("rb") as file:
            file.seek(start + first)
            left = last - first
            while left:
                block = file.read(min(left, 1 << 22))
                values.update(block)
                left -= len(block)
        total.update(json.dumps([name, entry["dtype"], entry["shape"], values.hexdigest()]).encode())
    return total.hexdigest()


def has_tokenizer_files(folder: Path) -> bool:
    """Whether a folder holds a tokenizer."""
    return any((folder / name).is_file() for name in TOKENIZER_FILES)


def tokenizer_sha256(folder: Path) -> dict[str, str]:
    """sha256 (hex) of each tokenizer file of a folder, by name."""
    return {name: file_sha256(folder / name) for name in TOKENIZER_FILES if (folder / name).is_file()}


def first_line(error: Exception) -> str:
    """An error's first line as a sentence; with the next, where it only announces that."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()] or [type(error).__name__]
    line = " ".join(lines[: 2 if lines[0].endswith(":") else 1])
    return line if line.endswith((".", ":")) else f"{line}."
