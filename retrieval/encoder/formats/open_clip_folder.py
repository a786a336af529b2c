"""open_clip's layout: `open_clip_config.json`, safetensors weights and, where texts need one, a tokenizer.

A weights file alone is refused: open_clip would take it with *default* preprocessing, silently (open_clip #1068). A
text tower of transformers (BiomedCLIP's BERT) needs its configuration too, which open_clip would fetch from the hub at
every loading: `coin encoder import` puts it into the folder, as `text_tower/config.json`.
"""

from __future__ import annotations

import contextlib
import copy
import shlex
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from generation import file_sha256, forget, quick_import
from retrieval.encoder.formats.files import (
    EncoderFiles,
    check_safetensors,
    digest,
    first_line,
    has_tokenizer_files,
    made_within,
    pickled_hint,
    read_description,
    read_json,
    tokenizer_sha256,
    without_bookkeeping,
)
from retrieval.encoder.formats.mismatch import torch_differences
from retrieval.encoder.formats.stage_readout import StageReader, StageReadout, read_stage_readout
from retrieval.encoder.formats.transformers_config import check_own_code
from retrieval.errors import EncoderLoadError

if TYPE_CHECKING:
    import PIL.Image
    import torch

CONFIG: Final = "open_clip_config.json"
# In open_clip's own order. Its further choices are pickles, or names that a pickle beside them would beat.
WEIGHTS: Final = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors")
TEXT_TOWER: Final = "text_tower"
"""The folder of the configuration of a text tower of transformers."""
HUB_PREFIX: Final = "hf-hub:"


@dataclass(frozen=True)
class OpenClipFiles(EncoderFiles):
    """One open_clip model on disk, checked."""

    config: Mapping[str, Any]
    readout: StageReadout | None
    """How the image tower's stages are read beside its last layer; None: they are not."""

    @property
    def format(self) -> str:
        """The layout's name."""
        return "open_clip"

    @property
    def needs_tokenizer_files(self) -> bool:
        """Whether texts need a tokenizer that is not open_clip's built-in one."""
        return bool(self.config["model_cfg"]["text_cfg"].get("hf_tokenizer_name"))

    @property
    def has_tokenizer_files(self) -> bool:
        """Whether the folder holds a tokenizer of its own."""
        return has_tokenizer_files(self.path)

    def load(self, device: str) -> LoadedOpenClip:
        """The model on a device that exists. Raises EncoderLoadError."""
        network, transform = load_network(self, device)
        return LoadedOpenClip(self, network, transform, device)


class LoadedOpenClip:
    """An open_clip network on its device, with the image preparation that its configuration asks for."""

    def __init__(self, files: OpenClipFiles, network: Any, transform: Callable[..., torch.Tensor], device: str) -> None:
        self._files = files
        self.network = network
        self.prepare: Callable[[PIL.Image.Image], torch.Tensor] = transform
        self.device = device
        self._stages = None if files.readout is None else StageReader(files.readout, network.visual, device)
        self._tokenizer: Any = None
        self._lock = threading.Lock()

    def encode_images(self, images: torch.Tensor) -> torch.Tensor:
        """float32[n, 3, height, width] -> float32[n, dim]."""
        if self._stages is not None:
            return self._stages.images(images)
        vectors: torch.Tensor = self.network.encode_image(images)
        return vectors

    def encode_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """n texts -> float32[n, dim]. Raises EncoderLoadError where the tokenizer's files are missing."""
        # Under the lock: a fast tokenizer keeps its padding as state and fails when two threads use it at once.
        with self._lock:
            if self._tokenizer is None:
                self._tokenizer = load_tokenizer(self._files)
            tokens: torch.Tensor = self._tokenizer(list(texts))
        vectors: torch.Tensor = self.network.encode_text(tokens.to(self.device))
        return vectors if self._stages is None else self._stages.texts(vectors)


def recognises(folder: Path) -> bool:
    """Whether a folder has this layout."""
    return (folder / CONFIG).is_file()


