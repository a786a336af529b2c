"""The labels of all images as columns: what the records say, whatever has changed, and read anew only where it did."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from index_store import Archive, CaseFilter
from index_store.search import image_table_sync
from index_store.search.image_table import CASE_LABELS, IMAGE_LABELS, ImageTable
from tests.index_store.archive_builders import add_manifest, simple_rows, write_manifest


def as_records(table: ImageTable) -> dict[int, tuple[object, ...]]:
    names = (*CASE_LABELS, *IMAGE_LABELS)
    labels = [[table.columns[name].values[code] for code in table.columns[name].codes] for name in names]
    return {
        int(image): (int(case), bool(phantom), None if np.isnan(mpp) else float(mpp), *values)
        for image, case, phantom, mpp, *values in zip(
            table.ids, table.cases, table.scalars["phantoms"], table.scalars["mpp"], *labels, strict=True
        )
    }


def expected(archive: Archive, where: CaseFilter | None = None) -> dict[int, tuple[object, ...]]:
    return {
        image.id: (
            case.id,
            case.phantom,
            image.mpp,
            *(getattr(case, name) for name in CASE_LABELS),
            *(getattr(image, name) for name in IMAGE_LABELS),
        )
        for case in archive.cases()
        for image in case.images
        if (where or CaseFilter()).allows(case, image)
    }


def patients(table: ImageTable, archive: Archive) -> bool:
    """Whether images have one patient id exactly where the records name one patient."""
    of_image = {image.id: case.patient for case in archive.cases() for image in case.images}
    pairs = {(int(patient), of_image[int(image)]) for image, patient in zip(table.ids, table.patients, strict=True)}
    return len(pairs) == len({patient for patient, _ in pairs}) == len({key for _, key in pairs})


def test_it_is_what_the_records_say(mixed: Archive) -> None:
    table = mixed.image_table()
    assert as_records(table) == expected(mixed)
    assert np.all(np.diff(table.ids) > 0)
    assert patients(table, mixed)


@pytest.mark.parametrize(
    "where",
    [
        CaseFilter(sites=("cervix",)),
        CaseFilter(sites=("cervix", "nowhere"), stains=("Diff-Quik", "Giemsa")),
        CaseFilter(kinds=("cell",), phantoms=False),
        CaseFilter(phantoms=True),
        CaseFilter(labels=(("cervix", "Bethesda", "NILM"), ("urine", "", "HSIL"), ("nowhere", "", ""))),
        CaseFilter(categories=("nothing",)),
        CaseFilter(exclude_patients=("p1",)),
        CaseFilter(sources=("source-0", "source-2"), exclude_cases=("c2",)),
    ],
)
def test_a_filter_means_what_it_means_on_records(mixed: Archive, where: CaseFilter) -> None:
    keys = [case.key for case in mixed.cases()]
    if where.exclude_cases:
        where = replace(where, exclude_cases=(keys[1],))
    if where.exclude_patients:
        where = replace(where, exclude_patients=(mixed.case(keys[0]).patient,))
    assert as_records(mixed.image_table(where)) == expected(mixed, where)


def test_it_follows_every_change(filled: Archive, tmp_path: Path) -> None:
    before = filled.image_table()
    kept = as_records(before)
    first = filled.cases()[0]
    with Archive.open(filled.path) as other:  # as another process would
        rows = simple_rows(3, prefix="more-")
        add_manifest(other, write_manifest(tmp_path / "more.csv", rows))
        assert as_records(filled.image_table()) == expected(filled)
        changed = [{**row, "site": "urine", "slide": "S9", "stain": "Giemsa"} for row in rows[:2]]
        add_manifest(other, write_manifest(tmp_path / "changed.csv", changed))
        after = filled.image_table()
        assert as_records(after) == expected(filled)
        assert "Giemsa" in after.columns["stain"].values
        add_manifest(other, write_manifest(tmp_path / "moved.csv", [{**rows[2], "patient": "somebody else"}]))
        assert patients(filled.image_table(), filled)
        other.remove(first.key)
        assert as_records(filled.image_table()) == expected(filled)
    assert as_records(before) == kept, "a table that somebody holds does not change"


@pytest.mark.slow
def test_facets_are_those_that_are_kept(mixed: Archive) -> None:
    def counted() -> None:
        kept = {name: list(values.items()) for name, values in mixed.facets().items()}
        assert kept == {name: list(values.items()) for name, values in mixed.image_table().facets.items()}
        assert mixed.labels() == {
            labels: len({*mixed.image_table().cases[rows].tolist()}) for labels, rows in mixed.image_table().by_labels()
        }

    counted()
    for case in mixed.cases():
        if case.site == "urine" or case.key.endswith("5"):
            mixed.remove(case.key)
    counted()


def test_an_empty_archive_and_one_that_is_emptied(filled: Archive) -> None:
    assert len(filled.image_table())
    for case in filled.cases():
        filled.remove(case.key)
    assert len(filled.image_table()) == 0
    assert not any(filled.facets().values())
    assert len(filled.image_table(CaseFilter(sites=("cervix",)))) == 0


@pytest.mark.slow
def test_what_has_not_changed_is_not_read_again(
    mixed: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    fetched = image_table_sync._fetched

    def counting(*arguments: object) -> list[tuple[object, ...]]:
        rows = fetched(*arguments)  # type: ignore[arg-type]
        read.append(len(rows[0]))
        return rows

    monkeypatch.setattr(image_table_sync, "_fetched", counting)
    mixed.image_table()
    assert read == [48, 40]
    mixed.image_table(CaseFilter(sites=("cervix",)))
    assert len(read) == 2, "nothing has changed"
    add_manifest(mixed, write_manifest(tmp_path / "more.csv", simple_rows(2, prefix="more-")))
    mixed.image_table()
    assert read[2:] == [2, 2]
    mixed.remove("case-more-0")
    mixed.image_table()
    assert read[4:] == [0, 0]
    add_manifest(mixed, write_manifest(tmp_path / "many.csv", simple_rows(30, prefix="many-")))
    mixed.image_table()
    assert read[6:] == [79, 71], "much has changed: all is read in one pass"


def test_rows_are_found_by_image(filled: Archive) -> None:
    table = filled.image_table()
    wanted = table.ids[[2, 0, 1]].tolist()
    assert table.rows_of(wanted).tolist() == [2, 0, 1]
    with pytest.raises(KeyError, match="999999"):
        table.rows_of([999999])
