"""What a manifest says is taken as it is meant: placeholders, padded keys, worksheets, forms of names."""

from __future__ import annotations

import csv
import datetime
import io
import unicodedata
import zipfile
from collections.abc import Sequence
from pathlib import Path

import openpyxl
import pytest

from index_store import Manifest, ManifestError, read_manifest, read_report_table
from index_store.manifest.cells import clean_cell, is_placeholder
from index_store.manifest.workbook_cells import peculiar_cells, shown_number
from tests.index_store.archive_builders import picture
from tests.processor_time import processor_seconds

FAULTS = Path(__file__).parents[4] / "shared/data/faults"
REPORT = "Cervical smear: NILM."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(1, 9):
        picture(number).save(tmp_path / f"{number}.png")
    return tmp_path


def written(folder: Path, rows: Sequence[Sequence[object]]) -> Manifest:
    path = folder / "manifest.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return read_manifest(path)


def workbook(folder: Path, *sheets: Sequence[Sequence[object]]) -> openpyxl.Workbook:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for number, rows in enumerate(sheets, start=1):
        sheet = book.create_sheet(f"Sheet{number}")
        for row in rows:
            sheet.append(row)
    return book


def saved(book: openpyxl.Workbook, folder: Path) -> Manifest:
    book.save(folder / "manifest.xlsx")
    return read_manifest(folder / "manifest.xlsx")


# Keys together


@pytest.mark.parametrize("name", ["patient_id", "Patient ID", "PatientID", "patient no.", "Patient-Number"])
def test_a_column_of_another_name_is_read_as_the_key_that_it_is(folder: Path, name: str) -> None:
    read = written(
        folder, [["image", "report", name, "Case ID"], ["1.png", REPORT, "p", "a"], ["2.png", REPORT, "p", "b"]]
    )
    assert [(row.case, row.patient, row.attributes) for row in read.rows] == [("a", "p", {}), ("b", "p", {})]
    assert f"the column {name} was read as `patient`." in read.notes


def test_where_two_columns_may_be_the_key_none_is(folder: Path) -> None:
    read = written(folder, [["image", "report", "patient id", "patient no"], ["1.png", REPORT, "p", "q"]])
    assert read.rows[0].patient == "1.png"
    assert "several columns may be `patient` (patient id, patient no)" in read.notes[0]
    read = written(folder, [["image", "report", "patient id", "patient"], ["1.png", REPORT, "p", "q"]])
    assert (read.rows[0].patient, read.notes) == ("q", ())


MEANT = [
    *(("diagnosis", "category"), ("Finding", "category"), ("result", "category"), ("label", "category")),
    *(("class", "category"), ("Conclusion", "category"), ("interpretation", "category"), ("categroy", "category")),
    *(("Specimen Site", "site"), ("staining", "stain"), ("pixel size", "mpp"), ("patinet", "patient")),
]


@pytest.mark.parametrize(("name", "column"), MEANT)
def test_a_column_that_may_be_meant_for_a_known_one_is_noted(folder: Path, name: str, column: str) -> None:
    read = written(folder, [["image", "report", name], ["1.png", REPORT, "HSIL"]])
    assert read.rows[0].attributes == {name: "HSIL"}
    (note,) = read.notes
    assert note.startswith(f"the column {name} was kept with the case and not read as `{column}`")
    known = written(folder, [["image", "report", name, column], ["1.png", REPORT, "HSIL", "0.5"]])
    assert known.notes == (), "the table has that column"


def test_columns_of_their_own_are_not_noted(folder: Path) -> None:
    names = ["scanner", "age", "sex", "year", "hospital", "comment", "magnification", "um_per_pixel", "stained by"]
    assert written(folder, [["image", "report", *names], ["1.png", REPORT, *"abcdef", "40x", "0.25", "x"]]).notes == ()


