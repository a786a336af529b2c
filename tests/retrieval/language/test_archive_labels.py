"""Filters, facets and classes of an archive by what its labels mean; the archive keeps what was written."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from index_store import Archive, CaseFilter
from retrieval.assessment.confounder_pool import ConfounderPool
from retrieval.assessment.label_agreement import agreement
from retrieval.evaluation.dataset import labelled_cases
from retrieval.ingest.label_sources import label_sources
from retrieval.language.archive_labels import (
    ArchiveLabels,
    archive_labels,
    meant_filter,
    values_without_cases,
)
from retrieval.reader_study.candidates import archive_candidates
from retrieval.search.by_category import gallery
from tests.retrieval.labelled_archive import unit
from tests.retrieval.vector_archive import FINGERPRINT, archive_of

SHARED = Path(__file__).parents[4] / "shared" / "data" / "faults" / "category_spellings" / "manifest.csv"
LABELS = [
    *[("Cervical smear", "", written) for written in ("HSIL", "hsil", "H-SIL", "HSIL (CIN 2-3)", "HSIL ", "HGSIL")],
    ("cervix", "TBS", "High-grade squamous intraepithelial lesion"),
    ("cervix", "Bethesda cervical 2014", "ASC-US"),
    ("LBC cervix", "", "ASCUS"),
    ("cervix", "", "TBS: ASCUS"),
    ("cervix", "", "own category"),
    ("cervix", "", "Own  Category"),
    ("thyroid", "", "V"),
    ("thyroid", "", "Bethesda VI"),
    ("pleural fluid", "", "V"),
    ("Pleural effusion", "", "Malignant"),
    ("moon", "", "V"),
    ("", "", ""),
]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """Two patients with each spelling."""
    rows = [
        {"case": f"case {i:02}", "site": site, "system": system, "category": category}
        for i, (site, system, category) in enumerate([*LABELS, *LABELS])
    ]
    vectors = unit(np.random.default_rng(0).normal(size=(len(rows), 8)))
    with archive_of(tmp_path_factory.mktemp("labels"), rows, vectors) as made:
        yield made


def found(archive: Archive, **fields: tuple[str, ...]) -> set[tuple[str, str]]:
    """Site and category, as written, of the cases that a filter finds: by records, in SQL and in a search."""
    where = meant_filter(archive, CaseFilter(**fields))  # type: ignore[arg-type]
    cases = archive.cases(where)
    assert where is not None
    assert [case.key for case in archive.cases() if any(map(partial(where.allows, case), case.images))] == [
        case.key for case in cases
    ]
    assert archive.case_ids(where).tolist() == [case.id for case in cases]
    (hits,) = archive.search(np.eye(1, 8, dtype=np.float32), 100, where=where, fingerprint=FINGERPRINT)
    assert {hit.image_id for hit in hits} == {image.id for case in cases for image in case.images}
    return {(case.site, case.category) for case in cases}


def test_a_filter_finds_every_spelling(archive: Archive) -> None:
    hsil = {(site, category) for site, _, category in LABELS[:7]}
    for name in ("HSIL", "h-sil", "High grade SIL"):
        assert found(archive, categories=(name,)) == hsil
    assert len(found(archive, categories=("ASC-US",))) == 3
    assert len(found(archive, sites=("cervix uteri",), categories=("OWN CATEGORY",))) == 2
    assert found(archive, sites=("pleura",)) == {("pleural fluid", "V"), ("Pleural effusion", "Malignant")}
    cervical = {(site, category) for site, _, category in LABELS[:12]}  # those without a system have their site's
    assert found(archive, systems=("Bethesda cervical 2014",)) == cervical
    assert found(archive, systems=("TBS",), categories=("ASC-US",)) == {labels[::2] for labels in LABELS[7:10]}
    assert len(found(archive, systems=("Bethesda thyroid 2023",))) == 2
    assert found(archive, categories=("no such thing",)) == set()


def test_the_same_written_label_is_told_apart_by_its_site(archive: Archive) -> None:
    malignant = {("thyroid", "Bethesda VI"), ("pleural fluid", "V"), ("Pleural effusion", "Malignant")}
    assert found(archive, categories=("Malignant",)) == malignant
    assert found(archive, categories=("suspicious for malignancy",)) == {("thyroid", "V")}
    assert found(archive, sites=("thyroid",), categories=("Malignant",)) == {("thyroid", "Bethesda VI")}


def test_a_filter_that_means_what_it_says_stays_as_it_is(archive: Archive) -> None:
    of_sites = (CaseFilter(sites=("moon",)), CaseFilter(sites=("nowhere",)))
    for where in (None, CaseFilter(), CaseFilter(stains=("MGG",)), *of_sites):
        assert meant_filter(archive, where) is where


def test_each_concept_is_one_facet_and_counts_every_spelling(archive: Archive) -> None:
    facets = archive_labels(archive).facets()
    assert {facet.name: facet.cases for facet in facets["category"]} == {
        **{"HSIL": 14, "ASC-US": 6, "Malignant": 6, "Own  Category": 4},
        **{"Suspicious for malignancy": 2, "V": 6},
    }
    assert {facet.name: facet.cases for facet in facets["site"]} == {
        **{"cervix": 24, "thyroid": 4, "pleural effusion": 4, "moon": 2},
    }
    (hsil,) = [facet for facet in facets["category"] if facet.name == "HSIL"]
    assert set(hsil.others) == {"hsil", "H-SIL", "HSIL (CIN 2-3)", "HGSIL", LABELS[6][2]}
    assert {facet.name: facet.cases for facet in facets["system"]} == {
        "Bethesda cervical 2014": 24,
        "Bethesda thyroid 2023": 4,
        "International System for serous fluids": 4,
    }
    assert facets["system"][0].written == ("Bethesda cervical 2014", "TBS")
    for field, name in (("sites", "site"), ("systems", "system"), ("categories", "category")):
        for facet in facets[name]:  # what is counted is what is found
            where = meant_filter(archive, CaseFilter(**{field: (facet.name,)}))  # type: ignore[arg-type]
            assert len(archive.cases(where)) == facet.cases, facet
    assert archive_labels(archive).named("category", "HGSIL") == "HSIL"
    assert archive_labels(archive).named("category", "nothing") == "nothing"


def test_an_evaluation_has_one_class_for_each_concept(archive: Archive) -> None:
    labels = labelled_cases(archive.cases()).labels
    assert len({(label.site, label.system, label.category) for label in labels}) == 7
    assert {label.category for label in labels if label.category.startswith("HS")} == {"HSIL"}
    assert {label.system for label in labels if label.site == "cervix"} == {"Bethesda cervical 2014"}


def test_agreement_and_galleries_count_every_spelling(archive: Archive) -> None:
    cases = archive.cases()
    told = agreement(cases, site="Cervical smear").leading
    assert told is not None
    shares = {share.category: share.patients for share in told.categories}
    assert (told.system, shares["HSIL"], shares["ASC-US"]) == ("Bethesda cervical 2014", 14, 6)
    assert told.sites == ("cervix",)
    vector = np.eye(1, 8, dtype=np.float32)
    shown = gallery(archive, vector, fingerprint=FINGERPRINT, system="Bethesda cervical 2014", site="pap smear", m=20)
    row = next(row for row in shown.rows if row.category == "HSIL")
    assert (row.available, len(row.cases)) == (14, 14)
    serous = "International System for serous fluids"
    fluid = gallery(archive, vector, fingerprint=FINGERPRINT, system=serous, site="pleura")
    assert {row.category: row.available for row in fluid.rows if row.available} == {"Malignant": 4}


def test_confounders_and_reader_studies_know_a_site_by_any_name(archive: Archive) -> None:
    assert ConfounderPool.of(archive).sites == 5
    assert len(archive_candidates(archive, CaseFilter(sites=("cervix",)))) == 24
    assert len(label_sources(archive, where=CaseFilter(categories=("HGSIL",)))) == 14


def test_the_spellings_of_the_shared_manifest_are_one_category_each() -> None:
    if not SHARED.exists():
        pytest.skip("the shared data are not beside this checkout")
    with SHARED.open(encoding="utf-8", newline="") as file:
        written = [row["category"].strip() for row in csv.DictReader(file)]
    facets = ArchiveLabels(Counter(("cervix", "", category) for category in written[:12])).facets()["category"]
    assert {facet.name: facet.cases for facet in facets} == {"HSIL": 7, "ASC-US": 3, "NILM": 2}


def test_stains_preparations_and_kinds_are_compared_by_what_they_mean(tmp_path: Path) -> None:
    rows = [
        {"case": "a", "stain": "Papanicolaou", "preparation": "LBC", "kind": "field"},
        {"case": "b", "stain": "PAP stain", "preparation": "Liquid-based", "kind": "Field"},
        {"case": "c", "stain": "MGG", "preparation": "own way", "kind": "cell", "source": "Own Laboratory"},
    ]
    with archive_of(tmp_path, rows, unit(np.eye(3, 8))) as archive:

        def keys(**fields: tuple[str, ...]) -> str:
            return "".join(c.key for c in archive.cases(meant_filter(archive, CaseFilter(**fields))))  # type: ignore[arg-type]

        assert keys(stains=("pap",)) == keys(preparations=("liquid based cytology",)) == keys(kinds=("fields",)) == "ab"
        assert keys(stains=("May-Grünwald-Giemsa",)) == keys(sources=("own  laboratory",)) == "c"
        assert keys(preparations=("Own Way",)) == "c"
        assert keys(stains=("Giemsa",)) == ""
        asked = CaseFilter(stains=("Giemsa", "mgg"), sites=("cervix",), kinds=("cell",))
        assert values_without_cases(archive, asked) == {"site": ("cervix",), "stain": ("Giemsa",)}


def test_what_is_not_known_is_shown_as_most_cases_write_it() -> None:
    labels = ArchiveLabels({("Moon", "", "dusty"): 1, ("moon", "", "Dusty"): 5, ("moon ", "Own", "Dusty"): 1})
    assert labels.shown("Moon", "", "dusty") == ("moon", "", "Dusty")
    assert labels.shown("Mars", " ", " red") == ("Mars", "", "red")
    assert ArchiveLabels({}).facets() == {"site": (), "system": (), "category": ()}
