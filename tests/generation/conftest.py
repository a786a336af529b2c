"""Tiny models, written once a session (about a second after torch is imported)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is first imported: no test reaches the network

from tests.models import tiny_lora, tiny_sdxl


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_sdxl(tmp_path_factory.mktemp("models") / "tiny-base")


@pytest.fixture(scope="session")
def lora(base: Path) -> Path:
    return tiny_lora(base.parent / "tiny-lora", base)


@pytest.fixture(scope="session")
def wider_base(base: Path) -> Path:
    """Another architecture: the LoRA does not fit it."""
    return tiny_sdxl(base.parent / "wider-base", width=32)
