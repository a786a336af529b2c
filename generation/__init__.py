"""Generation: a report becomes synthetic cytology images. Knows nothing of embeddings, archives or views.

Names resolve on first use (PEP 562), so that importing the room imports no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from generation.cache import GenerationCache
    from generation.device import choose_device, choose_dtype
    from generation.errors import (
        BlankImageError,
        DeviceError,
        EmptyReportError,
        GenerationError,
        LoraMismatchError,
        ProvenanceError,
        SettingsError,
        TrainingDataError,
        TrainingError,
        UnsafeWeightsError,
        WeightsError,
        WeightsNotFoundError,
    )
    from generation.generator import CoinGenerator
    from generation.glossary import Glossary, Replacement
    from generation.jobs import GeneratedImage, Generation
    from generation.presets import PRESETS, Preset
    from generation.prompt import Prompt, build_prompt
    from generation.provenance import Provenance, carries_provenance, read_provenance, save_png, text_sha256
    from generation.training.lora import train_lora
    from generation.training.lora_card import LoraTraining
    from generation.training.lora_settings import LoraSettings
    from generation.training.pairs import TrainingPair

_MODULES = {
    "cache": ("GenerationCache",),
    "device": ("choose_device", "choose_dtype"),
    "errors": (
        "BlankImageError",
        "DeviceError",
        "EmptyReportError",
        "GenerationError",
        "LoraMismatchError",
        "ProvenanceError",
        "SettingsError",
        "TrainingDataError",
        "TrainingError",
        "UnsafeWeightsError",
        "WeightsError",
        "WeightsNotFoundError",
    ),
    "generator": ("CoinGenerator",),
    "glossary": ("Glossary", "Replacement"),
    "jobs": ("GeneratedImage", "Generation"),
    "presets": ("PRESETS", "Preset"),
    "prompt": ("Prompt", "build_prompt"),
    "provenance": ("Provenance", "carries_provenance", "read_provenance", "save_png", "text_sha256"),
    "training.lora": ("train_lora",),
    "training.lora_card": ("LoraTraining",),
    "training.lora_settings": ("LoraSettings",),
    "training.pairs": ("TrainingPair",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "PRESETS",
    "BlankImageError",
    "CoinGenerator",
    "DeviceError",
    "EmptyReportError",
    "GeneratedImage",
    "Generation",
    "GenerationCache",
    "GenerationError",
    "Glossary",
    "LoraMismatchError",
    "LoraSettings",
    "LoraTraining",
    "Preset",
    "Prompt",
    "Provenance",
    "ProvenanceError",
    "Replacement",
    "SettingsError",
    "TrainingDataError",
    "TrainingError",
    "TrainingPair",
    "UnsafeWeightsError",
    "WeightsError",
    "WeightsNotFoundError",
    "build_prompt",
    "carries_provenance",
    "choose_device",
    "choose_dtype",
    "read_provenance",
    "save_png",
    "text_sha256",
    "train_lora",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
