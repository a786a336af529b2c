"""LoRAs in the layouts in which others publish them change a base as the libraries that wrote them would."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file, save_file

from generation import CoinGenerator, LoraMismatchError, Preset
from generation.model.loading import load_pipeline
from generation.model.lora.find import find_lora
from generation.model.lora.names import sgm_name, sgm_names
from generation.model.tokens import PromptTokens
from generation.model.weights import find_base

LORA_FILE = "pytorch_lora_weights.safetensors"
PARTS = ("unet", "text_encoder", "text_encoder_2")
Weights = dict[str, torch.Tensor]
ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]


def weights_of(pipe: Any) -> Weights:
    return {
        f"{part}.{name}": value.clone() for part in PARTS for name, value in getattr(pipe, part).state_dict().items()
    }


@pytest.fixture(scope="module")
def pipe(base: Path) -> Any:
    """The base as diffusers loads it, to be copied and changed."""
    return DiffusionPipeline.from_pretrained(base, use_safetensors=True, add_watermarker=False)


@pytest.fixture(scope="module")
def fused(base: Path) -> Callable[[Path], Weights]:
    """The base's weights with a LoRA, as this project fuses it."""
    found = find_base(base)
    tokens = PromptTokens(found)

    def fuse(source: Path) -> Weights:
        return weights_of(load_pipeline(found, [find_lora(source)], tokens, dtype=torch.float32, device="cpu"))

    return fuse


@pytest.fixture(scope="module")
def expected(pipe: Any, lora: Path) -> Weights:
    """The base's weights with the tiny LoRA, as diffusers fuses it."""
    changed = copy.deepcopy(pipe)
    changed.load_lora_weights(lora)
    changed.fuse_lora(components=list(PARTS))
    changed.unload_lora_weights()
    return weights_of(changed)


def assert_same(found: Weights, wanted: Weights, tolerance: float = 1e-6) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert torch.allclose(found[name], value, rtol=tolerance, atol=tolerance), name


def renamed(source: Path, target: Path, rename: Callable[[str], str | None]) -> Weights:
    """The tensors of a LoRA's file under other names; those without a name are left out."""
    tensors = load_file(source / LORA_FILE if source.is_dir() else source)
    found = {new: tensor for name, tensor in tensors.items() if (new := rename(name)) is not None}
    save_file(found, target)
    return found


def test_diffusers_own_layout_is_fused_as_diffusers_does_to_the_bit(
    lora: Path, fused: Callable[[Path], Weights], expected: Weights, pipe: Any
) -> None:
    found = fused(lora)
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert sum(not torch.equal(value, found[name]) for name, value in weights_of(pipe).items()) == 48


def only_unet(expected: Weights, pipe: Any) -> Weights:
    return {name: expected[name] if name.startswith("unet.") else value for name, value in weights_of(pipe).items()}


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["", "base_model.model.", "unet.base_model.model.", "module.", "diffusion_model."])
def test_the_unets_names_may_have_any_prefix_or_none(
    prefix: str, lora: Path, fused: Callable[[Path], Weights], expected: Weights, pipe: Any, tmp_path: Path
) -> None:
    def rename(name: str) -> str | None:
        if not name.startswith("unet."):
            return None
        name = name.removeprefix("unet.").replace(".lora.down.", ".lora_A.").replace(".lora.up.", ".lora_B.")
        return prefix + name

    renamed(lora, tmp_path / "lora.safetensors", rename)
    assert_same(fused(tmp_path / "lora.safetensors"), only_unet(expected, pipe))


def test_diffusers_oldest_names(
    lora: Path, fused: Callable[[Path], Weights], expected: Weights, pipe: Any, tmp_path: Path
) -> None:
    def rename(name: str) -> str | None:
        name = re.sub(r"\.(to_\w+?)(?:\.0)?\.lora\.", r".processor.\1_lora.", name)
        return name if name.startswith("unet.") else None

    assert any("processor.to_out_lora.up" in name for name in renamed(lora, tmp_path / LORA_FILE, rename))
    assert_same(fused(tmp_path), only_unet(expected, pipe))


