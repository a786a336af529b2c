"""LoRAs that are damaged, made by hand, or made to harm: refused in a sentence before an image is sampled."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from generation import LoraMismatchError, WeightsError
from generation.model.loading import load_pipeline
from generation.model.lora.find import find_lora
from generation.model.lora.lora_file import _by_pattern
from generation.model.tokens import PromptTokens
from generation.model.weights import find_base
from tests.processor_time import processor_seconds

Weights = dict[str, torch.Tensor]
ROWS, COLUMNS = 32, 32


@pytest.fixture(scope="module")
def load(base: Path) -> Callable[[Path], Any]:
    found = find_base(base)
    tokens = PromptTokens(found)
    return lambda path: load_pipeline(found, [find_lora(path)], tokens, dtype=torch.float32, device="cpu")


@pytest.fixture(scope="module")
def pair(lora: Path) -> tuple[str, torch.Tensor, torch.Tensor]:
    """The name of a layer of 32 × 32, and the two factors of its change."""
    tensors = load_file(lora / "pytorch_lora_weights.safetensors")
    down = next(key for key in tensors if key.startswith("unet.") and key.endswith("to_k.lora.down.weight"))
    layer = down.removesuffix(".lora.down.weight")
    return layer, tensors[down], tensors[f"{layer}.lora.up.weight"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"alpha": torch.ones(3)}, r"to_k\.alpha is 3, for a weight of 32×32"),
        ({"alpha": torch.ones(0)}, "do not go together"),
        ({"scalar": torch.ones(7)}, r"to_k\.scalar is 7"),
        ({"lora_magnitude_vector": torch.ones(3)}, r"lora_magnitude_vector is 3"),
        ({"dora_scale": torch.tensor(1.0)}, r"dora_scale is a number"),
        ({"lora_B.bias": torch.ones(3)}, r"lora_B\.bias is 3"),
        ({"lora_B.bias": torch.ones(ROWS, 1)}, r"lora_B\.bias is 32×1"),
        ({"diff_b": torch.ones(2)}, r"diff_b is 2"),
        ({"diff": torch.ones(ROWS, COLUMNS)}, "to_k: diff, down, up"),
        ({"lokr_w1": torch.ones(1, 1), "lokr_w2": torch.ones(ROWS, COLUMNS)}, "down, lokr_w1, lokr_w2, up"),
    ],
)
def test_tensors_that_do_not_belong_to_the_change_are_named(
    more: Weights, message: str, pair: tuple[str, Any, Any], load: Callable[[Path], Any], tmp_path: Path
) -> None:
    layer, down, up = pair
    tensors = {f"{layer}.lora.down.weight": down, f"{layer}.lora.up.weight": up}
    save_file({**tensors, **{f"{layer}.{name}": tensor for name, tensor in more.items()}}, tmp_path / "a.safetensors")
    with pytest.raises(LoraMismatchError, match=message):
        load(tmp_path / "a.safetensors")


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("role", ["lora.down.weight", "alpha"])
def test_values_that_are_no_numbers_are_refused(
    role: str, value: float, pair: tuple[str, Any, Any], load: Callable[[Path], Any], tmp_path: Path
) -> None:
    layer, down, up = pair
    tensors = {f"{layer}.lora.down.weight": down, f"{layer}.lora.up.weight": up, f"{layer}.alpha": torch.tensor(1.0)}
    tensors[f"{layer}.{role}"] = torch.full_like(tensors[f"{layer}.{role}"], value)
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match=rf"no numbers \(NaN or infinite\), the first in .*to_k\.{role}"):
        load(tmp_path / "a.safetensors")


def test_a_quantised_lora_is_refused(pair: tuple[str, Any, Any], load: Callable[[Path], Any], tmp_path: Path) -> None:
    layer, down, up = pair
    tensors = {f"{layer}.lora.down.weight": down.to(torch.int8), f"{layer}.lora.up.weight": up}
    save_file({**tensors, f"{layer}.alpha": torch.tensor(2)}, tmp_path / "a.safetensors")
    with pytest.raises(LoraMismatchError, match=r"whole numbers \(.*to_k\.lora\.down\.weight\), as a quantised LoRA"):
        load(tmp_path / "a.safetensors")
    save_file(
        {**tensors, f"{layer}.lora.down.weight": down, f"{layer}.alpha": torch.tensor(2)}, tmp_path / "a.safetensors"
    )
    load(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('{"lora_alpha": "eight"}', "not as peft writes them"),
        ('{"lora_alpha": [1]}', "not as peft writes them"),
        ('{"lora_alpha": NaN}', "an alpha that is no number"),
        ('{"lora_alpha": 1e400}', "an alpha that is no number"),
        (json.dumps({"lora_alpha": 4, "alpha_pattern": ["a"]}), "not as peft writes them"),
        (json.dumps({"lora_alpha": 4, "alpha_pattern": {"((": 3}}), "not as peft writes them"),
        (json.dumps({"lora_alpha": 4, "alpha_pattern": {".*": "x"}}), "not as peft writes them"),
        (json.dumps({"lora_alpha": 4, "alpha_pattern": {"(a|a|[^b]+)+$b": 3}}), "is more than a layer's name"),
        (json.dumps({"lora_alpha": 4, "alpha_pattern": {"(.*.*.*.*)x": 3}}), "is more than a layer's name"),
        ("[" * 100_000, "cannot be read"),
        ("null", "cannot be read"),
    ],
)
def test_settings_that_are_not_pefts_are_refused(
    settings: str, message: str, pair: tuple[str, Any, Any], load: Callable[[Path], Any], tmp_path: Path
) -> None:
    layer, down, up = pair
    name = f"base_model.model.{layer.removeprefix('unet.')}"
    save_file({f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(settings)

    def refused() -> None:
        with pytest.raises(WeightsError, match=message):
            load(tmp_path)

    assert processor_seconds(refused, enough=2) < 2


def test_a_long_name_is_not_printed_whole(
    pair: tuple[str, Any, Any], load: Callable[[Path], Any], tmp_path: Path
) -> None:
    save_file({f"{'x' * 100_000}.lora.down.weight": pair[1]}, tmp_path / "a.safetensors")
    with pytest.raises(LoraMismatchError) as refused:
        load(tmp_path / "a.safetensors")
    assert len(str(refused.value)) < 1_000


def test_a_lora_of_another_kind_of_model_is_refused_in_a_sentence(load: Callable[[Path], Any], tmp_path: Path) -> None:
    name = "transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight"
    save_file({name: torch.ones(4, 3072)}, tmp_path / "flux.safetensors")
    with pytest.raises(
        LoraMismatchError, match=rf"names are those of no layer of .*{name} \(4×3072\)\)\. It is in a layout"
    ):
        load(tmp_path / "flux.safetensors")


def test_a_pointer_of_git_lfs_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    with pytest.raises(WeightsError, match="is a Git LFS pointer and not the file itself"):
        find_lora(tmp_path)


def test_patterns_of_every_layer_are_matched_quickly() -> None:
    layers = [f"down_blocks.{n}.attentions.{m}.to_q" for n in range(30) for m in range(20)]
    patterns = {f"attentions.{m}.to_q": m for m in range(20)} | dict.fromkeys(layers, 7)

    def match() -> None:
        assert [_by_pattern(patterns, layer, 0) for layer in layers] == [m for _ in range(30) for m in range(20)]

    assert processor_seconds(match, enough=1) < 1
