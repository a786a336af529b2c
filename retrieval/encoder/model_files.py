"""An encoder's files, found and checked without loading the model.

A model is a folder in one of the formats of `retrieval.encoder.formats`; a hub id is fetched once into the hub's cache
and is such a folder from then on; a package of its own is reached by an entry point.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from retrieval.encoder.formats import open_clip_folder
from retrieval.encoder.formats.adapters import adapters, read_adapter
from retrieval.encoder.formats.files import DESCRIPTION, PICKLED, TOKENIZER_FILES, EncoderFiles, pickled_hint
from retrieval.encoder.formats.open_clip_folder import HUB_PREFIX, OpenClipFiles
from retrieval.encoder.formats.registry import format_of
from retrieval.errors import EncoderLoadError

STARTER: Final = Path(__file__).parents[1] / "starter" / "clip"
LOCAL_PREFIX: Final = "local-dir:"
HUB_FILES: Final = (
    open_clip_folder.CONFIG,
    "config.json",
    "preprocessor_config.json",
    DESCRIPTION,
    f"{open_clip_folder.TEXT_TOWER}/config.json",
    "1_Pooling/config.json",
    *TOKENIZER_FILES,
)
"""What is fetched of a hub repository beside the weights."""
HUB_WEIGHTS: Final = (*open_clip_folder.WEIGHTS, "model.safetensors", "model-*-of-*.safetensors")


def find_encoder(model: str | Path | None = None) -> EncoderFiles:
    """Find and check a model: None (the starter), `hf-hub:org/name`, a folder, `local-dir:/path`, `adapter:argument`.

    Raises EncoderLoadError where the folder, its configuration or its safetensors weights are missing or broken.
    """
    if model is None:
        return read_encoder_folder(STARTER, name="starter")
    text = str(model)
    if text.startswith(HUB_PREFIX):
        return read_encoder_folder(fetch(text.removeprefix(HUB_PREFIX)), name=text)
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
        pickled = " Pickled weights are read by that command alone." if path.suffix in PICKLED else ""
        raise EncoderLoadError(
            f"{path} is a single file, and an encoder needs its config beside its weights: without it the "
            f"images would silently be prepared with default sizes and colours. Bring it in once: coin encoder import "
            f"{path} OUT --arch ARCHITECTURE.{pickled} Or give a folder that holds {open_clip_folder.CONFIG} or "
            "config.json, or 'hf-hub:org/name'."
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
        return found.read(path, name=name)
    except (TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
        raise EncoderLoadError(
            f"The configuration in {path} is not as the format of {found.name} wants it "
            f"({type(error).__name__}: {error}). Fetch the model again."
        ) from error


def fetch(hub_id: str) -> Path:
    """Bring a hub model into the hub's cache (or find it there, offline) and return its folder.

    Raises EncoderLoadError where it cannot be fetched, or has only pickled weights.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(hub_id, allow_patterns=list(HUB_FILES)))
        # Many repositories hold the same model in two formats: the weights of one are enough.
        weights = HUB_WEIGHTS[:2] if open_clip_folder.recognises(folder) else HUB_WEIGHTS[2:]
        folder = Path(snapshot_download(hub_id, allow_patterns=[*HUB_FILES, *weights]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise EncoderLoadError(
            f"The encoder '{HUB_PREFIX}{hub_id}' could not be fetched ({type(error).__name__}). Check the "
            "id, the network and your access to it; or download it elsewhere and give its folder as "
            f"'{LOCAL_PREFIX}/path/to/folder'."
        ) from error
    if not any(next(folder.glob(pattern), None) for pattern in weights):
        raise EncoderLoadError(
            f"The hub repository '{hub_id}' has no safetensors weights in a place that is known. Pickled weights can "
            "run "
            f"code, and only one command reads them, in a process of its own. Bring the model in once: coin encoder "
            f"import {HUB_PREFIX}{hub_id} OUT"
        )
    return folder