@pytest.mark.slow
@pytest.mark.parametrize("stability", [False, True])
def test_kohyas_names_in_both_kinds_with_alpha_and_both_text_encoders(
    stability: bool, lora: Path, fused: Callable[[Path], Weights], expected: Weights, pipe: Any, tmp_path: Path
) -> None:
    sgm = sgm_names(dict(pipe.unet.named_modules()))

    def rename(name: str) -> str:
        part, _, rest = name.partition(".")
        layer, kind = re.fullmatch(r"(.+?)\.lora(?:_linear_layer)?\.(down|up)\.weight", rest).groups()  # type: ignore[union-attr]
        if part == "unet":
            flat = "lora_unet_" + (sgm[layer] if stability else layer).replace(".", "_")
        else:
            number = "2" if part.endswith("2") else "1"
            flat = f"lora_te{number}_text_model_" + layer.removeprefix("text_model.").replace(".", "_")
        return f"{flat}.lora_{kind}.weight"

    tensors = renamed(lora, tmp_path / LORA_FILE, rename)
    for name in list(tensors):
        if "lora_up" in name:
            tensors[name] = tensors[name] * 4
            tensors[name.replace("lora_up.weight", "alpha")] = torch.tensor(0.5)  # a quarter of the rank
    assert any("input_blocks_" in name for name in tensors) == stability
    save_file(tensors, tmp_path / LORA_FILE)
    assert_same(fused(tmp_path), expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "second", "level"),
    [("clip_l", "clip_g", ""), ("text_encoders.clip_l", "text_encoders.clip_g", "transformer.")],
    ids=["OneTrainer", "ComfyUI"],
)
def test_names_that_say_the_text_encoder_by_its_kind(
    first: str, second: str, level: str, lora: Path, fused: Callable[[Path], Weights], expected: Weights, pipe: Any,
    tmp_path: Path,
) -> None:  # fmt: skip
    sgm = sgm_names(dict(pipe.unet.named_modules()))

    def rename(name: str) -> str:
        part, _, rest = name.partition(".")
        layer, kind = re.fullmatch(r"(.+?)\.lora(?:_linear_layer)?\.(down|up)\.weight", rest).groups()  # type: ignore[union-attr]
        if part == "unet":
            return f"{'diffusion_model' if level else 'unet'}.{sgm[layer]}.lora_{kind}.weight"
        prefix = second if part.endswith("2") else first
        return f"{prefix}.{level}text_model.{layer.removeprefix('text_model.')}.lora_{kind}.weight"

    renamed(lora, tmp_path / LORA_FILE, rename)
    assert_same(fused(tmp_path), expected)


def adapted(pipe: Any, config: Any, folder: Path, part: str = "unet") -> Weights:
    """Write an adapter as peft does; the base's weights as peft merges it."""
    changed = copy.copy(pipe)
    model = peft.get_peft_model(copy.deepcopy(getattr(pipe, part)), config)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(folder)
    changed.register_modules(**{part: model.merge_and_unload()})
    return weights_of(changed)


PEFT = {
    "patterns": lambda: peft.LoraConfig(
        r=2,
        lora_alpha=3,
        target_modules=[*ATTENTION, "conv1", "proj_in"],
        rank_pattern={"to_q": 3, "mid_block.attentions.0.proj_in": 1},
        alpha_pattern={"attn1.to_k": 5, "conv1": 7},
    ),
    "rslora": lambda: peft.LoraConfig(r=4, lora_alpha=6, target_modules=ATTENTION, use_rslora=True),
    "bias": lambda: peft.LoraConfig(r=2, lora_alpha=6, target_modules=["to_out.0", "conv2"], lora_bias=True),
    "dora": lambda: peft.LoraConfig(r=2, lora_alpha=6, target_modules=[*ATTENTION, "conv1"], use_dora=True),
    "loha": lambda: peft.LoHaConfig(r=2, alpha=3, target_modules=[*ATTENTION, "conv1"], use_effective_conv2d=True),
    "loha-flat": lambda: peft.LoHaConfig(r=2, alpha=3, target_modules=[*ATTENTION, "conv1"]),
    "lokr": lambda: peft.LoKrConfig(r=2, alpha=3, target_modules=[*ATTENTION, "conv1"], use_effective_conv2d=True),
    # with alpha = rank, since LyCORIS gives two whole factors the strength 1, and peft alpha / rank
    "lokr-whole": lambda: peft.LoKrConfig(r=2, alpha=2, target_modules=ATTENTION, use_effective_conv2d=True),
    "lokr-flat": lambda: peft.LoKrConfig(r=1, alpha=3, target_modules=["to_q", "conv1"], decompose_both=True),
}


