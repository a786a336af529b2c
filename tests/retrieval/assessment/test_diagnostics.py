"""The neighbourhood of a search: what is told of the query, and records that stay in step with the archive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from generation.phantom import phantom_cases, write_phantoms
from index_store import Archive, CaseFilter
from retrieval import CaseSearch, Encoder, add_manifest
from retrieval.assessment.diagnostics import Diagnostics
from retrieval.search.query import Query
from retrieval.search.understood_query import QueryAttributes

CASES = 24
THYROID = "(Fine-needle aspiration of the thyroid) Smear shows colloid. Benign follicular nodule."


@pytest.fixture(scope="module")
def archive(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    folder = tmp_path_factory.mktemp("phantoms")
    with Archive.create(folder / "archive") as archive:
        add_manifest(archive, write_phantoms(folder / "phantoms", phantom_cases(CASES), size=64), encoder)
        yield archive


@pytest.fixture
def search(archive: Archive, encoder: Encoder) -> CaseSearch:
    return CaseSearch(archive, encoder)


def test_a_case_states_its_own_labels(search: CaseSearch, archive: Archive, encoder: Encoder) -> None:
    case = next(case for case in archive.cases() if case.site == "thyroid")
    result = search.by_case(case.key, k=10)
    found = Diagnostics(archive, encoder).describe(result)
    assert found.told == QueryAttributes("thyroid", case.system, case.category, "case")
    assert found.agreement.asked == case.system
    assert found.agreement.patients == 10
    assert [judged.kind for judged in found.comparability] == ["case"]
    assert found.comparability[0].n == CASES
    assert found.nuisance.of_query
    assert found.nuisance.patients == CASES - 1


def test_a_report_tells_what_it_says(search: CaseSearch, archive: Archive, encoder: Encoder) -> None:
    found = Diagnostics(archive, encoder).describe(search.run(Query(text=THYROID)))
    assert found.told == QueryAttributes("thyroid", "Bethesda thyroid 2023", "Benign", "report")
    assert found.comparability == ()
    assert [one.channel for one in found.not_judged] == ["joint", "report"], "wordings differ too much"
    assert found.understood and found.agreement.patients
    assert not found.nuisance.of_query


def test_an_image_tells_nothing(search: CaseSearch, archive: Archive, encoder: Encoder) -> None:
    image = archive.cases()[0].images[0].path
    result = search.by_image(image, k=5)
    diagnostics = Diagnostics(archive, encoder)
    found = diagnostics.describe(result)
    assert found.told == QueryAttributes()
    assert found.agreement.asked == ""
    assert [judged.kind for judged in found.comparability] == ["image"]
    assert found.comparable == found.comparability[0].comparable
    rows = diagnostics.gallery(result)
    assert rows is not None
    assert found.agreement.leading is not None
    assert rows.system == found.agreement.leading.system


def test_rows_by_category_keep_the_filter_and_leave_the_own_patient_out(
    search: CaseSearch, archive: Archive, encoder: Encoder
) -> None:
    case = next(case for case in archive.cases() if case.site == "thyroid")
    where = CaseFilter(sites=("thyroid",), categories=("Malignant",))
    result = search.run(Query(case=case.key, where=where))
    rows = Diagnostics(archive, encoder).gallery(result, m=3)
    assert rows is not None
    shown = [entry.case for row in rows.rows for entry in row.cases]
    assert {one.site for one in shown} == {"thyroid"}
    assert len({one.category for one in shown}) > 1, "the rows are of all categories"
    assert case.patient not in {one.patient for one in shown}


def test_a_search_by_reports_alone_has_no_rows(search: CaseSearch, archive: Archive, encoder: Encoder) -> None:
    result = search.run(Query(text=THYROID, channels=("report",)))
    diagnostics = Diagnostics(archive, encoder)
    assert diagnostics.gallery(result) is None
    assert diagnostics.describe(result).comparability == ()
    assert diagnostics.describe(result).comparable is None


def test_a_filtered_search_is_judged_by_the_cases_that_it_may_find(
    search: CaseSearch, archive: Archive, encoder: Encoder
) -> None:
    where = CaseFilter(sites=("thyroid", "cervix"))
    diagnostics = Diagnostics(archive, encoder)
    among = sum(case.site in where.sites for case in archive.cases())
    assert 2 < among < CASES
    asked = Query(case=archive.cases()[0].key, where=where)
    (judged,) = diagnostics.describe(search.run(asked)).comparability
    assert (judged.n, judged.filtered) == (among, True)
    (judged,) = diagnostics.describe(search.run(replace(asked, where=None))).comparability
    assert (judged.n, judged.filtered) == (CASES, False)
    one = CaseFilter(exclude_cases=tuple(case.key for case in archive.cases()[1:]))
    few = diagnostics.describe(search.run(Query(case=archive.cases()[5].key, where=one)))
    assert few.comparability == ()
    assert "at least two patients" in few.not_judged[0].reason


@pytest.mark.slow
def test_it_follows_the_archive(encoder: Encoder, tmp_path: Path) -> None:
    phantoms = phantom_cases(6)
    manifest = write_phantoms(tmp_path / "phantoms", phantoms, size=64)
    with Archive.create(tmp_path / "archive") as archive:
        add_manifest(archive, manifest, encoder)
        search, diagnostics = CaseSearch(archive, encoder), Diagnostics(archive, encoder)
        asked = Query(case=phantoms[0].key, k=6)
        assert diagnostics.describe(search.run(asked)).nuisance.patients == 5
        archive.remove(phantoms[1].key)
        assert diagnostics.describe(search.run(asked)).nuisance.patients == 4
        for phantom in phantoms[2:]:
            archive.remove(phantom.key)
        alone = diagnostics.describe(search.run(asked))  # nobody is left to calibrate on
        assert (alone.comparability, alone.agreement.patients) == ((), 0)


def test_a_channel_that_found_nobody_is_not_judged(search: CaseSearch, archive: Archive, encoder: Encoder) -> None:
    result = search.run(Query(text=THYROID, channels=("joint", "report")))
    assert [answer.channel for answer in result.channels] == ["joint", "report"]
    nobody = replace(result, channels=tuple(replace(answer, patients=(), scores=()) for answer in result.channels))
    found = Diagnostics(archive, encoder).describe(nobody)
    assert found.comparability == ()
    assert [one.channel for one in found.not_judged] == ["joint", "report"], "and texts never are"


@pytest.mark.parametrize(
    "text", ["x", "子宫颈涂片未见恶性细胞", "<b>hello</b>", "Clue cells. Carcinoma. Negative for malignancy."]
)
def test_what_is_not_understood_shows_no_agreement(
    search: CaseSearch, archive: Archive, encoder: Encoder, text: str
) -> None:
    result = search.run(Query(text=text))
    assert result.cases and result.not_understood in result.warning
    found = Diagnostics(archive, encoder).describe(result)
    assert not found.understood
    assert (found.agreement.systems, found.agreement.patients) == ((), 0)


def test_cases_of_what_a_text_denies_show_no_agreement(archive: Archive, encoder: Encoder) -> None:
    malignant = CaseFilter(categories=("Malignant", "HGUC", "SCC"))
    result = CaseSearch(archive, encoder).run(Query(text="No malignant cells.", where=malignant))
    assert result.cases and "denies a malignancy" in result.warning
    assert Diagnostics(archive, encoder).describe(result).agreement.patients == 0
    assert CaseSearch(archive, encoder).run(Query(text="Malignant cells.", where=malignant)).warning == ""
