"""`coin encoder import`, and an archive whose encoder reads images only, as their users meet them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.retrieval.encoder import published
from tests.ui.conftest import CASES, coin


@pytest.fixture
def dinov2(tmp_path: Path) -> Path:
    """An imported encoder that reads images only."""
    published.dinov2(tmp_path / "published")
    result = coin("encoder", "import", tmp_path / "published", tmp_path / "dinov2", "--mpp", "0.5")
    assert result.exit_code == 0, result.output
    assert "images only" in result.stdout and "0.5 µm a pixel" in result.stdout
    assert f"Use it: coin add MANIFEST --encoder {tmp_path / 'dinov2'}" in result.stdout
    return tmp_path / "dinov2"


def test_json_says_what_came_of_it(tmp_path: Path) -> None:
    published.minilm(tmp_path / "published")
    result = coin("encoder", "import", tmp_path / "published", tmp_path / "minilm", "--json")
    found = json.loads(result.stdout)
    assert (found["format"], found["dim"], found["reads"], found["mpp"]) == ("transformers", 32, ["texts"], None)
    assert found["folder"] == str(tmp_path / "minilm") and len(found["fingerprint"]) == 64


def test_what_cannot_be_imported_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    result = coin("encoder", "import", tmp_path / "source", tmp_path / "out")
    assert result.exit_code == 1 and "holds no weights of an encoder" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_arguments_of_a_model_are_taken_as_json(tmp_path: Path) -> None:
    arguments = {"img_size": 32, "embed_dim": 48, "depth": 1}
    published.timm_model(tmp_path / "source", "vit_tiny_patch16_224", arguments, num_heads=6)
    options = ("encoder", "import", tmp_path / "source", tmp_path / "out", "--model-args")
    for wrong in ("num_heads=6", "[6]"):
        refused = coin(*options, wrong)
        assert refused.exit_code == 2 and f"{wrong} is no JSON object" in refused.stderr
    assert coin(*options, '{"num_heads": 6}').exit_code == 0
    assert json.loads((tmp_path / "out" / "config.json").read_text())["model_args"] == {**arguments, "num_heads": 6}


def test_an_archive_of_images_only_answers_by_words_and_says_so(
    dinov2: Path, manifest: Path, models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**models, "COIN_ARCHIVE": str(tmp_path / "archive"), "COIN_ENCODER": str(dinov2)}.items():
        monkeypatch.setenv(name, value)
    coin("init")
    added = coin("add", manifest)
    assert added.exit_code == 0 and f"{CASES} reports have no vector" in " ".join(added.output.split())
    by_words = coin("search", "--text", "carcinoma", "--channel", "report", "--json")
    answer = json.loads(by_words.stdout)
    assert answer["cases"] and any("no text tower" in note for note in answer["notes"])
    image = next(manifest.parent.glob("images/*.png"))
    assert json.loads(coin("search", "--image", image, "--json").stdout)["cases"]
    joint = coin("search", "--text", "carcinoma", "--channel", "joint")
    assert joint.exit_code == 1 and "no text tower" in joint.stderr


def test_an_encoder_of_texts_alone_adds_no_images(
    manifest: Path, models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published.minilm(tmp_path / "minilm")
    for name, value in {
        **models,
        "COIN_ARCHIVE": str(tmp_path / "archive"),
        "COIN_ENCODER": str(tmp_path / "minilm"),
    }.items():
        monkeypatch.setenv(name, value)
    coin("init")
    added = coin("add", manifest)
    assert added.exit_code == 1 and "reads texts only" in added.stderr