OFTEN = {"patterns", "rslora", "bias", "dora", "loha", "lokr"}  # the others are variants: `make test-slow`


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=() if kind in OFTEN else pytest.mark.slow) for kind in PEFT])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_adapters_as_peft_saves_them(kind: str, pipe: Any, fused: Callable[[Path], Weights], tmp_path: Path) -> None:
    wanted = adapted(pipe, PEFT[kind](), tmp_path / "adapter")
    assert {"adapter_model.safetensors", "adapter_config.json"} <= {
        path.name for path in (tmp_path / "adapter").iterdir()
    }
    found = fused(tmp_path / "adapter")
    assert_same(found, wanted, 1e-5)
    assert not all(torch.equal(value, found[name]) for name, value in weights_of(pipe).items())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_one_folder_a_part_is_one_lora(pipe: Any, fused: Callable[[Path], Weights], tmp_path: Path) -> None:
    """As peft's own scripts save UNet and text encoders."""
    unet = adapted(pipe, peft.LoraConfig(r=2, lora_alpha=4, target_modules=ATTENTION), tmp_path / "unet")
    config = peft.LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"])
    text = adapted(pipe, config, tmp_path / "text_encoder", "text_encoder")
    wanted = {name: text[name] if name.startswith("text_encoder.") else value for name, value in unet.items()}
    assert_same(fused(tmp_path), wanted)
    assert find_lora(tmp_path).path == tmp_path


@pytest.mark.parametrize(
    "kind",
    [
        "loha",
        pytest.param("loha-flat", marks=pytest.mark.slow),
        pytest.param("lokr-whole", marks=pytest.mark.slow),
        "lokr-flat",
        "dora",
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_lycoris_in_kohyas_names(kind: str, pipe: Any, fused: Callable[[Path], Weights], tmp_path: Path) -> None:
    config = PEFT[kind]()
    wanted = adapted(pipe, config, tmp_path / "adapter")
    tensors: Weights = {}
    alpha = float(getattr(config, "lora_alpha", None) or config.alpha)
    for name, tensor in load_file(tmp_path / "adapter" / "adapter_model.safetensors").items():
        layer, kind_of = re.fullmatch(r"base_model\.model\.(.+?)\.((?:hada|lokr|lora)_.+)", name).groups()  # type: ignore[union-attr]
        flat = f"lora_unet_{layer.replace('.', '_')}"
        new = {"lora_A.weight": "lora_down.weight", "lora_B.weight": "lora_up.weight"}.get(kind_of, kind_of)
        if new == "lora_magnitude_vector":  # LyCORIS with `wd_on_output`
            new, tensor = "dora_scale", tensor.reshape(tensor.numel(), *[1] * (3 if "conv" in layer else 1))
        tensors[f"{flat}.{new}"] = tensor.contiguous()
        tensors[f"{flat}.alpha"] = torch.tensor(alpha)
    save_file(tensors, tmp_path / "lycoris.safetensors")
    assert_same(fused(tmp_path / "lycoris.safetensors"), wanted, 1e-5)


@pytest.mark.slow
def test_loras_own_strengths_within_diffusers_file(pipe: Any, fused: Callable[[Path], Weights], tmp_path: Path) -> None:
    """diffusers keeps peft's settings in the file's metadata."""
    from diffusers import StableDiffusionXLPipeline
    from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
    from diffusers.utils import convert_state_dict_to_diffusers

    changed = copy.deepcopy(pipe)
    changed.unet.add_adapter(peft.LoraConfig(r=2, lora_alpha=5, target_modules=ATTENTION, alpha_pattern={"to_q": 9}))
    state = peft.get_peft_model_state_dict(changed.unet)
    generator = torch.Generator().manual_seed(3)
    for tensor in state.values():
        tensor.copy_(torch.randn(tensor.shape, generator=generator))
    settings = {"r": 2, "lora_alpha": 5, "target_modules": ATTENTION, "alpha_pattern": {"to_q": 9}}
    StableDiffusionXLPipeline.save_lora_weights(
        str(tmp_path), unet_lora_layers=convert_state_dict_to_diffusers(state), unet_lora_adapter_metadata=settings
    )
    assert LORA_ADAPTER_METADATA_KEY == "lora_adapter_metadata"
    again = copy.deepcopy(pipe)
    again.load_lora_weights(tmp_path)
    again.fuse_lora(components=["unet"])
    again.unload_lora_weights()
    assert_same(fused(tmp_path), weights_of(again))


def test_bundled_embeddings_are_named_and_the_lora_is_read(
    lora: Path, fused: Callable[[Path], Weights], expected: Weights, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tensors = load_file(lora / LORA_FILE)
    for name in ("koilo", "hsil"):
        tensors[f"bundle_emb.{name}.clip_l"] = torch.zeros(2, 16)
        tensors[f"bundle_emb.{name}.clip_g"] = torch.zeros(2, 16)
    tensors["bundle_emb.old.string_to_param.*"] = torch.zeros(2, 16)
    save_file(tensors, tmp_path / "with.safetensors")
    assert_same(fused(tmp_path / "with.safetensors"), expected)
    assert "Embeddings that are bundled with the LoRA are left out (hsil, koilo, old" in caplog.text


@pytest.mark.slow
def test_a_lora_of_peft_draws_the_image_of_its_twin_in_diffusers_layout(base: Path, lora: Path, tmp_path: Path) -> None:
    def rename(name: str) -> str | None:
        name = name.replace(".lora.down.", ".lora_A.").replace(".lora.up.", ".lora_B.")
        return name.replace("unet.", "base_model.model.") if name.startswith("unet.") else None

    tensors = renamed(lora, tmp_path / "adapter_model.safetensors", rename)
    for name in tensors:
        if "lora_B" in name:
            tensors[name] = tensors[name] / 2
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 2, "lora_alpha": 4, "peft_type": "LORA"}))
    renamed(lora, tmp_path / "twin.sft", lambda name: name if name.startswith("unet.") else None)
    twin = (tmp_path / "twin.sft").rename(tmp_path / "twin.safetensors")
    images = []
    for source in (tmp_path / "adapter_model.safetensors", twin):
        generator = CoinGenerator(base, source, device="cpu")
        images.append(
            generator.generate("Atypical cells.", n=1, preset=Preset("quick", steps=2, guidance=7.5)).images[0]
        )
    first, second = (np.asarray(image.image, dtype=int) for image in images)
    assert np.abs(first - second).max() <= 1


