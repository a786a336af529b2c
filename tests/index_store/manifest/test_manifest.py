from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store import ManifestError, Problem, read_manifest
from tests.index_store.archive_builders import picture

REPOSITORY = Path(__file__).parents[3]
REAL = REPOSITORY / "../shared/data/cytology/manifest.csv"
COIN = REPOSITORY / "../shared/data/coin-examples/reports.csv"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the images a.png … e.png and sub/f.png."""
    for name in ("a", "b", "c", "d", "e", "sub/f"):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        picture().save(path)
    return tmp_path


def write(folder: Path, text: str, *, name: str = "manifest.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def whats(problems: tuple[Problem, ...]) -> list[str]:
    return [f"{problem.where}: {problem.what}" for problem in problems]


def test_all_columns(folder: Path) -> None:
    path = write(
        folder,
        "image,case,patient,slide,site,system,category,stain,preparation,report,kind,license,source,phantom,Scanner\n"
        'sub/f.png,C1,P1,S1,cervix,Bethesda,NILM,Papanicolaou,smear,"Line one,\nline two",field,CC0,here,true,A2\n',
    )
    manifest = read_manifest(path)
    (row,) = manifest.rows
    assert manifest.problems == ()
    assert (row.line, row.image, row.path) == (2, "sub/f.png", (folder / "sub/f.png").resolve())
    assert (row.case, row.patient, row.slide, row.site, row.system) == ("C1", "P1", "S1", "cervix", "Bethesda")
    assert (row.category, row.stain, row.preparation, row.kind) == ("NILM", "Papanicolaou", "smear", "field")
    assert (row.license, row.source, row.phantom) == ("CC0", "here", True)
    assert row.report == "Line one,\nline two"
    assert row.attributes == {"Scanner": "A2"}


def test_an_image_without_case_is_its_own_case_and_patient(folder: Path) -> None:
    rows = read_manifest(write(folder, "Image,REPORT\na.png,One.\nsub/f.png,Two.\n")).rows
    assert [(row.case, row.patient, row.phantom) for row in rows] == [
        ("a.png", "a.png", None),
        ("sub/f.png", "sub/f.png", None),
    ]
    assert all(row.stands_alone and not row.names_patient for row in rows)


def test_rows_of_a_case_complete_each_other(folder: Path) -> None:
    path = write(folder, "image,case,report,site,stain\na.png,C,,cervix,Pap\nb.png,C,The report.,,MGG\n")
    first, second = read_manifest(path).rows
    assert first.report == second.report == "The report."
    assert first.site == second.site == "cervix"
    assert (first.stain, second.stain) == ("Pap", "MGG")


@pytest.mark.parametrize("column", ["report", "patient", "site", "system", "category", "source", "license", "phantom"])
def test_a_row_that_contradicts_its_case_is_refused(folder: Path, column: str) -> None:
    one, other = ("true", "false") if column == "phantom" else ("x", "y")
    header = ["image", "case", *dict.fromkeys(["report", column])]
    rows = [["a.png", "C", "r", one], ["b.png", "C", "r", other], ["c.png", "D", "r", other]]
    if column == "report":
        rows = [[row[0], row[1], row[3]] for row in rows]
    manifest = read_manifest(write(folder, "\n".join(",".join(row) for row in [header, *rows])))
    assert [row.image for row in manifest.rows] == ["a.png", "c.png"]
    assert whats(manifest.problems) == [f"manifest.csv, line 3: gives its case another {column} than line 2"]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators(folder: Path, separator: str) -> None:
    cells = [["image", "report", "site"], ["a.png", '"One, two; three|four"', "cervix"]]
    manifest = read_manifest(write(folder, "\n".join(separator.join(row) for row in cells)))
    assert manifest.rows[0].report == "One, two; three|four"
    assert manifest.rows[0].site == "cervix"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings(folder: Path, encoding: str) -> None:
    path = write(folder, "image,report,stain\r\na.png,Größe µm ≥ 3,May-Grünwald-Giemsa\r\n", encoding=encoding)
    manifest = read_manifest(path)
    assert (manifest.rows[0].report, manifest.rows[0].stain) == ("Größe µm ≥ 3", "May-Grünwald-Giemsa")
    assert manifest.problems == ()


def test_windows_1252_is_read_and_reported(folder: Path) -> None:
    manifest = read_manifest(write(folder, "image,report\na.png,Größe „klein“\n", encoding="cp1252"))
    assert manifest.rows[0].report == "Größe „klein“"
    assert whats(manifest.problems) == ["manifest.csv: is not UTF-8 and was read as Windows-1252"]


def test_json_lines(folder: Path) -> None:
    rows = [
        {"image": "a.png", "report": "One.", "phantom": True, "age": 54, "boxes": [[1, 2]], "site": None},
        {"image": "b.png", "Report": "Two."},
    ]
    text = "\n".join(json.dumps(row) for row in rows) + "\n\nnot json\n[1]\n" + '{"image": "c.png"}\n'
    manifest = read_manifest(write(folder, text, name="manifest.jsonl"))
    first, second = manifest.rows
    assert (first.phantom, first.site, dict(first.attributes)) == (True, "", {"age": "54", "boxes": "[[1, 2]]"})
    assert second.report == "Two."
    assert [problem.where for problem in manifest.problems] == [f"manifest.jsonl, line {line}" for line in (4, 5, 6)]


def test_a_workbook_in_coins_layout(folder: Path) -> None:
    workbook = openpyxl.Workbook()
    workbook.active.title = "notes"
    workbook.active.append(["nothing", "of", "interest"])
    sheet = workbook.create_sheet("reports")
    sheet.append(["image", "report", "age"])
    sheet.append(["a.png", "One.", 54])
    sheet.append([None, None, None])
    sheet.append(["b.png", "Two.", 3.5])
    sheet.append(["absent.png", "Three.", None])
    workbook.save(folder / "reports.xlsx")
    manifest = read_manifest(folder / "reports.xlsx")
    assert [(row.line, row.image, row.report, dict(row.attributes)) for row in manifest.rows] == [
        (2, "a.png", "One.", {"age": "54"}),
        (4, "b.png", "Two.", {"age": "3.5"}),
    ]
    assert whats(manifest.problems) == ["reports.xlsx, line 5: names an image that is not there"]


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("absent.png,r", "names an image that is not there"),
        ("sub,r", "names a folder and no image"),
        (",r", "has no image"),
        ("a.png,", "has no report"),
        ("a.png,one,two", "has 3 cells, the header has 2"),
        ("../outside.png,r", "names an image outside the images' folder"),
        ("sub/../../outside.png,r", "names an image outside the images' folder"),
        ("/etc/passwd,r", "names an image outside the images' folder"),
        ("link.png,r", "names an image outside the images' folder"),
        (f"{'x' * 300}.png,r", "names an image that cannot be reached"),
        (f"a.png,{'x' * 100_001}", "has more than 100000 characters in column report"),
        ('a.png,"one"two', "cannot be read"),
    ],
)
def test_a_bad_row_is_named_and_the_rest_goes_on(folder: Path, row: str, what: str) -> None:
    picture().save(folder.parent / "outside.png")
    (folder / "link.png").symlink_to(folder.parent / "outside.png")
    manifest = read_manifest(write(folder, f"image,report\nb.png,before\n{row}\nc.png,after\n"))
    assert [item.image for item in manifest.rows] == ["b.png", "c.png"]
    (problem,) = manifest.problems
    assert problem.where == "manifest.csv, line 3"
    assert problem.what.startswith(what)
    assert problem.advice
    (folder.parent / "outside.png").unlink()


def test_an_absolute_path_within_the_folder_is_fine(folder: Path) -> None:
    assert len(read_manifest(write(folder, f"image,report\n{folder / 'a.png'},r\n")).rows) == 1


def test_windows_paths(folder: Path) -> None:
    assert read_manifest(write(folder, "image,report\nsub\\f.png,r\n")).rows[0].path.name == "f.png"


def test_images_may_lie_elsewhere(folder: Path) -> None:
    path = write(folder, "image,report\nf.png,r\n")
    assert len(read_manifest(path, images=folder / "sub").rows) == 1
    with pytest.raises(ManifestError, match=r"folder .* is not there"):
        read_manifest(path, images=folder / "nowhere")


def test_repeated_rows_are_skipped(folder: Path) -> None:
    manifest = read_manifest(write(folder, "image,case,report\na.png,C,r\nsub/../a.png,C,r\na.png,D,r\n"))
    assert [(row.image, row.case) for row in manifest.rows] == [("a.png", "C"), ("a.png", "D")]
    assert whats(manifest.problems) == ["manifest.csv, line 3: repeats line 2 (same case, same image)"]


def test_a_picture_of_another_patient_is_no_repetition(folder: Path) -> None:
    manifest = read_manifest(write(folder, "image,patient,report\na.png,P,r\na.png,Q,r\n"))
    assert [row.patient for row in manifest.rows] == ["P"]
    assert whats(manifest.problems) == ["manifest.csv, line 3: gives its case another patient than line 2"]


def test_an_open_quotation_costs_its_own_row_only(folder: Path) -> None:
    manifest = read_manifest(write(folder, 'image,report\na.png,"never closed\nb.png,two\nc.png,"three"\n'))
    assert [row.image for row in manifest.rows] == ["b.png", "c.png"]
    assert [problem.where for problem in manifest.problems] == ["manifest.csv, line 2"]


def test_a_long_report_is_kept_whole(folder: Path) -> None:
    report = "Sheets of cells. " * 1_250
    manifest = read_manifest(write(folder, f'image,report\na.png,"{report}"\n'))
    assert len(manifest.rows[0].report) == len(report.strip()) > 20_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"image,site\na.png,x\n", "no column report. Columns found: image, site. Required: image, report"),
        (b"site\nx\n", "no column image and no column report"),
        (b"a.png,Jane Doe\n", r"report. Columns found: none that is known \(is there a header line"),
        (b"image,report,Report\n", "more than one column report"),
        (b'[{"image": "a.png"}]', "JSON list"),
        (b'{"image": "a.png"}\n', "no column report"),
        ("image,report\na,b\n".encode("utf-16-le"), "without its mark"),
        (b"\xff\xfei\x00m\x00a", "begins as utf-16"),
        (b"image,report\n\x81\x8d\xff", "no text in a known encoding"),
        (b"PK\x03\x04nothing of the kind", "not a readable .xlsx"),
        (b"image,report\n" + b'a.png,"x"y\n' * 1_002, "more than 1000 lines of broken quotation"),
    ],
)
def test_a_file_that_is_no_manifest(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "manifest.csv"
    path.write_bytes(content)
    with pytest.raises(ManifestError, match=message) as caught:
        read_manifest(path)
    assert "manifest.csv" in str(caught.value)


def test_two_megabytes_are_read_and_more_than_512_are_not(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = "cells " * 400
    lines = [f"a.png,case {number},{report}" for number in range(900)]
    (folder / "manifest.csv").write_text("image,case,report\n" + "\n".join(lines) + "\n")
    assert len(read_manifest(folder / "manifest.csv").problems) < 900
    os.truncate(folder / "manifest.csv", 512 * 1024**2 + 1)  # takes no room on the disk
    asked = []

    class Long:
        """As many bytes as were asked for."""

        def __init__(self, n: int) -> None:
            self._n = n

        def __len__(self) -> int:
            return self._n

    class Opened(io.BytesIO):
        def read(self, n: int | None = -1) -> Any:
            asked.append(n)
            return Long(n or 0)

    monkeypatch.setattr(Path, "open", lambda *_: Opened())
    with pytest.raises(ManifestError, match="larger than 512 MB"):
        read_manifest(folder / "manifest.csv")
    assert asked == [512 * 1024**2 + 1]


def test_absent_files_folders_and_too_many_rows(folder: Path) -> None:
    for path in (folder / "absent.csv", folder):
        with pytest.raises(ManifestError, match="no file"):
            read_manifest(path)
    path = write(folder, "image,report\na.png,r\nb.png,r\n")
    with pytest.raises(ManifestError, match="more than 1 rows"):
        read_manifest(path, max_rows=1)


@settings(max_examples=150)
@given(
    st.one_of(
        st.binary(max_size=400),
        st.binary(max_size=200).map(lambda data: b"image,report\n" + data),
        st.text(max_size=200).map(lambda text: ("image,case,report\na.png,C,r\n" + text).encode("utf-8", "replace")),
        st.lists(
            st.dictionaries(st.sampled_from(["image", "report", "case", "x"]), st.text(max_size=9)), max_size=5
        ).map(lambda rows: "\n".join(json.dumps(row) for row in rows).encode()),
        st.binary(max_size=200).map(lambda data: b"PK\x03\x04" + data),
    )
)
def test_whatever_the_file_holds_it_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzz"
    folder.mkdir(exist_ok=True)
    picture().save(folder / "a.png")
    (folder / "manifest.csv").write_bytes(data)
    try:
        manifest = read_manifest(folder / "manifest.csv")
    except ManifestError:
        return
    for row in manifest.rows:
        assert row.path.is_relative_to(folder.resolve())
        row.report.encode("utf-8")  # can be stored


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_file(), reason="the shared cytology images are not on this machine")
def test_the_real_manifest() -> None:
    manifest = read_manifest(REAL)
    assert (len(manifest.rows), manifest.problems) == (2766, ())


@pytest.mark.skipif(not COIN.is_file(), reason="COIN's example reports are not on this machine")
def test_coins_own_examples() -> None:
    manifest = read_manifest(COIN)
    assert (len(manifest.rows), manifest.problems) == (20, ())
