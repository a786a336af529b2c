"""Within `Archive.one_view` a thread reads one state, and nobody is kept from changing the archive."""

from __future__ import annotations

from threading import Thread

import pytest

from index_store import Archive, CaseFilter
from tests.index_store.archive_builders import FINGERPRINT
from tests.index_store.filtered_search import QUERIES


def test_a_view_is_of_one_state_whatever_another_process_changes(filled: Archive) -> None:
    filled.search(QUERIES, 5, fingerprint=FINGERPRINT)  # index and labels are in memory
    case, *_ = cases = filled.cases()
    image_id = case.images[0].id
    assert image_id in filled.image_table().ids
    with Archive.open(filled.path) as other:
        with filled.one_view():
            revision = filled.revision
            other.remove(case.key)
            assert filled.revision == revision
            assert filled.cases() == cases
            with filled.one_view():
                assert filled.case(case.key) == case
            assert filled.cases_by_id([case.id]) == {case.id: case}
            assert filled.encoder == other.encoder
        assert filled.revision > revision
        assert filled.cases() == cases[1:]


def test_what_another_thread_has_read_since_is_not_read_back(filled: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Index and labels may be of a later state than the view: they are never made anew for an earlier one."""
    filled.search(QUERIES, 20, fingerprint=FINGERPRINT)
    filled.image_table()
    case, *others = filled.cases()
    with filled.one_view():
        revision = filled.revision
        elsewhere: list[int] = []

        def change() -> None:
            filled.remove(case.key)
            filled.search(QUERIES, 20, fingerprint=FINGERPRINT)
            elsewhere.append(len(filled.image_table()))

        thread = Thread(target=change)
        thread.start()
        thread.join()
        assert elsewhere == [len(others)]
        notes = filled.notes
        table = filled.image_table()
        assert len(table) == len(others)
        assert table is filled.image_table(), "it was not read again"
        (hits, *_) = filled.search(QUERIES, 20, fingerprint=FINGERPRINT)
        assert {hit.image_id for hit in hits} == {image.id for each in others for image in each.images}
        assert filled.notes == notes, "the index was not built again"
        assert filled.revision == revision
    assert filled.revision == revision + 1


@pytest.mark.slow
def test_a_filtered_table_is_that_of_its_filter_and_state(filled: Archive) -> None:
    sites = sorted(filled.facets()["site"])[:2]
    filters = [CaseFilter(sites=(site,)) for site in sites] + [CaseFilter(), None]
    for where in (*filters, *reversed(filters)):
        ids = {image.id for case in filled.cases(where) for image in case.images}
        assert set(filled.image_table(where).ids.tolist()) == ids
    where = filters[0]
    key = filled.cases(where)[0].key
    before = len(filled.image_table(where))
    filled.remove(key)
    assert len(filled.image_table(where)) < before
