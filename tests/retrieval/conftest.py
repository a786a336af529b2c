"""Real parts for the room's tests: a tiny random CLIP, and small drawn images that it can tell apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from retrieval import Encoder
from tests.clip_model import tiny_clip


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("models") / "clip")


@pytest.fixture(scope="session")
def encoder(clip_folder: Path) -> Encoder:
    return Encoder(clip_folder, device="cpu", batch_size=4)


def speckled(seed: int, *, size: int = 40) -> PIL.Image.Image:
    """An RGB image of noise: another seed, another image."""
    pixels = np.random.default_rng(seed).integers(0, 256, size=(size, size, 3), dtype=np.uint8)
    return PIL.Image.fromarray(pixels)
