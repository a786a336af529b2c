"""Importing encoders: each layout of the field, offline, gives the vectors of the library that it was made with."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
import torch
from safetensors.torch import load_file, save_file

from generation import UnsafeWeightsError
from retrieval import Encoder, EncoderLoadError, import_encoder
from retrieval.encoder.formats.timm_folder import vit_arguments
from retrieval.encoder.model_files import choose_weights
from tests.clip_model import tiny_clip
from tests.pickled_here import pickled_here
from tests.retrieval.conftest import speckled
from tests.retrieval.encoder import published


@pytest.fixture(scope="module", autouse=True)
def quick_pickles() -> Iterator[None]:
    with pickled_here():
        yield


TEXTS = ["negative for malignant cells.", "benign"]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def images() -> list[PIL.Image.Image]:
    return [speckled(seed, size=48) for seed in range(3)]


def unit(vectors: torch.Tensor) -> npt.NDArray[np.float32]:
    rows: npt.NDArray[np.float32] = torch.nn.functional.normalize(vectors, dim=1).detach().numpy()
    return rows


def prepared(mean: tuple[float, ...], std: tuple[float, ...], size: int, resample: int = 3) -> torch.Tensor:
    """The images as the published configuration says, by plain arithmetic: resize, scale, normalise."""
    rows = []
    for image in images():
        pixels = np.asarray(image.resize((size, size), resample), dtype=np.float32) / 255
        rows.append((pixels - np.float32(mean)) / np.float32(std))
    return torch.from_numpy(np.stack(rows).transpose(0, 3, 1, 2))


def test_biomedclip_as_published_with_the_text_towers_configuration_beside_it(tmp_path: Path) -> None:
    network = published.biomedclip(tmp_path / "biomed", pickled=True)
    config = tmp_path / "biomed-bert" / "config.json"
    done = import_encoder(tmp_path / "biomed", tmp_path / "out", text_config=config)
    encoder = Encoder(tmp_path / "out", device="cpu")
    assert (encoder.dim, encoder.reads_images, encoder.reads_texts) == (16, True, True)
    import open_clip

    tokens = open_clip.get_tokenizer(f"local-dir:{tmp_path / 'biomed'}")(TEXTS)
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), unit(network.encode_text(tokens)), atol=1e-5)
    pixels = prepared((0.5,) * 3, (0.25,) * 3, published.SIZE)
    np.testing.assert_allclose(encoder.encode_images(images()), unit(network.encode_image(pixels)), atol=0.02)
    assert any("process of its own" in change for change in done.changes)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "SHA-256" in card and "open_clip_pytorch_model.bin" in card and str(tmp_path) not in card


@pytest.mark.slow
def test_a_bert_of_published_size_needs_no_configuration(tmp_path: Path) -> None:
    network = published.biomedclip(tmp_path / "biomed", width=768, heads=12, layers=1)
    done = import_encoder(tmp_path / "biomed", tmp_path / "out")
    import open_clip

    tokens = open_clip.get_tokenizer(f"local-dir:{tmp_path / 'biomed'}")(TEXTS)
    vectors = Encoder(tmp_path / "out", device="cpu").encode_texts(TEXTS)
    np.testing.assert_allclose(vectors, unit(network.encode_text(tokens)), atol=1e-5)
    assert any("read from the tensors" in change for change in done.changes)


def test_a_text_tower_whose_heads_are_not_certain_is_not_guessed(tmp_path: Path) -> None:
    published.biomedclip(tmp_path / "biomed")
    with pytest.raises(EncoderLoadError, match=r"text tower's configuration.*--text-config"):
        import_encoder(tmp_path / "biomed", tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


def test_a_bert_tower_with_safetensors_names_the_import(tmp_path: Path) -> None:
    published.biomedclip(tmp_path / "biomed")
    with pytest.raises(EncoderLoadError, match=r"transformers, and the configuration.*coin encoder import"):
        Encoder(tmp_path / "biomed", device="cpu").load()


def test_the_fingerprint_does_not_depend_on_where_the_text_tower_lies(tmp_path: Path) -> None:
    published.biomedclip(tmp_path / "a" / "biomed")
    folders = []
    for name in ("a", "b"):
        folder = Path(shutil.copytree(tmp_path / "a" / "biomed", tmp_path / f"model-{name}"))
        config = json.loads((folder / "open_clip_config.json").read_text())
        tower = shutil.copytree(tmp_path / "a" / "biomed-bert", tmp_path / f"bert-{name}")
        config["model_cfg"]["text_cfg"] |= {"hf_model_name": str(tower), "hf_tokenizer_name": str(folder)}
        (folder / "open_clip_config.json").write_text(json.dumps(config))
        folders.append(Encoder(folder))
    assert folders[0].fingerprint == folders[1].fingerprint
    imported = (
        import_encoder(tmp_path / "model-a", tmp_path / "out-a"),
        import_encoder(folders[1].files.path, tmp_path / "b"),
    )
    assert imported[0].files.fingerprint == imported[1].files.fingerprint


@pytest.mark.slow
@pytest.mark.parametrize("pickled", [False, True])
def test_plip_as_published(tmp_path: Path, pickled: bool) -> None:
    network = published.plip(tmp_path / "plip")
    if pickled:
        published.save_as_pickle(tmp_path / "plip")
    import_encoder(tmp_path / "plip", tmp_path / "out")
    encoder = Encoder(tmp_path / "out", device="cpu")
    assert (encoder.dim, encoder.reads_images, encoder.reads_texts) == (24, True, True)
    from transformers import CLIPTokenizer

    tokens = CLIPTokenizer.from_pretrained(tmp_path / "plip")(
        TEXTS, return_tensors="pt", padding=True, truncation=True, max_length=20
    )
    np.testing.assert_allclose(
        encoder.encode_texts(TEXTS), unit(network.get_text_features(**tokens).pooler_output), atol=1e-5
    )
    pixels = prepared((0.5, 0.4, 0.6), (0.2, 0.3, 0.25), published.SIZE)
    np.testing.assert_allclose(
        encoder.encode_images(images()), unit(network.get_image_features(pixels).pooler_output), atol=0.02
    )


def test_siglip_of_transformers_pads_to_its_whole_context(tmp_path: Path) -> None:
    network = published.siglip(tmp_path / "siglip")
    import_encoder(tmp_path / "siglip", tmp_path / "out")
    encoder = Encoder(tmp_path / "out", device="cpu")
    from transformers import AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(tmp_path / "siglip")(
        TEXTS, return_tensors="pt", padding="max_length", truncation=True, max_length=16
    )
    expected = network.get_text_features(input_ids=tokens["input_ids"]).pooler_output
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), unit(expected), atol=1e-5)
    assert encoder.dim == 24


def test_dinov2_reads_images_only(tmp_path: Path) -> None:
    network = published.dinov2(tmp_path / "dinov2")
    import_encoder(tmp_path / "dinov2", tmp_path / "out", mpp=0.25)
    encoder = Encoder(tmp_path / "out", device="cpu")
    assert (encoder.dim, encoder.reads_images, encoder.reads_texts) == (32, True, False)
    assert (encoder.files.image_size, encoder.files.mpp) == (28, 0.25)
    pixels = prepared((0.5, 0.4, 0.6), (0.2, 0.3, 0.25), 28)
    np.testing.assert_allclose(
        encoder.encode_images(images()), unit(network(pixels).last_hidden_state[:, 0]), atol=0.02
    )
    with pytest.raises(EncoderLoadError, match="reads images only: it has no text tower"):
        encoder.encode_texts(TEXTS)


def test_a_pooler_that_was_not_published_is_not_used(tmp_path: Path) -> None:
    network = published.phikon(tmp_path / "phikon")
    import_encoder(tmp_path / "phikon", tmp_path / "out")
    rows = [Encoder(tmp_path / "out", device="cpu").encode_images(images()) for _ in range(2)]
    np.testing.assert_array_equal(rows[0], rows[1])
    pixels = prepared((0.5, 0.4, 0.6), (0.2, 0.3, 0.25), published.SIZE, 2)
    assert np.abs(rows[0] - unit(network(pixels).last_hidden_state[:, 0])).max() < 0.1


def test_a_text_encoder_reads_texts_only(tmp_path: Path) -> None:
    network = published.minilm(tmp_path / "minilm")
    import_encoder(tmp_path / "minilm", tmp_path / "out")
    encoder = Encoder(tmp_path / "out", device="cpu")
    assert (encoder.dim, encoder.reads_images, encoder.reads_texts) == (32, False, True)
    from transformers import AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(tmp_path / "minilm")(TEXTS[:1], return_tensors="pt")
    expected = unit(network(**tokens).last_hidden_state.mean(dim=1))
    np.testing.assert_allclose(encoder.encode_texts(TEXTS)[:1], expected, atol=1e-5)
    with pytest.raises(EncoderLoadError, match="reads texts only"):
        encoder.encode_images(images())


def test_uni_as_published(tmp_path: Path) -> None:
    arguments = {"img_size": 32, "init_values": 1e-5, "dynamic_img_size": True, "embed_dim": 48, "depth": 2}
    network = published.timm_model(tmp_path / "uni", "vit_tiny_patch16_224", arguments, pickled=True)
    import_encoder(tmp_path / "uni", tmp_path / "out")
    encoder = Encoder(tmp_path / "out", device="cpu")
    assert (encoder.dim, encoder.reads_texts, encoder.files.image_size) == (48, False, 32)
    pixels = prepared((0.5, 0.4, 0.6), (0.2, 0.3, 0.25), 32)
    np.testing.assert_allclose(encoder.encode_images(images()), unit(network(pixels)), atol=0.02)


@pytest.mark.parametrize("stated", [True, False])
def test_the_dimensions_are_those_stated_or_those_of_the_network(tmp_path: Path, stated: bool) -> None:
    """A convolutional network has no class token that would show its width."""
    published.timm_model(tmp_path / "out", "resnet10t", {})
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    if not stated:
        del config["num_features"]
        (tmp_path / "out" / "config.json").write_text(json.dumps(config))
    assert config.get("num_features", 512) == 512
    assert Encoder(tmp_path / "out", device="cpu").dim == 512


@pytest.mark.parametrize(
    ("layers", "positions", "patch", "stated", "expected"),
    [
        # Virchow, as its tensors are: 16 × 16 patches of 14 pixels and a class token; 6832 / 1280.
        ({"fc1": [6832, 1280], "fc2": [1280, 3416]}, 257, 14, 224, {"mlp_ratio": 5.3375, "img_size": 224}),
        # Virchow2: four registers beside them. UNI: 14 × 14 patches of 16 pixels, layer scale.
        (
            {"fc1": [6832, 1280], "fc2": [1280, 3416], "reg": 4},
            *(261, 14, 224, {"mlp_ratio": 5.3375, "reg_tokens": 4, "img_size": 224}),
        ),
        ({"fc1": [4096, 1024], "fc2": [1024, 4096], "ls1": True}, 197, 16, 224, {"init_values": 1e-5, "img_size": 224}),
        # An image size that was not stated, or does not fit, is read from the positions.
        ({}, 197, 16, None, {"img_size": 224}),
        ({}, 1025, 16, 224, {"img_size": 512}),
        ({"reg": 4}, 201, 16, None, {"reg_tokens": 4, "img_size": 224}),
        ({"reg": 4}, 196, 16, None, {"reg_tokens": 4, "img_size": 224, "no_embed_class": True}),
    ],
)
def test_tensors_say_how_a_vision_transformer_is_built(
    layers: dict[str, Any], positions: int, patch: int, stated: int | None, expected: dict[str, Any]
) -> None:
    shapes = {"patch_embed.proj.weight": [1280, 3, patch, patch], "pos_embed": [1, positions, 1280]}
    shapes |= {f"blocks.0.mlp.{name}.weight": layers[name] for name in ("fc1", "fc2") if name in layers}
    shapes |= {"blocks.0.ls1.gamma": [1280]} if "ls1" in layers else {}
    shapes |= {"reg_token": [1, layers["reg"], 1280]} if "reg" in layers else {}
    published_config = {} if stated is None else {"input_size": [3, stated, stated]}
    assert vit_arguments(shapes, published_config) == expected


def test_virchows_gated_layers_registers_and_pooling_are_found_without_code(tmp_path: Path) -> None:
    import timm

    arguments = {
        **{"img_size": 28, "init_values": 1e-5, "reg_tokens": 4, "mlp_ratio": 5.3375, "global_pool": ""},
        **{"embed_dim": 48, "depth": 2, "num_heads": 4, "dynamic_img_size": True},
    }
    network = published.timm_model(
        tmp_path / "Virchow2",
        "vit_tiny_patch16_224",
        {**arguments, "patch_size": 14},
        mlp_layer=timm.layers.SwiGLUPacked,
        act_layer=torch.nn.SiLU,
    )
    import_encoder(tmp_path / "Virchow2", tmp_path / "out")
    encoder = Encoder(tmp_path / "out", device="cpu")
    tokens = network(prepared((0.5, 0.4, 0.6), (0.2, 0.3, 0.25), 28))
    expected = torch.cat([tokens[:, 0], tokens[:, 5:].mean(dim=1)], dim=1)
    assert encoder.dim == 96
    np.testing.assert_allclose(encoder.encode_images(images()), unit(expected), atol=0.02)


def test_a_checkpoint_of_a_training_with_a_configuration(tmp_path: Path, clip_folder: Path) -> None:
    import open_clip

    network, _ = open_clip.create_model_from_pretrained(f"local-dir:{clip_folder}")
    published.training_checkpoint(tmp_path / "epoch_3.pt", network)
    import_encoder(tmp_path / "epoch_3.pt", tmp_path / "out", arch=str(clip_folder))
    assert {path.name for path in (tmp_path / "out").glob("*.safetensors")} == {"open_clip_model.safetensors"}
    encoder, original = Encoder(tmp_path / "out", device="cpu"), Encoder(clip_folder, device="cpu")
    np.testing.assert_allclose(encoder.encode_images(images()), original.encode_images(images()), atol=1e-6)


def test_a_checkpoint_without_an_architecture_is_told_which_fit(tmp_path: Path) -> None:
    shapes = {
        **{"visual.conv1.weight": (384, 3, 32, 32), "visual.positional_embedding": (50, 384)},
        **{"positional_embedding": (77, 384), "text_projection": (384, 384)},
        **{f"visual.transformer.resblocks.{layer}.ln_1.bias": (384,) for layer in range(12)},
    }
    state = {f"module.{name}": torch.zeros(shape) for name, shape in shapes.items()}
    torch.save({"epoch": 1, "state_dict": state}, tmp_path / "epoch_1.pt")
    with pytest.raises(EncoderLoadError, match=r"without a configuration.*--arch ViT-S-32"):
        import_encoder(tmp_path / "epoch_1.pt", tmp_path / "out")
    with pytest.raises(EncoderLoadError, match="'ViT-Z-99' is not an architecture"):
        import_encoder(tmp_path / "epoch_1.pt", tmp_path / "out", arch="ViT-Z-99")


def test_weights_of_another_model_are_refused_by_the_names_of_tensors(tmp_path: Path, clip_folder: Path) -> None:
    other = tiny_clip(tmp_path / "other")
    tensors = load_file(other / "open_clip_model.safetensors")
    tensors["text_projection"] = tensors["text_projection"][:, :8].contiguous()
    save_file(tensors, other / "open_clip_model.safetensors")
    with pytest.raises(EncoderLoadError, match=r"text_projection is \[64, 8\] in the weights and \[64, 32\] in the"):
        import_encoder(other / "open_clip_model.safetensors", tmp_path / "out", arch=str(clip_folder))
    assert not list(tmp_path.glob("out*"))


@pytest.mark.slow
def test_a_model_of_another_image_size_is_refused_in_a_sentence(tmp_path: Path) -> None:
    import open_clip

    config = {
        "model_cfg": {
            "embed_dim": 16,
            "vision_cfg": {"timm_model_name": "vit_small_patch14_dinov2", "timm_pool": "token"},
            "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
        },
        "preprocess_cfg": {},
    }
    config["model_cfg"] |= {"custom_text": True}
    config["model_cfg"]["vision_cfg"] |= {"timm_proj": "linear", "image_size": 224}
    folder = tmp_path / "wrapped"
    folder.mkdir()
    network = open_clip.CustomTextCLIP(16, config["model_cfg"]["vision_cfg"], config["model_cfg"]["text_cfg"])
    published.write_safetensors(folder / "open_clip_model.safetensors", network)
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(EncoderLoadError, match=r"takes images of 518 × 518 pixels.*224 × 224"):
        Encoder(folder, device="cpu").load()


class Attack:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch attacked",)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    published.plip(tmp_path / "plip")
    (tmp_path / "plip" / "model.safetensors").unlink()
    torch.save({"weight": Attack()}, tmp_path / "plip" / "pytorch_model.bin")
    with pytest.raises(UnsafeWeightsError, match="could run code: refused"):
        import_encoder(tmp_path / "plip", tmp_path / "out")
    assert not (tmp_path / "attacked").exists() and not list(tmp_path.glob("out*"))


def test_every_other_command_names_the_import_where_weights_are_pickled(tmp_path: Path) -> None:
    published.plip(tmp_path / "plip")
    published.save_as_pickle(tmp_path / "plip")
    with pytest.raises(EncoderLoadError, match=r"pytorch_model.bin: pickled.*coin encoder import"):
        Encoder(tmp_path / "plip")


def test_two_imports_are_the_same_to_the_byte(tmp_path: Path) -> None:
    published.plip(tmp_path / "plip")
    published.save_as_pickle(tmp_path / "plip")
    for name in ("a", "b"):
        import_encoder(tmp_path / "plip", tmp_path / name / "encoder")
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / name / "encoder").rglob("*") if path.is_file()}
        for name in ("a", "b")
    )
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name] and name != "README.md"] == []


def test_a_hub_repository_in_the_cache_is_imported_by_its_id(tmp_path: Path) -> None:
    published.plip(tmp_path / "plip")
    published.save_as_pickle(tmp_path / "plip")
    (tmp_path / "plip" / "README.md").write_text("---\nlicense: apache-2.0\n---\n# PLIP\n")
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / "models--vinid--plip"
    shutil.copytree(tmp_path / "plip", repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    with pytest.raises(EncoderLoadError, match="coin encoder import hf-hub:vinid/plip OUT"):
        Encoder("hf-hub:vinid/plip")
    import_encoder("vinid/plip", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert commit in card and "apache-2.0" in card and "vinid/plip" in card


def test_an_existing_folder_is_not_replaced(tmp_path: Path) -> None:
    published.dinov2(tmp_path / "dinov2")
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError):
        import_encoder(tmp_path / "dinov2", tmp_path / "out")


def test_what_is_no_encoder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(EncoderLoadError, match="no file or folder"):
        import_encoder(tmp_path / "nothing", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(EncoderLoadError, match="no weights of an encoder"):
        import_encoder(tmp_path / "empty", tmp_path / "out")


def test_a_projection_that_was_published_is_used(tmp_path: Path) -> None:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(7)
    config = CLIPVisionConfig(
        **{"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2},
        **{"image_size": published.SIZE, "patch_size": 16, "projection_dim": 20},
    )
    network = CLIPVisionModelWithProjection(config).eval()
    network.save_pretrained(tmp_path / "vision")
    published.image_processor(tmp_path / "vision", "CLIPFeatureExtractor")  # the name of before 2023
    import_encoder(tmp_path / "vision", tmp_path / "out")
    encoder = Encoder(tmp_path / "out", device="cpu")
    pixels = prepared((0.5, 0.4, 0.6), (0.2, 0.3, 0.25), published.SIZE)
    assert (encoder.dim, encoder.reads_texts) == (20, False)
    np.testing.assert_allclose(encoder.encode_images(images()), unit(network(pixels).image_embeds), atol=0.02)


def test_a_model_that_hides_parts_at_random_is_refused(tmp_path: Path) -> None:
    from transformers import ViTMAEConfig, ViTMAEModel

    config = ViTMAEConfig(
        **{"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64},
        **{"image_size": 64, "patch_size": 16, "initializer_range": 0.3},
    )
    ViTMAEModel(config).save_pretrained(tmp_path / "mae")
    published.image_processor(tmp_path / "mae", "ViTImageProcessor", 64)
    with pytest.raises(EncoderLoadError, match="another vector of the same image"):
        import_encoder(tmp_path / "mae", tmp_path / "out")


def test_importing_an_imported_folder_keeps_what_it_says(tmp_path: Path) -> None:
    arguments = {"img_size": 32, "embed_dim": 48, "depth": 1, "num_heads": 4}
    published.timm_model(tmp_path / "published", "vit_tiny_patch16_224", arguments)
    first = import_encoder(tmp_path / "published", tmp_path / "first", pooling="mean", mpp=0.5).files
    second = import_encoder(tmp_path / "first", tmp_path / "second").files
    assert (second.mpp, second.fingerprint) == (0.5, first.fingerprint)


def test_open_clips_pickle_is_taken_beside_transformers_weights(tmp_path: Path) -> None:
    published.biomedclip(tmp_path / "both", width=768, heads=12, layers=1, pickled=True)
    published.write_safetensors(tmp_path / "both" / "model.safetensors", torch.nn.Linear(2, 2))
    assert import_encoder(tmp_path / "both", tmp_path / "out").files.format == "open_clip"


def test_the_backbone_of_a_dino_training_is_found(tmp_path: Path) -> None:
    import timm

    network = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=0).eval()
    state = {f"backbone.{name}": value for name, value in network.state_dict().items()}
    torch.save({"teacher": {**state, "dino_head.mlp.0.weight": torch.zeros(2, 2)}}, tmp_path / "teacher.pth")
    done = import_encoder(tmp_path / "teacher.pth", tmp_path / "out", arch="timm:vit_tiny_patch16_224")
    assert done.files.dim == 192 and any("heads left out" in change for change in done.changes)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("open_clip_config.json", '{"model_cfg": {"embed_dim": "x", "vision_cfg": [], "text_cfg": {}}}'),
        ("config.json", '{"model_type": ["a"], "patch_size": 4}'),
        ("config.json", '{"model_type": "vit", "hidden_size": "big", "patch_size": 4}'),
        ("config.json", '{"architecture": "vit_tiny_patch16_224", "pretrained_cfg": 5}'),
    ],
)
def test_a_configuration_of_the_wrong_kind_is_a_sentence(tmp_path: Path, name: str, content: str) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / name).write_text(content)
    for weights in ("open_clip_model.safetensors", "model.safetensors"):
        published.write_safetensors(folder / weights, torch.nn.Linear(2, 2))
    published.image_processor(folder, "ViTImageProcessor")
    with pytest.raises(EncoderLoadError):
        Encoder(folder)


@pytest.mark.parametrize(
    ("names", "for_use", "for_import"),
    [
        (["config.json", "model.safetensors", "pytorch_model.bin"], ["model.safetensors"], ["model.safetensors"]),
        (["config.json", "pytorch_model.bin"], [], ["pytorch_model.bin"]),
        (["config.json", "onnx/model.safetensors"], [], []),
        # open_clip's own weights are meant, though they are pickled: the others bear transformers' names.
        (
            ["open_clip_config.json", "config.json", "open_clip_pytorch_model.bin", "model.safetensors"],
            [],
            ["open_clip_pytorch_model.bin"],
        ),
        (
            ["open_clip_config.json", "open_clip_model.safetensors", "open_clip_pytorch_model.bin"],
            ["open_clip_model.safetensors"],
            ["open_clip_model.safetensors"],
        ),
        (
            ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "x.bin"],
            *[["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]] * 2,
        ),
    ],
)
def test_the_weights_of_one_format_are_chosen(names: list[str], for_use: list[str], for_import: list[str]) -> None:
    assert choose_weights(names, pickled=False) == for_use
    assert choose_weights(names, pickled=True) == for_import
