"""`coin generate --manifest` and `coin copy-check` as their users meet them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from retrieval import RESEARCH_USE
from tests.ui.conftest import CASES, coin


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    path = tmp_path / "reports.csv"
    path.write_text("image,report\na.jpg,Clusters of atypical cells.\nb.jpg,\nc.jpg,Single small cells in urine.\n")
    return path


def test_a_table_becomes_a_set_and_is_checked_for_copies(
    environment: dict[str, str], reports: Path, manifest: Path, tmp_path: Path
) -> None:
    made = coin("generate", "--manifest", reports, "--out", tmp_path / "set", "--copy-check", manifest)
    assert made.exit_code == 0, made.output
    assert "4 images from 2 reports (2 different)" in made.stdout
    assert "reports.csv, line 3: has no report" in made.stdout
    assert f"compared with {CASES} images" in made.stdout.replace("\n", " ")
    assert made.stdout.count(RESEARCH_USE) == 2  # of the set, and of the copy report
    assert "atypical" not in made.output
    with Image.open(tmp_path / "set" / "contact-sheet.png") as sheet:
        assert RESEARCH_USE in sheet.info["Comment"]
    card = (tmp_path / "set" / "README.md").read_text()
    assert f"Compared with {CASES} images of {CASES} patients: 0 of 4 copy one of them" in card
    copies = json.loads((tmp_path / "set" / "copy-report.json").read_text())
    assert copies["notice"] == RESEARCH_USE
    assert copies["images"] == 4
    assert str(tmp_path) not in json.dumps(copies)  # names, and no paths of this machine
    assert str(manifest.parent) not in json.dumps(copies)
    again = coin("generate", "--manifest", reports, "--out", tmp_path / "set", "--json")
    summary = json.loads(again.stdout)["set"]
    assert (summary["drawn"], summary["images"]) == (0, 4)


@pytest.mark.slow
def test_shares_draw_and_the_last_run_describes(environment: dict[str, str], reports: Path, tmp_path: Path) -> None:
    base = ("generate", "--manifest", reports, "--out", tmp_path / "set", "--per-report", "3")
    drawn = []
    for share in ("1/2", "2/2"):
        done = coin(*base, "--shard", share, "--json")
        assert done.exit_code == 0, done.output
        drawn.append(json.loads(done.stdout)["drawn"])
    assert sum(drawn) == 6
    assert not (tmp_path / "set" / "manifest.csv").exists()
    said = coin(*base, "--shard", "1/2").stdout
    assert "Share 1 of 2: 0 images generated" in said
    assert "Generated now: 0 in" in coin(*base).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--text", "a", "--manifest", "{reports}"), "exactly one of --text, --text-file and --manifest"),
        (("--manifest", "{reports}"), "give --out"),
        (("--manifest", "{reports}", "--out", "{new}", "--shard", "2"), "write 2/8"),
        (("--manifest", "{reports}", "--out", "{new}", "--shard", "3/2"), "no share 3 of 2"),
        (("--manifest", "{reports}", "--out", "{new}", "--shard", "1/2", "--copy-check", "x"), "completes the set"),
        (("--text", "a", "--shard", "1/2"), "go with --manifest"),
        (("--manifest", "{reports}", "--out", "{new}", "--copy-check", "{new}/none.csv"), "There is no file"),
        (("--manifest", "{reports}", "--out", "{full}"), "holds other files"),
        (("--manifest", "{full}/notes.txt", "--out", "{new}"), "no column report"),
    ],
)
def test_what_cannot_be_meant_is_reported(
    environment: dict[str, str], reports: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    full, new = tmp_path / "full", tmp_path / "new"
    full.mkdir()
    (full / "notes.txt").write_text("mine\n")
    done = coin("generate", *(one.format(reports=reports, new=new, full=full) for one in arguments))
    assert done.exit_code != 0
    assert message in " ".join(done.output.split())
    assert not new.exists()
    assert (full / "notes.txt").read_text() == "mine\n"


def test_copies_are_named_generated_and_counted(
    environment: dict[str, str], archive: Path, manifest: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    original = sorted(manifest.parent.glob("images/*.png"))[0]
    shutil.copy(original, folder / "copied.png")
    sheet = tmp_path / "pairs.png"
    done = coin("copy-check", "--images", folder, "--against", manifest, "--sheet", sheet)
    assert done.exit_code == 0, done.output
    words = " ".join(done.stdout.split())
    assert "1 of 1 generated images (100.00%) copy a reference or a part of one" in words
    assert f"copied.png ~ images/{original.name} (similarity 1.000, 0 bits" in words
    assert "Nothing here shows that an image is private" in words
    assert done.stdout.endswith(f"{RESEARCH_USE}\n")
    with Image.open(sheet) as drawn:
        assert RESEARCH_USE in drawn.info["Comment"]
    found = json.loads(coin("copy-check", "--images", folder, "--json").stdout)
    assert found["source"] == archive.name
    assert [pair["image"] for pair in found["near_copies"]] == ["copied.png"]


def test_a_check_that_cannot_be_made_says_why(environment: dict[str, str], tmp_path: Path) -> None:
    done = coin("copy-check", "--images", tmp_path / "none")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "There is no folder" in done.stderr
    done = coin("copy-check", "--images", tmp_path, "--sheet", tmp_path / "no" / "sheet.png")
    assert done.exit_code == 2
    assert "make it, or name another" in done.stderr
