"""Weights on disk: which files make up a base and a LoRA, whether they can be used, and their fingerprints.

Checked before any model is built, because the loaders' own messages are misleading (a missing LoRA folder, for one,
is reported as "offline mode") and because pickled weights must be refused before anything opens them. Reads headers
and hashes only; imports neither torch nor diffusers for local weights.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generation.errors import UnsafeWeightsError, WeightsError, WeightsNotFoundError

STARTER = Path(__file__).parents[1] / "starter"
_PICKLED = {".bin", ".ckpt", ".pt", ".pth", ".pkl"}
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
# `model` is transformers' name, the other diffusers'; large models come in numbered shards.
_WEIGHTS = re.compile(r"(?:diffusion_pytorch_)?model(?:\.(?P<variant>\w+))?(?:-\d{5}-of-\d{5})?\.safetensors")
_CONFIGS = {
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
_WITHOUT_WEIGHTS = {"scheduler", "tokenizer", "tokenizer_2", "feature_extractor"}
_REQUIRED = (
    "unet",
    "vae",
    "text_encoder_2",
    "tokenizer_2",
    "scheduler",
)  # SDXL can do without the first encoder
_DEFAULT_LORA_FILE = "pytorch_lora_weights.safetensors"


@dataclass(frozen=True)
class Base:
    """An SDXL base in diffusers' folder layout. `variant` is "fp16" where the folder holds only such files."""

    name: str
    folder: Path
    variant: str | None
    files: tuple[Path, ...]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over names and contents of the files that are loaded; hashed once a process."""
        return _fingerprint({path.relative_to(self.folder).as_posix(): path for path in self.files})

    def config(self, component: str) -> dict[str, Any]:
        """A component's config.json, as written."""
        return _read_json(self.folder / component / "config.json")

    @property
    def scheduler(self) -> str:
        """The class name of the scheduler that the base ships with."""
        return str(_read_json(self.folder / "model_index.json")["scheduler"][1])

    @property
    def tokenizers(self) -> tuple[str, ...]:
        """The folders of the tokenizers that this base has: both, or `tokenizer_2` alone."""
        return tuple(name for name in ("tokenizer", "tokenizer_2") if (self.folder / name).is_dir())

    @property
    def size(self) -> int:
        """The edge in pixels of the images that the base was trained on."""
        return int(self.config("unet")["sample_size"]) * self._scale

    @property
    def size_step(self) -> int:
        """Image edges must be a multiple of this: of the VAE's scale, and of 8, which the pipeline insists on."""
        return math.lcm(8, self._scale)

    @property
    def _scale(self) -> int:
        return 2 ** (len(self.config("vae")["block_out_channels"]) - 1)


@dataclass(frozen=True)
class Lora:
    """A LoRA: one safetensors file."""

    name: str
    path: Path

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the file's name and content."""
        return _fingerprint({self.path.name: self.path})


def find_base(source: str | Path) -> Base:
    """The base at `source`: a folder in diffusers' layout, or a hub id `org/name` (fetched if not there yet).

    Raises `WeightsNotFoundError`, `UnsafeWeightsError` (nothing but pickles) or `WeightsError` (not an SDXL pipeline,
    incomplete, corrupt).
    """
    folder = Path(source).expanduser()
    if folder.is_file():
        raise WeightsError(
            f"The base {folder} is a single file. Give a folder in diffusers' layout: load the file once with "
            "StableDiffusionXLPipeline.from_single_file(...) and write it with save_pretrained(...)."
        )
    if not folder.is_dir():
        folder = _fetch_base(_hub_id(source, "base"))
    index = folder / "model_index.json"
    if not index.is_file():
        raise WeightsNotFoundError(
            f"There is no SDXL base in {folder}: it has no model_index.json. Give the folder that "
            "save_pretrained(...) wrote, with unet/, vae/ and the others inside."
        )
    listed = _read_json(index)
    kind = str(listed.get("_class_name", ""))
    if not kind.startswith("StableDiffusionXL"):
        raise WeightsError(f"The base in {folder} is a {kind or 'pipeline without a name'}; COIN needs an SDXL base.")
    components = sorted(name for name, value in listed.items() if isinstance(value, list) and value[0] is not None)
    missing = [name for name in {*components, *_REQUIRED} if not (folder / name).is_dir()]
    if missing:
        raise WeightsError(f"The base in {folder} is incomplete: {', '.join(sorted(missing))} missing. Copy it anew.")
    with_weights = [folder / name for name in components if name not in _WITHOUT_WEIGHTS]
    variant = _choose_variant(with_weights)
    weights = [path for component in with_weights for path in _weights_in(component, variant)]
    for path in weights:
        _check_safetensors(path)
    configs = [path for name in components for path in (folder / name).iterdir() if path.name in _CONFIGS]
    return Base(name=_display_name(source), folder=folder, variant=variant, files=(index, *configs, *weights))


