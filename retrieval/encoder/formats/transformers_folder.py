"""transformers' layout: `config.json` with a model type, `model.safetensors`, and what prepares images or texts.

A model with a vision and a text part (CLIP as in PLIP, SigLIP) reads both; one that has image settings (DINOv2, ViT)
reads images only; one that has a vocabulary alone (BERT) reads texts only.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.encoder.formats.files import (
    EncoderFiles,
    digest,
    first_line,
    has_tokenizer_files,
    made_within,
    model_weights,
    read_description,
    read_json,
    tensors_sha256,
    tokenizer_sha256,
    without_bookkeeping,
)
from retrieval.encoder.formats.image_preparation import image_processor
from retrieval.encoder.formats.mismatch import differences
from retrieval.encoder.formats.transformers_config import (
    CONFIG,
    PREPROCESSOR,
    PROCESSOR,
    check_own_code,
    pooling_of,
    prepared_size,
    projects,
    read_preprocessor,
    reads_what,
    vector_length,
)
from retrieval.errors import EncoderLoadError

if TYPE_CHECKING:
    import PIL.Image
    import torch


@dataclass(frozen=True)
class TransformersFiles(EncoderFiles):
    """One model of transformers on disk, checked."""

    config: Mapping[str, Any]
    preprocessor: Mapping[str, Any]
    pooling: str
    """"projection", "features" (get_image_features, get_text_features), "cls", "mean" or "pooler"."""

    @property
    def format(self) -> str:
        """The layout's name."""
        return "transformers"

    def load(self, device: str) -> LoadedTransformers:
        """The model on a device that exists. Raises EncoderLoadError."""
        return LoadedTransformers(self, device)


class LoadedTransformers:
    """A model of transformers on its device, in evaluation mode."""

    def __init__(self, files: TransformersFiles, device: str) -> None:
        self._files = files
        self.device = device
        self.network = _load(files).to(device)
        self._processor = image_processor(files.path, files.name, files.preprocessor) if files.reads_images else None
        self._tokenizer: Any = None
        self._lock = threading.Lock()

    def prepare(self, image: PIL.Image.Image) -> torch.Tensor:
        """One RGB image as the model wants it: float32[3, height, width]."""
        assert self._processor is not None
        pixels: torch.Tensor = self._processor(images=image, return_tensors="pt")["pixel_values"][0]
        return pixels

    def encode_images(self, images: torch.Tensor) -> torch.Tensor:
        """float32[n, 3, height, width] -> float32[n, dim]."""
        if self._files.pooling == "features":
            return _vector(self.network.get_image_features(pixel_values=images))
        output = self.network(pixel_values=images)
        if self._files.pooling == "projection":
            projected: torch.Tensor = output.image_embeds
            return projected
        if self._files.pooling == "cls":
            vectors: torch.Tensor = output.last_hidden_state[:, 0]
            return vectors
        pooled = getattr(output, "pooler_output", None)
        if pooled is None or self._files.pooling == "mean":
            states = output.last_hidden_state
            pooled = states.mean(dim=1) if states.ndim == 3 else states.mean(dim=(2, 3))
        return pooled.flatten(1)

    def encode_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """n texts -> float32[n, dim]. Raises EncoderLoadError where the tokenizer's files are missing."""
        with self._lock:  # a fast tokenizer keeps its padding as state and fails when two threads use it at once
            if self._tokenizer is None:
                self._tokenizer = _tokenizer(self._files)
            inputs = self._tokenizer(list(texts), return_tensors="pt", truncation=True, **self._padding())
        inputs = {name: values.to(self.device) for name, values in inputs.items()}
        if self._files.pooling == "features":
            if self._files.config.get("model_type") == "siglip":
                inputs = {"input_ids": inputs["input_ids"]}  # trained with its padding attended to
            return _vector(self.network.get_text_features(**inputs))
        output = self.network(**inputs)
        if self._files.pooling in ("projection", "pooler"):
            pooled: torch.Tensor = output.text_embeds if self._files.pooling == "projection" else output.pooler_output
            return pooled
        states: torch.Tensor = output.last_hidden_state
        if self._files.pooling == "cls":
            return states[:, 0]
        mask = inputs["attention_mask"].unsqueeze(-1).to(states.dtype)
        return (states * mask).sum(dim=1) / mask.sum(dim=1)

    def _padding(self) -> dict[str, Any]:
        text = self._files.config.get("text_config", self._files.config)
        default = {"clip": 77, "siglip": 64}.get(str(self._files.config.get("model_type")), 512)
        length = int(text.get("max_position_embeddings", default))
        length = min(length, self._tokenizer.model_max_length)
        # SigLIP was trained on texts padded to its whole context.
        whole = self._files.config.get("model_type") == "siglip"
        return {"padding": "max_length" if whole else True, "max_length": length}


def recognises(folder: Path) -> bool:
    """Whether a folder has this layout."""
    path = folder / CONFIG
    return path.is_file() and "model_type" in read_json(path)


