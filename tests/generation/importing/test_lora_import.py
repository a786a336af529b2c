"""LoRAs of others become files in diffusers' layout, which change a base as the source does."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file, save_file

from generation import LoraMismatchError, UnsafeWeightsError, WeightsError, import_lora
from generation.importing.layout import sdxl_shapes
from generation.model.loading import load_pipeline
from generation.model.lora.find import find_lora
from generation.model.pickled_child import convert
from generation.model.tokens import PromptTokens
from generation.model.weights import find_base

LORA_FILE = "pytorch_lora_weights.safetensors"
PARTS = ("unet", "text_encoder", "text_encoder_2")
Weights = dict[str, torch.Tensor]


def weights_of(pipe: Any) -> Weights:
    return {
        f"{part}.{name}": value.clone() for part in PARTS for name, value in getattr(pipe, part).state_dict().items()
    }


@pytest.fixture(scope="module")
def pipe(base: Path) -> Any:
    return DiffusionPipeline.from_pretrained(base, use_safetensors=True, add_watermarker=False)


@pytest.fixture(scope="module")
def fused(base: Path) -> Callable[[Path], Weights]:
    found = find_base(base)
    tokens = PromptTokens(found)

    def fuse(source: Path) -> Weights:
        return weights_of(load_pipeline(found, [find_lora(source)], tokens, dtype=torch.float32, device="cpu"))

    return fuse


def in_this_process(source: Path, target: Path) -> tuple[str, ...]:
    """The child's work without the seconds of a new process (tests/generation/model/test_pickled.py has those)."""
    return tuple(convert(source, target))


def by_diffusers(pipe: Any, folder: Path) -> Weights:
    changed = copy.deepcopy(pipe)
    changed.load_lora_weights(folder)
    changed.fuse_lora(components=list(PARTS))
    changed.unload_lora_weights()
    return weights_of(changed)


def assert_same(found: Weights, wanted: Weights) -> None:
    for name, value in wanted.items():
        assert torch.allclose(found[name], value, rtol=1e-5, atol=1e-5), name


def kohya(lora: Path, *, alpha: float) -> Weights:
    made: Weights = {}
    for name, tensor in load_file(lora / LORA_FILE).items():
        part, _, rest = name.partition(".")
        layer, kind = rest.replace(".lora_linear_layer.", ".lora.").removesuffix(".weight").split(".lora.")
        prefix = {"unet": "lora_unet", "text_encoder": "lora_te1_text_model", "text_encoder_2": "lora_te2_text_model"}
        flat = f"{prefix[part]}_{layer.removeprefix('text_model.').replace('.', '_')}"
        made[f"{flat}.lora_{kind}.weight"] = tensor.half()
        if "to_k" in flat or "te1" in flat:
            made[f"{flat}.alpha"] = torch.tensor(alpha)
    return made


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_kohyas_lora_is_read_by_diffusers_afterwards_and_changes_the_same(
    pipe: Any, base: Path, lora: Path, fused: Callable[[Path], Weights], tmp_path: Path
) -> None:
    save_file(kohya(lora, alpha=0.5), tmp_path / "some.safetensors", metadata={"ss_network_dim": "2"})
    made = import_lora(tmp_path / "some.safetensors", tmp_path / "out", base=base)
    assert any("metadata" in change for change in made.changes)
    wanted = fused(tmp_path / "some.safetensors")
    assert_same(fused(tmp_path / "out"), wanted)
    assert_same(by_diffusers(pipe, tmp_path / "out"), wanted)
    import_lora(tmp_path / "some.safetensors", tmp_path / "again", base=base)
    first, second = (folder / LORA_FILE for folder in (tmp_path / "out", tmp_path / "again"))
    assert first.read_bytes() == second.read_bytes()
    stored = load_file(first)
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    assert all(name.startswith(("unet.", "text_encoder.text_model.", "text_encoder_2.text_model.")) for name in stored)