def test_stabilitys_names_of_sdxls_layers() -> None:
    """As published: in sd_xl_base_1.0.safetensors and in kohya's LoRAs."""
    block = "transformer_blocks.0.attn1.to_q"
    published = {
        "conv_in": "input_blocks.0.0",
        "down_blocks.0.resnets.1.conv1": "input_blocks.2.0.in_layers.2",
        "down_blocks.0.downsamplers.0.conv": "input_blocks.3.0.op",
        f"down_blocks.1.attentions.0.{block}": f"input_blocks.4.1.{block}",
        "down_blocks.2.resnets.0.conv_shortcut": "input_blocks.7.0.skip_connection",
        "down_blocks.2.attentions.1.proj_out": "input_blocks.8.1.proj_out",
        "mid_block.resnets.1.time_emb_proj": "middle_block.2.emb_layers.1",
        "mid_block.attentions.0.transformer_blocks.9.ff.net.2": "middle_block.1.transformer_blocks.9.ff.net.2",
        "up_blocks.0.upsamplers.0.conv": "output_blocks.2.2.conv",
        "up_blocks.1.attentions.2.norm": "output_blocks.5.1.norm",
        "up_blocks.2.resnets.2.norm2": "output_blocks.8.0.out_layers.0",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
        "time_embedding.linear_2": "time_embed.2",
        "add_embedding.linear_1": "label_emb.0.0",
    }
    assert {name: sgm_name(name, 2) for name in published} == published


def test_a_layer_named_twice_is_an_error(lora: Path, fused: Callable[[Path], Weights], tmp_path: Path) -> None:
    tensors = load_file(lora / LORA_FILE)
    name = next(name for name in tensors if name.startswith("unet.") and name.endswith("lora.up.weight"))
    tensors[name.removeprefix("unet.")] = tensors[name].clone()
    save_file(tensors, tmp_path / LORA_FILE)
    with pytest.raises(LoraMismatchError, match="names the same layer twice"):
        fused(tmp_path)
