"""Tables of reports: COIN's own layout and every manifest, with and without images."""

from __future__ import annotations

from pathlib import Path

import openpyxl
import pytest

from index_store import ManifestError, read_report_table


def test_coins_spreadsheet_needs_none_of_its_images(tmp_path: Path) -> None:
    workbook = openpyxl.Workbook()
    for row in (["Image", "Report"], ["Sample1.jpg", "First."], ["Sample2.jpg", None], ["Sample3.jpg", "Third."]):
        workbook.active.append(row)
    workbook.save(tmp_path / "report.xlsx")
    table = read_report_table(tmp_path / "report.xlsx")
    assert [(row.line, row.report, dict(row.cells)) for row in table.rows] == [
        (2, "First.", {"image": "Sample1.jpg"}),
        (4, "Third.", {"image": "Sample3.jpg"}),
    ]
    assert table.columns == ("image", "report")
    assert [str(problem) for problem in table.problems] == ["report.xlsx, line 3: has no report. Write the report."]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "report,category\nOne.,HSIL\n"),
        ("a.tsv", "report\tcategory\nOne.\tHSIL\n"),
        ("a.jsonl", '{"report": "One.", "category": "HSIL"}\n'),
    ],
)
def test_reports_alone_are_enough(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    (row,) = read_report_table(tmp_path / name).rows
    assert (row.report, dict(row.cells)) == ("One.", {"category": "HSIL"})


def test_a_table_without_reports_is_refused_by_its_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("image,text\na.png,One.\n")
    with pytest.raises(ManifestError, match=r"no column report\. Columns found: image, text\."):
        read_report_table(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("report,note\nOne.,\0\n")
    with pytest.raises(ManifestError):
        read_report_table(tmp_path / "b.csv")


def test_a_cell_beyond_its_limit_costs_its_row(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"report,note\nOne.,{'x' * 5000}\nTwo.,short\n")
    table = read_report_table(tmp_path / "a.csv")
    assert [row.report for row in table.rows] == ["Two."]
    assert "more than 4000 characters" in table.problems[0].what
