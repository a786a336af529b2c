"""An encoder of images and one of texts, as they are published, in one archive: the commands of docs/models.md."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from generation.phantom import PROFILES, Phantom, write_phantoms
from tests.retrieval.encoder import published
from tests.ui.conftest import coin

CASES = 12


@pytest.fixture
def own(models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, Path]:
    """Two imported encoders, named as in the working folder, and a manifest of phantoms of two findings."""
    (tmp_path / "hub").mkdir()
    monkeypatch.chdir(tmp_path)
    for name, value in models.items():
        if name != "COIN_ENCODER":
            monkeypatch.setenv(name, value)
    for name in ("COIN_ENCODER", "COIN_TEXT_ENCODER", "COIN_ARCHIVE"):
        monkeypatch.delenv(name, raising=False)
    published.dinov2(tmp_path / "hub" / "dinov2")
    published.biomedclip(tmp_path / "hub" / "biomedclip", pickled=True)
    config = tmp_path / "hub" / "bert.json"  # which the hub would give
    published.bert_config().to_json_file(config)
    for name, more in (("dinov2", ()), ("biomedclip", ("--text-config", config))):
        imported = coin("encoder", "import", tmp_path / "hub" / name, name, *more)
        assert imported.exit_code == 0, imported.output
    phantoms = [Phantom(profile, number) for number in range(CASES // 2) for profile in PROFILES[:2]]
    return Path("dinov2"), Path("biomedclip"), write_phantoms(tmp_path / "phantoms", phantoms, size=64)


@pytest.mark.slow
def test_one_encoder_for_images_and_one_for_texts(own: tuple[Path, Path, Path]) -> None:
    dinov2, biomedclip, manifest = own
    both = ("--archive", "cases", "--encoder", dinov2, "--text-encoder", biomedclip)
    assert coin("init", "--archive", "cases").exit_code == 0
    added = coin("add", manifest, *both)
    assert added.exit_code == 0, added.output
    found = json.loads(coin("search", "--text", "Clue cells.", *both, "--json").stdout)
    answered = {rank["channel"] for case in found["cases"] for rank in case["channels"]}
    assert answered == {"generated", "joint", "report"}, "images by the one, text by the other"
    assert found["encoder"]["name"] == "dinov2"
    assert found["text_encoder"]["name"] == "biomedclip"
    status = coin("status", "--archive", "cases").stdout
    assert "encoder       dinov2" in status
    assert "text encoder  biomedclip" in status
    swapped = coin("add", manifest, "--archive", "cases", "--encoder", biomedclip, "--text-encoder", dinov2)
    assert swapped.exit_code == 1
    measured = coin("evaluate", *both, "--no-histogram")
    assert measured.exit_code == 0, measured.output
    assert "Encoder: dinov2" in measured.stdout
    assert "of texts: biomedclip" in " ".join(measured.stdout.split())
    compared = coin("evaluate", "--archive", "cases", "--encoder", dinov2, "--encoder", biomedclip)
    assert compared.exit_code == 0, compared.output
    assert "==== images to images (role image)" in compared.stdout
    assert "Searches by text were not compared: dinov2 cannot read texts." in compared.stdout
    assert "Role text: Only biomedclip can have the role text." in compared.stdout


@pytest.mark.slow
def test_an_archive_of_today_gets_its_second_encoder(own: tuple[Path, Path, Path]) -> None:
    dinov2, biomedclip, manifest = own
    assert coin("init", "--archive", "cases").exit_code == 0
    assert coin("add", manifest, "--archive", "cases", "--encoder", biomedclip).exit_code == 0
    refused = coin("reembed", "--archive", "cases", "--encoder", dinov2, "--role", "text")
    assert refused.exit_code == 1
    assert "reads images only: it cannot compare texts" in " ".join(refused.stderr.split())
    made = coin("reembed", "--archive", "cases", "--encoder", dinov2, "--role", "image")
    assert made.exit_code == 0, made.output
    assert "searches by image use it now" in made.stdout
    image, text = json.loads(coin("encoders", "--archive", "cases", "--json").stdout)["encoders"][::-1]
    assert (image["encoder"]["name"], image["roles"], image["vectors"]) == ("dinov2", ["image"], CASES)
    assert (text["encoder"]["name"], text["roles"]) == ("biomedclip", ["text"])
    both = ("--archive", "cases", "--encoder", dinov2, "--text-encoder", biomedclip)
    found = json.loads(coin("search", "--text", "Clue cells.", *both, "--json").stdout)
    assert coin("search", "--case", found["cases"][0]["case"], *both).exit_code == 0
