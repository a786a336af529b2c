from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import delete

from index_store import Archive, Case, CaseFilter, FilterError, Hit, Image, IndexDriftError, VectorError
from index_store.catalog.case_reader import CaseReader
from index_store.catalog.models import EmbeddingRow
from index_store.index.faiss_index import FaissIndex
from index_store.index.rerank import Ranking
from index_store.search import filter_cache
from index_store.vectors import Ids, Selection, Vectors
from tests.index_store.archive_builders import (
    DIM,
    FINGERPRINT,
    add_manifest,
    records,
    simple_rows,
    write_manifest,
)
from tests.index_store.backends import in_a_file_first
from tests.index_store.filtered_search import FILTERS, QUERIES, expected


def test_filters_hold_before_ranking_and_exactly(mixed: Archive) -> None:
    for (name, (where, permits)), k in product(FILTERS.items(), (1, 10, 100)):
        found = mixed.search(QUERIES, k, where=where, fingerprint=FINGERPRINT)
        assert found == [expected(mixed, query, k, permits) for query in QUERIES], name


def test_cases_are_filtered_alike(mixed: Archive) -> None:
    for name, (where, permits) in FILTERS.items():
        keys = [case.key for case in mixed.cases() if any(permits(case, image) for image in case.images)]
        assert [case.key for case in mixed.cases(where)] == keys, name


@in_a_file_first
def test_a_case_is_shown_whole_whatever_the_filter(mixed: Archive) -> None:
    cases: list[Case] = mixed.cases(CaseFilter(stains=("Diff-Quik",)))
    images: tuple[Image, ...] = cases[0].images
    assert (len(cases), len(images)) == (8, 2)
    assert cases[0].stain == "Papanicolaou, Diff-Quik"


@in_a_file_first
def test_bad_queries_are_refused(filled: Archive) -> None:
    for bad in (QUERIES[0], QUERIES[:, 1:], QUERIES * 2, np.full((1, DIM), np.nan, np.float32)):
        with pytest.raises(VectorError):
            filled.search(bad, 3, fingerprint=FINGERPRINT)
    with pytest.raises(ValueError, match="at least 1"):
        filled.search(QUERIES, 0, fingerprint=FINGERPRINT)
    assert filled.search(QUERIES[:0], 3, fingerprint=FINGERPRINT) == []


def test_filters_that_cannot_be_meant() -> None:
    for bad in ("cervix", 5, (5,), None):
        with pytest.raises(FilterError, match="sites must be a tuple"):
            CaseFilter(sites=bad)  # type: ignore[arg-type]
    with pytest.raises(FilterError, match="20000 is the most"):
        CaseFilter(exclude_patients=tuple(str(i) for i in range(20_001)))
    assert CaseFilter(sites=["cervix"]) == CaseFilter(sites=("cervix",))  # type: ignore[arg-type]


def test_a_filter_may_be_as_long_as_it_may_be(filled: Archive) -> None:
    where = CaseFilter(exclude_patients=tuple(f"nobody-{i}" for i in range(20_000)))
    assert len(filled.search(QUERIES, 100, where=where, fingerprint=FINGERPRINT)[0]) == 12


