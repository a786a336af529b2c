"""`coin train`: on the starter, killed and resumed; from a manifest and from an archive; and what it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from generation import CoinGenerator
from generation.model.files.weight_files import STARTER
from generation.phantom import phantom_cases, write_phantoms
from retrieval import RESEARCH_USE, Encoder
from tests.ui.conftest import coin

ROOT = Path(__file__).parents[3]
LORA_FILE = "pytorch_lora_weights.safetensors"
QUICK = (
    "--steps", "6", "--batch-size", "2", "--rank", "2", "--warmup", "0", "--views", "1", "--checkpoint-every", "2",
    "--validate-every", "3", "--validation-images", "2", "--sample-every", "6", "--sample-reports", "1",
    "--sample-seeds", "1", "--learning-rate", "0.005", "--device", "cpu",
)  # fmt: skip
QUICK_ENCODER = (
    "--steps", "4", "--batch-size", "4", "--checkpoint-every", "2", "--validate-every", "2", "--device", "cpu",
)  # fmt: skip
# Dies as a machine does that loses power: at the fifth step, after the checkpoint of the fourth.
KILLED = """
import os, signal, sys
from generation.training import loss
from ui.cli import main

learn, steps = loss.Denoising.loss, []

def dying(*given):
    steps.append(1)
    if len(steps) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return learn(*given)

loss.Denoising.loss = dying
sys.argv = ["coin", *sys.argv[1:]]
main()
"""


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of six phantoms, each a patient of its own."""
    return write_phantoms(tmp_path_factory.mktemp("few"), phantom_cases(6, seed=9), size=128)


@pytest.mark.slow
@pytest.mark.usefixtures("full_sampling")
def test_a_lora_on_the_starter_killed_and_resumed(few: Path, tmp_path: Path) -> None:
    given = ["train", "lora", "--manifest", str(few), "--work", str(tmp_path / "work"), *QUICK, "--sample-every", "0"]
    out, other = tmp_path / "killed", tmp_path / "whole"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *given, "--out", str(out)], cwd=ROOT, env=environment, capture_output=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not (out / LORA_FILE).exists()
    assert (out / "checkpoints" / "step-00000004").is_dir()

    resumed = coin(*given, "--out", out)
    assert resumed.exit_code == 0, resumed.output
    assert resumed.stdout.rstrip().endswith(RESEARCH_USE)
    assert "held out:" in resumed.stdout and "The validation loss" in resumed.stdout
    whole = coin(*given, "--out", other, "--json")
    told = json.loads(whole.stdout)
    assert told["notice"] == RESEARCH_USE and told["training"]["steps"] == 6
    first, second = load_file(out / LORA_FILE), load_file(other / LORA_FILE)
    assert first.keys() == second.keys()
    assert all(np.allclose(first[name], second[name], atol=1e-6) for name in first)

    report = phantom_cases(1, seed=9)[0].report
    drawn = coin("generate", "--lora", out, "--text", report, "--out", tmp_path, "--device", "cpu", "--n-images", "1",
                 "--cache", tmp_path / "cache", "--json")  # fmt: skip
    (image,) = json.loads(drawn.stdout)["images"]
    assert image["provenance"]["lora_fingerprint"]
    plain = CoinGenerator(STARTER / "base", device="cpu").generate(report, n=1, preset="draft").images[0].image
    with Image.open(image["path"]) as tuned:
        assert np.abs(np.asarray(plain, int) - np.asarray(tuned, int)).mean() > 0.5


@pytest.mark.slow
def test_a_lora_from_an_archive(environment: dict[str, str], tmp_path: Path) -> None:
    made = coin("train", "lora", "--out", tmp_path / "lora", *QUICK)
    assert made.exit_code == 0, made.output
    drawn = coin("generate", "--lora", tmp_path / "lora", "--text", "Clue cells.", "--out", tmp_path)
    assert drawn.exit_code == 0, drawn.output
    assert (tmp_path / "lora" / "samples" / "step-000006.png").is_file()


@pytest.mark.slow
def test_an_encoder_from_a_manifest_and_into_an_archive(
    environment: dict[str, str], manifest: Path, tmp_path: Path
) -> None:
    out = tmp_path / "encoder"
    made = coin("train", "encoder", "--manifest", manifest, "--out", out, *QUICK_ENCODER)
    assert made.exit_code == 0, made.output
    assert "report finds its image" in made.stdout and "before" in made.stdout
    assert made.stdout.rstrip().endswith(RESEARCH_USE)
    again = json.loads(coin("train", "encoder", "--out", tmp_path / "other", *QUICK_ENCODER, "--json").stdout)
    assert again["training"]["trained"]["images"] + again["training"]["held_out"]["images"] == 24
    folder = tmp_path / "archive"
    assert coin("init", "--archive", folder).exit_code == 0
    assert coin("add", manifest, "--archive", folder, "--encoder", out).exit_code == 0
    status = json.loads(coin("status", "--archive", folder, "--json").stdout)
    assert status["encoder"]["fingerprint"] == Encoder(out).fingerprint


def refused(*arguments: str | Path) -> str:
    result = coin("train", *arguments)
    assert result.exit_code == 1, result.output
    assert result.stdout == "" and result.stderr.startswith("Error: ")
    return result.stderr


def test_what_is_refused(few: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.write_text("image,report\n", encoding="utf-8")
    assert "no images with reports" in refused("lora", "--manifest", empty, "--out", tmp_path / "out", *QUICK)
    assert "no images with reports" in refused("encoder", "--manifest", empty, "--out", tmp_path / "out")
    assert "no base at" in refused("lora", "--manifest", few, "--base", tmp_path / "gone", "--out", tmp_path / "out")
    assert "no archive at" in refused("lora", "--archive", tmp_path / "gone", "--out", tmp_path / "out")
    assert "no encoder folder" in refused(
        "encoder", "--manifest", few, "--encoder", tmp_path / "gone", "--out", tmp_path / "out"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("rank", ["0", "-3"])
def test_a_rank_that_is_none(rank: str, few: Path, tmp_path: Path) -> None:
    result = coin("train", "lora", "--manifest", few, "--out", tmp_path, "--rank", rank)
    assert result.exit_code == 2 and "--rank" in result.stderr


@pytest.mark.parametrize("kind", ["lora", "encoder"])
def test_help_names_every_setting_with_its_default(kind: str) -> None:
    from generation.training.lora_settings import LoraSettings
    from retrieval.training.encoder_settings import EncoderSettings

    settings = LoraSettings if kind == "lora" else EncoderSettings
    shown = " ".join(coin("train", kind, "--help").stdout.split())
    for name in settings.__dataclass_fields__:
        assert f"--{name.replace('_', '-')}" in shown, name
