"""A `CaseFilter` means the same in SQL, in Milvus and on records in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store import Archive, Case, CaseFilter, FilterError, Image
from index_store.catalog import case_writer
from index_store.catalog import filters as filters_of
from index_store.catalog.filters import CASE_COLUMNS, EXCLUSIONS, IMAGE_COLUMNS
from index_store.milvus import filter_fields
from tests.index_store.archive_builders import DIM, FINGERPRINT, add_manifest, write_manifest

FIELDS = {
    "sites": ("site", ("cervix", "urine", "")),
    "systems": ("system", ("Paris 2.0", "")),
    "categories": ("category", ("HSIL", 'a "quoted" category', "Größe über 20 µm")),
    "stains": ("stain", ("Pap", "MGG")),
    "preparations": ("preparation", ("smear", "")),
    "kinds": ("kind", ("field", "cell")),
    "sources": ("source", ("north", "south")),
}
SCALES = (0.25, 0.2501, 0.5, 1.0)
CASES = 40


@pytest.fixture(scope="module", params=["faiss", pytest.param("milvus", marks=pytest.mark.slow)])
def archive(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """Forty cases of one to three images, with random values in every column that can be filtered."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, str]] = []
    for case in range(CASES):
        values = {column: str(rng.choice(options)) for column, options in FIELDS.values()}
        for _ in range(1 + case % 3):
            values |= {FIELDS[name][0]: str(rng.choice(FIELDS[name][1])) for name in IMAGE_COLUMNS}
            values["mpp"] = str(rng.choice(("", *map(str, SCALES))))
            named = {"case": f"case {case}", "patient": f"patient {case // 2}", "phantom": ("true", "false")[case % 2]}
            rows.append({"image": f"{len(rows)}.png", "report": "A report.", **named, **values})
    folder = tmp_path_factory.mktemp("filters")
    vectors = request.getfixturevalue("milvus") if request.param == "milvus" else None
    with Archive.create(folder / "archive", vectors=vectors or "") as archive:
        add_manifest(archive, write_manifest(folder / "manifest.csv", rows))
        yield archive


def allowed(where: CaseFilter, case: Case, image: Image) -> bool:
    """What a filter means, spelled out field by field."""
    return (
        (not where.sites or case.site in where.sites)
        and (not where.systems or case.system in where.systems)
        and (not where.categories or case.category in where.categories)
        and (not where.sources or case.source in where.sources)
        and (not where.stains or image.stain in where.stains)
        and (not where.preparations or image.preparation in where.preparations)
        and (not where.kinds or image.kind in where.kinds)
        and (where.mpp is None or (image.mpp is not None and where.mpp[0] <= image.mpp <= where.mpp[1]))
        and case.patient not in where.exclude_patients
        and case.key not in where.exclude_cases
        and (where.phantoms is None or case.phantom == where.phantoms)
        and (not where.labels or (case.site, case.system, case.category) in where.labels)
    )