def read_open_clip(folder: Path, *, name: str) -> OpenClipFiles:
    """Check one folder and fingerprint it. Raises EncoderLoadError."""
    config = read_json(folder / CONFIG)
    model = config.get("model_cfg")
    if not isinstance(model, dict) or not {"embed_dim", "vision_cfg", "text_cfg"} <= model.keys():
        raise EncoderLoadError(
            f"{folder / CONFIG} has no 'model_cfg' with 'embed_dim', 'vision_cfg' and 'text_cfg': it is not an "
            "open_clip config. Fetch the model again, or give another folder."
        )
    weights = next((folder / file for file in WEIGHTS if (folder / file).is_file()), None)
    if weights is None:
        raise EncoderLoadError(f"{folder} holds no {WEIGHTS[0]}.{pickled_hint(folder)}")
    check_safetensors(weights)
    mpp, tokenizer = read_description(folder).get("mpp"), tokenizer_sha256(folder)
    readout = read_stage_readout(folder)
    return OpenClipFiles(
        path=folder,
        name=name,
        dim=int(model["embed_dim"]) + (readout.dim if readout else 0),
        fingerprint=_fingerprint(folder, config, weights, readout),
        reads_images=True,
        reads_texts=not model["text_cfg"].get("hf_tokenizer_name") or name.startswith(HUB_PREFIX) or bool(tokenizer),
        image_size=_image_size(config),
        mpp=None if mpp is None else float(mpp),
        weights=(weights,),
        config=config,
        readout=readout,
    )


def load_network(files: OpenClipFiles, device: str) -> tuple[Any, Callable[[PIL.Image.Image], torch.Tensor]]:
    """The network of a checked folder on its device, in evaluation mode, and its image preparation.

    The preparation makes float32[3, height, width] of an RGB image.

    Raises EncoderLoadError, naming the first tensors that differ.
    """
    open_clip = _import_open_clip(text_towers=bool(files.config["model_cfg"]["text_cfg"].get("hf_model_name")))
    try:
        with _offline_text_tower(files) as changed, made_within(files.weights):
            network, transform = open_clip.create_model_from_pretrained(
                f"local-dir:{files.path}", device=device, **changed
            )
    except AssertionError as error:  # its check of a value, without words
        raise EncoderLoadError(
            f"{files.path} could not be loaded as an open_clip model: open_clip refuses a value in {CONFIG}, most "
            f"often of its preprocess_cfg, which is {files.config.get('preprocess_cfg', {})}. {error}".rstrip()
        ) from error
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        raise EncoderLoadError(
            f"{files.path} could not be loaded as an open_clip model: {torch_differences(error)} The weights and "
            f"{CONFIG} may belong to different models: fetch both again."
        ) from error
    network.eval()
    _check_image_size(files, network)
    _check_context(files, network)
    return network, transform


def load_tokenizer(files: OpenClipFiles) -> Any:
    """Texts -> int[n, context]. Raises EncoderLoadError where its files are missing."""
    open_clip = _import_open_clip(text_towers=False)
    known = not files.needs_tokenizer_files or files.has_tokenizer_files
    if known or files.name.startswith(HUB_PREFIX):  # there its config names another hub entry for the tokenizer
        try:
            # A configuration may ask for code of its own to be run.
            trusted = {"trust_remote_code": False} if files.needs_tokenizer_files else {}
            return open_clip.get_tokenizer(f"local-dir:{files.path}" if known else files.name, **trusted)
        except (OSError, ImportError, RuntimeError, ValueError, TypeError, KeyError, AssertionError) as error:
            raise EncoderLoadError(
                f"The tokenizer of '{files.name}' could not be loaded, so it can encode images but no texts: "
                f"{first_line(error)} Fetch its files anew, or connect to the hub once."
            ) from error
    raise EncoderLoadError(
        f"{files.path} holds no tokenizer files (tokenizer.json, or vocab.json and merges.txt …), so it can "
        "encode images but no texts. Copy them there from the model's source."
    )


def _import_open_clip(*, text_towers: bool) -> Any:
    """The module, with transformers only where there are text towers of transformers: its import takes seconds."""
    loaded = sys.modules.get("open_clip.hf_model")
    if text_towers and loaded is not None and loaded.transformers is None:
        forget("open_clip")
    return quick_import("open_clip", without=() if text_towers else ("transformers",))


