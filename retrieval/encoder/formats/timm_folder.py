"""timm's layout: `config.json` with an architecture, and `model.safetensors`. Such models read images only.

UNI, Virchow, H-optimus and others are published so. What their model cards set in code (a gated feed-forward layer,
register tokens, layer scale) shows in the tensors and is read from there.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from generation import quick_import
from generation.model.files.stored_weights import StoredWeights
from retrieval.encoder.formats.files import (
    EncoderFiles,
    digest,
    first_line,
    made_within,
    model_weights,
    read_description,
    read_json,
    tensors_sha256,
)
from retrieval.encoder.formats.mismatch import torch_differences
from retrieval.errors import EncoderLoadError

if TYPE_CHECKING:
    import PIL.Image
    import torch

CONFIG: Final = "config.json"
POOLINGS: Final = ("model", "cls", "mean", "cls+mean")
"""As the model pools by itself; its class token; the mean of its patches; both in one vector (Virchow)."""
PREPROCESSING: Final = ("input_size", "interpolation", "mean", "std", "crop_pct", "crop_mode")
"""What of a `pretrained_cfg` decides how images are prepared."""
_HEADS: Final = ("head.", "fc.", "classifier.", "head_dist.")

Shapes = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class TimmFiles(EncoderFiles):
    """One model of timm on disk, checked."""

    architecture: str
    arguments: Mapping[str, Any]
    """Of `timm.create_model`, as JSON could hold them."""
    swiglu: bool
    """Whether the feed-forward layers are gated (SwiGLU), which no configuration says."""
    pooling: str
    preprocessing: Mapping[str, Any]

    @property
    def format(self) -> str:
        """The layout's name."""
        return "timm"

    def load(self, device: str) -> LoadedTimm:
        """The model on a device that exists. Raises EncoderLoadError."""
        return LoadedTimm(self, device)


