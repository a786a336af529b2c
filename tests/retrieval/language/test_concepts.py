"""Labels that mean the same are one concept, and what means another thing stays apart."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.phantom import PROFILES
from retrieval.language.concepts import (
    GENERAL_SYSTEM,
    category_concept,
    known_category,
    plain,
    site_concept,
    site_group,
    system_concept,
)
from retrieval.language.vocabulary import vocabulary

SAME = [
    (
        "cervix",
        "HSIL",
        [
            *("HSIL", "hsil", "H-SIL", "H‐SIL", "h sil", "HGSIL", "HSIL ", "HSIL (CIN 2-3)", "HSIL, CIN III"),
            *("High-grade squamous intraepithelial lesion", "high_grade squamous-intraepithelial  lesion"),
        ],
    ),
    ("cervix", "ASC-US", ["ASC-US", "ASCUS", "TBS: ASCUS", "Bethesda: ASC-US", "asc us"]),
    ("cervix", "NILM", ["NILM", "Negative", "Negative for intraepithelial lesion or malignancy (NILM)"]),
    ("cervix", "AIS", ["AIS", "adenocarcinoma in situ", "Adenocarcinoma in-situ (AIS)"]),
    ("cervix", "AGC, favor neoplastic", ["AGC (favor neoplastic)", "AGC, favour neoplastic", "AGC-FN"]),
    (
        "thyroid",
        "Suspicious for malignancy",
        ["Cat. V", "category 5", "V", "Ⅴ", "Bethesda V", "TBSRTC category V"],
    ),
    ("thyroid", "Follicular neoplasm", ["IV", "category 4", "FN/SFN", "Bethesda IV: follicular neoplasm"]),
    ("thyroid", "AUS", ["AUS/FLUS", "Bethesda III (AUS)", "Atypia of undetermined significance", "III"]),
    ("pleural fluid", "Malignant", ["V", "MAL", "Positive for malignancy"]),
    ("parotid", "Benign neoplasm", ["IVa", "Milan IVA", "benign neoplasm"]),
    ("breast", "Malignant", ["C5", "C 5", "Yokohama category 5"]),
    ("urine", "NHGUC", ["negative", "Negative for HGUC", "Negative for high-grade urothelial carcinoma"]),
    ("blood", "malignant", ["Malignant", "positive for malignancy"]),
]
APART = [
    ("cervix", ["HSIL", "ASC-H", "LSIL", "LSIL/HSIL", "HSIL?", "CIN 2", "CIN 3", "CIN 2-3", "IIID2"]),
    ("cervix", ["AIS", "adenocarcinoma", "AGC", "AGC, favor neoplastic", "atypical endometrial cells"]),
    ("cervix", ["ASC-US", "ASC-US, HPV+", "ASC-US, HPV-", "SCC", "SC"]),
    ("thyroid", ["I", "II", "III", "I-II", "II-III", "IV", "V", "VI", "5", "papillary carcinoma"]),
    ("urine", ["NHGUC", "LGUN", "HGUC", "SHGUC", "AUC", "adenocarcinoma"]),
    ("serous effusion", ["MAL", "MAL-P", "MAL-S", "NFM", "AUS", "SFM"]),
    ("lymph node", ["Malignant", "DLBCL", "Suspicious", "Atypical"]),
    ("breast", ["Malignant", "DCIS", "C4", "C3"]),
    ("moon", ["HPV", "HPV-", "HPV+", "grade 1", "grade 2"]),
]


@pytest.mark.parametrize(("site", "name", "written"), SAME, ids=lambda value: value if isinstance(value, str) else "")
def test_spellings_of_a_category_are_one(site: str, name: str, written: list[str]) -> None:
    assert {label: category_concept(site, "", label) for label in written} == dict.fromkeys(written, name)


@pytest.mark.parametrize(("site", "written"), APART)
def test_other_categories_stay_apart(site: str, written: list[str]) -> None:
    concepts = [category_concept(site, "", label) for label in written]
    assert len(set(concepts)) == len(written), concepts


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("urine", ["urine", "Urinary tract", "voided urine", "Urine cytology"]),
        ("cervix", ["cervix", "LBC cervix", "Cervix, LBC", "cervical smear", "Cervix uteri", "Pap test"]),
        ("pleural effusion", ["pleural fluid", "Pleural effusion, left", "pleura"]),
        ("serous effusion", ["serous effusion", "effusion"]),
        ("ascites", ["ascites", "ascitic fluid", "Peritoneal fluid"]),
        ("bronchoalveolar lavage", ["BAL", "Broncho-alveolar lavage", "BAL fluid"]),
        ("breast", ["Left breast FNA", "mamma", "Breast"]),
        ("thyroid", ["Thyroid gland", "Thyroid, right lobe", "FNA thyroid"]),
        ("cerebrospinal fluid", ["CSF", "liquor", "Cerebro-spinal fluid"]),
        ("blood", ["blood", "Peripheral blood", "peripheral blood smear"]),
        ("bone marrow", ["bone-marrow", "Bone marrow aspirate"]),
    ],
)
def test_names_of_a_site_are_one(name: str, written: list[str]) -> None:
    assert {label: site_concept(label) for label in written} == dict.fromkeys(written, name)


def test_other_sites_stay_apart() -> None:
    apart = [
        *("serous effusion", "pleural fluid", "ascites", "pericardial fluid", "peritoneal washing", "lung", "BAL"),
        *("sputum", "urine", "bladder washing", "parotid", "salivary gland", "bone", "bone marrow", "cervix", "vagina"),
        *("vault smear", "cervical lymph node", "lymph node", "moon", "pancreas", "bile duct", "oral cavity", "anal"),
        *("endometrium", "ovary", "blood"),
    ]
    assert len({site_concept(site) for site in apart}) == len(apart)


@pytest.mark.parametrize(
    ("written", "group"),
    [
        (["cervix", "LBC cervix", "Vaginal smear", "PAP TEST"], "Bethesda cervical 2014"),
        (["pleural fluid", "Ascites", "Pleural effusion, left"], "International System for serous fluids"),
        (["blood", "Peripheral blood"], "blood"),
        (["bone marrow", "Bone marrow aspirate"], "bone marrow"),
        (["liver", "Liver FNA"], "liver"),
        (["moon", "Moon ", "MOON"], "moon"),
        (["", " ", "Unknown", "n/a"], ""),
    ],
)
def test_sites_of_one_system_of_their_own_are_one_group(written: list[str], group: str) -> None:
    assert {site: site_group(site) for site in written} == dict.fromkeys(written, group)


@pytest.mark.parametrize(
    ("site", "system", "name"),
    [
        ("thyroid", "Bethesda", "Bethesda thyroid 2023"),
        ("cervix", "The Bethesda System", "Bethesda cervical 2014"),
        ("cervix", "TBS", "Bethesda cervical 2014"),
        ("thyroid", "TBSRTC", "Bethesda thyroid 2023"),
        ("thyroid", "", "Bethesda thyroid 2023"),
        ("pleural fluid", "TIS", "International System for serous fluids"),
        ("urine", "Paris 1.0", "paris 1.0"),
        ("thyroid", "our own", "our own"),
        ("moon", "Bethesda", "bethesda"),
        ("", "Milan 2023", "Milan 2023"),
    ],
)
def test_a_system_is_known_by_its_site(site: str, system: str, name: str) -> None:
    assert system_concept(system, site) == name


def test_the_general_system_is_one_of_the_vocabulary() -> None:
    assert vocabulary().system(GENERAL_SYSTEM) is not None


def test_every_name_and_code_of_the_vocabulary_is_its_own_category() -> None:
    for system in vocabulary().systems:
        for category in system.categories:
            for word in (category.name, *category.codes):
                if word not in category.narrower:
                    known = known_category(system.sites[0], system.name, word.lower())
                    assert known is category, (system.name, word)


def test_phantoms_have_the_vocabularys_labels() -> None:
    for profile in PROFILES:
        assert site_concept(profile.site) == profile.site
        assert category_concept(profile.site, profile.system, profile.category) == profile.category


def test_a_category_of_a_system_that_is_not_known_keeps_its_own_name() -> None:
    assert known_category("thyroid", "our own", "V") is None
    assert category_concept("thyroid", "our own", "Cat. V") == "cat. v"
    assert known_category("", "", "HSIL").name == "HSIL"  # type: ignore[union-attr]
    assert known_category("", "", "III") is None  # of several systems
    assert known_category("cervix", "", " ") is None


@given(st.text(max_size=60))
def test_any_text_is_a_label(text: str) -> None:
    for form in ("NFC", "NFD"):
        assert plain(unicodedata.normalize(form, text)) == plain(text)
    assert plain(plain(text)) == plain(text)
    assert bool(category_concept("cervix", "", text)) == bool(plain(text))
    assert isinstance(site_concept(text), str)
    assert isinstance(system_concept(text, "cervix"), str)
