"""The filter on records permits what the archive's own filter does."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store import Archive, CaseFilter
from retrieval.search.permitted import permitted_images
from tests.retrieval.vector_archive import FINGERPRINT, archive_of

COLUMNS = {
    "sites": ("site", ("cervix", "urine", "")),
    "systems": ("system", ("Paris 2.0", "")),
    "categories": ("category", ("HSIL", "AUC")),
    "stains": ("stain", ("Pap", "MGG")),
    "preparations": ("preparation", ("smear", "")),
    "kinds": ("kind", ("field", "cell")),
    "sources": ("source", ("north", "south")),
}
CASES = 40


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    rng = np.random.default_rng(0)
    of_image = {"stain", "preparation", "kind"}
    rows: list[dict[str, str]] = []
    for case in range(CASES):
        values = {column: str(rng.choice(options)) for column, options in COLUMNS.values()}
        for _ in range(1 + case % 3):
            values |= {column: str(rng.choice(of)) for column, of in COLUMNS.values() if column in of_image}
            rows.append({"case": f"case {case}", "patient": f"patient {case // 2}", **values})
    with archive_of(tmp_path_factory.mktemp("permitted"), rows, np.eye(len(rows), dtype=np.float32)) as archive:
        yield archive


@settings(max_examples=40, deadline=None)
@given(
    st.fixed_dictionaries({}, optional={name: st.sets(st.sampled_from(of)) for name, (_, of) in COLUMNS.items()}),
    st.sets(st.sampled_from([f"case {i}" for i in range(CASES)]), max_size=5),
    st.sets(st.sampled_from([f"patient {i}" for i in range(CASES // 2)]), max_size=5),
    st.sampled_from([None, True, False]),
)
def test_a_filter_means_the_same_on_records_as_in_a_search(
    archive: Archive, values: dict[str, set[str]], cases: set[str], patients: set[str], phantoms: bool | None
) -> None:
    where = CaseFilter(
        **{name: tuple(sorted(of)) for name, of in values.items()},
        exclude_cases=tuple(cases),
        exclude_patients=tuple(patients),
        phantoms=phantoms,
    )
    images = permitted_images(archive.cases(), where)
    query = np.eye(1, archive.encoder.dim, dtype=np.float32)
    hits = archive.search(query, 1000, where=where, fingerprint=FINGERPRINT)[0]
    assert sorted(image.id for _, of in images for image in of) == sorted(hit.image_id for hit in hits)


def test_without_a_filter_all_images_are_permitted(archive: Archive) -> None:
    assert permitted_images(archive.cases(), None) == [(case, case.images) for case in archive.cases()]
