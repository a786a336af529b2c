"""What is read from a model's files alone: from the shapes of tensors, from configurations, and from names."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from retrieval.encoder.formats.files import (
    check_shards,
    digest,
    first_line,
    has_tokenizer_files,
    last_state,
    tensors_sha256,
    training_checkpoint,
    without_bookkeeping,
)
from retrieval.encoder.formats.timm_folder import has_swiglu, has_virchow_shape, vit_arguments
from retrieval.encoder.formats.transformers_config import pooling_of, prepared_size, projects, reads_what
from retrieval.encoder.importing.architecture import unwrapped
from retrieval.errors import EncoderLoadError

PATCHES = {"patch_embed.proj.weight": (48, 3, 16, 16)}


def vit(positions: int, **others: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    return {**PATCHES, "pos_embed": (1, positions, 48), **{key.replace("__", "."): of for key, of in others.items()}}


@pytest.mark.parametrize(
    ("shapes", "size", "arguments"),
    [
        (vit(1 + 14 * 14), 0, {"img_size": 224}),
        (vit(14 * 14), 0, {"img_size": 224}),  # without a class token
        (vit(14 * 14 + 3), 0, {}),
        (vit(1), 0, {"img_size": 16}),
        (vit(2), 0, {"img_size": 16}),
        (vit(1 + 4 + 14 * 14, reg_token=(1, 4, 48)), 0, {"img_size": 224, "reg_tokens": 4}),
        (vit(1 + 4 + 14 * 14, register_tokens=(1, 4, 48)), 0, {"img_size": 224, "reg_tokens": 4}),
        (vit(14 * 14, reg_token=(1, 4, 48)), 0, {"img_size": 224, "reg_tokens": 4, "no_embed_class": True}),
        # Nine positions are 2 × 2 patches and five tokens, or 3 × 3 patches.
        (vit(9, reg_token=(1, 4, 48)), 0, {"img_size": 32, "reg_tokens": 4}),
        (vit(9, reg_token=(1, 4, 48)), 32, {"img_size": 32, "reg_tokens": 4}),
        (vit(9, reg_token=(1, 4, 48)), 48, {"img_size": 48, "reg_tokens": 4, "no_embed_class": True}),
        (vit(9, reg_token=(1, 4, 48)), 64, {"img_size": 32, "reg_tokens": 4}),
        (vit(1 + 14 * 14, blocks__0__ls1__gamma=(48,)), 0, {"img_size": 224, "init_values": 1e-5}),
        (
            vit(1 + 14 * 14, blocks__0__mlp__fc1__weight=(96, 24), blocks__0__mlp__fc2__weight=(24, 48)),
            0,
            {"img_size": 224, "mlp_ratio": 4.0},
        ),
        (vit(1 + 14 * 14, patch_embed__backbone__conv__weight=(3, 3)), 0, {}),
        (vit(1 + 14 * 14, blocks__0__norm1__weight=(48,), blocks__1__norm1__weight=(48,)), 0, {"img_size": 224}),
        (vit(1 + 14 * 14, blocks__0__norm1__weight=(48,), blocks__1__norm1__weight=(96,)), 0, {}),
        ({**PATCHES, "pos_embed": (1, 48, 14, 14)}, 0, {}),
        (PATCHES, 0, {}),
        ({"pos_embed": (1, 197, 48)}, 0, {}),
    ],
)
def test_what_shapes_say_of_a_vision_transformer(
    shapes: dict[str, tuple[int, ...]], size: int, arguments: dict[str, Any]
) -> None:
    """Its patches are of 16 pixels; `size` is what its configuration says."""
    assert vit_arguments(shapes, {"input_size": [3, size, size]} if size else {}) == arguments


@pytest.mark.parametrize(
    ("wide", "narrow", "of_eva", "gated"),
    [
        ((96, 24), (24, 48), False, True),
        ((96, 24), (24, 96), False, False),
        ((95, 24), (24, 48), False, False),
        ((96, 24), (24, 48), True, False),
        ((96, 24), None, False, False),
        (None, (24, 48), False, False),
    ],
)
def test_a_gate_shows_in_the_widths(
    wide: tuple[int, ...] | None, narrow: tuple[int, ...] | None, of_eva: bool, gated: bool
) -> None:
    shapes = {"blocks.0.mlp.fc1.weight": wide, "blocks.0.mlp.fc2.weight": narrow}
    known = {key: shape for key, shape in shapes.items() if shape}
    assert has_swiglu(known | ({"blocks.0.attn.q_bias": (24,)} if of_eva else {})) is gated


@pytest.mark.parametrize(
    ("ratio", "virchow"), [(5.3375, True), (5.338, True), (5.337, True), (5.339, False), (5.336, False), (0, False)]
)
def test_virchow_is_known_by_its_width(ratio: float, virchow: bool) -> None:
    assert has_virchow_shape({"mlp_ratio": ratio}) is virchow
    assert not has_virchow_shape({})


@pytest.mark.parametrize(
    ("config", "images", "texts"),
    [
        ({"vision_config": {}, "text_config": {}}, True, True),
        ({"vision_config": {}, "vocab_size": 9}, False, True),
        ({"patch_size": 16}, True, False),
        ({"num_channels": 3}, True, False),
        ({"image_size": 32, "vocab_size": 9}, True, False),
        ({"vocab_size": 9}, False, True),
        ({"hidden_size": 9}, False, False),
    ],
)
def test_what_a_configuration_says_that_it_reads(config: dict[str, Any], images: bool, texts: bool) -> None:
    assert reads_what(config) == (images, texts)


@pytest.mark.parametrize(
    ("config", "images", "texts", "pooling"),
    [
        ({"model_type": "clip"}, True, True, "features"),
        ({"model_type": "clip", "architectures": ["A", "CLIPVisionModelWithProjection"]}, True, False, "projection"),
        ({"model_type": "vit", "architectures": ["ViTModel"]}, True, False, "cls"),
        ({"model_type": "swin", "architectures": None}, True, False, "pooler"),
        ({"model_type": "clip_text_model"}, False, True, "pooler"),
        ({"model_type": "siglip_text_model"}, False, True, "pooler"),
        ({"model_type": "bert"}, False, True, "mean"),
    ],
)
def test_how_an_output_becomes_a_vector(
    tmp_path: Path, config: dict[str, Any], images: bool, texts: bool, pooling: str
) -> None:
    assert pooling_of(tmp_path, config, images=images, texts=texts) == pooling
    assert projects(config) is (pooling == "projection")


@pytest.mark.parametrize(("entry", "pooling"), [(True, "cls"), (False, "mean")])
def test_the_pooling_of_texts_may_be_described(tmp_path: Path, entry: bool, pooling: str) -> None:
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": entry}))
    assert pooling_of(tmp_path, {"model_type": "bert"}, images=False, texts=True) == pooling


@pytest.mark.parametrize(
    ("preprocessor", "size"),
    [
        ({}, None),
        ({"size": {}}, None),
        ({"size": 32}, 32),
        ({"size": {"height": 48, "width": 32}}, 32),
        ({"crop_size": 24, "size": 32}, 24),
        ({"crop_size": 24, "size": 32, "do_center_crop": True}, 24),
        ({"crop_size": 24, "size": 32, "do_center_crop": False}, 32),
        ({"size": 32, "do_center_crop": False}, 32),
    ],
)
def test_the_size_that_is_said(preprocessor: dict[str, Any], size: int | None) -> None:
    assert prepared_size(preprocessor) == size


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        ("module.a module.b", "a b"),
        ("module.model.a", "a"),
        ("module.a b", "module.a b"),
        ("a input_resolution context_length vocab_size", "a"),
        ("model.a criterion.b x.loss.c", "a"),
        ("teacher.a student.a", "a"),
        ("teacher.backbone.a teacher.dino_head.b teacher.head.c student.backbone.a", "a"),
        ("head.a b", "head.a b"),
        ("cls_token blocks.0.0.a blocks.1.12.b", "cls_token blocks.0.a blocks.12.b"),
        ("pos_embed blocks.0.0.a", "pos_embed blocks.0.0.a"),
        ("", ""),
    ],
)
def test_tensors_have_their_own_names(keys: str, names: str) -> None:
    assert " ".join(unwrapped(dict.fromkeys(keys.split()))) == names


def test_of_a_run_the_last_epoch_counts(tmp_path: Path) -> None:
    assert last_state(tmp_path) is None
    run = tmp_path / "run" / "checkpoints"
    run.mkdir(parents=True)
    assert training_checkpoint(tmp_path) is None
    (run / "epoch_latest.pt").touch()
    assert last_state(run) == training_checkpoint(tmp_path) == run / "epoch_latest.pt"
    for epoch in (2, 10, 9):
        (run / f"epoch_{epoch}.pt").touch()
    assert training_checkpoint(tmp_path) == training_checkpoint(tmp_path / "run") == run / "epoch_10.pt"


def safetensors(path: Path, tensors: dict[str, bytes], *, note: str = "") -> Path:
    """Bytes as tensors of uint8, in the given order."""
    header: dict[str, Any] = {"__metadata__": {"note": note}} if note else {}
    end = 0
    for name, values in tensors.items():
        header[name] = {"dtype": "U8", "shape": [len(values)], "data_offsets": [end, end := end + len(values)]}
    written = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(written)) + written + b"".join(tensors.values()))
    return path


def test_the_hash_of_tensors_follows_names_and_values_alone(tmp_path: Path) -> None:
    one = safetensors(tmp_path / "one", {"a": b"123", "b": b"4"})
    total = hashlib.sha256()
    for name, values in (("a", b"123"), ("b", b"4")):
        entry = [name, "U8", [len(values)], hashlib.sha256(values).hexdigest()]
        total.update(json.dumps(entry).encode())
    assert tensors_sha256([one]) == total.hexdigest()
    same = [safetensors(tmp_path / "b", {"b": b"4"}, note="other"), safetensors(tmp_path / "a", {"a": b"123"})]
    assert tensors_sha256(same) == tensors_sha256([one])
    for tensors in ({"a": b"124", "b": b"4"}, {"a": b"1234", "b": b""}, {"a": b"123", "c": b"4"}):
        assert tensors_sha256([safetensors(tmp_path / "other", tensors)]) != tensors_sha256([one])


def test_bookkeeping_decides_no_vector() -> None:
    config = {"a": [{"dtype": "float32", "b": 1}, 2], "use_cache": True, "c": {"architectures": [], "d": None}}
    assert without_bookkeeping(config) == {"a": [{"b": 1}, 2], "c": {"d": None}}
    assert digest({"b": 1, "a": "ä"}) == hashlib.sha256(b'{"a":"\\u00e4","b":1}').hexdigest()


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("", "ValueError."),
        ("wrong", "wrong."),
        ("wrong.\nmore", "wrong."),
        ("\n  of these:\n  a\n  b", "of these: a."),
        ("of these:", "of these:"),
    ],
)
def test_the_first_line_of_an_error_is_a_sentence(message: str, line: str) -> None:
    assert first_line(ValueError(message)) == line


def test_one_file_of_a_tokenizer_is_one(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    assert not has_tokenizer_files(tmp_path)
    (tmp_path / "vocab.txt").touch()
    assert has_tokenizer_files(tmp_path)


@pytest.mark.parametrize(
    ("held", "told"),
    [
        (4, "model-00005-of-00005.safetensors is missing"),
        (2, "model-00003-of-00005.safetensors, model-00004-of-00005.safetensors, model-00005-of-00005.safetensors are"),
        (1, "model-00003-of-00005.safetensors, model-00004-of-00005.safetensors and 1 more are missing"),
    ],
)
def test_three_missing_parts_are_named(held: int, told: str) -> None:
    names = [f"model-{part:05}-of-00005.safetensors" for part in range(1, held + 1)]
    with pytest.raises(EncoderLoadError, match=told):
        check_shards(Path("model"), names)
