"""The encoder: unit rows from real models, and a fingerprint of everything that decides them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import PIL.Image
import pytest
import torch
from safetensors.torch import load_file, save_file

from generation import DeviceError
from retrieval import Encoder, EncoderLoadError, EncodingError
from tests.clip_model import DIM, IMAGE_SIZE, tiny_clip
from tests.retrieval.conftest import speckled

CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"


@pytest.fixture
def copy(clip_folder: Path, tmp_path: Path) -> Path:
    """A model's folder that a test may spoil."""
    return Path(shutil.copytree(clip_folder, tmp_path / "copy"))


def edit_config(folder: Path, change: Callable[[dict], object]) -> None:
    config = json.loads((folder / CONFIG).read_text())
    change(config)
    (folder / CONFIG).write_text(json.dumps(config))


def test_images_become_float32_unit_rows_in_order(encoder: Encoder) -> None:
    images = [speckled(seed) for seed in range(6)]
    seen: list[tuple[int, int]] = []
    vectors = encoder.encode_images(images, progress=lambda done, total: seen.append((done, total)))
    assert vectors.shape == (6, DIM)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert seen == [(4, 6), (6, 6)]
    for image, vector in zip(images, vectors, strict=True):
        np.testing.assert_allclose(encoder.encode_images([image])[0], vector, atol=1e-6)


def test_texts_become_unit_rows_however_long(encoder: Encoder) -> None:
    texts = ["HSIL", "did not find cancer cells", "", "cells " * 4000, "NILM"]
    vectors = encoder.encode_texts(texts)
    assert vectors.shape == (5, DIM)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(encoder.encode_texts(["NILM"])[0], vectors[4], atol=1e-6)


def test_images_that_the_memory_does_not_hold_are_told(clip_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder(clip_folder)
    monkeypatch.setattr(open_clip.CLIP, "encode_image", lambda *_, **__: torch.empty(1 << 58))
    with pytest.raises(
        EncoderLoadError, match=rf"memory does not suffice .* images of {IMAGE_SIZE} × {IMAGE_SIZE} pixels"
    ):
        encoder.encode_images([speckled(0)])

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("an illegal memory access was encountered")

    monkeypatch.setattr(open_clip.CLIP, "encode_image", broken)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        encoder.encode_images([speckled(0)])


def test_nothing_becomes_no_rows(encoder: Encoder) -> None:
    assert encoder.encode_images([]).shape == (0, DIM)
    assert encoder.encode_texts([]).shape == (0, DIM)


def test_vectors_are_those_of_open_clip_itself(encoder: Encoder, clip_folder: Path) -> None:
    import open_clip

    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{clip_folder}")
    image = speckled(3, size=61)
    with torch.inference_mode():
        expected = model.eval().encode_image(transform(image)[None], normalize=True)[0].numpy()
    np.testing.assert_allclose(encoder.encode_images([image])[0], expected, atol=1e-6)
    assert encoder.prepare(image).shape == (1, 3, IMAGE_SIZE, IMAGE_SIZE)


@pytest.mark.parametrize("turned", [False, True])
def test_a_strip_is_refused_and_a_long_field_is_not(encoder: Encoder, turned: bool) -> None:
    sides = [(200, 2), (201, 2)]
    field, strip = (PIL.Image.new("RGB", side[::-1] if turned else side) for side in sides)
    assert encoder.prepare(field).shape == (1, 3, IMAGE_SIZE, IMAGE_SIZE)
    with pytest.raises(EncodingError, match="is a strip"):
        encoder.prepare(strip)


def test_a_folder_and_its_local_dir_name_are_one_model(encoder: Encoder, clip_folder: Path) -> None:
    assert Encoder(f"local-dir:{clip_folder}").fingerprint == encoder.fingerprint
    assert encoder.name == "clip"
    assert encoder.dim == DIM
    assert not encoder.is_starter


def test_the_fingerprint_is_the_same_wherever_the_files_lie(encoder: Encoder, copy: Path) -> None:
    edit_config(copy, lambda config: None)  # written again: other white space, the same content
    assert Encoder(copy).fingerprint == encoder.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config["preprocess_cfg"].update(mean=[0.4, 0.5, 0.5]),
        lambda config: config["preprocess_cfg"].pop("resize_mode"),
        lambda config: config["model_cfg"].update(quick_gelu=True),
    ],
    ids=["mean", "resize mode", "activation"],
)
def test_the_fingerprint_follows_the_config(encoder: Encoder, copy: Path, change: Callable[[dict], object]) -> None:
    edit_config(copy, change)
    assert Encoder(copy).fingerprint != encoder.fingerprint