def test_a_pickled_adapter_of_peft_with_dora_in_a_training_folder(
    pipe: Any, base: Path, fused: Callable[[Path], Weights], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("generation.model.pickled.convert_pickled", in_this_process)
    model = peft.get_peft_model(
        copy.deepcopy(pipe.unet), peft.LoraConfig(r=2, lora_alpha=6, target_modules=["to_q", "conv1"], use_dora=True)
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.add_(0.1)
    source = tmp_path / "run" / "checkpoint-500"
    model.save_pretrained(source)
    wanted = fused(tmp_path / "run")
    torch.save(load_file(source / "adapter_model.safetensors"), source / "adapter_model.bin")
    (source / "adapter_model.safetensors").unlink()
    torch.save({"state": {}}, source / "optimizer.bin")
    with pytest.raises(UnsafeWeightsError, match=r"adapter_model\.bin holds pickled.*coin lora import .*/run OUT"):
        find_lora(tmp_path / "run")
    made = import_lora(tmp_path / "run", tmp_path / "out", base=base)
    assert any("process of its own" in change for change in made.changes)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["README.md", LORA_FILE]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "checkpoint-500/adapter_model.bin" in card and "checkpoint-500/adapter_config.json" in card
    assert_same(fused(tmp_path / "out"), wanted)
    assert_same(by_diffusers(pipe, tmp_path / "out"), wanted)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_lokr_keeps_its_factors(pipe: Any, base: Path, fused: Callable[[Path], Weights], tmp_path: Path) -> None:
    config = peft.LoKrConfig(r=2, alpha=3, target_modules=["to_q", "conv1"], use_effective_conv2d=True)
    model = peft.get_peft_model(copy.deepcopy(pipe.unet), config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lokr" in name:
                parameter.add_(0.1)
    model.save_pretrained(tmp_path / "lokr")
    made = import_lora(tmp_path / "lokr", tmp_path / "out", base=base)
    assert any("diffusers does not" in change for change in made.changes)
    assert_same(fused(tmp_path / "out"), fused(tmp_path / "lokr"))


def test_bundled_embeddings_are_left_out_and_named(base: Path, lora: Path, tmp_path: Path) -> None:
    tensors = load_file(lora / LORA_FILE)
    save_file({**tensors, "bundle_emb.hsil.clip_l": torch.zeros(2, 16)}, tmp_path / "with.safetensors")
    assert import_lora(tmp_path / "with.safetensors", tmp_path / "out", base=base).left_out == (
        "bundled embedding: hsil",
    )


@pytest.mark.slow
def test_without_a_base_the_layers_are_sdxls(lora: Path, tmp_path: Path) -> None:
    layer = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
    assert sdxl_shapes()["unet"][layer] == (640, 640)
    flat = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q"
    tensors = {f"{flat}.lora_down.weight": torch.ones(4, 640), f"{flat}.lora_up.weight": torch.ones(640, 4)}
    save_file(tensors, tmp_path / "sdxl.safetensors")
    import_lora(tmp_path / "sdxl.safetensors", tmp_path / "out")
    assert sorted(load_file(tmp_path / "out" / LORA_FILE)) == [f"unet.{layer}.lora_{half}.weight" for half in "AB"]
    with pytest.raises(LoraMismatchError, match=r"does not fit.*another base than SDXL 1\.0|a place.*SDXL 1\.0"):
        import_lora(lora, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_lora_in_a_sub_folder_is_found_and_several_are_named(lora: Path, tmp_path: Path) -> None:
    shutil.copytree(lora, tmp_path / "run" / "checkpoint-500")
    assert find_lora(tmp_path / "run").path == tmp_path / "run" / "checkpoint-500" / LORA_FILE
    assert find_lora(tmp_path / "run").fingerprint == find_lora(lora).fingerprint
    shutil.copytree(lora, tmp_path / "run" / "checkpoint-1000")
    with pytest.raises(
        WeightsError, match=r"several LoRAs in .*run \(checkpoint-500, checkpoint-1000\).*use: .*checkpoint-1000"
    ):
        find_lora(tmp_path / "run")
    (tmp_path / "base" / "unet").mkdir(parents=True)
    shutil.copy(lora / LORA_FILE, tmp_path / "base" / "unet" / "diffusion_pytorch_model.safetensors")
    with pytest.raises(WeightsError, match="no LoRA in"):
        find_lora(tmp_path / "base")


def test_a_killed_or_failed_import_leaves_nothing(lora: Path, base: Path, tmp_path: Path, monkeypatch: Any) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("generation.importing.imported.write_import_card", fail)
    with pytest.raises(OSError, match="No space"):
        import_lora(lora, tmp_path / "out", base=base)
    assert list(tmp_path.iterdir()) == []


def test_values_that_are_no_numbers_are_not_imported(lora: Path, base: Path, tmp_path: Path) -> None:
    tensors = {name: tensor.bfloat16() for name, tensor in load_file(lora / LORA_FILE).items()}
    name = next(iter(tensors))
    tensors[name][0, 0] = torch.nan
    save_file(tensors, tmp_path / "broken.safetensors")
    with pytest.raises(WeightsError, match=rf"broken\.safetensors holds values that are no numbers .* {name}"):
        import_lora(tmp_path / "broken.safetensors", tmp_path / "out", base=base)
    assert [path.name for path in tmp_path.iterdir()] == ["broken.safetensors"]


def test_damaged_settings_are_named(lora: Path, base: Path, tmp_path: Path) -> None:
    shutil.copytree(lora, tmp_path / "adapter")
    tensors = {
        name.replace("unet.", "base_model.model."): tensor
        for name, tensor in load_file(lora / LORA_FILE).items()
        if name.startswith("unet.")
    }
    save_file(tensors, tmp_path / "adapter" / LORA_FILE)
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps([]))
    with pytest.raises(WeightsError, match=r"settings of the LoRA .* cannot be read"):
        import_lora(tmp_path / "adapter", tmp_path / "out", base=base)