def test_where_a_needed_column_is_missing_the_one_that_may_be_meant_is_named(folder: Path) -> None:
    with pytest.raises(
        ManifestError, match="`image_path` may be meant as `image`; `Report Text` may be meant as `report`"
    ):
        written(folder, [["image_path", "Report Text", "case"], ["1.png", REPORT, "a"]])


def test_a_column_whose_name_holds_what_shows_nothing_is_read(folder: Path) -> None:
    read = written(folder, [["image\u00a0", "\u200breport", "case\u200b"], ["1.png", REPORT, "a"]])
    assert (read.rows[0].case, read.rows[0].attributes) == ("a", {})


def test_a_column_without_a_name_is_not_left_out_in_silence(folder: Path) -> None:
    read = written(folder, [["image", "report", ""], ["1.png", REPORT, "HSIL"]])
    assert "a column without a name was left out (line 2)" in read.notes[0]
    assert written(folder, [["", "image", "report"], ["0", "1.png", REPORT]]).notes == (), "numbers of rows"


def test_folders_and_addresses_are_named_as_such(folder: Path) -> None:
    (folder / "fields").mkdir()
    read = written(folder, [["image", "report"], ["fields", REPORT], ["https://a.example/1.png", REPORT]])
    assert [problem.what for problem in read.problems] == [
        "names a folder and no image",
        "names an address, and nothing is fetched",
    ]


def test_a_json_value_that_is_no_text_is_no_report(folder: Path) -> None:
    (folder / "manifest.jsonl").write_text('{"image": "1.png", "report": {"text": "NILM."}}\n')
    read = read_manifest(folder / "manifest.jsonl")
    assert not read.rows
    assert "several values in column report" in read.problems[0].what


def test_keys_with_other_spaces_are_the_same(folder: Path) -> None:
    keys = ["P 1", "P\u00a01", "P  1", "P\u200b 1", "\u2060P 1"]
    rows = [[f"{n}.png", REPORT, f"c{n}", key] for n, key in enumerate(keys, start=1)]
    read = written(folder, [["image", "report", "case", "patient"], *rows])
    assert {row.patient for row in read.rows} == {"P 1"}
    assert read.notes == ()


@pytest.mark.parametrize("pair", [("p1", "P1"), ("00123", "123"), ("123.0", "123"), ("Ｐ１", "P1"), ("P 1", "P1")])
def test_keys_that_may_be_one_are_noted(folder: Path, pair: tuple[str, str]) -> None:
    rows = [[f"{n}.png", REPORT, f"c{n}", key] for n, key in enumerate((*pair, "other"), start=1)]
    read = written(folder, [["image", "report", "case", "patient"], *rows])
    assert len({row.patient for row in read.rows}) == 3
    assert "(lines 2, 3) and were read as several" in read.notes[0]


def test_a_key_that_stands_for_many_patients_is_noted(folder: Path) -> None:
    keys = ["Testpatient"] * 5 + ["p", "q"]
    rows = [[f"{n}.png", REPORT, f"c{n}", key] for n, key in enumerate(keys, start=1)]
    assert (
        "one patient has 5 cases (line 2 …)"
        in written(folder, [["image", "report", "case", "patient"], *rows]).notes[0]
    )


def test_a_row_with_fewer_cells_than_the_header_is_noted(folder: Path) -> None:
    read = written(folder, [["image", "report", "case", "patient"], ["1.png", REPORT], ["2.png", REPORT, "a", "p"]])
    assert "fewer cells than the header has (line 2)" in read.notes[0]


def test_a_json_line_that_gives_a_name_twice_is_a_problem(folder: Path) -> None:
    lines = [
        '{"image": "1.png", "report": "x", "patient": "a", "patient": "b"}',
        '{"image": "1.png", "Image": "2.png", "report": "x"}',
        '{"image": "3.png", "report": "x"}',
    ]
    (folder / "manifest.jsonl").write_text("\n".join(lines))
    read = read_manifest(folder / "manifest.jsonl")
    assert [row.image for row in read.rows] == ["3.png"]
    assert [problem.where for problem in read.problems] == ["manifest.jsonl, line 1", "manifest.jsonl, line 2"]