filters: st.SearchStrategy[CaseFilter] = st.builds(
    CaseFilter,
    exclude_cases=st.sets(st.sampled_from([f"case {i}" for i in range(CASES)]), max_size=5),
    exclude_patients=st.sets(st.sampled_from([f"patient {i}" for i in range(CASES // 2)]), max_size=5),
    phantoms=st.sampled_from([None, True, False]),
    mpp=st.sampled_from([None, None, (0.0, 19.0), (0.25, 0.25), (0.2501, 0.6), (2.0, 3.0)]),
    labels=st.sets(st.tuples(*(st.sampled_from(FIELDS[name][1]) for name in ("sites", "systems", "categories")))),
    **{name: st.sets(st.sampled_from(values)) for name, (_, values) in FIELDS.items()},
)


@pytest.mark.slow
@settings(max_examples=40)
@given(where=filters)
def test_sql_vector_engine_and_records_agree(archive: Archive, where: CaseFilter) -> None:
    cases = archive.cases()
    expected = {image.id for case in cases for image in case.images if allowed(where, case, image)}
    query = np.eye(1, DIM, dtype=np.float32)
    (hits,) = archive.search(query, 1000, where=where, fingerprint=FINGERPRINT)
    assert {hit.image_id for hit in hits} == expected
    assert archive.image_table(where).ids.tolist() == sorted(expected)
    assert {image.id for case in cases for image in case.images if where.allows(case, image)} == expected
    of_cases = {case.key for case in cases if any(image.id in expected for image in case.images)}
    assert [case.key for case in archive.cases(where)] == [case.key for case in cases if case.key in of_cases]
    assert archive.case_ids(where).tolist() == sorted(case.id for case in cases if case.key in of_cases)


def test_an_empty_filter_permits_every_image(archive: Archive) -> None:
    images = [image.id for case in archive.cases() for image in case.images]
    assert archive.image_table(CaseFilter()).ids.tolist() == sorted(images)
    assert not CaseFilter().includes
    assert not CaseFilter().excludes


def test_what_a_filter_requires_and_what_it_leaves_out() -> None:
    requires: Callable[[CaseFilter], tuple[bool, bool]] = lambda where: (where.includes, where.excludes)  # noqa: E731
    for name in (*CASE_COLUMNS, *IMAGE_COLUMNS):
        assert requires(CaseFilter(**{name: ("a",)})) == (True, False)  # type: ignore[arg-type]
    for name in EXCLUSIONS:
        assert requires(CaseFilter(**{name: ("a",)})) == (False, True)  # type: ignore[arg-type]
    assert requires(CaseFilter(phantoms=False)) == (True, False)
    assert requires(CaseFilter(labels=(("cervix", "", "HSIL"),))) == (True, False)


def test_a_range_of_scales_is_two_numbers_in_order() -> None:
    assert CaseFilter(mpp=[0.2, 0.3]).mpp == (0.2, 0.3)  # type: ignore[arg-type]
    assert CaseFilter(mpp=(0.2, 0.3)).includes
    for wrong in (0.25, (0.25,), (0.3, 0.2), (-1, 2), (0.1, float("inf")), (float("nan"), 1.0), ("a", "b"), "ab"):
        with pytest.raises(FilterError, match="mpp must be a range"):
            CaseFilter(mpp=wrong)  # type: ignore[arg-type]


def test_a_filter_names_as_many_values_as_are_allowed_and_no_more() -> None:
    names = tuple(map(str, range(filters_of.MAX_VALUES)))
    assert CaseFilter(exclude_cases=names).exclude_cases == names
    with pytest.raises(FilterError, match=f"names {len(names) + 1} values; {len(names)} is the most"):
        CaseFilter(exclude_cases=names, sites=("cervix",))


def test_labels_are_triples_of_strings() -> None:
    for wrong in ((("cervix", "HSIL"),), (("cervix", "", 1),), (["cervix", "", "HSIL"],), ("abc",)):
        with pytest.raises(FilterError, match="triples of site, system and category"):
            CaseFilter(labels=wrong)  # type: ignore[arg-type]


def test_the_combinations_of_labels_are_counted(archive: Archive) -> None:
    counted = Counter((case.site, case.system, case.category) for case in archive.cases())
    assert archive.labels() == counted


def test_every_field_of_a_filter_has_its_column() -> None:
    """All but keys to leave out and combinations of labels: what the engines and records do follows from the table."""
    assert set(filters_of.FIELDS) | {*EXCLUSIONS, "labels"} == {each.name for each in fields(CaseFilter)}


def test_every_filtered_column_is_a_vector_engines_field_and_logged_when_it_changes() -> None:
    columns = {column for column, _ in FIELDS.values()}
    assert set(filter_fields.NO_FIELDS) == columns | {"phantom", "mpp", "case_id", "patient_id"}
    logged = {*case_writer.FILTERED_CASE_COLUMNS, *case_writer.FILTERED_IMAGE_COLUMNS}
    assert logged == columns | {"phantom", "slide", "mpp"}
