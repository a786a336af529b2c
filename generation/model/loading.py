"""A base loaded with its LoRAs fused: a pipeline of diffusers in main memory, never held twice."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from generation.errors import WeightsError
from generation.model.files.meta_model import meta_model
from generation.model.files.single_file import Taken, read_single_file_vae, single_file_names, taken_shape
from generation.model.files.stored_weights import StoredWeights
from generation.model.lora.find import Lora
from generation.model.lora.fuse import fuse
from generation.model.lora.lora_file import read_lora
from generation.model.lora.names import PARTS, LayerNames, weight_shapes
from generation.model.tokens import PromptTokens
from generation.model.weights import Base, Vae

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

_SILENCED = ("diffusers.models.modeling_utils",)
_FORMER_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Names in the VAEs that diffusers wrote before its version 0.15, which it still reads."""


def load_pipeline(base: Base, loras: Sequence[Lora], tokens: PromptTokens, *, dtype: torch.dtype, device: str) -> Any:
    """The base, with the LoRAs fused into its weights, in main memory and in the number format `dtype`.

    Args:
        device: where the LoRAs' changes are computed.

    Raises `LoraMismatchError` for a LoRA that does not fit, `WeightsError` for weights that do not load.
    """
    with _quiet_libraries():
        pipe = _load(base, tokens, dtype)
        models = {part: model for part in PARTS if (model := getattr(pipe, part)) is not None}
        names = LayerNames(weight_shapes(models))
        contents = [read_lora(lora, names, base.name) for lora in loras]
        for content in contents:
            if content.note:
                logger.warning("%s", content.note)
        _fill(models["unet"], base, dtype)
        fuse(models, {part: StoredWeights(base.weights(part)) for part in models}, contents, device=device)
    pipe.vae.enable_slicing()  # one image at a time through the decoder, which needs the most memory
    return pipe


def part_models(base: Base) -> dict[str, Any]:
    """The models that a base's configurations describe, without memory, by their part. Reads headers only.

    Raises `WeightsError` where its files hold other tensors: transformers fills what is missing with random numbers.
    """
    parts = [*(part for part in PARTS if part in base.variants), "vae"]
    try:
        models = {part: meta_model(part, base.config(part), base.weights(part)) for part in parts}
        for part, model in models.items():
            if part != "vae" or base.vae is None or base.vae.folder is not None:
                _check_tensors(base, part, model)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise _not_loaded(base, error) from error
    if base.vae is not None and base.vae.folder is None:
        _vae_tensors(base.vae, models["vae"])
    return models


