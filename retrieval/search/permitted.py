"""What a `CaseFilter` permits, on records that were read already: for calculations over a whole archive in memory.

The archive itself filters in SQL (`index_store.catalog.filters`); a test holds the two to the same answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from index_store import Case, CaseFilter, Image


def permitted_images(cases: Iterable[Case], where: CaseFilter | None) -> list[tuple[Case, tuple[Image, ...]]]:
    """The cases that have a permitted image, each with those of its images that are."""
    if where is None:
        return [(case, case.images) for case in cases if case.images]
    sites, systems, categories, sources, stains, preparations, kinds, patients, keys = map(
        frozenset,
        (
            *(where.sites, where.systems, where.categories, where.sources),
            *(where.stains, where.preparations, where.kinds),
            *(where.exclude_patients, where.exclude_cases),
        ),
    )

    def allows(case: Case) -> bool:
        asked = (sites, case.site), (systems, case.system), (categories, case.category), (sources, case.source)
        return (
            all(not values or value in values for values, value in asked)
            and case.patient not in patients
            and case.key not in keys
            and where.phantoms in (None, case.phantom)
        )

    def shows(image: Image) -> bool:
        asked = (stains, image.stain), (preparations, image.preparation), (kinds, image.kind)
        return all(not values or value in values for values, value in asked)

    found = [(case, tuple(filter(shows, case.images))) for case in cases if allows(case)]
    return [(case, images) for case, images in found if images]
