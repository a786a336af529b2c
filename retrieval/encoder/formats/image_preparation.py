"""How transformers prepares images for a model: read from its file, and tried before it is used.

A file may ask for what the class does not do (an edge of 224 as height and width, of a class that wants the shortest
edge), or give pictures of other proportions other sizes, which no batch can hold. Both would show late, or as a defect.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from retrieval.encoder.formats.files import first_line
from retrieval.encoder.formats.transformers_config import OWN_CODE, PREPROCESSOR, PROCESSOR
from retrieval.errors import EncoderLoadError

if TYPE_CHECKING:
    import torch

_TRIED: Final = ((64, 64), (96, 64))
_SETTINGS: Final = ("size", "crop_size", "do_center_crop", "crop_pct", "image_mean", "image_std")
"""What an image preparation is refused for, as a message shows it."""


def image_processor(folder: Path, name: str, preprocessor: Mapping[str, Any]) -> Any:
    """What prepares images for the model in a folder. Raises EncoderLoadError where it does not work.

    Args:
        name: of the model, for messages.
        preprocessor: the content of its file.
    """
    source = PREPROCESSOR if (folder / PREPROCESSOR).is_file() else PROCESSOR
    where = f"The image preparation of '{name}' ({source})"
    try:
        processor = _made(folder, source, preprocessor)
    except (OSError, ValueError, TypeError, KeyError, ImportError, AttributeError) as error:
        raise EncoderLoadError(f"{where} could not be loaded: {_why(preprocessor, error)}") from error
    sizes = [tuple(_prepared(processor, size, where, preprocessor).shape) for size in _TRIED]
    if len(set(sizes)) > 1:
        raise EncoderLoadError(
            f"{where} makes images of other proportions other sizes ({_by(sizes[0])} of {_by(_TRIED[0])} pixels, "
            f"{_by(sizes[1])} of {_by(_TRIED[1])}), which cannot be compared in one batch. There, crop them "
            '("do_center_crop": true and "crop_size"), or give "size" as height and width: as the authors trained it.'
        )
    if len(sizes[0]) != 3 or sizes[0][0] != 3:
        raise EncoderLoadError(f"{where} makes {_by(sizes[0])} numbers of an image, not three channels of pixels.")
    return processor


def _made(folder: Path, source: str, preprocessor: Mapping[str, Any]) -> Any:
    import transformers
    from transformers import AutoImageProcessor

    kind = str(preprocessor.get("image_processor_type", ""))
    settings = {key: value for key, value in preprocessor.items() if not key.endswith("_type")}
    if kind.endswith("FeatureExtractor"):  # the name of before transformers 4.26, which it no longer knows
        renamed = getattr(transformers, kind.replace("FeatureExtractor", "ImageProcessor"), None)
        if renamed is not None:
            return renamed(**settings)
    if source == PROCESSOR:  # it stands in a file beside what prepares texts
        return getattr(transformers, kind or "image_processor_type")(**settings)
    return AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _why(preprocessor: Mapping[str, Any], error: Exception) -> str:
    """Why there is no image preparation: transformers lists all kinds that it knows."""
    import transformers

    kind = str(preprocessor.get("image_processor_type", preprocessor.get("feature_extractor_type", "")))
    if not kind or hasattr(transformers, kind):
        return first_line(error)
    said = f"the installed transformers does not know a '{kind}'."
    return f"{said} {OWN_CODE}" if "auto_map" in preprocessor else said


def _prepared(processor: Any, size: tuple[int, int], where: str, preprocessor: Mapping[str, Any]) -> torch.Tensor:
    """float32[3, height, width] of a grey image. Raises EncoderLoadError."""
    import torch
    from PIL import Image

    try:
        pixels = torch.as_tensor(
            processor(images=Image.new("RGB", size, (90, 120, 150)), return_tensors="pt")["pixel_values"][0]
        )
    except Exception as error:  # its checks of the settings have errors of their own, which follow its versions
        raise EncoderLoadError(
            f"{where} refuses an image: {first_line(error)} {_settings(processor, preprocessor)} Some kinds want a "
            "size as height and width, others (ConvNeXt's, CLIP's, BiT's) as shortest edge."
        ) from error
    if not bool(pixels.isfinite().all()):
        raise EncoderLoadError(f"{where} makes values that are no numbers. {_settings(processor, preprocessor)}")
    return pixels


def _settings(processor: Any, preprocessor: Mapping[str, Any]) -> str:
    stated = ", ".join(f'"{key}": {preprocessor[key]}' for key in _SETTINGS if key in preprocessor)
    return (
        f"Its {type(processor).__name__} is given {stated or 'no sizes'}: correct the file as the authors trained the "
        "model."
    )


def _by(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
