"""The configuration of a checkpoint that comes without one, from an architecture that the user names."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from generation.model.files.stored_weights import StoredWeights
from retrieval.encoder.formats.files import EncoderFiles, read_json
from retrieval.encoder.formats.open_clip_folder import CONFIG
from retrieval.encoder.formats.timm_folder import PREPROCESSING, TimmFiles, create_network, recognises, vit_arguments
from retrieval.errors import EncoderLoadError

TIMM_CONFIG: Final = "config.json"
TIMM_PREFIX: Final = "timm:"
_WRAPPERS: Final = ("module.", "_orig_mod.", "model.", "net.", "teacher.", "backbone.", "encoder.", "clip.", "trunk.")
_NO_WEIGHTS: Final = frozenset({"input_resolution", "context_length", "vocab_size"})
"""What OpenAI's state dicts hold beside the weights; open_clip drops them, too."""
_TRAINING_HEAD: Final = re.compile(r"(?:^|\.)(?:dino_head|ibot_head|head|projection_head|predictor)\.")
_LOSS: Final = re.compile(r"(?:^|\.)(?:criterion|loss|loss_fn)\.")
"""What a module of PyTorch Lightning keeps of its loss beside the network."""
_CHUNK: Final = re.compile(r"^blocks\.\d+\.(?=\d+\.)")
"""DINOv2's training numbers its blocks through, and puts the number of a group of them before that."""