@in_a_file_first
@pytest.mark.parametrize(
    "where",
    [CaseFilter(sites=("cervix",)), CaseFilter(exclude_patients=("patient-1",)), CaseFilter(exclude_cases=("case-3",))],
)
def test_an_engine_that_ignores_the_filter_gets_no_answer_through(
    filled: Archive, where: CaseFilter, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled.search(QUERIES, 3, fingerprint=FINGERPRINT)
    search = FaissIndex.search

    def careless(index: FaissIndex, queries: Vectors, k: int, *, selection: Selection | None = None) -> list[Ranking]:
        """Passes over the filter, as some builds of FAISS do."""
        return search(index, queries, k)

    monkeypatch.setattr(FaissIndex, "search", careless)
    filled.search(QUERIES, 3, fingerprint=FINGERPRINT)
    with pytest.raises(IndexDriftError, match="no answer was given"):
        filled.search(QUERIES, 12, where=where, fingerprint=FINGERPRINT)


def test_embeddings_lost_behind_the_logs_back_are_noticed(filled: Archive) -> None:
    with records(filled.path, writing=True) as session:
        session.execute(delete(EmbeddingRow).where(EmbeddingRow.image_id == 3))
    with Archive.open(filled.path) as opened:
        found = opened.status()
    assert found.indexed == 11
    assert found.notes == (
        "The vector index was rebuilt from the archive's records: its number of vectors did not match.",
    )


def test_what_a_filter_permits_is_never_out_of_date(filled: Archive, manifest: Path) -> None:
    """Filters are listed once a revision: a change by this process, or by another, makes them be listed anew."""
    where = CaseFilter(categories=("HSIL",))

    def found(archive: Archive) -> set[str]:
        (hits,) = archive.search(QUERIES[:1], 50, where=where, fingerprint=FINGERPRINT)
        return {case.key for case in archive.cases_of_images([hit.image_id for hit in hits]).values()}

    with Archive.open(filled.path) as other:
        before = found(filled)
        assert before == found(other) == {f"case-{i}" for i in range(1, 12, 2)}
        rows = simple_rows(12)
        rows[1]["category"], rows[2]["category"] = "NILM", "HSIL"
        add_manifest(filled, write_manifest(manifest, rows))
        assert found(filled) == found(other) == before - {"case-1"} | {"case-2"}
        filled.remove("case-3")
        assert found(filled) == found(other) == before - {"case-1", "case-3"} | {"case-2"}


def test_the_filters_used_last_are_cached(filled: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each permits four images, and there is room for ten ids: the list of the filter used longest ago is dropped."""
    listed: list[str] = []
    included = CaseReader.included

    def observed(reader: CaseReader, where: CaseFilter) -> Ids:
        listed.extend(where.sites)
        return included(reader, where)

    def search(site: str) -> None:
        filled.search(QUERIES[:1], 5, where=CaseFilter(sites=(site,)), fingerprint=FINGERPRINT)

    monkeypatch.setattr(filter_cache, "MAX_IDS", 10)
    monkeypatch.setattr(CaseReader, "included", observed)
    for site in ("cervix", "thyroid", "cervix", "urine"):
        search(site)
    assert listed == ["cervix", "thyroid", "urine"]
    search("cervix")
    search("urine")
    assert listed == ["cervix", "thyroid", "urine"]
    search("thyroid")
    assert listed == ["cervix", "thyroid", "urine", "thyroid"]


def test_labels_that_are_in_memory_are_not_listed_by_the_database(
    filled: Archive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    where = CaseFilter(sites=("cervix", "urine"), stains=("Giemsa",), exclude_patients=("patient-1",))

    def found(archive: Archive) -> list[list[Hit]]:
        return archive.search(QUERIES, 50, where=where, fingerprint=FINGERPRINT)

    with Archive.open(filled.path) as other:
        listed = found(other)
        assert any(listed)
        filled.image_table()
        with monkeypatch.context() as patch:
            patch.setattr(CaseReader, "included", lambda *_: pytest.fail("the database listed them"))
            assert found(filled) == listed
        changed = [{**row, "stain": "Giemsa"} for row in simple_rows(6)]
        add_manifest(other, write_manifest(tmp_path / "changed.csv", changed))
        assert found(filled) == found(other) != listed, "labels of before the change are not used"


def test_a_reader_of_an_older_revision_neither_uses_nor_replaces_what_is_cached() -> None:
    class Reader:
        """Lists another image at every revision."""

        def __init__(self, revision: int) -> None:
            self.revision, self.lists = revision, 0

        def included(self, where: CaseFilter) -> Ids:
            self.lists += 1
            return np.array([self.revision], np.int64)

    cache, where = filter_cache.FilterCache(), CaseFilter(sites=("cervix",))

    def permitted(reader: Reader) -> list[int]:
        selection, _ = cache.selection(reader, where, reader.revision)  # type: ignore[arg-type]
        assert selection is not None
        return selection.ids.tolist()

    older, newer = Reader(4), Reader(5)
    for reader in (newer, older, newer, older):
        assert permitted(reader) == [reader.revision]
    assert (newer.lists, older.lists) == (1, 2)
