"""`coin reports`: which words the labels of an archive were read from."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from tests.ui.conftest import coin

REPORTS = {
    "given": ("Thyroid FNA: benign (Bethesda II).", "thyroid", "Malignant"),
    "read": ("Urine, voided: suspicious for high grade urothelial carcinoma (SHGUC).", "", ""),
    "foreign": ("Ascites: ausência de carcinoma, células mesoteliais reativas.", "", ""),
    "silent": ("See scanned document.", "", ""),
}


@pytest.fixture
def archive(manifest: Path, models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in {**models, "COIN_ARCHIVE": str(tmp_path / "archive")}.items():
        monkeypatch.setenv(name, value)
    images = sorted(manifest.parent.glob("images/*.png"))
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "case", "patient", "report", "site", "category"])
        for image, (case, (report, site, category)) in zip(images, REPORTS.items(), strict=False):
            shutil.copy(image, tmp_path / image.name)
            rows.writerow([image.name, case, case, report, site, category])
    coin("init")
    assert coin("add", tmp_path / "manifest.csv").exit_code == 0
    return tmp_path / "archive"


def test_what_was_read_stands_beside_its_words(archive: Path) -> None:
    found = {row["case"]: row for row in json.loads(coin("reports", "--json").stdout)["reports"]}
    assert list(found) == list(REPORTS)
    assert (found["read"]["category"], found["read"]["site_words"]) == ("SHGUC", "Urine")
    assert "SHGUC" in found["read"]["category_words"]
    assert (found["given"]["category"], found["given"]["category_words"]) == ("Malignant", "")
    assert (found["foreign"]["category"], found["foreign"]["note"]) == ("", "not in English")
    assert (found["silent"]["category"], found["silent"]["note"]) == ("", "")


def test_only_derived_ones_and_pages(archive: Path) -> None:
    derived = json.loads(coin("reports", "--derived", "--json").stdout)["reports"]
    assert [row["case"] for row in derived] == ["read", "foreign"]  # of the second the site
    rest = json.loads(coin("reports", "--derived", "--after", "1", "--json").stdout)["reports"]
    assert [row["case"] for row in rest] == ["foreign"]
    assert [row["case"] for row in json.loads(coin("reports", "--limit", "2", "--json").stdout)["reports"]] == [
        "given",
        "read",
    ]


def test_the_text_says_why_nothing_was_read(archive: Path) -> None:
    text = coin("reports").stdout
    assert "no category: not in English" in text and "category read from:" in text
    assert "No case is listed" in coin("reports", "--site", "lung").stdout