class LoadedTimm:
    """A timm model on its device, in evaluation mode."""

    def __init__(self, files: TimmFiles, device: str) -> None:
        timm = quick_import("timm")
        self._pooling = files.pooling
        self.device = device
        self.network = _load(files).to(device)
        try:
            data = timm.data.resolve_data_config(dict(files.preprocessing), model=self.network)
            self._transform = timm.data.create_transform(**data, is_training=False)
        except (KeyError, ValueError, TypeError, AssertionError) as error:
            raise EncoderLoadError(
                f"timm cannot prepare images as {CONFIG} of '{files.name}' says ({dict(files.preprocessing)}): "
                f"{type(error).__name__}: {first_line(error)} Correct it there."
            ) from error

    def prepare(self, image: PIL.Image.Image) -> torch.Tensor:
        """One RGB image as the model wants it: float32[3, height, width]."""
        pixels: torch.Tensor = self._transform(image)
        return pixels

    def encode_images(self, images: torch.Tensor) -> torch.Tensor:
        """float32[n, 3, height, width] -> float32[n, dim]."""
        import torch

        if self._pooling == "model":
            pooled: torch.Tensor = self.network(images)
            return pooled
        tokens = self.network.forward_features(images)
        first = int(getattr(self.network, "num_prefix_tokens", 1))
        parts = {"cls": tokens[:, 0], "mean": tokens[:, first:].mean(dim=1)}
        return torch.cat([parts[part] for part in self._pooling.split("+")], dim=1)

    def encode_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Would be float[n, dim]. Raises EncoderLoadError: there is no text tower."""
        raise EncoderLoadError("A model of timm reads images only.")


def recognises(folder: Path) -> bool:
    """Whether a folder has this layout."""
    path = folder / CONFIG
    return path.is_file() and "architecture" in read_json(path)


def read_timm(folder: Path, *, name: str) -> TimmFiles:
    """Check one folder and fingerprint it. Raises EncoderLoadError."""
    config, described = read_json(folder / CONFIG), read_description(folder)
    weights = model_weights(folder)
    shapes = StoredWeights(weights).shapes
    published = config.get("pretrained_cfg") or config
    arguments = {**vit_arguments(shapes, published), **dict(config.get("model_args") or {})}
    arguments.pop("num_classes", None)
    swiglu = has_swiglu(shapes)
    pooling = str(described.get("pooling") or _pooling(config, arguments, name))
    preprocessing = {key: published[key] for key in PREPROCESSING if published.get(key) is not None}
    if "img_size" in arguments:
        edge = int(arguments["img_size"])
        preprocessing["input_size"] = [3, edge, edge]
    mpp = described.get("mpp")
    parts = {
        "format": "timm",
        "architecture": config["architecture"],
        "arguments": arguments,
        "preprocessing": preprocessing,
        "pooling": pooling,
        "weights": tensors_sha256(weights),
    }
    width = config.get("num_features") or shapes.get("cls_token", [0])[-1] or shapes.get("norm.weight", [0])[-1]
    size = preprocessing.get("input_size")
    return TimmFiles(
        path=folder,
        name=name,
        dim=_dim(config, arguments, int(width), pooling, weights),
        fingerprint=digest(parts),
        reads_images=True,
        reads_texts=False,
        image_size=int(size[-1]) if size else None,
        mpp=None if mpp is None else float(mpp),
        weights=weights,
        architecture=str(config["architecture"]),
        arguments=arguments,
        swiglu=swiglu,
        pooling=pooling,
        preprocessing=preprocessing,
    )


def vit_arguments(shapes: Shapes, published: Mapping[str, Any]) -> dict[str, Any]:
    """What the tensors of a vision transformer say about its arguments: layer scale, registers, width, image size.

    Args:
        published: the model's `pretrained_cfg`, whose image size is kept where it fits.
    """
    if "patch_embed.proj.weight" not in shapes or len(shapes.get("pos_embed", ())) != 3:
        return {}
    widths = {tuple(shape) for key, shape in shapes.items() if key.startswith("blocks.") and "norm1.weight" in key}
    if len(widths) > 1:  # several stages (Hiera), whose patches overlap
        return {}
    arguments: dict[str, Any] = {}
    if "blocks.0.ls1.gamma" in shapes:
        arguments["init_values"] = 1e-5  # the value is overwritten by the weights; its presence makes the layer
    registers = shapes.get("reg_token") or shapes.get("register_tokens")
    if registers:
        arguments["reg_tokens"] = int(registers[1])
    if has_swiglu(shapes):
        arguments["mlp_ratio"] = shapes["blocks.0.mlp.fc1.weight"][0] / shapes["blocks.0.mlp.fc1.weight"][1]
    patch = int(shapes["patch_embed.proj.weight"][-1])
    positions = int(shapes["pos_embed"][1])
    prefixes = [prefix for prefix in (1, 1 + arguments.get("reg_tokens", 0), 0) if prefix < positions]
    edges = {prefix: round((positions - prefix) ** 0.5) for prefix in prefixes}
    sizes = [edge * patch for prefix, edge in edges.items() if edge * edge == positions - prefix]
    if any(key.startswith("patch_embed.backbone.") for key in shapes):
        sizes = []  # a patch is one of the feature map that a convolutional network makes, not of the image
    stated = (published.get("input_size") or [0])[-1]
    if sizes:  # more than one can fit: 9 positions are 3 × 3 patches, or 2 × 2 and 5 tokens
        arguments["img_size"] = stated if stated in sizes else sizes[0]
        if arguments.get("reg_tokens") and positions == (arguments["img_size"] // patch) ** 2:
            arguments["no_embed_class"] = True
    return arguments


def has_swiglu(shapes: Shapes) -> bool:
    """Whether code gave the feed-forward layers a gate with packed weights: the first is twice as wide as it gives."""
    wide, narrow = shapes.get("blocks.0.mlp.fc1.weight"), shapes.get("blocks.0.mlp.fc2.weight")
    of_eva = "blocks.0.attn.q_bias" in shapes  # its architecture says by itself whether its layers have a gate
    return bool(wide and narrow and wide[0] == 2 * narrow[1]) and not of_eva


def create_network(architecture: str, arguments: Mapping[str, Any], *, swiglu: bool) -> Any:
    """A timm model without its classifier and with random weights. Raises EncoderLoadError for an unknown one."""
    import torch

    timm = quick_import("timm")
    gated: dict[str, Any] = {"mlp_layer": timm.layers.SwiGLUPacked, "act_layer": torch.nn.SiLU} if swiglu else {}
    try:
        return timm.create_model(architecture, pretrained=False, num_classes=0, **dict(arguments), **gated)
    except (RuntimeError, ValueError, TypeError, KeyError, AssertionError) as error:
        raise EncoderLoadError(
            f"timm cannot make the architecture '{architecture}' with {dict(arguments)}: {first_line(error)} "
            "Check its name (timm.list_models()), or install a newer timm."
        ) from error


def fit_tensors(tensors: Mapping[str, Any], network: Any) -> dict[str, Any]:
    """The tensors as the network names them: without a classifier, and renamed as timm does for its own downloads."""
    import sys

    own = network.state_dict()
    kept = {name: tensor for name, tensor in tensors.items() if name in own or not name.startswith(_HEADS)}
    if kept.keys() == own.keys():
        return kept
    change = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if change is None:
        return kept
    changed = change(dict(kept), network)
    return {name: tensor for name, tensor in changed.items() if name in own or not name.startswith(_HEADS)}


def _load(files: TimmFiles) -> Any:
    from safetensors.torch import load_file

    with made_within(files.weights):
        network = create_network(files.architecture, files.arguments, swiglu=files.swiglu)
    tensors: dict[str, Any] = {}
    for path in files.weights:
        tensors |= load_file(path)
    try:
        network.load_state_dict(fit_tensors(tensors, network), strict=True)
    except (RuntimeError, KeyError, ValueError) as error:
        raise EncoderLoadError(
            f"{files.path} could not be loaded as timm's '{files.architecture}': {torch_differences(error)} The "
            f"weights and {CONFIG} may belong to different models, or their authors set arguments in code: give those "
            f"once, with coin encoder import {shlex.quote(str(files.path))} OUT --model-args JSON."
        ) from error
    return network.float().eval()


def _pooling(config: Mapping[str, Any], arguments: Mapping[str, Any], name: str) -> str:
    pool = arguments.get("global_pool", config.get("global_pool"))
    if pool != "":
        return "model"
    # Published without a pooling: the model card says what to do. Virchow's says class token and mean of the patches.
    return "cls+mean" if "virchow" in name.lower() or has_virchow_shape(arguments) else "cls"


def has_virchow_shape(arguments: Mapping[str, Any]) -> bool:
    """Whether the arguments are those of Virchow and Virchow2, which no name in the folder may say."""
    return abs(float(arguments.get("mlp_ratio", 0)) - 5.3375) < 1e-3


def _dim(
    config: Mapping[str, Any], arguments: Mapping[str, Any], width: int, pooling: str, weights: Sequence[Path]
) -> int:
    if not width:
        with made_within(weights):
            network = create_network(str(config["architecture"]), {**arguments, "device": "meta"}, swiglu=False)
        width = int(network.num_features)
    return width * len(pooling.split("+"))
