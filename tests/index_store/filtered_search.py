"""Filtered searches, and their results by brute force over the records."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from index_store import Archive, Case, CaseFilter, Hit, Image
from tests.index_store.archive_builders import DIM, unit, vector_of

Permits = Callable[[Case, Image], bool]

QUERIES = unit(np.random.default_rng(5).normal(size=(3, DIM)))


def expected(archive: Archive, query: np.ndarray, k: int, permits: Permits) -> list[Hit]:
    """Brute force over the records."""
    scored = [
        Hit(image.id, float((vector_of(image.sha256).astype(np.float64) * query.astype(np.float64)).sum()))
        for case in archive.cases()
        for image in case.images
        if permits(case, image)
    ]
    return sorted(scored, key=lambda hit: (-hit.score, hit.image_id))[:k]


FILTERS: dict[str, tuple[CaseFilter | None, Permits]] = {
    "none": (None, lambda case, image: True),
    "empty": (CaseFilter(), lambda case, image: True),
    "site": (CaseFilter(sites=("cervix",)), lambda case, image: case.site == "cervix"),
    "sites": (CaseFilter(sites=("cervix", "urine")), lambda case, image: case.site in ("cervix", "urine")),
    "system": (CaseFilter(systems=("Bethesda",)), lambda case, image: case.system == "Bethesda"),
    "category": (CaseFilter(categories=("HSIL",)), lambda case, image: case.category == "HSIL"),
    "labels": (
        CaseFilter(labels=(("cervix", "Bethesda", "HSIL"), ("urine", "", "nothing"))),
        lambda case, image: (case.site, case.system, case.category) == ("cervix", "Bethesda", "HSIL"),
    ),
    "stain": (CaseFilter(stains=("Diff-Quik",)), lambda case, image: image.stain == "Diff-Quik"),
    "preparation": (CaseFilter(preparations=("smear",)), lambda case, image: image.preparation == "smear"),
    "kind": (CaseFilter(kinds=("cell",)), lambda case, image: image.kind == "cell"),
    "source": (CaseFilter(sources=("source-2",)), lambda case, image: case.source == "source-2"),
    "phantoms": (CaseFilter(phantoms=True), lambda case, image: case.phantom),
    "no phantoms": (CaseFilter(phantoms=False), lambda case, image: not case.phantom),
    "not a patient": (CaseFilter(exclude_patients=("patient-3",)), lambda case, image: case.patient != "patient-3"),
    "not a case": (
        CaseFilter(exclude_cases=("case-5", "case-6")),
        lambda case, image: case.key not in ("case-5", "case-6"),
    ),
    "several": (
        CaseFilter(sites=("cervix",), stains=("Giemsa",), exclude_patients=("patient-1",)),
        lambda case, image: case.site == "cervix" and image.stain == "Giemsa" and case.patient != "patient-1",
    ),
    "nobody": (CaseFilter(sites=("nowhere",)), lambda case, image: False),
    "an unknown patient": (CaseFilter(exclude_patients=("nobody",)), lambda case, image: True),
}
"""By name a filter, and what it means."""
