"""`coin slides look`: what would be cut out of a slide, without a word of its label or of a patient's name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from benchmarks.pyramid import write_pyramid
from index_store import RULES
from tests.index_store.slides.smear import MPP, smear
from ui.cli import cli
from ui.commands.options import RULES as OFFERED

SHARED = Path(__file__).parents[3] / "../shared/data/slides"
LABEL = ("label", "macro")
NOTICE = "Research use only"


def look(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["slides", "look", *map(str, arguments)])


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pyramid(tmp_path_factory.mktemp("slides") / "smear 3.tif", smear()[:1024, :1024], mpp=MPP)


def test_what_would_be_cut_is_shown_and_written(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "look"
    result = look(path, "--fields", 4, "--out", out)
    assert result.exit_code == 0, result.output
    assert "4 fields of 128 µm would be cut out" in result.stdout
    assert "smear 3.tif" in result.stdout
    assert "Nothing was stored" in result.stdout
    assert NOTICE in result.stdout
    for name in ("overview.png", "contact-sheet.png"):
        with Image.open(out / name) as picture:
            assert NOTICE in picture.info["Comment"]
            assert min(picture.size) > 500
    record = json.loads((out / "fields.json").read_text("utf-8"))
    assert len(record["fields"]) == 4
    assert NOTICE in json.dumps(record)
    assert {"x", "y", "width", "level", "plane", "mpp", "cells", "sharpness", "slide"} <= set(record["fields"][0])


def test_json(path: Path) -> None:
    result = look(path, "--fields", 2, "--json")
    record = json.loads(result.stdout)
    assert (len(record["fields"]), record["slide"]["mpp"], record["choice"]["rule"]) == (2, 0.5, "dark")
    assert NOTICE in result.stdout


def test_the_rules_are_those_of_the_archive() -> None:
    assert OFFERED == RULES


@pytest.mark.slow
def test_a_name_that_may_be_a_patients_is_not_shown(path: Path, tmp_path: Path) -> None:
    named = Path(shutil.copy(path, tmp_path / "DOE, JANE 1961-03-04.tif"))
    result = look(named, "--fields", 2, "--out", tmp_path / "look")
    assert result.exit_code == 0, result.output
    kept = result.stdout + (tmp_path / "look" / "fields.json").read_text("utf-8")
    assert "slide-" in kept
    for word in ("DOE", "JANE", "1961"):
        assert word not in kept.replace(str(tmp_path), "")


def test_what_is_no_slide_is_reported(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no slide")
    result = look(tmp_path / "notes.txt")
    assert result.exit_code == 1
    assert "notes.txt is not a slide that can be read here" in result.output


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared slides are not here")
def test_of_real_slides_no_word_of_the_label_is_written(tmp_path: Path) -> None:
    result = look(SHARED / "csf-pap.svs", "--fields", 4, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    kept = result.stdout + (tmp_path / "fields.json").read_text("utf-8")
    assert not [word for word in LABEL if word in kept.replace(str(tmp_path), "").lower()]