@contextlib.contextmanager
def _offline_text_tower(files: OpenClipFiles) -> Iterator[dict[str, Any]]:
    """What `create_model` is to change so that the text tower's configuration is read from the folder.

    Without one there, open_clip asks the hub or its cache for it: what then fails says how to bring it in.
    """
    text = files.config["model_cfg"]["text_cfg"]
    if not text.get("hf_model_name"):
        yield {}
        return
    if (files.path / TEXT_TOWER / "config.json").is_file():
        check_own_code(files.path / TEXT_TOWER, read_json(files.path / TEXT_TOWER / "config.json"))
        changed = copy.deepcopy(dict(text))
        yield {"text_cfg": {**changed, "hf_model_name": str(files.path / TEXT_TOWER), "hf_model_pretrained": False}}
        return
    try:
        yield {}
    except OSError as error:
        raise EncoderLoadError(
            f"The text tower of '{files.name}' is a model of transformers, and the configuration of "
            f"'{text['hf_model_name']}' is neither in the folder ({TEXT_TOWER}/config.json) nor in the hub's cache. "
            f"Bring the model in once, which puts it there: coin encoder import {shlex.quote(str(files.path))} OUT"
        ) from error


def _image_size(config: Mapping[str, Any]) -> int | None:
    size = config["model_cfg"]["vision_cfg"].get("image_size", 224)
    return int(min(size)) if isinstance(size, list) else int(size)


def _check_image_size(files: OpenClipFiles, network: Any) -> None:
    """Raise EncoderLoadError where images are prepared at a size that the image tower refuses."""
    embed = getattr(getattr(getattr(network, "visual", None), "trunk", None), "patch_embed", None)
    wanted = getattr(embed, "img_size", None)
    size = network.visual.preprocess_cfg.get("size") if hasattr(network.visual, "preprocess_cfg") else None
    if not wanted or not size or not getattr(embed, "strict_img_size", False):
        return
    edges = (size, size) if isinstance(size, int) else tuple(size)
    if tuple(wanted) != edges:
        raise EncoderLoadError(
            f"The image tower of '{files.name}' takes images of {wanted[0]} × {wanted[1]} pixels, and {CONFIG} "
            f"prepares them at {edges[0]} × {edges[1]}. Set vision_cfg.image_size to {wanted[0]} there."
        )


def _check_context(files: OpenClipFiles, network: Any) -> None:
    """Raise EncoderLoadError where texts are padded to more tokens than the text tower of transformers reads."""
    reads = getattr(getattr(getattr(network, "text", None), "config", None), "max_position_embeddings", None)
    context = int(files.config["model_cfg"]["text_cfg"].get("context_length", 0))
    if reads is not None and context > reads:
        raise EncoderLoadError(
            f"{files.path / CONFIG} states a context_length of {context} tokens, and its text tower reads {reads}. The "
            f"two may belong to different models: fetch both again."
        )


def _fingerprint(folder: Path, config: Mapping[str, Any], weights: Path, readout: StageReadout | None) -> str:
    """What decides an embedding, hashed: the same files give the same fingerprint wherever they lie.

    A hub id in the place of the text tower's configuration stands for it. A path decides nothing; the configuration in
    the folder does.
    """
    model = copy.deepcopy(dict(config["model_cfg"]))
    text = model["text_cfg"]
    parts: dict[str, Any] = {
        "model_cfg": model,
        "preprocess_cfg": config.get("preprocess_cfg", {}),
        "weights": file_sha256(weights),
        "tokenizer": tokenizer_sha256(folder),
    }
    tower = folder / TEXT_TOWER / "config.json"
    if text.get("hf_model_name") and tower.is_file():
        del text["hf_model_name"]
        parts["text_tower"] = without_bookkeeping(read_json(tower))
    if readout is not None:
        parts["stage_readout"] = file_sha256(readout.path)
    for key in ("hf_model_name", "hf_tokenizer_name"):
        if _is_path(text.get(key)):
            text[key] = "local"
    return digest(parts)


def _is_path(value: Any) -> bool:
    """Whether a name of the configuration is a place on this machine, not a hub id."""
    if not isinstance(value, str) or not value:
        return False
    return value.startswith((".", "~", "/", "\\")) or value[1:2] == ":" or value.count("/") > 1 or "\\" in value