def find_lora(source: str | Path) -> Lora:
    """The LoRA at `source`: a .safetensors file, a folder that holds one, or a hub id `org/name`.

    Raises `WeightsNotFoundError`, `UnsafeWeightsError` (a pickle) or `WeightsError` (several files, corrupt). Whether
    it fits the base shows when both are loaded.
    """
    path = Path(source).expanduser()
    if not path.exists():
        path = _fetch_lora(_hub_id(source, "LoRA"))
    if path.is_dir():
        path = _lora_file_in(path)
    if path.suffix.lower() in _PICKLED:
        raise UnsafeWeightsError(_refusal(path))
    _check_safetensors(path)
    return Lora(name=_display_name(source), path=path)


def _hub_id(source: str | Path, what: str) -> str:
    if isinstance(source, Path) or not _HUB_ID.fullmatch(source):
        hint = " The starter is part of this project: install it again." if STARTER in Path(source).parents else ""
        raise WeightsNotFoundError(
            f"There is no {what} at {source}. Give a local path that exists, or a hub id of the form org/name.{hint}"
        )
    return source


def _fetch_base(hub_id: str) -> Path:
    from diffusers import DiffusionPipeline

    try:
        return Path(DiffusionPipeline.download(hub_id, use_safetensors=True))
    except (OSError, ValueError) as error:  # every hub and network error is one of these
        raise WeightsNotFoundError(_not_fetched("base", hub_id, error)) from error


def _fetch_lora(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(hub_id, allow_patterns=["*.safetensors"], ignore_patterns=["*/*"]))
    except (OSError, ValueError) as error:
        raise WeightsNotFoundError(_not_fetched("LoRA", hub_id, error)) from error


def _not_fetched(what: str, hub_id: str, error: Exception) -> str:
    first_line = str(error).strip().partition("\n")[0]
    return (
        f"There is no local folder {hub_id}, and the {what} {hub_id} could not be fetched from the hub ({first_line}). "
        "Check the id and the network; for gated weights accept their terms on the hub and run `hf auth login`; "
        "or give a local path."
    )


def _choose_variant(components: Iterable[Path]) -> str | None:
    """Plain files where every component has them, else fp16 ones where every component has those."""
    components = tuple(components)
    for variant in (None, "fp16"):
        if all(_weights_in(component, variant) for component in components):
            return variant
    bare = next(component for component in components if not _weights_in(component, None))
    pickled = next((path for path in sorted(bare.iterdir()) if path.suffix.lower() in _PICKLED), None)
    if pickled:
        raise UnsafeWeightsError(_refusal(pickled))
    raise WeightsNotFoundError(f"There are no safetensors weights in {bare}. Copy the base anew.")


def _weights_in(component: Path, variant: str | None) -> list[Path]:
    matches = ((path, _WEIGHTS.fullmatch(path.name)) for path in sorted(component.iterdir()))
    return [path for path, match in matches if match and match["variant"] == variant]


def _lora_file_in(folder: Path) -> Path:
    files = sorted(path for path in folder.iterdir() if path.suffix == ".safetensors")
    preferred = [path for path in files if path.name == _DEFAULT_LORA_FILE] or files
    if len(preferred) == 1:
        return preferred[0]
    if preferred:
        names = ", ".join(path.name for path in preferred)
        raise WeightsError(f"There are several LoRAs in {folder} ({names}). Name the file to use.")
    pickled = next((path for path in sorted(folder.iterdir()) if path.suffix.lower() in _PICKLED), None)
    if pickled:
        raise UnsafeWeightsError(_refusal(pickled))
    raise WeightsNotFoundError(f"There is no LoRA in {folder}: it holds no .safetensors file.")


def _refusal(path: Path) -> str:
    return (
        f"{path} holds pickled weights, which can run any code when opened: refused. "
        "Ask for a .safetensors file, or convert it on a machine you can afford to lose."
    )


def _check_safetensors(path: Path) -> None:
    """Header and length only: a truncated or disguised file shows there."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a whole safetensors file ({error}). Copy or download it anew.") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read ({error}). Copy or download the base anew.") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds no JSON object. Copy or download the base anew.")
    return content


def _display_name(source: str | Path) -> str:
    """The last folder for a local path (a full path would tell others about this machine), a hub id as it is."""
    path = Path(source).expanduser()
    if not path.exists():
        return str(source)
    return "starter" if STARTER in path.parents else path.resolve().name


def _fingerprint(files: Mapping[str, Path]) -> str:
    digest = hashlib.sha256()
    for name in sorted(files):
        status = files[name].stat()
        digest.update(f"{name}\0{_sha256(files[name], status.st_mtime_ns, status.st_size)}\n".encode())
    return digest.hexdigest()


@functools.lru_cache(maxsize=1024)
def _sha256(path: Path, mtime_ns: int, size: int) -> str:
    """Cached in the process only: 7 GB of SDXL take seconds to hash, and a cache on disk could be wrong."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
