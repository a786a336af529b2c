"""The full-size architecture of the benchmarks: as large as the published one, and loaded as the published one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from benchmarks.architecture import SDXL, TINY, write_base, write_lora
from generation import CoinGenerator, Preset
from generation.model.tokens import PromptTokens
from generation.model.weights import find_base

REPORT = "(Ascites) smear shows clustered atypical cells, consistent with adenocarcinoma; 3.5 %."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("architecture")
    write_base(folder / "base", TINY)
    write_lora(folder / "lora", TINY, rank=3)
    return folder


@pytest.mark.slow
def test_it_has_the_published_numbers_of_parameters() -> None:
    counted = {name: sum(p.numel() for p in model.parameters()) for name, model in SDXL.models().items()}
    assert counted == {
        "unet": 2_567_463_684,
        "vae": 83_653_863,
        "text_encoder": 123_060_480,
        "text_encoder_2": 694_659_840,
    }


@pytest.mark.slow
def test_the_usual_loaders_load_it_and_it_draws_something(folder: Path) -> None:
    generator = CoinGenerator(folder / "base", folder / "lora", device="cpu")
    image = generator.generate(REPORT, n=1, preset=Preset("quick", steps=2, guidance=7.5)).images[0]
    assert image.image.size == (128, 128)
    assert np.asarray(image.image).std() > 5
    assert image.provenance.scheduler == "EulerDiscreteScheduler"


@pytest.mark.slow
def test_every_tensor_written_is_finite_and_arrives(folder: Path) -> None:
    """Names as published: what a loader cannot place it draws at random, with no more than a log line."""
    generator = CoinGenerator(folder / "base", device="cpu")
    pipe = generator._pipeline()._pipe
    for name in ("unet", "vae", "text_encoder", "text_encoder_2"):
        file = "model" if name.startswith("text") else "diffusion_pytorch_model"
        written = load_file(folder / "base" / name / f"{file}.safetensors")
        loaded = getattr(pipe, name).state_dict()
        assert len(written) == len(loaded)
        for key, tensor in written.items():
            assert torch.isfinite(tensor).all()
            arrived = loaded[key] if key in loaded else loaded[key.removeprefix("text_model.")]
            assert torch.equal(arrived, tensor.float()), key
    assert any(key.startswith("text_model.") for key in load_file(folder / "base/text_encoder/model.safetensors"))


def test_the_tokenizer_is_clips_own(folder: Path) -> None:
    from open_clip.tokenizer import SimpleTokenizer

    tokens = PromptTokens(find_base(folder / "base"))
    clip = SimpleTokenizer()
    for tokenizer in tokens.tokenizers.values():
        assert len(tokenizer) == clip.vocab_size
        assert tokenizer(REPORT).input_ids[1:-1] == clip.encode(REPORT)
    padded = [
        json.loads((folder / "base" / name / "tokenizer_config.json").read_text())["pad_token"]
        for name in ("tokenizer", "tokenizer_2")
    ]
    assert padded == ["<|endoftext|>", "!"]


def test_the_lora_has_the_rank_asked_for(folder: Path) -> None:
    tensors = load_file(folder / "lora/pytorch_lora_weights.safetensors")
    attentions = 4 * 2 * sum(1 for name, _ in TINY.models()["unet"].named_modules() if name.endswith("attn1"))
    assert len(tensors) == 2 * attentions  # four layers of both attentions of a block, two tensors each
    assert {min(tensor.shape) for tensor in tensors.values()} == {3}