@pytest.mark.parametrize(
    "word",
    [
        "#N/D",
        "#NV",
        "#¡VALOR!",
        "#NOM?",
        "N / A",
        "n/a n/a",
        "Unknown, unknown",
        "XXX-XX-XXXX",
        "<patient>",
        "{patient_id}",
        *("${patient}", "%PATIENT%", "Patient ID", "MRN", "see above", "不明", "n.v.t.", "Unk Pt", "no MRN"),
    ],
)
def test_what_else_stands_for_no_patient(word: str) -> None:
    value = clean_cell("patient", word)
    assert not value or is_placeholder(value, key=True)


@pytest.mark.parametrize("word", ["#12", "#A1", "XX-12", "X1", "0", "[P12]", "P1/P1a", "A A-1", "name-7", "MRN-3"])
def test_what_is_a_key_all_the_same(word: str) -> None:
    value = clean_cell("patient", word)
    assert value
    assert not is_placeholder(value, key=True)


# Placeholders


@pytest.mark.parametrize(
    "word",
    ["N/A", "n/a", "NA", "NaN", "nan", "unknown", "UNKNOWN", "-", "--", "—", "#N/A", "none", "None", "null", "NULL",
     "n.a.", "?", "??", ".", "…", "not available", "Not given", "<NA>", "(null)", "#REF!", "#VALUE!", "nil", "unk",
     "keine Angabe", "missing", "undefined", r"\N", "n/k", " - ", "_", "[blank]", "<unknown>", "not_known",
     "NOT-STATED", "Not  known", "n. a.", "(n/a)", "'none'", "XXXX", "pending", "None given", "ditto", "\u3003", "|",
     "to be determined"],
)  # fmt: skip
def test_a_placeholder_is_an_empty_cell(folder: Path, word: str) -> None:
    rows = [[f"{n}.png", word if n > 4 else f"c{n}", word, REPORT, word, word, word] for n in range(1, 9)]
    read = written(folder, [["image", "case", "patient", "report", "category", "site", "stain"], *rows])
    assert not read.problems
    assert [row.patient for row in read.rows] == [*(f"c{n}" for n in range(1, 5)), *(f"{n}.png" for n in range(5, 9))]
    assert {(row.category, row.site, row.stain) for row in read.rows} == {("", "", "")}
    (note,) = read.notes
    assert note.startswith("36 cells were taken as empty, since they hold a placeholder")
    assert "patient: lines 2, 3" in note


@pytest.mark.parametrize("word", ["anonymous", "Anon.", "[redacted]", "no_name", "Unknown patient", "De-identified"])
def test_what_stands_for_a_key_that_was_taken_away_is_no_patient(folder: Path, word: str) -> None:
    rows = [[f"{n}.png", word, REPORT, word] for n in range(1, 5)]
    read = written(folder, [["image", "patient", "report", "source"], *rows])
    assert [row.patient for row in read.rows] == [f"{n}.png" for n in range(1, 5)]
    assert {row.source for row in read.rows} == {word}
    assert "4 cells were taken as empty" in read.notes[0]


@pytest.mark.parametrize(
    "word",
    [
        "N",
        "A",
        "0",
        "x1",
        "xx1",
        "none-1",
        "P. 1",
        "Unknown 7",
        "A. B.",
        "Norma",
        "Nanette",
        "12-3",
        "No",
        "P-1",
        "NILM",
        "negative",
        "x",
    ],
)
def test_a_word_is_no_placeholder(word: str) -> None:
    assert not is_placeholder(word)


def test_reports_and_further_columns_stay_as_they_are(folder: Path) -> None:
    read = written(folder, [["image", "report", "age"], ["1.png", "Unknown", "N/A"]])
    (row,) = read.rows
    assert (row.report, row.attributes) == ("Unknown", {"age": "N/A"})
    assert read.notes == ()


