"""A text tower's configuration that lies nowhere: read from its tensors where they leave no doubt; and how a mismatch
of tensors is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from retrieval.encoder.formats.mismatch import differences, torch_differences
from retrieval.encoder.importing.text_tower import text_tower_config
from retrieval.errors import EncoderLoadError

TOWER = "text.transformer."


def bert(width: int = 768, **changed: list[int] | None) -> dict[str, list[int]]:
    """Shapes of a BERT of twelve layers; None takes a tensor away."""
    shapes: dict[str, list[int] | None] = {
        "words": [30522, width],
        "positions": [512, width],
        "kinds": [2, width],
        "wide": [4 * width, width],
        **changed,
    }
    names = {
        "words": f"{TOWER}embeddings.word_embeddings.weight",
        "positions": f"{TOWER}embeddings.position_embeddings.weight",
        "kinds": f"{TOWER}embeddings.token_type_embeddings.weight",
        "wide": f"{TOWER}encoder.layer.0.intermediate.dense.weight",
    }
    layers = {f"{TOWER}encoder.layer.{layer}.output.dense.weight": [width, 4 * width] for layer in range(12)}
    return layers | {names[key]: shape for key, shape in shapes.items() if shape is not None}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, **options: Any) -> None:
        raise OSError("no hub here")

    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", refuse)


@pytest.mark.parametrize(("width", "heads"), [(768, 12), (1024, 16)])
def test_a_bert_of_a_published_size_is_read_from_its_tensors(tmp_path: Path, width: int, heads: int) -> None:
    config, where = text_tower_config(tmp_path, {"hf_model_name": "org/PubMedBERT"}, bert(width), None)
    assert config == {
        "model_type": "bert",
        "vocab_size": 30522,
        "hidden_size": width,
        "num_hidden_layers": 12,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
    }
    assert f"BERT, 12 layers of width {width} with {heads} heads" in where


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("org/bert", bert(512)),
        ("org/bert", bert(wide=[3071, 768])),
        ("org/bert", bert(kinds=[1, 768])),
        ("org/bert", bert(positions=[514, 768])),
        ("org/roberta", bert()),
        ("org/gpt", bert()),
        *(("org/bert", bert(**{key: None})) for key in ("words", "positions", "kinds", "wide")),
    ],
)
def test_another_one_is_not_guessed(tmp_path: Path, name: str, shapes: dict[str, list[int]]) -> None:
    with pytest.raises(EncoderLoadError, match=r"could not be fetched \(no hub here\.\) .* --text-config"):
        text_tower_config(tmp_path, {"hf_model_name": name}, shapes, None)


@pytest.mark.parametrize("place", ["text_tower/config.json", "text/config.json", "text_config.json", "config.json"])
def test_one_that_lies_beside_the_weights_is_taken(tmp_path: Path, place: str) -> None:
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    for content in ({"vocab_size": 9}, {"model_type": "bert"}):
        path.write_text(json.dumps(content))
        with pytest.raises(EncoderLoadError, match="could not be fetched"):
            text_tower_config(tmp_path, {"hf_model_name": "x"}, {}, None)
    path.write_text(json.dumps({"vocab_size": 9, "model_type": "bert"}))
    assert text_tower_config(tmp_path, {"hf_model_name": "x"}, {}, None) == (json.loads(path.read_text()), "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON file"),
        ("[]", "it has no model_type and no vocab_size and no hidden_size"),
        ('{"model_type": "bert", "vocab_size": 0, "hidden_size": 8}', "it has no vocab_size. Give"),
        ('{"model_type": "odd", "vocab_size": 9, "hidden_size": 8}', "does not know, or cannot make of it"),
    ],
)
def test_one_that_is_given_must_be_one(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(EncoderLoadError, match=message):
        text_tower_config(tmp_path, {}, {}, tmp_path)


def test_a_given_one_is_taken_from_its_file_or_its_folder(tmp_path: Path) -> None:
    given = {"model_type": "bert", "vocab_size": 9, "hidden_size": 8, "num_attention_heads": 2}
    (tmp_path / "config.json").write_text(json.dumps(given))
    for path in (tmp_path, tmp_path / "config.json"):
        told = (given, "The text tower's configuration was given (config.json).")
        assert text_tower_config(tmp_path, {}, {}, path) == told


def test_three_tensors_of_a_mismatch_are_named() -> None:
    shapes = [(f"t{number}", [number, 2], [3]) for number in range(4)]
    named = ", ".join(f"t{number} is [{number}, 2] in the weights and [3] in the model" for number in range(3))
    assert differences([], [], shapes[:3]) == f"3 tensors have another shape: {named}."
    assert differences([], [], shapes) == f"4 tensors have another shape: {named} …."
    assert differences(list("abc"), [], []) == "3 tensors are missing from the weights: a, b, c."
    assert differences([], list("abcd"), []) == "4 tensors of the weights have no place: a, b, c …."
    assert differences([], [], []) == ""


def test_a_mismatch_is_read_from_what_torch_says() -> None:
    import torch

    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
    state = network.state_dict()
    state["0.weight"] = torch.zeros(4, 2)
    state["other"] = state.pop("1.bias")
    with pytest.raises(RuntimeError) as refusal:
        network.load_state_dict(state)
    assert torch_differences(refusal.value) == (
        "1 tensors have another shape: 0.weight is [4, 2] in the weights and [3, 2] in the model. "
        "1 tensors are missing from the weights: 1.bias. 1 tensors of the weights have no place: other."
    )
    assert torch_differences(ValueError("odd\nmore")) == "odd."
