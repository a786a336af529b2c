"""Light reads over many cases: what they permit, that they load no image, and that they ask once."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, event

from index_store import Archive, CaseFilter, StoredReport
from tests.index_store.archive_builders import add_manifest, simple_rows, write_manifest

FILTERS = [
    CaseFilter(),
    CaseFilter(sites=("cervix",)),
    CaseFilter(stains=("Giemsa",), categories=("HSIL",)),
    CaseFilter(exclude_patients=("patient-0",)),
    CaseFilter(sites=("cervix",), exclude_cases=("case-3",)),
    CaseFilter(phantoms=True),
    CaseFilter(labels=(("cervix", "", "HSIL"), ("cervix", "", "NILM"), ("nowhere", "", ""))),
]


@pytest.mark.parametrize("where", FILTERS)
def test_they_list_what_the_filter_permits(filled: Archive, where: CaseFilter) -> None:
    cases = filled.cases(where)
    assert filled.case_ids(where).tolist() == [case.id for case in cases]
    assert filled.reports(where) == [StoredReport(c.id, c.key, c.patient, c.report) for c in cases]
    assert filled.cases_by_id(filled.case_ids(where)) == {case.id: case for case in cases}


def test_without_a_filter_all_are_listed(filled: Archive) -> None:
    assert len(filled.case_ids()) == len(filled.reports()) == 12
    assert filled.case_ids().dtype == "int64"


def test_patients_of_cases(filled: Archive) -> None:
    case = filled.case("case-3")
    (patient,) = filled.patient_ids(["patient-1"]).values()
    assert filled.patient_keys([patient, 10_000]) == {patient: "patient-1"}
    of, known = filled.image_table().patients_of(np.array([case.id, 10_000]))
    assert (of.tolist(), known.tolist()) == ([patient, -1], [True, False])


def test_cases_that_are_gone_are_left_out(filled: Archive) -> None:
    case = filled.case("case-3")
    filled.remove("case-4")
    assert filled.cases_by_id([case.id, case.id + 1, 10_000]) == {case.id: case}
    assert case.id + 1 not in filled.case_ids()


@contextlib.contextmanager
def asked_of_sql() -> Iterator[list[str]]:
    """The statements that are sent meanwhile."""
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement != "BEGIN":
            statements.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_no_image_is_loaded(filled: Archive) -> None:
    with asked_of_sql() as statements:
        filled.reports(CaseFilter(stains=("Giemsa",)))
        filled.case_ids()
        filled.patient_keys([1, 2, 3])
    assert len(statements) <= 7  # the ids come with the columns: the log, images, cases
    assert not any("sha256" in statement for statement in statements)


def test_ten_thousand_reports_are_one_question(tmp_path: Path) -> None:
    with Archive.create(tmp_path / "archive") as archive:
        add_manifest(archive, write_manifest(tmp_path / "manifest.csv", simple_rows(1)))
        multiply(archive.path / "archive.sqlite", 10_000)
        with asked_of_sql() as statements:
            reports = archive.reports(CaseFilter(sites=("cervix",)))
        assert len(reports) == 10_000
        assert len(statements) == 1


def multiply(database: Path, count: int) -> None:
    """Give the archive's one case so many copies of one image each, with a longer report."""
    connection = sqlite3.connect(database)
    with connection:
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            "INSERT INTO cases SELECT i, key || i, patient_id, printf('%.600c', 'x') || i, site, system, category, "
            "source, license, phantom, derived FROM cases, n",
            (count,),
        )
        connection.execute(
            "INSERT INTO images SELECT c.id, c.id, i.sha256, i.file, i.file_sha256, i.path, i.width, i.height, "
            "i.slide, i.kind, i.stain, i.preparation, i.attributes, i.mpp, i.mpp_source, i.slide_id, i.slide_x, "
            "i.slide_y, i.slide_width, i.slide_height, i.slide_level, i.slide_plane FROM cases c, "
            "images i WHERE c.id > 1 AND i.id = 1"
        )
    connection.close()


def test_facets_come_most_frequent_first_and_then_by_name(archive: Archive, tmp_path: Path) -> None:
    rows = simple_rows(6)
    for row, site in zip(rows, ("urine", "thyroid", "urine", "cervix", "Breast", "urine"), strict=True):
        row["site"] = site
    add_manifest(archive, write_manifest(tmp_path / "manifest.csv", rows))
    assert list(archive.facets()["site"].items()) == [("urine", 3), ("Breast", 1), ("cervix", 1), ("thyroid", 1)]


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("case-1", ["case-1", "case-10", "case-11"]),
        ("CASE", []),
        ("case-_", []),
        ("%", []),
        ("case-3", ["case-3"]),
        ("\ud800", []),
    ],
)
def test_keys_are_found_by_their_beginning(filled: Archive, text: str, keys: list[str]) -> None:
    assert filled.keys_beginning(text, limit=5) == keys
    assert filled.keys_beginning("", limit=3) == sorted(case.key for case in filled.cases())[:3]


def test_keys_are_read_from_their_index(filled: Archive) -> None:
    """So that the cost grows with the answer, and not with the archive."""
    with asked_of_sql() as statements:
        filled.keys_beginning("case-1", limit=5)
    (statement,) = [each for each in statements if "cases" in each]
    if (filled.path / "archive.sqlite").is_file():
        with contextlib.closing(sqlite3.connect(filled.path / "archive.sqlite")) as database:
            asked = "case-1", "case-1\U0010ffff", 5, 0
            (plan,) = database.execute(f"EXPLAIN QUERY PLAN {statement}", asked).fetchall()
        assert "SEARCH cases USING COVERING INDEX" in plan[-1]
    else:
        with explained():
            plan_of_postgres = "\n".join(filled.keys_beginning("case-1", limit=5))
        assert "cases_by_key" in plan_of_postgres
        assert "Index Cond" in plan_of_postgres


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """The plan of each statement in the place of its answer."""

    def explain(_: object, __: object, statement: str, parameters: object, *___: object) -> tuple[str, object]:
        return f"EXPLAIN {statement}" if "cases" in statement else statement, parameters

    event.listen(Engine, "before_cursor_execute", explain, retval=True)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", explain)
