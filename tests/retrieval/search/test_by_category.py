"""Rows by category over a real archive, each compared with the nearest found by hand."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from index_store import Archive, Case, CaseFilter
from retrieval import QueryError
from retrieval.language.vocabulary import vocabulary
from retrieval.search.by_category import gallery
from tests.retrieval.labelled_archive import unit
from tests.retrieval.vector_archive import FINGERPRINT, archive_of

CERVIX, SEROUS = "Bethesda cervical 2014", "International System for serous fluids"
QUERY = unit(np.random.default_rng(9).normal(size=(1, 8)))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """Cervical cases of five categories (some by code or alias, some without a system) and serous ones."""
    labels = [
        ("cervix", CERVIX, "NILM"),
        ("cervix", CERVIX, "HSIL"),
        ("cervix", "bethesda CERVICAL 2014", "high grade SIL"),
        ("cervix", "", "ASC-H"),
        ("cervix", CERVIX, "ASCUS"),
        ("vagina", CERVIX, "NILM"),
        ("cervix", CERVIX, "no such category"),
        ("serous effusion", SEROUS, "Malignant"),
        ("breast", "Yokohama", "Malignant"),
        ("cervix", CERVIX, "LSIL"),
    ]
    rows = []
    for i in range(120):
        site, system, category = labels[i % len(labels)]
        row = {"case": f"case {i:03}", "site": site, "system": system, "category": category}
        rows.append({**row, "patient": f"patient {i // 10 % 10}-{i % 10}"})  # some patients have two cases
    vectors = unit(np.random.default_rng(0).normal(size=(120, 8)))
    with archive_of(tmp_path_factory.mktemp("gallery"), rows, vectors) as archive:
        yield archive


def by_hand(archive: Archive, category: str, m: int, *, without: str = "", site: str = "cervix") -> list[str]:
    """Keys of the nearest case of each patient of a category, nearest first."""
    system = vocabulary().system(CERVIX)
    assert system is not None
    found: dict[str, tuple[float, str]] = {}
    for case in archive.cases():
        of = vocabulary().system(case.system) or (vocabulary().system_of(case.site) if not case.system else None)
        known = system.category(case.category)
        if of is system and known and known.name == category and case.site == site and case.patient != without:
            score = float(archive.vectors_of([case.images[0].id], FINGERPRINT)[0] @ QUERY[0])
            found[case.patient] = max(found.get(case.patient, (-2.0, "")), (score, case.key))
    return [key for _, key in sorted(found.values(), reverse=True)[:m]]


def test_each_row_holds_the_nearest_of_its_category(archive: Archive) -> None:
    found = gallery(archive, QUERY, fingerprint=FINGERPRINT, system=CERVIX, site="cervix", m=3)
    assert [row.category for row in found.rows] == [c.name for c in vocabulary().system(CERVIX).categories]
    for row in found.rows:
        assert [entry.case.key for entry in row.cases] == by_hand(archive, row.category, 3)
        assert row.available == len(by_hand(archive, row.category, 1000))
        assert len(row.cases) == min(3, row.available)
    assert found.without_cases == (
        "Unsatisfactory", "SCC", "AGC", "AGC, favor neoplastic", "AIS", "Adenocarcinoma",
    )  # fmt: skip


def test_the_own_patient_is_left_out_and_other_filters_hold(archive: Archive) -> None:
    first = next(row for row in _rows(archive) if row.category == "HSIL").cases[0].case
    where = CaseFilter(exclude_patients=(first.patient,), sites=("cervix", "urine"))
    row = next(row for row in _rows(archive, where=where) if row.category == "HSIL")
    assert [entry.case.key for entry in row.cases] == by_hand(archive, "HSIL", 4, without=first.patient)
    assert all(not row.cases for row in _rows(archive, where=CaseFilter(sites=("urine",))))
    assert all(not row.cases for row in _rows(archive, where=CaseFilter(systems=("Yokohama",))))


def _rows(archive: Archive, where: CaseFilter | None = None):
    return gallery(archive, QUERY, fingerprint=FINGERPRINT, system=CERVIX, site="cervix", where=where).rows


def test_look_alikes_of_the_querys_category_or_of_the_nearest_case(archive: Archive) -> None:
    asked = gallery(archive, QUERY, fingerprint=FINGERPRINT, system=CERVIX, site="cervix", category="high grade SIL")
    assert asked.category == "HSIL"
    assert [row.category for row in asked.look_alikes] == ["ASC-H", "HSIL"]
    assert all(row in asked.rows for row in asked.look_alikes)
    assert [group.categories for group in asked.sources] == [("ASC-H", "HSIL")]
    nearest = gallery(archive, QUERY, fingerprint=FINGERPRINT, system=CERVIX, site="cervix")
    best = max((row for row in nearest.rows if row.cases), key=lambda row: row.cases[0].similarity)
    assert nearest.category == best.category
    serous = gallery(archive, QUERY, fingerprint=FINGERPRINT, system=SEROUS, category="no such category")
    assert (serous.category, serous.look_alikes, serous.sources) == ("", (), ())


def test_systems_are_never_mixed(archive: Archive) -> None:
    def cases(system: str) -> list[Case]:
        found = gallery(archive, QUERY, fingerprint=FINGERPRINT, system=system, m=100)
        return [entry.case for row in found.rows for entry in row.cases]

    assert {case.site for case in cases(SEROUS)} == {"serous effusion"}
    assert {case.site for case in cases("Yokohama")} == {"breast"}
    assert {case.site for case in cases(CERVIX)} == {"cervix", "vagina"}
    assert {case.category for case in cases(CERVIX) if not case.system} == {"ASC-H"}  # of the site's system
    assert cases("Paris 2.0") == []


def test_what_cannot_be_queried_is_reported(archive: Archive) -> None:
    with pytest.raises(QueryError, match="choose one of Bethesda cervical 2014"):
        gallery(archive, QUERY, fingerprint=FINGERPRINT, system="moon")
    with pytest.raises(QueryError, match="is reported in Yokohama, not in Paris"):
        gallery(archive, QUERY, fingerprint=FINGERPRINT, system="Paris 2.0", site="breast")
    with pytest.raises(QueryError, match="at least 1"):
        gallery(archive, QUERY, fingerprint=FINGERPRINT, system=CERVIX, m=0)
