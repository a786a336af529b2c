"""docs/architecture.md names every package of the tree, and only files that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`((?:generation|index_store|retrieval|ui|tests|benchmarks|docs)/[\w./-]*)`", PAGE))
PACKAGES = ("generation", "index_store", "retrieval", "ui")


def test_every_package_is_named() -> None:
    packages = {
        f"{path.parent.relative_to(ROOT).as_posix()}/"
        for package in PACKAGES
        for path in (ROOT / package).rglob("__init__.py")
    }
    assert len(packages) > 20
    assert sorted(packages - NAMED) == []


def test_every_path_exists() -> None:
    assert len([path for path in NAMED if path.endswith(".py")]) > 30
    assert sorted(path for path in NAMED if not (ROOT / path).exists()) == []
