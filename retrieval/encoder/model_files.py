"""An encoder's files, found and checked without loading the model.

A model is a folder in one of the formats of `retrieval.encoder.formats`; a hub id is fetched once into the hub's cache
and is such a folder from then on; a package of its own is reached by an entry point.
"""

from __future__ import annotations

import fnmatch
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from generation import PICKLED_SUFFIXES
from retrieval.encoder.formats import open_clip_folder
from retrieval.encoder.formats.adapters import adapters, read_adapter
from retrieval.encoder.formats.files import (
    DESCRIPTION,
    TOKENIZER_FILES,
    EncoderFiles,
    digest,
    pickled_hint,
    read_description,
)
from retrieval.encoder.formats.open_clip_folder import HUB_PREFIX, OpenClipFiles
from retrieval.encoder.formats.registry import format_of
from retrieval.encoder.formats.stage_readout import READOUT
from retrieval.errors import EncoderLoadError

STARTER: Final = Path(__file__).parents[1] / "starter" / "clip"
_STARTER_NAME: Final = "starter"
LOCAL_PREFIX: Final = "local-dir:"
HUB_FILES: Final = (
    open_clip_folder.CONFIG,
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    DESCRIPTION,
    f"{open_clip_folder.TEXT_TOWER}/config.json",
    READOUT,
    "1_Pooling/config.json",
    *TOKENIZER_FILES,
)
"""What is fetched of a hub repository beside the weights."""
_LARGEST_IMAGE: Final = 4096
"""Edge in pixels that an image may be prepared at; published encoders have at most 1024."""
_CARDS: Final = ("README.md", "LICENSE", "LICENCE", "NOTICE")
_SAFETENSORS: Final = ("model.safetensors", "model-*-of-*.safetensors")
_OPEN_CLIP_PICKLED: Final = ("open_clip_pytorch_model.bin", "open_clip_pytorch_model.pth")
_PICKLED: Final = (
    *("pytorch_model.bin", "pytorch_model-*-of-*.bin", "model.pth", "pytorch_model.pth"),
    *("*.pt", "*.pth", "*.ckpt", "*.bin"),
)
"""In the order in which they are preferred."""


def find_encoder(model: str | Path | None = None) -> EncoderFiles:
    """Find and check a model: None or `starter`, `hf-hub:org/name`, a folder, `local-dir:/path`, `adapter:argument`.

    Raises EncoderLoadError where the folder, its configuration or its safetensors weights are missing or broken.
    """
    text = _STARTER_NAME if model is None else str(model)
    if model is None or (text == _STARTER_NAME and not Path(text).exists()):
        return read_encoder_folder(STARTER, name=_STARTER_NAME)
    if text.startswith(HUB_PREFIX):
        hub_id = text.removeprefix(HUB_PREFIX)
        folder = fetch(hub_id)
        try:
            return read_encoder_folder(folder, name=text)
        except EncoderLoadError as error:  # which names the cache's folder
            raise EncoderLoadError(str(error).replace(str(folder), hub_id)) from error
    prefix, colon, argument = text.partition(":")
    if colon and (entry := adapters().get(prefix)):
        return read_adapter(entry, argument)
    path = Path(text.removeprefix(LOCAL_PREFIX)).expanduser()
    return read_encoder_folder(path, name=path.resolve().name)


def find_clip(model: str | Path | None = None) -> OpenClipFiles:
    """`find_encoder` for a model that must be in open_clip's format, as training needs it. Raises EncoderLoadError."""
    files = find_encoder(model)
    if not isinstance(files, OpenClipFiles):
        raise EncoderLoadError(
            f"The encoder '{files.name}' is in the format of {files.format}; training takes models in open_clip's "
            "format, with an image and a text tower."
        )
    return files


