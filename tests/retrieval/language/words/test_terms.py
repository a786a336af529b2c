"""Any name of a category, a diagnosis, a site or a stain finds the reports that hold another name of it."""

from __future__ import annotations

import numpy as np
import pytest

from retrieval.language.vocabulary import vocabulary
from retrieval.language.words.bm25 import ReportWords
from retrieval.language.words.terms import content_words, forms, query_terms, terms_of

REPORTS = {
    "HSIL": "Cervical smear: HSIL.",
    "long HSIL": "Cervical smear: high-grade squamous intraepithelial lesion.",
    "CIN 3": "Cervix. CIN III.",
    "ASC-H": "Cervix: ASC-H. SIL of higher grade; squamous lesion, intraepithelial, H.",
    "long ASC-H": "Atypical squamous cells, cannot exclude a high-grade lesion.",
    "LSIL": "Cervix: LSIL.",
    "long LSIL": "Cervix: low grade squamous intraepithelial lesions.",
    "CIN 1": "Cervix: CIN I.",
    "NILM": "NILM. Lesion of no significance.",
    "long NILM": "Negative for intraepithelial lesion or malignancy.",
    "ASC-US": "ASCUS, HPV positive.",
    "long ASC-US": "Atypical squamous cells of undetermined significance.",
    "AUS": "Thyroid, FNA: AUS.",
    "long AUS": "Thyroid, FNA: atypia of undetermined significance.",
    "PTC": "Goitre. PTC.",
    "long PTC": "Papillary thyroid carcinoma.",
    "SCC": "Lung. SCC.",
    "long SCC": "Neck node: squamous cell carcinoma.",
    "urine": "Voided urine, MGG. Nothing to report.",
}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        *((name, "HSIL, long HSIL, CIN 3") for name in ("HSIL", "H-SIL", "H SIL", "HGSIL", "hg-sil")),
        ("High-grade squamous intraepithelial lesion", "HSIL, long HSIL, CIN 3"),
        ("CIN 3", "CIN 3"),
        *((name, "LSIL, long LSIL, CIN 1") for name in ("LSIL", "LGSIL", "L-SIL", "CIN 1", "mild dysplasia")),
        ("low grade squamous intraepithelial lesion", "LSIL, long LSIL, CIN 1"),
        *((name, "NILM, long NILM") for name in ("NILM", "negative for intraepithelial lesion or malignancy")),
        *((name, "ASC-US, long ASC-US") for name in ("ASC-US", "ASCUS", "ASC US")),
        *(
            (name, "AUS, long AUS")
            for name in ("AUS", "Bethesda III", "FLUS", "Thy3a", "atypia of unknown significance")
        ),
        *((name, "PTC, long PTC") for name in ("PTC", "papillary carcinoma of the thyroid", "papillary carcinoma")),
        *((name, "SCC, long SCC") for name in ("SCC", "epidermoid carcinoma", "Squamous cell carcinomas")),
        ("ASC-H", "ASC-H, long ASC-H"),
        ("urine, May-Grünwald-Giemsa", "urine"),
        ("goiter, papillary carcinoma", "PTC"),
        ("Pap smear HGSIL", "HSIL, long HSIL, CIN 3"),
    ],
)
def test_any_name_finds_the_reports_that_hold_another(query: str, found: str) -> None:
    index = ReportWords(list(REPORTS.values()))
    containing = index.containing(content_words(query))
    assert [name for name, holds in zip(REPORTS, containing, strict=True) if holds] == found.split(", ")
    assert index.scores(query)[containing].min() > 0
    assert all(map(index.knows, content_words(query)))
    kept = ReportWords.unpacked(*index.packed())
    assert np.array_equal(kept.containing(content_words(query)), containing)


@pytest.mark.parametrize("site", ["Breast", "Kidney", "Lung"])
def test_a_papillary_carcinoma_of_another_site_is_none_of_the_thyroid(site: str) -> None:
    index = ReportWords([f"{site} FNA: papillary carcinoma.", "Thyroid: PTC.", "Node: papillary carcinoma, thyroid."])
    for query, found in (
        ("PTC", [False, True, True]),
        ("papillary carcinoma", [True, True, True]),
        (f"{site}, papillary carcinoma", [True, False, False]),
        ("thyroid, papillary ca", [False, True, True]),
    ):
        assert index.containing(content_words(query)).tolist() == found, query


@pytest.mark.parametrize("query", ["H-SIL", "H SIL", "ASC US"])
def test_the_parts_of_an_abbreviation_are_no_words_of_a_query(query: str) -> None:
    assert all(term.startswith("#") for term in query_terms(query))


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("Foamy cells, cells", {"foamy": 1, "cells": 2}),
        ("H-SIL in a smear", {"#Bethesda cervical 2014/HSIL": 1, "in": 1, "a": 1, "smear": 1}),
        ("HSIL, foam", {"#Bethesda cervical 2014/HSIL": 1, "hsil": 1, "foam": 1}),
        ("ASCUS", {"#Bethesda cervical 2014/ASC-US": 1, "ascus": 1}),
        ("CIN 3 and CIN 3", {"#CIN 3": 2, "cin": 2, "3": 2, "and": 1}),
    ],
)
def test_the_terms_of_a_query_are_its_words_and_what_they_name(query: str, terms: dict[str, float]) -> None:
    assert query_terms(query) == terms


def test_a_name_of_several_systems_counts_as_one_word() -> None:
    concepts = {term: times for term, times in query_terms("AUS").items() if term.startswith("#")}
    assert len(concepts) > 1
    assert sum(concepts.values()) == pytest.approx(1)


def test_each_alias_of_a_category_asks_for_what_a_report_with_its_code_holds() -> None:
    for system in vocabulary().systems:
        for category in system.categories:
            concept = f"#{system.name}/{category.name}"
            for name in (*category.aliases, *category.synonyms):
                if "*" not in name:
                    assert concept in terms_of(f"Slide 1: {name}."), name
                    asked = set().union(*map(forms, content_words(name)))
                    assert (concept in asked) is (name not in category.narrower), name
