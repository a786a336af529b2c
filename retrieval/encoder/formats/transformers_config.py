"""What a configuration of transformers says of an encoder: what it reads, how it pools, and the length of a vector."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from retrieval.encoder.formats.files import first_line, read_json
from retrieval.errors import EncoderLoadError

CONFIG: Final = "config.json"
PREPROCESSOR: Final = "preprocessor_config.json"
PROCESSOR: Final = "processor_config.json"
"""What newer versions of transformers write in the place of it, for images and texts together."""
POOLING_FOLDER: Final = "1_Pooling"
"""sentence-transformers' folder: how the tokens of a text become one vector."""
OWN_CODE: Final = (
    "Its authors publish it with code of their own (auto_map), which is not run here: connect it by an adapter "
    "(docs/models.md)."
)
# The first token stands for the image. Others (Swin, ConvNeXt) pool by themselves.
_CLS_MODELS: Final = frozenset(
    {"vit", "dinov2", "dinov2_with_registers", "dinov3_vit", "deit", "beit", "data2vec-vision"}
)


def reads_what(config: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether a model reads images, and whether it reads texts."""
    if "vision_config" in config and "text_config" in config:
        return True, True
    images = "patch_size" in config or "num_channels" in config or "image_size" in config
    return images, not images and "vocab_size" in config


def check_own_code(folder: Path, config: Mapping[str, Any]) -> None:
    """Raise EncoderLoadError for a model that transformers knows only by code that is published beside it."""
    if "auto_map" not in config:
        return
    from transformers import CONFIG_MAPPING

    if config.get("model_type") not in CONFIG_MAPPING:
        raise EncoderLoadError(
            f"{folder} is a '{config.get('model_type')}', which the installed transformers does not know. {OWN_CODE}"
        )


def projects(config: Mapping[str, Any]) -> bool:
    """Whether a model of one tower was published with its projection (CLIPVisionModelWithProjection)."""
    return any("WithProjection" in str(name) for name in config.get("architectures") or ())


def pooling_of(folder: Path, config: Mapping[str, Any], *, images: bool, texts: bool) -> str:
    """How a model's output becomes one vector: a value of `TransformersFiles.pooling`."""
    if images and texts:
        return "features"
    if projects(config):
        return "projection"
    if images:
        return "cls" if config["model_type"] in _CLS_MODELS else "pooler"
    if config["model_type"] in ("clip_text_model", "siglip_text_model"):
        return "pooler"
    path = folder / POOLING_FOLDER / "config.json"
    return "cls" if path.is_file() and read_json(path).get("pooling_mode_cls_token") else "mean"


def vector_length(folder: Path, config: Mapping[str, Any], *, both: bool) -> int:
    """Numbers in a vector; `both` where the model reads images and texts. Raises EncoderLoadError."""
    projected = projects(config) or (both and config["model_type"] != "siglip")
    key = "projection_dim" if projected else "hidden_size"
    if key in config:
        return int(config[key])
    from transformers import AutoConfig

    # What equals transformers' default is not written to the file.
    whole = _whole_config(AutoConfig, folder)
    part = whole.vision_config if both and key == "hidden_size" else whole
    sizes = getattr(part, "hidden_sizes", None) or [getattr(part, "hidden_dim", 0)]  # of networks with several stages
    return int(getattr(part, key, None) or sizes[-1])


def _whole_config(auto: Any, folder: Path) -> Any:
    try:
        return auto.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise EncoderLoadError(
            f"{folder / CONFIG} is of a model that the installed transformers does not know: {first_line(error)}"
        ) from error


def read_preprocessor(folder: Path) -> dict[str, Any]:
    """How images are prepared; empty where no file says it. Raises EncoderLoadError for a broken file."""
    if (folder / PREPROCESSOR).is_file():
        return read_json(folder / PREPROCESSOR)
    if (folder / PROCESSOR).is_file():
        images = read_json(folder / PROCESSOR).get("image_processor")
        if isinstance(images, dict):
            return images
    return {}


def prepared_size(preprocessor: Mapping[str, Any]) -> int | None:
    """Edge in pixels of the square that an image becomes; None where it is not said."""
    for key in ("crop_size", "size"):
        size = preprocessor.get(key)
        if key == "crop_size" and preprocessor.get("do_center_crop") is False:
            continue  # written, and not used
        if isinstance(size, int):
            return size
        if isinstance(size, Mapping) and size:
            return int(min(size.values()))
    return None
