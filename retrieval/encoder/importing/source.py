"""What is to be imported: a hub repository, a folder or a file, and the files of it that matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from generation import PICKLED_SUFFIXES
from retrieval.encoder.formats.files import TOKENIZER_FILES
from retrieval.encoder.formats.open_clip_folder import HUB_PREFIX, TEXT_TOWER
from retrieval.encoder.formats.transformers_folder import POOLING_FOLDER
from retrieval.encoder.model_files import HUB_FILES, HUB_WEIGHTS, LOCAL_PREFIX
from retrieval.errors import EncoderLoadError

_CARDS: Final = ("README.md", "LICENSE*", "LICENCE*", "NOTICE*")
_PICKLED_WEIGHTS: Final = (
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "pytorch_model.bin",
    "pytorch_model-*-of-*.bin",
    "model.pth",
    "pytorch_model.pth",
    "*.pt",
    "*.pth",
    "*.ckpt",
    "*.bin",
)
"""In the order in which they are preferred."""
CONFIGS: Final = (
    "open_clip_config.json",
    "config.json",
    "preprocessor_config.json",
    f"{TEXT_TOWER}/config.json",
    f"{POOLING_FOLDER}/config.json",
    *TOKENIZER_FILES,
)
"""What is copied beside the weights."""


@dataclass(frozen=True)
class EncoderSource:
    """A source on this machine's disk."""

    name: str
    """A hub id, or the last name of a local path."""
    folder: Path
    weights: tuple[Path, ...]
    """Safetensors files where there are any, else pickled ones."""

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
        return EncoderSource(path.resolve().name, path.parent, (path,))
    if path.is_dir():
        return EncoderSource(path.resolve().name, path, _weights(path, text))
    hub_id = text.removeprefix(HUB_PREFIX)
    if hub_id.count("/") != 1 or text.startswith((".", "/", "~")):
        raise EncoderLoadError(f"There is no file or folder {text}, and it is no hub id of the form org/name.")
    folder = _fetch(hub_id)
    return EncoderSource(hub_id, folder, _weights(folder, hub_id))


def _weights(folder: Path, name: str) -> tuple[Path, ...]:
    open_clip = (folder / CONFIGS[0]).is_file()
    pickled = tuple(folder.glob("open_clip_pytorch_model.*"))
    # Beside open_clip's own weights, model.safetensors is the same model under transformers' names.
    for pattern in HUB_WEIGHTS[:2] if open_clip and pickled else HUB_WEIGHTS if open_clip else HUB_WEIGHTS[2:]:
        if files := tuple(sorted(folder.glob(pattern))):
            return files
    for pattern in _PICKLED_WEIGHTS:
        files = tuple(sorted(folder.glob(pattern)))
        if len(files) > 1 and "-of-" not in pattern:
            raise EncoderLoadError(
                f"{name} holds several files of weights ({', '.join(path.name for path in files)}): name the one to "
                "import."
            )
        if files:
            return files
    others = tuple(sorted(folder.glob("*.safetensors")))
    if len(others) == 1:
        return others
    held = f" ({', '.join(path.name for path in others)}: name the one to import)" if others else ""
    raise EncoderLoadError(f"{name} holds no weights of an encoder in a place that is known{held}.")


def _fetch(hub_id: str) -> Path:
    """The repository's folder in the hub's cache, with its configuration, and its weights in one format.

    Pickled weights are fetched only where there are no others.
    """
    folder = _snapshot(hub_id, (*HUB_FILES, *_CARDS))
    wanted = HUB_WEIGHTS[:2] if (folder / CONFIGS[0]).is_file() else HUB_WEIGHTS[2:]
    for patterns in (wanted, HUB_WEIGHTS, _PICKLED_WEIGHTS[:6], _PICKLED_WEIGHTS):
        folder = _snapshot(hub_id, (*HUB_FILES, *_CARDS, *patterns))
        if any(next(folder.glob(pattern), None) for pattern in patterns):
            break
    return folder


def _snapshot(hub_id: str, patterns: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub_id, allow_patterns=list(patterns)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise EncoderLoadError(
            f"There is no local file or folder {hub_id}, and the hub's '{hub_id}' could not be fetched "
            f"({type(error).__name__}). Check the id and the network; for gated weights accept their terms on the hub "
            "and run `hf auth login`; or download it elsewhere and give its folder."
        ) from error