def test_a_formulas_error_is_no_report(folder: Path) -> None:
    read = written(folder, [["image", "report"], ["1.png", "#REF!"]])
    assert not read.rows
    assert read.problems[0].what == "has no report"


# Keys


@pytest.mark.parametrize("cell", ["00123", '="00123"', "'00123", "\u200b00123", "00123\ufeff", " 00123 "])
def test_a_padded_key_stays_as_a_person_sees_it(folder: Path, cell: str) -> None:
    (row,) = written(folder, [["image", "case", "report"], ["1.png", cell, REPORT]]).rows
    assert row.case == "00123"


def test_a_name_with_an_apostrophe_stays() -> None:
    assert clean_cell("source", "'t Hooft") == "'t Hooft"
    assert clean_cell("report", "'2 cells'") == "'2 cells'"
    assert clean_cell("case", '="a ""b"""') == 'a "b"'


@pytest.mark.parametrize("key", ["12-Mar", "3-dec", "Mar-12", "01. Okt", "Sept-04"])
def test_a_key_that_a_spreadsheet_has_made_a_date_is_noted(folder: Path, key: str) -> None:
    read = written(
        folder, [["image", "case", "patient", "report"], ["1.png", "A", key, REPORT], ["2.png", "B", "3-12", ""]]
    )
    assert read.rows[0].patient == key
    assert "patient looks like a date that a spreadsheet has made of a number such as 3-12 (line 2)" in read.notes[0]


def test_a_date_in_a_workbooks_key_is_noted(folder: Path) -> None:
    read = saved(
        workbook(folder, [["image", "patient", "report"], ["1.png", datetime.date(2026, 3, 12), REPORT]]), folder
    )
    assert "patient looks like a date" in read.notes[-1]


@pytest.mark.parametrize("key", ["Marc-12", "P-12-Mar", "12-Marble", "may", "3-12", "2026-03-12", "Mar-1234"])
def test_another_key_is_no_date_of_a_spreadsheet(folder: Path, key: str) -> None:
    assert written(folder, [["image", "case", "report"], ["1.png", key, REPORT]]).notes == ()


def test_a_number_that_a_workbook_cannot_hold_is_not_completed_by_made_up_digits(folder: Path) -> None:
    rows = [["image", "patient", "report"], ["1.png", 1234567890123456789, REPORT], ["2.png", 123456789012345, REPORT]]
    read = saved(workbook(folder, rows), folder)
    assert [row.patient for row in read.rows] == ["1.23456789012346E+18", "123456789012345"]
    assert "patient looks like a number that a spreadsheet has shortened (line 2)" in read.notes[0]


def test_what_json_has_no_number_for_is_an_empty_cell(folder: Path) -> None:
    path = folder / "manifest.jsonl"
    path.write_text('{"image": "1.png", "report": NaN}\n{"image": "2.png", "report": "x", "Ki67": -Infinity}\n')
    read = read_manifest(path)
    assert [problem.what for problem in read.problems] == ["has no report"]
    assert [row.attributes for row in read.rows] == [{}]


def test_a_key_that_a_spreadsheet_has_shortened_is_noted(folder: Path) -> None:
    read = written(folder, [["image", "case", "report"], ["1.png", "1.23457E+11", REPORT], ["2.png", "A", REPORT]])
    assert "case looks like a number that a spreadsheet has shortened (line 2)" in read.notes[0]


@pytest.mark.parametrize(
    ("value", "number_format", "shown"),
    [
        (123, "00000000", "00000123"),
        (123.0, "000000", "000123"),
        (123456789, "000-00-0000", "123-45-6789"),
        (42, '"S-"0000', "S-0042"),
        (42, "\\S0000", "S0042"),
        (12345, "000", "12345"),
        (7, "[$-409]000", "007"),
        (7, "000;-000", "007"),
        (21, '"P"0', "P21"),
        (123, "General", None),
        (123, "0", None),
        (123, "#,##0", None),
        (123, "0.00", None),
        (44000, "yyyy-mm-dd", None),
        (1.5, "0000", None),
        (-3, "0000", None),
        (123, "00.0%", None),
        (123, '"open', None),
    ],
)
def test_a_number_is_written_as_excel_shows_it(value: float, number_format: str, shown: str | None) -> None:
    assert shown_number(value, number_format) == shown