def read_encoder_folder(path: Path, *, name: str) -> EncoderFiles:
    """Check one folder and fingerprint it. Raises EncoderLoadError."""
    if path.is_file():
        pickled = " Pickled weights are read by that command alone." if path.suffix.lower() in PICKLED_SUFFIXES else ""
        raise EncoderLoadError(
            f"{path} is a single file, and an encoder needs its config beside its weights: without it the "
            f"images would silently be prepared with default sizes and colours. Bring it in once: coin encoder import "
            f"{shlex.quote(str(path))} OUT --arch ARCHITECTURE.{pickled} Or give a folder that holds "
            f"{open_clip_folder.CONFIG} or config.json, or 'hf-hub:org/name'."
        )
    if not path.is_dir():
        raise EncoderLoadError(
            f"There is no encoder folder {path}. Give a folder that holds {open_clip_folder.CONFIG} and "
            f"{open_clip_folder.WEIGHTS[0]} (or config.json and model.safetensors), or 'hf-hub:org/name'."
        )
    found = format_of(path)
    if found is None:
        raise EncoderLoadError(
            f"{path} holds no {open_clip_folder.CONFIG} and no config.json of transformers or timm: it is no encoder "
            f"in a format that is known.{pickled_hint(path)}"
        )
    try:
        files = _with_field(found.read(path, name=name), read_description(path).get("field_um"))
    except (TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
        raise EncoderLoadError(
            f"The configuration in {path} is not as the format of {found.name} wants it "
            f"({type(error).__name__}: {error}). Fetch the model again."
        ) from error
    if files.image_size is not None and not 1 <= files.image_size <= _LARGEST_IMAGE:
        raise EncoderLoadError(
            f"The configuration in {path} prepares images at {files.image_size} pixels; 1 to {_LARGEST_IMAGE} are "
            "read, since larger ones would fill the memory. Fetch the model again."
        )
    return files


def _with_field(files: EncoderFiles, field_um: object) -> EncoderFiles:
    """The encoder as one that sees fields of that size, which gives other vectors; None: as it is."""
    if field_um is None:
        return files
    size = float(field_um)  # type: ignore[arg-type]
    return replace(files, field_um=size, fingerprint=digest({"encoder": files.fingerprint, "field_um": size}))


def choose_weights(names: Sequence[str], *, pickled: bool) -> list[str]:
    """The files of a folder or repository that hold the weights of one format, safetensors before pickles.

    Many repositories hold the same model in two formats. Beside open_clip's configuration its own weights are meant,
    and `model.safetensors` is the same model under transformers' names.

    Args:
        pickled: whether pickled files may be chosen.
    """
    patterns = [*_SAFETENSORS, *(_PICKLED if pickled else ())]
    if open_clip_folder.CONFIG in names:
        patterns = [*open_clip_folder.WEIGHTS, *(_OPEN_CLIP_PICKLED if pickled else ())] + (patterns if pickled else [])
    found = (sorted(fnmatch.filter((name for name in names if "/" not in name), pattern)) for pattern in patterns)
    return next(filter(None, found), [])


def fetch(hub_id: str, *, pickled: bool = False) -> Path:
    """Bring a hub model into the hub's cache (or find it there, offline) and return its folder.

    Args:
        pickled: whether pickled weights are fetched where there are no others, for an import.

    Raises EncoderLoadError where it cannot be fetched, or has no weights that may be read.
    """
    from generation import WeightsNotFoundError
    from generation.model.files.hub import fetch as fetch_files

    def wanted(names: list[str]) -> list[str]:
        kept = [name for name in names if name in HUB_FILES or name.startswith(_CARDS)]
        return kept + choose_weights(names, pickled=pickled)

    try:
        folder = fetch_files(hub_id, "encoder", wanted)
    except WeightsNotFoundError as error:
        raise EncoderLoadError(str(error)) from error
    if not choose_weights([path.name for path in folder.iterdir()], pickled=pickled):
        if pickled:
            raise EncoderLoadError(
                f"The hub repository '{hub_id}' has no weights of an encoder in a place that is known."
            )
        raise EncoderLoadError(
            f"The hub repository '{hub_id}' has no safetensors weights in a place that is known. Pickled weights can "
            "run code, and only one command reads them, in a process of its own. Bring the model in once: coin encoder "
            f"import {HUB_PREFIX}{hub_id} OUT"
        )
    return folder