def unwrapped(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors by their own names: what a training put before all of them ("module.") is taken off."""
    found = {key: value for key, value in tensors.items() if key not in _NO_WEIGHTS and not _LOSS.search(key)}
    if any(key.startswith(("teacher.", "student.")) for key in found):  # of the two networks the one that is used
        found = {key: value for key, value in found.items() if not key.startswith("student.")}
    if any(".backbone." in f".{key}" for key in found):
        found = {key: value for key, value in found.items() if not _TRAINING_HEAD.search(key)}
    while prefix := next((word for word in _WRAPPERS if found and all(key.startswith(word) for key in found)), None):
        found = {key.removeprefix(prefix): value for key, value in found.items()}
    if "cls_token" in found:  # not of networks that have stages of blocks
        found = {_CHUNK.sub("blocks.", key): value for key, value in found.items()}
    return found


def named_config(arch: str | None, source: str, shapes: Mapping[str, Sequence[int]]) -> tuple[str, dict[str, Any], str]:
    """The file's name and content of an architecture's configuration, and a note on what it takes for granted.

    Args:
        arch: a name of open_clip, `timm:NAME`, a folder or file with a configuration; None: not named.
        source: for messages.
        shapes: of the weights' tensors, by name; they must have their own names (`unwrapped`).

    Raises EncoderLoadError where none is named, naming those that fit, or an unknown one.
    """
    import open_clip

    if arch is None:
        fitting = _fitting(shapes)
        hint = f" Its tensors fit --arch {' or --arch '.join(fitting)}." if fitting else ""
        raise EncoderLoadError(
            f"{source} is weights without a configuration: name the architecture with --arch (of open_clip, for "
            f"example ViT-B-16; timm:NAME; or a folder that holds {CONFIG}).{hint}"
        )
    path = Path(arch).expanduser()
    path = path / CONFIG if path.is_dir() else path
    if path.is_file():
        return CONFIG, read_json(path), f"The configuration was given ({path.name})."
    known = None if arch.startswith(TIMM_PREFIX) else open_clip.get_model_config(arch)
    if known is not None:
        if all(name.startswith("visual.") for name in shapes):
            raise EncoderLoadError(
                f"{source} holds an image tower alone, and no text tower for --arch {arch}. Import it as an encoder "
                "that reads images only, by timm's name of it: of ViT-B-16 --arch timm:vit_base_patch16_clip_224."
            )
        prepared = {"mean": list(open_clip.OPENAI_DATASET_MEAN), "std": list(open_clip.OPENAI_DATASET_STD)}
        return (
            CONFIG,
            {"model_cfg": known, "preprocess_cfg": prepared},
            f"The weights came without a configuration: images are prepared as open_clip prepares them for {arch} "
            "(OpenAI's mean and deviation). If the model was trained otherwise, correct preprocess_cfg in "
            f"{CONFIG} before you use it.",
        )
    return _timm_config(arch, shapes)


def _timm_config(arch: str, shapes: Mapping[str, Sequence[int]]) -> tuple[str, dict[str, Any], str]:
    import timm

    name = arch.removeprefix(TIMM_PREFIX)
    cfg = timm.get_pretrained_cfg(name, allow_unregistered=False) if timm.is_model(name.partition(".")[0]) else None
    if cfg is None:
        raise EncoderLoadError(
            f"--arch '{arch}' is not an architecture of open_clip (open_clip.list_models()) or timm "
            "(timm.list_models())."
        )
    prepared = {key: value for key, value in cfg.to_dict().items() if key in PREPROCESSING and value is not None}
    width = shapes.get("cls_token", shapes.get("norm.weight", [0]))[-1]
    config = {"architecture": name, "num_classes": 0, "pretrained_cfg": prepared}
    if width:
        config["num_features"] = int(width)
    size = vit_arguments(shapes, prepared).get("img_size")
    if size:
        prepared["input_size"] = [3, size, size]
    return (
        TIMM_CONFIG,
        config,
        f"The weights came without a configuration: images are prepared as timm prepares them for {name}. If the model "
        "was trained otherwise, correct pretrained_cfg in config.json before you use it.",
    )


def as_trained(settings: Mapping[str, str], folder: Path) -> None:
    """Prepare images as the training did, and use its activation, where its options say so."""
    path = folder / CONFIG
    if not path.is_file():
        return
    config = read_json(path)
    for option, key in (("image_mean", "mean"), ("image_std", "std")):
        values = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", settings.get(option, ""))]
        if len(values) == 3:
            config["preprocess_cfg"][key] = values
    if settings.get("force_quick_gelu") == "True":
        config["model_cfg"]["quick_gelu"] = True
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def add_arguments(folder: Path, given: Mapping[str, Any]) -> None:
    """Write arguments of `timm.create_model` into a folder's configuration. Raises EncoderLoadError without one."""
    if not recognises(folder):
        raise EncoderLoadError(f"{folder} is no model of timm: only these take arguments (--model-args).")
    config = read_json(folder / TIMM_CONFIG)
    config["model_args"] = {**(config.get("model_args") or {}), **given}
    (folder / TIMM_CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def heads_note(files: EncoderFiles) -> list[str]:
    """A note where code made a vision transformer otherwise than its files say: its heads show in no tensor."""
    if not isinstance(files, TimmFiles):
        return []
    shapes = StoredWeights(files.weights).shapes
    stated = read_json(files.path / TIMM_CONFIG).get("model_args") or {}
    if "num_heads" in stated or not vit_arguments(shapes, {}):
        return []
    stated = {key: value for key, value in stated.items() if key != "num_classes"}
    by_files = create_network(files.architecture, {**stated, "device": "meta"}, swiglu=False).state_dict()
    if _compared({key: tensor.shape for key, tensor in by_files.items()}) == _compared(shapes):
        return []
    made = create_network(files.architecture, {**files.arguments, "device": "meta"}, swiglu=files.swiglu)
    return [
        f"The tensors are not those of timm's '{files.architecture}' as config.json describes it: its authors set "
        "arguments in code. What shows in the tensors was read from them; the number of attention heads shows in none, "
        f"and {made.blocks[0].attn.num_heads} are taken. Where the model's card says another, import it with "
        "--model-args '{\"num_heads\": N}'."
    ]


def _compared(shapes: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """Without the classifier, which is not used, and the positions, which follow the image's size."""
    return {key: tuple(shape) for key, shape in shapes.items() if not key.startswith(("pos_embed", "head", "fc."))}


def _fitting(shapes: Mapping[str, Sequence[int]]) -> list[str]:
    """Plain CLIP architectures of open_clip with these tensors' widths, depth and patches: at most four."""
    import open_clip

    if "visual.conv1.weight" not in shapes or "text_projection" not in shapes:
        return []
    width, _, patch, _ = shapes["visual.conv1.weight"]
    text_width, dim = shapes["text_projection"]
    layers = len({key.split(".")[3] for key in shapes if key.startswith("visual.transformer.resblocks.")})
    edge = round((shapes["visual.positional_embedding"][0] - 1) ** 0.5) * patch
    wanted = (dim, width, patch, layers, edge, text_width, shapes["positional_embedding"][0])
    fitting = []
    for name in open_clip.list_models():
        config = open_clip.get_model_config(name) or {}
        vision, text = config.get("vision_cfg", {}), config.get("text_cfg", {})
        if not isinstance(vision.get("layers"), int) or "hf_model_name" in text:
            continue
        found = (
            *(config["embed_dim"], vision.get("width"), vision.get("patch_size"), vision["layers"]),
            *(vision.get("image_size"), text.get("width"), text.get("context_length")),
        )
        if found == wanted:
            fitting.append(name)
    return sorted(fitting, key=len)[:4]