def test_the_fingerprint_follows_weights_and_tokenizer(encoder: Encoder, copy: Path, tmp_path: Path) -> None:
    assert Encoder(tiny_clip(tmp_path / "other", seed=1)).fingerprint != encoder.fingerprint
    (copy / "merges.txt").write_text("#version: 0.2\na b\n")
    assert Encoder(copy).fingerprint != encoder.fingerprint


def test_a_bare_weights_file_is_refused(clip_folder: Path) -> None:
    with pytest.raises(EncoderLoadError, match=r"single file.*default sizes.*coin encoder import"):
        Encoder(clip_folder / WEIGHTS)


def test_a_missing_folder_and_a_folder_without_config_are_named(tmp_path: Path) -> None:
    with pytest.raises(EncoderLoadError, match=r"no encoder folder .*absent"):
        Encoder(tmp_path / "absent")
    with pytest.raises(EncoderLoadError, match=r"holds no open_clip_config\.json"):
        Encoder(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"model_cfg": {}}', "\udcff"], ids=str)
def test_a_broken_config_is_named(copy: Path, text: str) -> None:
    (copy / CONFIG).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(EncoderLoadError, match=r"open_clip_config\.json"):
        Encoder(copy)


@pytest.mark.parametrize(("size", "read"), [(0, False), (1, True), (4096, True), (4097, False)])
def test_an_image_may_be_prepared_at_4096_pixels(copy: Path, size: int, read: bool) -> None:
    edit_config(copy, lambda config: config["model_cfg"]["vision_cfg"].update(image_size=size))
    if read:
        assert Encoder(copy).files.image_size == size
    else:
        with pytest.raises(EncoderLoadError, match=f"prepares images at {size} pixels; 1 to 4096 are read"):
            Encoder(copy)


def test_missing_weights_are_named(copy: Path) -> None:
    (copy / WEIGHTS).unlink()
    with pytest.raises(EncoderLoadError, match=f"holds no {WEIGHTS}"):
        Encoder(copy)


def test_pickled_weights_are_never_loaded(copy: Path) -> None:
    torch.save(load_file(copy / WEIGHTS), copy / "open_clip_pytorch_model.bin")
    (copy / WEIGHTS).unlink()
    with pytest.raises(EncoderLoadError, match=r"open_clip_pytorch_model.bin: pickled weights can run code"):
        Encoder(copy)


@pytest.mark.parametrize("spoil", [b"", b"PK\x03\x04 a pickle in a zip", None], ids=["empty", "disguised", "cut off"])
def test_weights_that_are_not_safetensors_are_refused(copy: Path, spoil: bytes | None) -> None:
    weights = copy / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-100] if spoil is None else spoil)
    said = "is a pickled file, though its name" if spoil and spoil.startswith(b"PK") else "not a whole safetensors file"
    with pytest.raises(EncoderLoadError, match=said):
        Encoder(copy)


def test_weights_of_another_model_are_refused(copy: Path) -> None:
    edit_config(copy, lambda config: config["model_cfg"].update(embed_dim=DIM * 2))
    with pytest.raises(EncoderLoadError, match=r"could not be loaded.*may belong to different models"):
        Encoder(copy).load()


def test_weights_that_are_not_finite_are_noticed(copy: Path) -> None:
    weights = load_file(copy / WEIGHTS)
    weights["visual.proj"][:] = torch.nan
    save_file(weights, copy / WEIGHTS)
    with pytest.raises(EncodingError, match="no usable vector for item 1 of 1"):
        Encoder(copy, device="cpu").encode_images([speckled(0)])


def test_images_can_be_encoded_where_the_tokenizer_is_missing(copy: Path) -> None:
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        (copy / name).unlink()
    encoder = Encoder(copy, device="cpu")
    assert encoder.encode_images([speckled(0)]).shape == (1, DIM)
    with pytest.raises(EncoderLoadError, match="no tokenizer files"):
        encoder.encode_texts(["HSIL"])


def test_weights_in_half_precision_are_computed_in_float32(copy: Path, encoder: Encoder) -> None:
    weights = {name: tensor.half() for name, tensor in load_file(copy / WEIGHTS).items()}
    save_file(weights, copy / WEIGHTS)
    half = Encoder(copy, device="cpu").encode_images([speckled(0)])
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, encoder.encode_images([speckled(0)]), atol=0.01)


def test_a_hub_model_that_is_not_in_the_cache_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        EncoderLoadError, match=r"the encoder nobody/nothing could not be fetched from the hub .* give a local path"
    ):
        Encoder("hf-hub:nobody/nothing")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_cuda_asked_where_there_is_none(clip_folder: Path) -> None:
    with pytest.raises(DeviceError, match="cuda"):
        Encoder(clip_folder, device="cuda").load()


def test_the_starter_has_a_name(clip_folder: Path) -> None:
    named = Encoder("starter")
    assert (named.name, named.fingerprint, named.is_starter) == ("starter", Encoder().fingerprint, True)
    assert not Encoder(clip_folder).is_starter
