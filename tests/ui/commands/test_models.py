"""`coin models check`: what is known of models before they are loaded."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from safetensors.torch import load_file, save_file

from tests.retrieval.encoder import published
from tests.ui.conftest import coin


@pytest.fixture
def settings(models: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    for name, value in models.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return models


def check(*arguments: str | Path) -> dict:
    return json.loads(coin("models", "check", "--json", *arguments).stdout)


def test_sizes_are_those_of_the_files(settings: dict[str, str]) -> None:
    found = check()
    files = sorted(Path(settings["COIN_BASE"]).glob("*/*.safetensors"))
    assert {part["name"] for part in found["base"]["parts"]} == {path.parent.name for path in files}
    assert sum(part["bytes_on_disk"] for part in found["base"]["parts"]) == sum(path.stat().st_size for path in files)
    numbers = sum(tensor.numel() for path in files for tensor in load_file(path).values())
    assert sum(part["parameters"] for part in found["base"]["parts"]) == numbers
    encoder = sum(
        tensor.numel() for tensor in load_file(Path(settings["COIN_ENCODER"]) / "open_clip_model.safetensors").values()
    )
    activations = 2_100_000_000 * (found["base"]["size"] / 1024) ** 2 * 2
    assert found["main_memory"]["needed"] == pytest.approx(1.4e9 + 4 * (numbers + encoder) + activations, rel=1e-6)
    assert found["main_memory"]["available"] > 0
    assert found["problems"] == [] and all(found["channels"].values())


def test_an_encoder_of_images_leaves_no_channel_from_text_to_images(settings: dict[str, str], tmp_path: Path) -> None:
    published.dinov2(tmp_path / "dinov2")
    found = check("--encoder", tmp_path / "dinov2")
    assert found["channels"] == {"image": True, "generated": True, "joint": False, "report": True}
    text = coin("models", "check", "--encoder", tmp_path / "dinov2").stdout
    assert "absent       text to image" in text and "reads images only" in text


@pytest.mark.slow
def test_another_encoder_for_texts_brings_the_channel_back(settings: dict[str, str], tmp_path: Path) -> None:
    published.dinov2(tmp_path / "dinov2")
    alone, texts = check("--encoder", tmp_path / "dinov2"), ("--text-encoder", settings["COIN_ENCODER"])
    both = check("--encoder", tmp_path / "dinov2", *texts)
    assert both["channels"] == {"image": True, "generated": True, "joint": True, "report": True}
    assert (alone["text_encoder"], both["text_encoder"]["reads_texts"]) == (None, True)
    assert both["main_memory"]["needed"] > alone["main_memory"]["needed"]
    assert "text encoder  clip" in coin("models", "check", "--encoder", tmp_path / "dinov2", *texts).stdout
    wrong = coin("models", "check", "--text-encoder", tmp_path / "dinov2")
    assert wrong.exit_code == 1
    assert "reads images only: it cannot compare texts" in " ".join(wrong.stdout.split())


def test_a_lora_that_does_not_fit_is_named_before_anything_is_loaded(settings: dict[str, str], tmp_path: Path) -> None:
    lora = next(Path(settings["COIN_LORA"]).glob("*.safetensors"))
    tensors = load_file(lora)
    name = next(iter(tensors))
    tensors[name] = tensors[name][:, :1].contiguous()
    save_file(tensors, tmp_path / "lora.safetensors")
    result = coin("models", "check", "--lora", tmp_path / "lora.safetensors", "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 1 and found["base"] is None and found["encoder"] is not None
    assert not found["channels"]["generated"] and len(found["problems"]) == 1


def test_what_would_be_fetched_is_reported_and_not_fetched(settings: dict[str, str], tmp_path: Path) -> None:
    result = coin("models", "check", "--base", "stabilityai/stable-diffusion-xl-base-1.0")
    assert result.exit_code == 1
    text = " ".join(result.stdout.split())
    assert "base stabilityai/stable-diffusion-xl-base-1.0 is not on this machine and would be fetched" in text
    assert "absent generated images" in text


def test_memory_that_does_not_suffice_is_reported(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("generation.available_memory", lambda: 10**9, raising=False)
    result = coin("models", "check")
    assert result.exit_code == 1 and "NOT ENOUGH" in result.stdout


@pytest.mark.parametrize(
    ("sizes", "amount"), [((6_400_000_000, 500_000_000, None), "6.9 GB"), ((None,), "0.0 GB"), (None, "not known")]
)
def test_the_size_of_a_fetch_is_that_of_the_safetensors_files(
    sizes: tuple[int | None, ...] | None,
    amount: str,
    settings: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def model_info(api: object, repository: str, **options: object) -> SimpleNamespace:
        if sizes is None:
            raise OSError("no route")
        files = [SimpleNamespace(rfilename=f"{number}.safetensors", size=size) for number, size in enumerate(sizes)]
        return SimpleNamespace(siblings=[*files, SimpleNamespace(rfilename="model.bin", size=9_000_000_000)])

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", model_info)
    result = coin("models", "check", "--base", "someone/sdxl")
    assert result.exit_code == 1 and amount in " ".join(result.stdout.split())


def test_an_encoder_of_texts_alone_is_a_problem(settings: dict[str, str], tmp_path: Path) -> None:
    """No archive can use it, and what the models take together is not known."""
    published.minilm(tmp_path / "words")
    result = coin("models", "check", "--encoder", tmp_path / "words")
    assert result.exit_code == 1 and "The encoder 'words' reads texts only: it cannot compare images." in result.stdout
    assert "main memory  more than " in result.stdout
    imported = coin("encoder", "import", tmp_path / "words", tmp_path / "out").stdout
    assert "No archive can use it" in imported and "coin add" not in imported


def test_a_command_that_a_message_names_can_be_pasted(tmp_path: Path) -> None:
    folder = tmp_path / "a model"
    published.dinov2(folder)
    published.save_as_pickle(folder)
    refused = coin("models", "check", "--encoder", folder).stdout
    assert f"coin encoder import '{folder}' OUT" in refused
    assert f"--encoder '{tmp_path / 'as new'}'" in coin("encoder", "import", folder, tmp_path / "as new").stdout