def read_transformers(folder: Path, *, name: str) -> TransformersFiles:
    """Check one folder and fingerprint it. Raises EncoderLoadError."""
    config, described = read_json(folder / CONFIG), read_description(folder)
    images, texts = reads_what(config)
    if not images and not texts:
        raise EncoderLoadError(
            f"{folder / CONFIG} describes a '{config['model_type']}', which reads neither images nor texts as an "
            "encoder."
        )
    check_own_code(folder, config)
    if str(config["model_type"]).startswith("siglip2"):
        raise EncoderLoadError(
            f"{folder} is a SigLIP 2 that takes images as sequences of patches of their own proportions (NaFlex), "
            "which is not read here. Take one of a fixed size, such as google/siglip2-base-patch16-224."
        )
    has_tokenizer = has_tokenizer_files(folder)
    if not images and not has_tokenizer:
        raise EncoderLoadError(
            f"{folder} holds no tokenizer files (tokenizer.json, or vocab.json and merges.txt …), so it can encode no "
            "texts, and it reads no images. Copy them there from the model's source."
        )
    weights = model_weights(folder)
    preprocessor = read_preprocessor(folder) if images else {}
    if images and not preprocessor:
        raise EncoderLoadError(
            f"{folder} holds no {PREPROCESSOR} (nor a {PROCESSOR} that prepares images): without it images "
            "would silently be prepared with default sizes and colours. Copy it there from the model's source."
        )
    pooling = described.get("pooling") or pooling_of(folder, config, images=images, texts=texts)
    mpp = described.get("mpp")
    return TransformersFiles(
        path=folder,
        name=name,
        dim=vector_length(folder, config, both=images and texts),
        fingerprint=digest(
            {
                "format": "transformers",
                "config": without_bookkeeping(config),
                "preprocessor": without_bookkeeping(preprocessor),
                "pooling": pooling,
                "weights": tensors_sha256(weights),
                "tokenizer": tokenizer_sha256(folder) if texts else {},
            }
        ),
        reads_images=images,
        reads_texts=texts and has_tokenizer,
        image_size=prepared_size(preprocessor),
        mpp=None if mpp is None else float(mpp),
        weights=weights,
        config=config,
        preprocessor=preprocessor,
        pooling=pooling,
    )


def _load(files: TransformersFiles) -> Any:
    import torch
    import transformers
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModel
    from transformers.utils import logging

    made = next(iter(files.config.get("architectures") or ()), "")
    known = getattr(transformers, made, None)
    if files.pooling == "features" and known is not None and not hasattr(known, "get_text_features"):
        raise EncoderLoadError(
            f"{files.path} is a {made}, which makes no vectors of texts that could be "
            "compared with those of images, as models that write about images do not. Take an encoder such as CLIP or "
            "SigLIP, or an image tower alone."
        )
    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()  # its table of tensors: what matters of it is said below
    try:
        config = AutoConfig.from_pretrained(files.path, local_files_only=True, trust_remote_code=False)
        if projects(files.config):
            kind = getattr(transformers, files.config["architectures"][0])
        else:
            with made_within(files.weights), torch.device("meta"):
                kind = type(AutoModel.from_config(config))
        # Given the folder, transformers would load what an index or an adapter beside the weights names, which the
        # fingerprint does not cover.
        with made_within(files.weights):
            network, report = kind.from_pretrained(
                None,
                config=config,
                state_dict={name: tensor for path in files.weights for name, tensor in load_file(path).items()},
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # so that they come back in the report and are named below
            )
    except EncoderLoadError:
        raise
    except Exception as error:  # its checks of a configuration have errors of their own, which follow its versions
        raise EncoderLoadError(
            f"{files.path} could not be loaded as a model of transformers: {first_line(error)}"
        ) from error
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()
    # A pooler that the pooling does not use is often missing from what is published.
    missing = sorted(key for key in report["missing_keys"] if "pooler." not in key or files.pooling == "pooler")
    shapes = [(str(name), tuple(found), tuple(wanted)) for name, found, wanted in sorted(report["mismatched_keys"])]
    # A classifier's weights may stay unused; a projection that stays unused would change what is compared.
    unused = sorted(key for key in report["unexpected_keys"] if "projection" in key)
    problems = differences(missing, unused, shapes)
    if problems:
        raise EncoderLoadError(
            f"{files.path} could not be loaded as a model of transformers: {problems} The weights and {CONFIG} may "
            "belong to different models: fetch both again."
        )
    return network.eval()


def _tokenizer(files: TransformersFiles) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(files.path, local_files_only=True, trust_remote_code=False)
    except (OSError, ImportError, RuntimeError, ValueError, TypeError, KeyError) as error:
        raise EncoderLoadError(
            f"The tokenizer of '{files.name}' could not be loaded, so it can encode no texts ({type(error).__name__}: "
            f"{first_line(error)}) Fetch its files anew."
        ) from error


def _vector(output: Any) -> torch.Tensor:
    """The vectors of `get_image_features` and `get_text_features`, which return an output object or a tensor."""
    vectors: torch.Tensor = getattr(output, "pooler_output", output)
    return vectors
