"""The files of an open_clip model: found, checked and fingerprinted without loading the model.

A model is a folder with `open_clip_config.json`, its weights as safetensors, and (where its tokenizer is not
open_clip's own) the tokenizer's files. A hub id is fetched once into the hub's cache and is such a folder
from then on. A weights file alone is refused: open_clip would take it with *default* preprocessing, silently
(open_clip #1068).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from retrieval.errors import EncoderLoadError

CONFIG: Final = "open_clip_config.json"
# In open_clip's own order. Its further choices are pickles, or names that a pickle beside them would beat.
WEIGHTS: Final = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors")
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
STARTER: Final = Path(__file__).parents[1] / "starter" / "clip"
HUB_PREFIX: Final = "hf-hub:"
LOCAL_PREFIX: Final = "local-dir:"


@dataclass(frozen=True)
class ClipFolder:
    """One open_clip model on disk, checked."""

    path: Path
    name: str
    weights: Path
    dim: int
    config: Mapping[str, Any]
    fingerprint: str
    """sha256 (hex) over model config, weights, preprocessing config and tokenizer files."""

    @property
    def needs_tokenizer_files(self) -> bool:
        """Whether texts need a tokenizer that is not open_clip's built-in one."""
        return bool(self.config["model_cfg"]["text_cfg"].get("hf_tokenizer_name"))

    @property
    def has_tokenizer_files(self) -> bool:
        """Whether the folder holds a tokenizer of its own."""
        return any((self.path / name).is_file() for name in TOKENIZER_FILES)


def find_clip(model: str | Path | None = None) -> ClipFolder:
    """Find and check a model: None (the starter), `hf-hub:org/name`, `local-dir:/path` or a folder.

    Raises EncoderLoadError where the folder, its config or its safetensors weights are missing or broken.
    """
    if model is None:
        return read_clip_folder(STARTER, name="starter")
    text = str(model)
    if text.startswith(HUB_PREFIX):
        return read_clip_folder(_fetch(text.removeprefix(HUB_PREFIX)), name=text)
    path = Path(text.removeprefix(LOCAL_PREFIX)).expanduser()
    return read_clip_folder(path, name=path.resolve().name)


def read_clip_folder(path: Path, *, name: str) -> ClipFolder:
    """Check one folder and fingerprint it. Raises EncoderLoadError."""
    if path.is_file():
        raise EncoderLoadError(
            f"{path} is a single file, and an encoder needs its config beside its weights: without it the "
            "images would silently be prepared with default sizes and colours. Give the folder that holds "
            f"{CONFIG} and {WEIGHTS[0]}, or 'hf-hub:org/name'."
        )
    if not path.is_dir():
        raise EncoderLoadError(
            f"There is no encoder folder {path}. Give a folder that holds {CONFIG} and {WEIGHTS[0]}, or "
            f"'hf-hub:org/name'."
        )
    config = _read_config(path / CONFIG)
    weights = _find_weights(path)
    return ClipFolder(
        path=path,
        name=name,
        weights=weights,
        dim=int(config["model_cfg"]["embed_dim"]),
        config=config,
        fingerprint=_fingerprint(path, config, weights),
    )


def _fetch(hub_id: str) -> Path:
    """Bring a hub model into the hub's cache (or find it there, offline) and return its folder."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub_id, allow_patterns=[CONFIG, *WEIGHTS, *TOKENIZER_FILES]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise EncoderLoadError(
            f"The encoder '{HUB_PREFIX}{hub_id}' could not be fetched ({type(error).__name__}). Check the "
            "id, the network and your access to it; or download it elsewhere and give its folder as "
            f"'{LOCAL_PREFIX}/path/to/folder'."
        ) from error


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EncoderLoadError(
            f"{path.parent} holds no {CONFIG}: it is not a model in open_clip's format. Give the folder that "
            f"holds it beside the weights."
        ) from None
    except (OSError, ValueError) as error:
        raise EncoderLoadError(f"{path} could not be read as JSON ({error}). Fetch the model again.") from error
    model = config.get("model_cfg") if isinstance(config, dict) else None
    if not isinstance(model, dict) or not {"embed_dim", "vision_cfg", "text_cfg"} <= model.keys():
        raise EncoderLoadError(
            f"{path} has no 'model_cfg' with 'embed_dim', 'vision_cfg' and 'text_cfg': it is not an "
            "open_clip config. Fetch the model again, or give another folder."
        )
    return config


def _find_weights(path: Path) -> Path:
    from safetensors import SafetensorError, safe_open

    found = next((path / name for name in WEIGHTS if (path / name).is_file()), None)
    if found is None:
        others = sorted(file.name for pattern in ("*.bin", "*.pt", "*.pth") for file in path.glob(pattern))
        held = f" It holds {', '.join(others)}: pickled weights can run code and are never loaded." if others else ""
        raise EncoderLoadError(
            f"{path} holds no {WEIGHTS[0]}.{held} Give a folder with safetensors weights, or convert them "
            "once on a machine you trust with safetensors.torch.save_file."
        )
    try:
        with safe_open(found, framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        raise EncoderLoadError(f"{found} is not a whole safetensors file ({error}). Fetch it again.") from error
    return found


def _fingerprint(path: Path, config: Mapping[str, Any], weights: Path) -> str:
    """What decides an embedding, hashed: the same files give the same fingerprint wherever they lie."""
    parts = {
        "model_cfg": config["model_cfg"],
        "preprocess_cfg": config.get("preprocess_cfg", {}),
        "weights": _sha256(weights),
        "tokenizer": {name: _sha256(path / name) for name in TOKENIZER_FILES if (path / name).is_file()},
    }
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