def test_truth_values_and_per_cents_of_a_workbook(folder: Path) -> None:
    head = ["image", "case", "report", "hpv", "ki67", "share"]
    book = workbook(folder, [head, ["1.png", "A", REPORT, True, 0.5, 0.125], ["2.png", "B", REPORT, False, 7, 0.1]])
    for row in (2, 3):
        book.active.cell(row, 5).number_format = "0%"
        book.active.cell(row, 6).number_format = "0.0%"
    first, second = saved(book, folder).rows
    assert dict(first.attributes) == {"hpv": "TRUE", "ki67": "50%", "share": "12.5%"}
    assert dict(second.attributes) == {"hpv": "FALSE", "ki67": "700%", "share": "10.0%"}


def test_padded_numbers_of_a_workbook(folder: Path) -> None:
    book = workbook(folder, [["image", "case", "report", "age"], ["1.png", 123, REPORT, 41], ["2.png", 7, REPORT, 50]])
    for row in (2, 3):
        book["Sheet1"].cell(row, 2).number_format = "00000000"
    read = saved(book, folder)
    assert [(row.case, row.attributes["age"]) for row in read.rows] == [("00000123", "41"), ("00000007", "50")]


# Worksheets, formulas, merged cells


def test_worksheets_with_the_same_columns_are_read_one_after_the_other(folder: Path) -> None:
    head = ["image", "case", "report"]
    rows = [[f"{n}.png", f"c{n}", REPORT] for n in range(1, 6)]
    book = workbook(
        folder,
        [head, rows[0]],
        [head, rows[1], ["9.png", "c9", REPORT], rows[2]],
        [["a", "b"], [1, 2]],
        [head, rows[3]],
    )
    book["Sheet4"].sheet_state = "hidden"
    read = saved(book, folder)
    assert [(row.line, row.case) for row in read.rows] == [(2, "c1"), (4, "c2"), (6, "c3")]
    assert [problem.where for problem in read.problems] == ["manifest.xlsx, line 5"]
    assert read.notes == (
        "the worksheet 'Sheet1' was read (1 row).",
        "the worksheet 'Sheet2' was read (3 rows, whose lines count on from 3).",
        "the worksheet 'Sheet3' was not read: it has other columns (1 row).",
        "the worksheet 'Sheet4' was not read: it is hidden (1 row).",
    )
    table = read_report_table(folder / "manifest.xlsx")
    assert len(table.rows) == 4
    assert any("'Sheet3' was not read" in problem.what for problem in table.problems)


def test_one_worksheet_and_an_empty_one_need_no_note(folder: Path) -> None:
    assert saved(workbook(folder, [["image", "report"], ["1.png", REPORT]], []), folder).notes == ()


def test_merged_cells_and_formulas_without_a_value_are_reported(folder: Path) -> None:
    head = ["image", "case", "patient", "report"]
    rows = [[f"{n}.png", f"c{n}", f"p{n}" if n in (1, 4) else None, REPORT] for n in range(1, 6)]
    rows[4][1] = "=A6"
    book = workbook(folder, [head, *rows])
    book["Sheet1"].merge_cells("C2:C4")
    read = saved(book, folder)
    assert [row.case for row in read.rows] == ["c1", "c4"]
    assert [(problem.where, problem.what) for problem in read.problems] == [
        ("manifest.xlsx, line 3", "has no patient of its own: its cell is merged (C2:C4)"),
        ("manifest.xlsx, line 4", "has no patient of its own: its cell is merged (C2:C4)"),
        ("manifest.xlsx, line 6", "has a formula without a value in column case"),
    ]


