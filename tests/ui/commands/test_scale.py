"""`--mpp`: µm a pixel of images that are added, as a filter, and of a query's image."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.ui.conftest import coin


@pytest.fixture
def scaled(environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the shared archive, as the archive in force."""
    folder = Path(shutil.copytree(environment["COIN_ARCHIVE"], tmp_path / "archive"))
    monkeypatch.setenv("COIN_ARCHIVE", str(folder))
    return folder


@pytest.fixture
def with_scale(environment: dict[str, str], manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive of the same pictures, of which neither file nor row states a scale; the option does."""
    (tmp_path / "images").mkdir()
    for path in (manifest.parent / "images").iterdir():
        pixels = Image.open(path).convert("RGB")
        Image.frombytes("RGB", pixels.size, pixels.tobytes()).save(tmp_path / "images" / path.name)
    with manifest.open(newline="", encoding="utf-8") as file:
        columns, *rows = csv.reader(file)
    mpp = columns.index("mpp")
    with (tmp_path / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([*row[:mpp], *row[mpp + 1 :]] for row in (columns, *rows))
    monkeypatch.setenv("COIN_ARCHIVE", str(tmp_path / "archive"))
    for command in (["init"], ["add", tmp_path / "manifest.csv", "--mpp", "0.5"]):
        done = coin(*command)
        assert done.exit_code == 0, done.output
    return tmp_path / "archive"


def test_status_and_show_state_the_scale(with_scale: Path) -> None:
    status = json.loads(coin("status", "--json").stdout)
    assert status["scales"] == {"0.5": status["images"]}
    assert f"0.5: {status['images']}" in coin("status").stdout
    (first, *_) = json.loads(coin("search", "--text", "smear", "--channel", "report", "--json").stdout)["cases"]
    assert (first["image"]["mpp"], first["image"]["mpp_source"]) == (0.5, "option")
    assert "0.5 µm a pixel (option)" in coin("show", first["case"]).stdout


@pytest.mark.parametrize(("mpp", "found"), [("0.4:0.6", True), ("0.1:0.3", False)])
def test_a_range_filters(with_scale: Path, mpp: str, found: bool) -> None:
    result = coin("search", "--text", "smear", "--channel", "report", "--mpp", mpp, "--json")
    assert bool(json.loads(result.stdout)["cases"]) == found
    assert json.loads(result.stdout)["query"]["where"]["mpp"] == [float(side) for side in mpp.split(":")]


def test_one_number_is_the_scale_of_the_query_image(scaled: Path, manifest: Path) -> None:
    image = next((manifest.parent / "images").iterdir())
    both = coin("search", "--image", image, "--mpp", "0.25", "--mpp", "0.4:0.6", "--json")
    query = json.loads(both.stdout)["query"]
    assert (query["mpp"], query["where"]["mpp"]) == (0.25, [0.4, 0.6])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "--text", "smear", "--mpp", "0.25"], "no image that it is the scale of"),
        (["search", "--text", "smear", "--mpp", "0.3:0.2"], "no range of µm a pixel"),
        (["search", "--text", "smear", "--mpp", "0.1:0.2", "--mpp", "0.3:0.4"], "once as a range"),
        (["reports", "--mpp", "0.25"], "no range of µm a pixel"),
    ],
)
def test_what_is_no_scale_is_reported(scaled: Path, arguments: list[str], message: str) -> None:
    result = coin(*arguments)
    assert result.exit_code != 0
    assert message in " ".join(result.output.split())