def _load(base: Base, tokens: PromptTokens, dtype: torch.dtype) -> Any:
    """The base as it is on disk, but for the UNet, which has its layers and no weights yet."""
    import torch
    from diffusers import DiffusionPipeline

    models = part_models(base)
    try:
        # SDXL's own VAE overflows in float16
        upcast = dtype == torch.float16 and base.config("vae").get("force_upcast", True)
        vae_dtype = torch.float32 if upcast else dtype
        replaced = {} if base.vae is None else {"vae": load_vae(base.vae, models["vae"], vae_dtype)}
        return DiffusionPipeline.from_pretrained(
            base.folder,
            variant="fp16"
            if "fp16" in base.variants.values()
            else None,  # loads plain files where a part has no others
            dtype={"default": dtype, "vae": vae_dtype},
            use_safetensors=True,
            local_files_only=True,
            add_watermarker=False,  # on where `invisible-watermark` is installed: it would change pixels
            unet=models["unet"].eval(),
            **replaced,
            **tokens.tokenizers,
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise _not_loaded(base, error) from error


def _check_tensors(base: Base, part: str, model: Any) -> None:
    """Raise ValueError where the files of a part hold other tensors than its configuration describes.

    Tensors that a text encoder or a VAE has no use for are left alone.
    """
    weights = StoredWeights(base.weights(part))
    stored = {_own_name(name): shape for name, shape in weights.shapes.items()}
    wanted = {_own_name(name): tuple(value.shape) for name, value in model.state_dict().items()}
    wrong = [name for name, shape in wanted.items() if stored.get(name) != shape]
    if part == "unet":
        wrong += [name for name in stored if name not in wanted]
    if wrong:
        there, expected = stored.get(wrong[0], "missing"), wanted.get(wrong[0], "unknown")
        raise ValueError(
            f"{len(wrong)} tensors of {part} differ from its config.json, the first {wrong[0]}: in the file {there}, "
            f"by the configuration {expected}"
        )
    whole = [name for name in weights.shapes if _own_name(name) in wanted and "float" not in weights.dtype(name)]
    if whole:
        raise ValueError(f"{part} holds whole numbers, as quantised weights do, which are not read: {whole[0]}")


def _own_name(name: str) -> str:
    """A tensor's name by whichever version of the libraries wrote it."""
    name = name.removeprefix("text_model.")
    return re.sub(r"\.(query|key|value|proj_attn)\.", lambda match: f".{_FORMER_ATTENTION[match[1]]}.", name)


def _fill(unet: Any, base: Base, dtype: torch.dtype) -> None:
    """Read the UNet's weights from disk, one after the other."""
    import torch

    stored = StoredWeights(base.weights("unet"))
    for name in unet.state_dict():
        module, _, kind = name.rpartition(".")
        value = torch.nn.Parameter(stored.read(name, dtype), requires_grad=False)
        setattr(unet.get_submodule(module), kind, value)


def load_vae(vae: Vae, model: Any, dtype: torch.dtype) -> Any:
    """The autoencoder that replaces a base's own.

    Args:
        model: for a single file, the base's own without memory.
    """
    if vae.folder is not None:
        from diffusers import AutoencoderKL

        return AutoencoderKL.from_pretrained(vae.folder, variant=vae.variant, dtype=dtype, use_safetensors=True)
    stored = StoredWeights(vae.files)
    tensors = _vae_tensors(vae, model)
    model.load_state_dict(
        {name: take(stored.read(other)).to(dtype) for name, (other, take) in tensors.items()}, assign=True
    )
    return model.eval()


def _vae_tensors(vae: Vae, model: Any) -> dict[str, tuple[str, Taken]]:
    """For each tensor of a model, its name in the single file of a VAE, and how it is taken. Raises `WeightsError`."""
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    stored = StoredWeights(vae.files).shapes
    prefix = read_single_file_vae(stored)
    found: dict[str, tuple[str, Taken]] = {name: (name, lambda tensor: tensor) for name in shapes}
    if prefix is not None:
        found = {name: (prefix + other, take) for name, other, take in single_file_names("vae", shapes)}
    wrong = [
        name
        for name, (other, take) in found.items()
        if other not in stored or taken_shape(stored[other], take) != shapes[name]
    ]
    if wrong:
        raise WeightsError(
            f"The VAE {vae.name} does not fit the base's: {len(wrong)} of {len(shapes)} tensors are missing or of "
            f"another shape, the first {wrong[0]}. Give a VAE of SDXL, or its folder in diffusers' layout."
        )
    return found


def _not_loaded(base: Base, error: Exception) -> WeightsError:
    first_line = str(error).strip().partition("\n")[0]
    return WeightsError(f"The base {base.name} does not load ({first_line}). Copy or download it anew.")


@contextlib.contextmanager
def _quiet_libraries() -> Iterator[None]:
    """While loading, hide the libraries' progress bars and a message that says nothing useful to a user.

    It is that a model is cast which requires some modules in float32, though it names none.
    """
    import diffusers.utils.logging as diffusers_logging
    import transformers.utils.logging as transformers_logging

    loggers = [logging.getLogger(name) for name in _SILENCED]
    levels = [logger.level for logger in loggers]
    shown = [library for library in (diffusers_logging, transformers_logging) if library.is_progress_bar_enabled()]
    try:
        for silenced in loggers:
            silenced.setLevel(logging.CRITICAL)
        for library in shown:
            library.disable_progress_bar()
        yield
    finally:
        for silenced, level in zip(loggers, levels, strict=True):
            silenced.setLevel(level)
        for library in shown:
            library.enable_progress_bar()