@pytest.mark.parametrize(
    "body",
    [b'<c r="A1" ' * 400_000, b"<mergeCell " * 400_000, b'<c r="A1"><f>' + b"x" * 4_000_000],
    ids=["cells", "merged cells", "a formula"],
)
def test_hostile_sheets_cost_little(body: bytes) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("sheet.xml", body)

    def read() -> None:
        assert peculiar_cells(zipfile.ZipFile(buffer), "/sheet.xml").rows == frozenset()

    assert processor_seconds(read, enough=3) < 3


# The file


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;", "\ufeffsep=;", "sep=;;;"])
def test_a_line_that_states_the_separator(folder: Path, first: str) -> None:
    (folder / "manifest.csv").write_text(f"{first}\r\nimage;case;report\r\n1.png;A;{REPORT}\r\n", encoding="utf-8")
    (row,) = read_manifest(folder / "manifest.csv").rows
    assert (row.line, row.case, row.report) == (3, "A", REPORT)


def test_a_stated_separator_that_is_not_usual(folder: Path) -> None:
    (folder / "manifest.csv").write_text("sep=^\nimage^case^report\n1.png^A^one, two; three\n", encoding="utf-8")
    (row,) = read_manifest(folder / "manifest.csv").rows
    assert row.report == "one, two; three"


@pytest.mark.parametrize(("on_disk", "in_manifest"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_a_name_is_found_in_either_form(folder: Path, on_disk: str, in_manifest: str) -> None:
    name = "Größe café/é 1.png"
    path = folder / unicodedata.normalize(on_disk, name)  # type: ignore[arg-type]
    path.parent.mkdir()
    picture().save(path)
    read = written(folder, [["image", "report"], [unicodedata.normalize(in_manifest, name), REPORT]])  # type: ignore[arg-type]
    assert not read.problems
    assert read.rows[0].path == path.resolve()


def test_the_other_form_leads_out_of_the_folder_no_more_than_the_name(folder: Path) -> None:
    inner = folder / "inner"
    inner.mkdir()
    picture().save(folder / unicodedata.normalize("NFD", "é.png"))
    (inner / "link").symlink_to(folder)
    for name in ("../é.png", "link/é.png", str(folder / "é.png")):
        path = inner / "manifest.csv"
        path.write_text(f"image,report\n{name},{REPORT}\n", encoding="utf-8")
        assert not read_manifest(path).rows


def test_keys_that_look_the_same_are_the_same(folder: Path) -> None:
    forms = [unicodedata.normalize(form, "Zoë") for form in ("NFC", "NFD")]  # type: ignore[arg-type]
    read = written(
        folder, [["image", "patient", "report"], *([f"{n}.png", form, REPORT] for n, form in enumerate(forms, 1))]
    )
    assert len({row.patient for row in read.rows}) == 1


# The shared inputs, where they are


def shared(name: str) -> Manifest:
    found = sorted((FAULTS / name).glob("manifest.*"))
    if not found:
        pytest.skip(f"the shared data are not here: {name}")
    return read_manifest(found[0])


def test_the_shared_faults_come_out_as_expected() -> None:
    read = shared("placeholder_patient")
    assert [row.patient for row in read.rows] == [row.case for row in read.rows]
    assert len(read.rows) == 8
    assert {(row.category, row.site) for row in read.rows} == {("", ""), ("", "cervix")}
    assert read.notes[0].startswith("20 cells")
    assert [row.case for row in shared("padded_ids").rows] == ["00000123", "00000124"]
    sheets = shared("second_sheet")
    assert len(sheets.rows) == 3
    assert "2024" in " ".join(sheets.notes)
    assert [row.case for row in shared("sep_line").rows] == ["SEP1"]
    assert [row.case for row in shared("nfd_name").rows] == ["NFC1"]
