"""Which weights a training opens."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file

from retrieval.encoder.formats.open_clip_folder import WEIGHTS
from retrieval.encoder.model_files import find_clip
from retrieval.training.encoder_settings import EncoderSettings
from retrieval.training.trainable_clip import TrainableClip


@pytest.mark.parametrize("towers", ["both", "image"])
@pytest.mark.parametrize("mode", ["full", "lora"])
def test_the_towers_that_are_named_are_trained(clip_folder: Path, mode: str, towers: str) -> None:
    every = set(load_file(clip_folder / WEIGHTS[0]))
    of_image = {name for name in every if name.startswith("visual.")}
    assert of_image and "logit_scale" in every - of_image
    trained = set(TrainableClip(find_clip(clip_folder), EncoderSettings(mode=mode, towers=towers), "cpu").trained)
    if mode == "full":
        assert trained == (every if towers == "both" else {*of_image, "logit_scale"})
        return
    added = trained - {"logit_scale"}
    assert "logit_scale" in trained and all(".lora_" in name for name in added)
    kinds = {name.startswith("visual.") for name in added}
    assert kinds == ({True, False} if towers == "both" else {True})
