"""A small blinded reading of phantoms and images of the tiny models, made by the commands that a user would use."""

from __future__ import annotations

from pathlib import Path

from generation.phantom import Phantom
from tests.ui.conftest import coin

PAIRS = 3


def run_reading_new(folder: Path, phantoms: list[Phantom], *options: str, name: str = "pilot") -> Path:
    """The study's folder: `PAIRS` phantoms, and as many images generated from phantoms' reports."""
    generated = folder / "generated"
    for seed, phantom in enumerate(phantoms[:PAIRS]):  # the tiny models draw the seed, whatever the report
        asked = ("--text", phantom.report, "--n-images", "1", "--seed", str(seed))
        made = coin("generate", *asked, "--out", generated)
        assert made.exit_code == 0, made.output
    counts = ("--n-real", str(PAIRS), "--n-generated", str(PAIRS))
    made = coin("reading", "new", name, "--generated", generated, *counts, *options)
    assert made.exit_code == 0, made.output
    return folder / "readings" / name
