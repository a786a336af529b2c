"""`coin add` and direct identifiers: what is said, what is stored, and the way out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.ui.conftest import coin


@pytest.fixture
def manifest(models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two images, one of whose reports names somebody; and a new archive in force."""
    for name, value in {**models, "COIN_ARCHIVE": str(tmp_path / "archive")}.items():
        monkeypatch.setenv(name, value)
    for name in ("a", "b"):
        Image.effect_noise((40, 40), 50).convert("RGB").save(tmp_path / f"{name}.png")
    path = tmp_path / "manifest.csv"
    path.write_text(
        'image,case,report\na.png,one,"Mrs. Jane Doe, 12.03.2021: NILM."\nb.png,two,T2 N1 of 3 x 2 cm.\n',
        encoding="utf-8",
    )
    assert coin("init").exit_code == 0
    return path


def test_by_default_it_warns(manifest: Path) -> None:
    added = coin("add", manifest)
    assert added.exit_code == 0
    words = " ".join(added.output.split())
    assert (
        "Direct identifiers: 1 name in reports (line 2), 1 date in reports (line 2). They are stored unchanged" in words
    )
    assert "Jane" not in added.output
    assert "12.03.2021" not in added.output


def test_redact_replaces_what_was_stored(manifest: Path) -> None:
    coin("add", manifest)
    again = json.loads(coin("add", manifest, "--redact", "--json").stdout)
    assert (again["updated"], again["unchanged"], again["redacted"]) == (1, 1, True)
    assert again["identifiers"][0] == {"place": "reports", "kind": "name", "count": 1, "lines": [2]}
    assert json.loads(coin("show", "one", "--json").stdout)["report"] == "Mrs. [name], [date]: NILM."


def test_refuse_stops_before_anything_is_stored(manifest: Path) -> None:
    refused = coin("add", manifest, "--refuse")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "1 name in reports (line 2)" in refused.stderr
    assert "Jane" not in refused.stderr
    assert json.loads(coin("status", "--json").stdout)["images"] == 0
    assert coin("add", manifest, "--refuse", "--redact").exit_code == 2


def test_a_manifest_without_any_says_nothing(manifest: Path) -> None:
    manifest.write_text("image,case,report\nb.png,two,T2 N1 of 3 x 2 cm.\n", encoding="utf-8")
    added = coin("add", manifest, "--refuse")
    assert added.exit_code == 0
    assert "identifiers" not in added.output
