"""Architectures and checkpoints that are not as most are: read as the library that made them reads them, or refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from retrieval import Encoder, EncoderLoadError, import_encoder
from retrieval.encoder.formats.timm_folder import create_network, has_swiglu, vit_arguments
from retrieval.encoder.importing.architecture import named_config, unwrapped
from retrieval.encoder.model_files import find_encoder
from tests.pickled_here import pickled_here
from tests.retrieval.conftest import speckled
from tests.retrieval.encoder import published
from tests.retrieval.encoder.importing.test_import_encoder import images, prepared, unit


@pytest.fixture(scope="module", autouse=True)
def quick_pickles() -> Iterator[None]:
    with pickled_here():
        yield


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("eva02_tiny_patch14_224", {"img_size": 224}),  # gated by its architecture
        ("hiera_tiny_224", {}),  # several stages, overlapping patches
        ("vit_tiny_r_s16_p8_224", {}),  # patches of a feature map
        ("samvit_base_patch16", {}),  # positions in two dimensions
        ("vit_small_patch14_reg4_dinov2", {"init_values": 1e-5, "reg_tokens": 4, "img_size": 518}),
    ],
)
def test_what_is_read_from_the_tensors_gives_the_same_network(name: str, found: dict[str, float]) -> None:
    network = timm.create_model(name, pretrained=False, num_classes=0, device="meta")
    shapes = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    arguments = vit_arguments(shapes, network.pretrained_cfg)
    arguments.pop("no_embed_class", None)
    assert {key: arguments.get(key) for key in found} == found
    made = create_network(name, {**arguments, "device": "meta"}, swiglu=has_swiglu(shapes))
    assert {key: tuple(tensor.shape) for key, tensor in made.state_dict().items()} == shapes


def test_eva_as_published(tmp_path: Path) -> None:
    arguments = {"img_size": 28, "embed_dim": 48, "depth": 2, "num_heads": 4}
    network = published.timm_model(tmp_path / "eva", "eva02_tiny_patch14_224", arguments)
    import_encoder(tmp_path / "eva", tmp_path / "out")
    pixels = prepared((0.5, 0.4, 0.6), (0.2, 0.3, 0.25), 28)
    found = Encoder(tmp_path / "out", device="cpu").encode_images(images())
    np.testing.assert_allclose(found, unit(network(pixels)), atol=0.02)


def test_heads_that_code_sets_are_asked_for_and_taken(tmp_path: Path) -> None:
    network = published.timm_model(
        tmp_path / "model",
        "vit_tiny_patch16_224",
        {"img_size": 32, "embed_dim": 48, "depth": 1},
        num_heads=6,
        reg_tokens=4,
    )
    without = import_encoder(tmp_path / "model", tmp_path / "without")
    assert any("3 are taken" in note and "--model-args" in note for note in without.notes)
    given = import_encoder(tmp_path / "model", tmp_path / "out", model_args={"num_heads": 6})
    assert given.notes == () and given.files.fingerprint != without.files.fingerprint
    pixels = prepared((0.5, 0.4, 0.6), (0.2, 0.3, 0.25), 32)
    found = Encoder(tmp_path / "out", device="cpu").encode_images(images())
    np.testing.assert_allclose(found, unit(network(pixels)), atol=0.02)


def test_a_model_as_its_files_say_gives_no_note_on_heads(tmp_path: Path) -> None:
    published.timm_model(tmp_path / "model", "vit_tiny_patch16_224", {"img_size": 32, "embed_dim": 48, "depth": 1})
    assert import_encoder(tmp_path / "model", tmp_path / "out").notes == ()


def test_arguments_are_those_of_timm(tmp_path: Path) -> None:
    published.dinov2(tmp_path / "dino")
    with pytest.raises(EncoderLoadError, match=r"dino is no model of timm: only these take arguments"):
        import_encoder(tmp_path / "dino", tmp_path / "out", model_args={"num_heads": 6})
    published.timm_model(tmp_path / "model", "vit_tiny_patch16_224", {"img_size": 32, "embed_dim": 48}, depth=1)
    with pytest.raises(EncoderLoadError, match=r"set arguments in code.* coin encoder import .* --model-args JSON"):
        import_encoder(tmp_path / "model", tmp_path / "out")
    import_encoder(tmp_path / "model", tmp_path / "out", model_args={"depth": 1})
    with pytest.raises(EncoderLoadError, match="unexpected keyword argument 'nonsense'"):
        import_encoder(tmp_path / "model", tmp_path / "odd", model_args={"depth": 1, "nonsense": 3})


@pytest.mark.slow
def test_a_network_of_stages_says_its_width_in_its_own_way(tmp_path: Path) -> None:
    from transformers import EfficientNetConfig, EfficientNetModel

    torch.manual_seed(3)
    config = EfficientNetConfig(width_coefficient=0.25, depth_coefficient=0.3, hidden_dim=320, image_size=64)
    network = EfficientNetModel(config).eval()
    for parameter in network.parameters():  # as it begins, its many layers give zeros
        torch.nn.init.normal_(parameter, std=0.2)
    network.save_pretrained(tmp_path / "efficient")
    published.image_processor(tmp_path / "efficient", "ViTImageProcessor", 64)
    assert find_encoder(tmp_path / "efficient").dim == 320
    pixels = prepared((0.5, 0.4, 0.6), (0.2, 0.3, 0.25), 64)
    found = Encoder(tmp_path / "efficient", device="cpu").encode_images(images())
    np.testing.assert_allclose(found, unit(network(pixels).pooler_output), atol=0.02)


def test_images_as_sequences_of_patches_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "siglip2", "vision_config": {}, "text_config": {}}))
    with pytest.raises(EncoderLoadError, match=r"SigLIP 2 .*\(NaFlex\).* Take one of a fixed size"):
        find_encoder(tmp_path)


def test_of_weights_and_their_moving_average_the_average_is_taken(tmp_path: Path, clip_folder: Path) -> None:
    """As timm does. The options of the training beside them are no reason to refuse the file."""
    import argparse

    from safetensors.torch import load_file

    average = load_file(clip_folder / "open_clip_model.safetensors")
    last = {name: torch.zeros_like(tensor) for name, tensor in average.items()}
    options = argparse.Namespace(lr=0.1, name="run")
    torch.save({"state_dict": last, "state_dict_ema": average, "args": options}, tmp_path / "last.pth.tar.pt")
    done = import_encoder(tmp_path / "last.pth.tar.pt", tmp_path / "out", arch=str(clip_folder))
    assert "Of the file was left out: state_dict (its moving average, state_dict_ema, was taken)." in done.changes
    pictures = [speckled(0)]
    found, wanted = (Encoder(path, device="cpu").encode_images(pictures) for path in (tmp_path / "out", clip_folder))
    np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("prefix", ["net.", "encoder.", "module.encoder.", "model.net."])
def test_names_that_a_training_puts_before_all_are_taken_off(prefix: str) -> None:
    assert unwrapped({f"{prefix}blocks.0.weight": 1, f"{prefix}norm.bias": 2}) == {"blocks.0.weight": 1, "norm.bias": 2}


def test_an_image_tower_alone_is_named() -> None:
    with pytest.raises(EncoderLoadError, match=r"an image tower alone.* --arch timm:vit_base_patch16_clip_224"):
        named_config("ViT-B-16", "tower.pt", {"visual.conv1.weight": (768, 3, 16, 16), "visual.proj": (768, 512)})
