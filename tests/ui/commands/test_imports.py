"""`coin lora import`, `coin base import`, and the commands that use what they made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from generation import read_provenance
from tests.models import tiny_lora, tiny_sdxl
from tests.single_file import single_file
from tests.ui.conftest import coin

LORA_FILE = "pytorch_lora_weights.safetensors"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    base = tiny_sdxl(folder / "tiny-base")
    tiny_lora(folder / "tiny-lora", base)
    return folder


@pytest.mark.slow
def test_base_and_lora_are_imported_and_generate(models: Path, tmp_path: Path) -> None:
    save_file(single_file(models / "tiny-base"), tmp_path / "tiny.safetensors")
    base, lora = tmp_path / "my-base", tmp_path / "my-lora"
    made = coin("base", "import", tmp_path / "tiny.safetensors", base, "--layout", models / "tiny-base")
    assert made.exit_code == 0
    assert f"SDXL base imported to {base} from tiny.safetensors." in made.stdout
    assert "Licence as published: none stated; ask the authors." in made.stdout
    tensors = {name: tensor for name, tensor in load_file(models / "tiny-lora" / LORA_FILE).items() if "unet" in name}
    tensors["bundle_emb.hsil.clip_l"] = torch.zeros(2, 16)
    save_file(tensors, tmp_path / "lora.safetensors")
    made = coin("lora", "import", tmp_path / "lora.safetensors", lora, "--base", base, "--json")
    assert json.loads(made.stdout)["import"]["left_out"] == ["bundled embedding: hsil"]
    again = coin("lora", "import", tmp_path / "lora.safetensors", lora, "--base", base)
    assert again.exit_code == 1
    assert "something at" in again.stderr
    drawn = coin(
        *("generate", "--text", "Atypical cells.", "--base", base, "--lora", lora, "--vae", models / "tiny-base"),
        *("--dtype", "float32", "--n-images", 1, "--device", "cpu", "--out", tmp_path, "--json"),
        *("--cache", tmp_path / "cache"),
    )
    assert drawn.exit_code == 0, drawn.stderr
    image = json.loads(drawn.stdout)["images"][0]
    assert (image["provenance"]["model"], image["provenance"]["lora"]) == ("my-base + tiny-base", "my-lora")
    assert read_provenance(image["path"]) is not None


def test_pickled_weights_are_refused_with_the_command_that_reads_them(tmp_path: Path) -> None:
    (tmp_path / "lora.bin").write_bytes(b"x")
    refused = coin("generate", "--text", "Cells.", "--lora", tmp_path / "lora.bin", "--device", "cpu")
    assert refused.exit_code == 1
    assert f"coin lora import {tmp_path}/lora.bin OUT" in " ".join(refused.stderr.split())


def test_every_command_with_a_base_takes_a_vae_and_a_number_format() -> None:
    for command in ("search", "generate", "calibrate", "evaluate", "augment-check", "ui"):
        shown = coin(command, "--help").stdout
        assert all(option in shown for option in ("--base", "--vae", "--dtype")), command
