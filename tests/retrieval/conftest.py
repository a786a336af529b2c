"""Real parts for the package's tests: tiny random models, and small images that they can tell apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from generation import CoinGenerator
from retrieval import Encoder
from tests.clip_model import tiny_clip
from tests.few_steps import few_steps
from tests.models import tiny_lora, tiny_sdxl


@pytest.fixture(scope="module", autouse=True)
def quick_sampling() -> Iterator[None]:
    """Images take few steps: what is tested here is what is done with them. (`full_sampling` takes that back.)"""
    with few_steps():
        yield


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("models") / "clip")


@pytest.fixture(scope="session")
def encoder(clip_folder: Path) -> Encoder:
    return Encoder(clip_folder, device="cpu", batch_size=4)


@pytest.fixture(scope="session")
def sdxl_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_sdxl(tmp_path_factory.mktemp("models") / "sdxl")


@pytest.fixture(scope="session")
def sdxl_lora(sdxl_base: Path) -> Path:
    return tiny_lora(sdxl_base.with_name("lora"), sdxl_base)


@pytest.fixture(scope="session")
def generator(sdxl_base: Path) -> CoinGenerator:
    return CoinGenerator(sdxl_base, device="cpu")


def speckled(seed: int, *, size: int = 40) -> PIL.Image.Image:
    """An RGB image of noise: another seed, another image."""
    pixels = np.random.default_rng(seed).integers(0, 256, size=(size, size, 3), dtype=np.uint8)
    return PIL.Image.fromarray(pixels)
