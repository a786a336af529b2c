"""Every benchmark runs, at its smallest size and on stand-ins for the shared data: its figures mean nothing here."""

from __future__ import annotations

import importlib
import runpy
import sys
from pathlib import Path

import pytest

from benchmarks.phantom_slides import compose
from tests.benchmarks.shared_data import write_shared_data
from tests.few_steps import few_steps
from tests.postgres_server import postgres_binaries, postgres_server
from tests.ui.served_view import CHROMIUM

FOLDER = Path(__file__).parents[2] / "benchmarks"
ARGUMENTS = {
    "architecture": ["{tmp}/architecture", "--tiny"],
    "augment": ["--data", "{data}", "--phantoms", "88", "--per-class", "1", "--work", "{tmp}"],
    "catalogs": ["--images", "200", "--folder", "{tmp}"],
    "cold_start": ["--repetitions", "1", "--cases", "44", "--images", "1"],
    "comparability": ["--queries", "44", "--per-class", "3", "--generated", "0"],
    "evaluation": ["--cases", "60", "--dim", "16"],
    "feedback": ["--per-class", "2", "--queries", "4"],
    "field_compression": ["{slide}", "--fields", "2"],
    "fusion": ["--queries", "4", "--per-class", "1", "--images", "1"],
    "generate": ["--architecture", "tiny", "--device", "cpu", "--reports", "2", "--repetitions", "1", "--size", "64"],
    "generated_smears": ["--data", "{data}", "--queries", "2", "--images", "1"],
    "generated_query": ["--data", "{data}", "--queries", "4", "--per-class", "2", "--images", "1", "--folder", "{tmp}"],
    "growth": ["--sizes", "400", "800", "--repetitions", "2", "--folder", "{tmp}"],
    "identifiers": [
        *("--each", "5", "--phantoms", "44", "--coin", "{data}/coin-examples/reports.csv"),
        *("--smears", "{data}/cytology/manifest.csv"),
    ],
    "ingest": ["--manifest", "{data}/cytology/manifest.csv", "--first", "10"],
    "near_copies": ["--manifest", "{data}/cytology/manifest.csv", "--altered", "2"],
    "neighbourhood": ["--per-class", "3", "--repetitions", "1"],
    "open_view": ["--images", "400", "--seconds", "2", "--pause", "0.1"],
    "no_effect": ["--rounds", "2"],
    "presets": ["--queries", "2", "--per-class", "1", "--images", "1"],
    "prompts": ["--queries", "2", "--per-class", "1", "--images", "1"],
    "real_cells": ["--data", "{data}", "--phantoms", "20"],
    "real_input": ["--data", "{data}"],
    "report_labels": [],
    "report_text": ["--queries", "4", "--generated", "2", "--per-class", "1"],
    "scale": ["--data", "{data}", "--per-class", "1", "--queries", "4"],
    "search": ["--sizes", "2000", "--queries", "3", "--folder", "{tmp}"],
    "slide_search": ["--sites", "1", "--slides", "4", "--fields", "6"],
    "slides": ["--slides", "1", "--fields", "8", "--data", "{data}"],
    "starter": ["--queries", "4", "--per-class", "1", "--images", "1"],
    "synthetic_set": ["--reports", "3", "--per-report", "1", "--training", "20"],
    "transfer": ["--data", "{data}", "--phantoms", "88"],
    "unequal_cases": ["--sites", "0", "--repeat", "1"],
    "view": ["--cases", "24", "--sessions", "2", "--repetitions", "1"],
    "view_tasks": ["--cases", "44", "--repetitions", "1"],
    "wordings": ["--data", "{data}", "--queries", "4", "--per-class", "1", "--rules"],
    "train lora": ["--data", "{data}", "--work", "{tmp}/lora", "--images", "20", "--steps", "2"],
    "train encoder": ["--data", "{data}", "--work", "{tmp}/encoder", "--steps", "2"],
}
"""By benchmark (with its positional argument) the options that make it take seconds. `{data}` holds the
stand-ins, `{slide}` is a composed slide."""


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shared_data(tmp_path_factory.mktemp("shared") / "data")


def run(name: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m benchmarks.NAME ARGUMENTS`, in this process: torch is loaded once for all."""
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    monkeypatch.delitem(sys.modules, f"benchmarks.{name}", raising=False)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")
    assert ended.value.code in (0, None)


def test_every_benchmark_is_run() -> None:
    programs = {path.stem for path in FOLDER.glob("*.py") if '__name__ == "__main__"' in path.read_text("utf-8")}
    assert programs == {name.partition(" ")[0] for name in ARGUMENTS}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_every_benchmark_is_imported(path: Path) -> None:
    """A renaming in the packages shows here at once, and not when somebody needs a figure."""
    importlib.import_module(f"benchmarks.{path.stem}")


@pytest.fixture(scope="session")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compose(0, fields=8).write(tmp_path_factory.mktemp("slide"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_benchmark_runs_at_its_smallest_size(
    name: str,
    data: Path,
    slide: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if name in ("view", "view_tasks") and CHROMIUM is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    module, *positional = name.split()
    monkeypatch.chdir(tmp_path)
    arguments = [argument.format(data=data, tmp=tmp_path, slide=slide) for argument in ARGUMENTS[name]]
    with few_steps():
        run(module, [*positional, *arguments], monkeypatch)
    out = capsys.readouterr().out
    assert out.strip() or module == "architecture"
    assert "nan" not in out.lower().split()


@pytest.mark.slow
def test_catalogs_are_compared_on_postgresql(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    binaries = postgres_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed")
    with postgres_server(binaries) as server, server.schema() as url:
        run("catalogs", ["--images", "200", "--folder", str(tmp_path), "--catalog", url], monkeypatch)
    assert '"PostgreSQL"' in capsys.readouterr().out
