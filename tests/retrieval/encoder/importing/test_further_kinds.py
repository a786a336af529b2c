"""Further kinds of published encoders, each as its library writes it, against that library's own vectors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import transformers

from retrieval import Encoder, EncoderLoadError, import_encoder
from retrieval.encoder.importing.architecture import unwrapped
from tests.pickled_here import pickled_here
from tests.retrieval.encoder import published
from tests.retrieval.encoder.importing.test_import_encoder import images, prepared, unit

MEAN, STD = (0.5, 0.4, 0.6), (0.2, 0.3, 0.25)
STAGES = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
VIT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
SHORTEST_EDGE = {"size": {"shortest_edge": 224}, "crop_pct": 0.875}

Vectors = Callable[[Any, torch.Tensor], torch.Tensor]


@pytest.fixture(scope="module", autouse=True)
def quick_pickles() -> Iterator[None]:
    with pickled_here():
        yield


def random_weights(network: torch.nn.Module) -> Any:
    """As they begin, layers without a size of their own give zeros or nearly the same vector for all images."""
    torch.manual_seed(7)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network.eval()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "config", "processor", "size", "vectors"),
    [
        pytest.param(
            *("ConvNextForImageClassification", {**STAGES, "image_size": 224}),
            *({"feature_extractor_type": "ConvNextFeatureExtractor", **SHORTEST_EDGE}, 224),
            lambda network, pixels: network.convnext(pixels).pooler_output,
            id="ConvNeXt with a classifier, its preparation under the old name",
        ),
        pytest.param(
            *("ResNetModel", {**STAGES, "embedding_size": 8}),
            *({"image_processor_type": "ConvNextImageProcessor", **SHORTEST_EDGE}, 224),
            lambda network, pixels: network(pixels).pooler_output.flatten(1),
            id="ResNet",
        ),
        pytest.param(
            *("Dinov2WithRegistersModel", {**VIT, "mlp_ratio": 2, "image_size": 28, "patch_size": 14}),
            *({"image_processor_type": "BitImageProcessor", "size": {"height": 28, "width": 28}}, 28),
            lambda network, pixels: network(pixels).last_hidden_state[:, 0],
            id="DINOv2 with registers",
        ),
        pytest.param(
            *("DINOv3ViTModel", {**VIT, "intermediate_size": 64, "image_size": 32, "num_register_tokens": 4}),
            *({"image_processor_type": "DINOv3ViTImageProcessorFast", "size": {"height": 32, "width": 32}}, 32),
            lambda network, pixels: network(pixels).last_hidden_state[:, 0],
            id="DINOv3",
        ),
        pytest.param(
            *("DINOv3ConvNextModel", {**STAGES, "image_size": 64}),
            *({"image_processor_type": "DINOv3ViTImageProcessorFast", "size": {"height": 64, "width": 64}}, 64),
            lambda network, pixels: network(pixels).pooler_output,
            id="DINOv3's ConvNeXt",
        ),
    ],
)
def test_images_only_encoders_of_transformers(
    tmp_path: Path, kind: str, config: dict[str, Any], processor: dict[str, Any], size: int, vectors: Vectors
) -> None:
    made = getattr(transformers, kind)
    network = random_weights(made(made.config_class(**config)))
    network.save_pretrained(tmp_path / "model")
    scaled = {"image_mean": MEAN, "image_std": STD, "rescale_factor": 1 / 255, "resample": 3}
    steps = {"do_resize": True, "do_rescale": True, "do_normalize": True, "do_center_crop": False}
    (tmp_path / "model" / "preprocessor_config.json").write_text(json.dumps({**scaled, **steps, **processor}))
    done = import_encoder(tmp_path / "model", tmp_path / "out")
    assert (done.files.reads_images, done.files.reads_texts, done.files.dim) == (True, False, 32)
    pixels = prepared_as(processor, size)
    found = Encoder(tmp_path / "out", device="cpu").encode_images(images())
    np.testing.assert_allclose(found, unit(vectors(network, pixels)), atol=0.02)


def prepared_as(processor: dict[str, Any], size: int) -> torch.Tensor:
    """By plain arithmetic; where an edge is cropped, images are enlarged first."""
    if "crop_pct" not in processor or size >= 384:
        return prepared(MEAN, STD, size)
    larger = int(size / processor["crop_pct"])
    start = (larger - size) // 2
    return prepared(MEAN, STD, larger)[:, :, start : start + size, start : start + size]


def test_siglip_2_of_a_fixed_size_brings_gemmas_tokenizer(tmp_path: Path) -> None:
    """Of the tokenizer only `tokenizer.json` and its settings are published; texts are padded to the context."""
    from tokenizers import Tokenizer, models, normalizers

    part = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {**part, "image_size": 32, "patch_size": 16}
    text = {**part, "vocab_size": 260, "max_position_embeddings": 64, "projection_size": 24}
    text |= {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
    config = transformers.SiglipConfig(vision_config=vision, text_config=text)
    network = random_weights(transformers.SiglipModel(config))
    folder = tmp_path / "siglip2"
    network.save_pretrained(folder)
    published.image_processor(folder, "SiglipImageProcessor")
    words = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    settings = {"tokenizer_class": "GemmaTokenizer", "model_max_length": 64, "padding_side": "right", **named}
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "add_eos_token": True}))
    import_encoder(folder, tmp_path / "out")
    encoder, texts = Encoder(tmp_path / "out", device="cpu"), ["benign cells", "x"]
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(
        texts, padding="max_length", max_length=64, return_tensors="pt"
    )
    wanted = network.get_text_features(input_ids=tokens["input_ids"]).pooler_output
    assert tokens["input_ids"].shape == (2, 64) and len(set(tokens["input_ids"][0].tolist())) > 5
    np.testing.assert_allclose(encoder.encode_texts(texts), unit(wanted), atol=1e-5)
    seen = network.get_image_features(pixel_values=prepared(MEAN, (0.2, 0.3, 0.25), 32)).pooler_output
    np.testing.assert_allclose(encoder.encode_images(images()), unit(seen), atol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("convnext_atto", {"depths": [1, 1, 1, 1], "dims": [8, 16, 24, 32]}),
        ("resnet10t", {"channels": [8, 16, 24, 32]}),
        ("vit_small_patch16_224", {"img_size": 32, "embed_dim": 48, "depth": 1, "num_heads": 3, "reg_tokens": 4,
                                   "no_embed_class": True, "init_values": 1e-5, "dynamic_img_size": True}),
        ("vit_small_patch16_dinov3", {"img_size": 32, "embed_dim": 48, "depth": 1, "num_heads": 3}),
    ],
)  # fmt: skip
def test_images_only_encoders_of_timm(tmp_path: Path, name: str, arguments: dict[str, Any]) -> None:
    network = published.timm_model(tmp_path / "model", name, arguments)
    assert import_encoder(tmp_path / "model", tmp_path / "out").notes == ()
    found = Encoder(tmp_path / "out", device="cpu").encode_images(images())
    np.testing.assert_allclose(found, unit(network(prepared(MEAN, STD, 32))), atol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("pickled", [False, True])
def test_weights_in_parts(tmp_path: Path, pickled: bool) -> None:
    network = published.plip(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    network.save_pretrained(tmp_path / "model", max_shard_size="40KB")
    parts = sorted((tmp_path / "model").glob("model-*-of-*.safetensors"))
    assert len(parts) > 2
    if pickled:
        from safetensors.torch import load_file

        for path in parts:
            torch.save(load_file(path), path.with_name(f"pytorch_{path.stem}.bin"))
            path.unlink()
    import_encoder(tmp_path / "model", tmp_path / "out")
    found = Encoder(tmp_path / "out", device="cpu").encode_images(images())
    wanted = network.get_image_features(pixel_values=prepared(MEAN, STD, 32)).pooler_output
    np.testing.assert_allclose(found, unit(wanted), atol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("outer", ["model", "state_dict", "teacher"])
@pytest.mark.parametrize("prefix", ["module.", "backbone.", "module.backbone."])
def test_the_state_of_a_training(tmp_path: Path, outer: str, prefix: str) -> None:
    """Also with what DINOv2's training and PyTorch Lightning add to the names of a network."""
    network = published.timm_model(
        tmp_path / "model", "vit_small_patch14_dinov2", {"img_size": 28, "embed_dim": 48, "depth": 2, "num_heads": 3}
    )
    (tmp_path / "model" / "model.safetensors").unlink()
    state = {f"{prefix}{name}".replace("blocks.", "blocks.0."): value for name, value in network.state_dict().items()}
    state |= {"criterion.weight": torch.ones(2), "loss_fn.centre": torch.ones(2)}
    if "backbone" in prefix:
        state[f"{prefix.replace('backbone', 'dino_head')}mlp.0.weight"] = torch.ones(2)
    torch.save({outer: state, "epoch": 3, "optimizer": {"state": {}}}, tmp_path / "model" / "last.ckpt")
    import_encoder(tmp_path / "model", tmp_path / "out")
    found = Encoder(tmp_path / "out", device="cpu").encode_images(images())
    np.testing.assert_allclose(found, unit(network(prepared(MEAN, STD, 28))), atol=0.02)


def test_stages_of_blocks_keep_their_names() -> None:
    names = timm.create_model("efficientnet_lite0", device="meta").state_dict()
    assert unwrapped(names).keys() == names.keys()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"model_type": "llama", "vocab_size": 3, "hidden_size": 8},
            r"error for .*: ValueError: The hidden size \(8\)",
        ),
        (
            {
                **{"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"]},
                **{"vision_config": {"model_type": "clip_vision_model"}, "text_config": {}},
            },
            r"model is a LlavaForConditionalGeneration, which makes no vectors of texts.* Take an encoder",
        ),
    ],
)
def test_a_model_that_is_no_encoder_is_refused(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    published.write_safetensors(folder / "model.safetensors", torch.nn.Linear(2, 2))
    published.image_processor(folder, "CLIPImageProcessor")
    published.bert_tokenizer(folder)
    with pytest.raises(EncoderLoadError, match=message):
        import_encoder(folder, tmp_path / "out")
