"""Site and category from report text: by table, on COIN's reports, and on phantoms whose truth is known."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generation.phantom import phantom_cases
from generation.prompts.glossary import glossary
from retrieval import read_report
from retrieval.language.mentions import find_mentions
from retrieval.language.vocabulary import ReportingSystem, vocabulary

COIN_REPORTS = Path(__file__).parents[3] / "../shared/data/coin-examples/reports.csv"
PRECISION = 0.95  # asked of every answer; how often there is one is stated beside it
COVERAGE = 0.85  # of 4,800 phantom reports .89; samples of 200 scatter by .02

# Report, site, category; None where the reader should abstain.
TABLE = [
    ("Cytology of abdominal lavage fluid did not find cancer cells.", "serous effusion", "NFM"),
    ("Atypical squamous cells, cannot exclude HSIL.", "cervix", "ASC-H"),
    ("Atypical squamous cells; HSIL cannot be excluded.", "cervix", "ASC-H"),
    ("(Cervical smear) HSIL cannot be excluded.", "cervix", "ASC-H"),
    ("(Pleural effusion) No definite malignant cells, but suspicious for adenocarcinoma.", "serous effusion", None),
    ("Pleural fluid: no lymphoma but suspicious for malignancy.", "serous effusion", None),
    ("(Sputum) No malignant cells are seen.", "lung", "Benign"),
    ("(Sputum) Malignant cells are not seen.", "lung", "Benign"),
    ("(Urine) Negative for high-grade urothelial carcinoma.", "urine", "NHGUC"),
    ("Voided urine. Suspicious for high-grade urothelial carcinoma (SHGUC).", "urine", "SHGUC"),
    ("Urine: high grade urothelial carcinoma not seen.", "urine", "NHGUC"),
    ("Urine: no SHGUC.", "urine", "NHGUC"),
    ("(Thyroid) No suspicion of malignancy.", "thyroid", "Benign"),
    ("(Cervix) No HSIL.", "cervix", None),
    ("(Thyroid) No follicular neoplasm.", "thyroid", None),
    ("(Parotid) Adenolymphoma.", "salivary gland", "Benign neoplasm"),
    ("(Parotid) adenolymphoma.", "salivary gland", "Benign neoplasm"),
    ("(FNA left breast) Findings are not diagnostic of malignancy; atypical ductal cells.", "breast", None),
    ("(FNA left breast) suspicious for malignancy, consistent with ductal carcinoma.", "breast", "Suspicious"),
    ("(Left thyroid) Suspicious for malignancy. The cells are consistent with papillary carcinoma.", "thyroid", None),
    ("(Thyroid) Benign. History of breast carcinoma.", "thyroid", "Benign"),
    (
        "Clinical history: lung carcinoma. Specimen: pleural fluid. Diagnosis: negative for malignancy.",
        "serous effusion",
        "NFM",
    ),
    ("(Cervical lymph node) HSIL", "lymph node", None),
    ("(Cerebrospinal fluid) malignant cells, metastasis of a breast carcinoma.", "cerebrospinal fluid", "malignant"),
    ("Neuroendocrine tumour.", None, None),
    ("Squamous cell carcinoma (SCC).", None, None),
    ("Peripheral blood smear.", "blood", None),
    ("(FNA of right parotid) Neoplasm: pleomorphic adenoma. No malignancy.", "salivary gland", "Benign neoplasm"),
    ("(Parotid) No malignant cells.", "salivary gland", None),
    ("THYROID, LEFT LOBE, FNA:\nBETHESDA CATEGORY III - ATYPIA OF UNDETERMINED SIGNIFICANCE", "thyroid", "AUS"),
    ("FINAL DIAGNOSIS: LYMPH NODE, LEFT AXILLA, FNA: METASTATIC CARCINOMA", "lymph node", "Malignant"),
    ("Thyroid FNA. Diagnosis: nodular goitre. Papillary carcinoma was ruled out.", "thyroid", "Benign"),
    ("(Lung FNA) Granulomatous inflammation. Repeat biopsy to exclude malignancy.", "lung", "Benign"),
    ("(Pleural fluid) Reactive mesothelial cells; if malignancy is suspected, repeat.", "serous effusion", "NFM"),
    ("(Ascites) Atypical cells, favour reactive.", "serous effusion", "AUS"),
    ("(Ascites) Adenocarcinoma?", "serous effusion", None),
    ("(Bile duct brushing) Suspicious for malignancy.", "pancreas and bile ducts", "Suspicious"),
    ("(EUS-FNA pancreas) Neuroendocrine tumour.", "pancreas and bile ducts", "Malignant"),
    ("(EUS-FNA pancreas) No evidence of neoplasm; chronic pancreatitis.", "pancreas and bile ducts", "Benign"),
    ("(Urine) Adenocarcinoma cells.", "urine", "Other malignancies"),
    ("(Urine) few tumour cells", "urine", None),
    ("(Urine) No tumour cells found.", "urine", "NHGUC"),
    ("(Breast and axillary lymph node) ductal carcinoma", None, None),
    ("No HSIL. LSIL.", "cervix", "LSIL"),
    ("LSIL; cannot exclude HSIL.", "cervix", None),
    ("HSIL with features suspicious for invasion.", "cervix", None),  # graver, and no category of the system
    ("Negative for intraepithelial lesion or malignancy. Atrophy.", "cervix", "NILM"),
    ("Unsatisfactory for evaluation.", None, None),
    ("(Cervix) Unsatisfactory for evaluation.", "cervix", "Unsatisfactory"),
    ("The pleural effusion is free of malignant cells.", "serous effusion", "NFM"),
    ("Pleural fluid with malignant cells.", "serous effusion", "Malignant"),
    ("Lymph node FNA: no evidence of lymphoma or metastatic carcinoma.", "lymph node", "Benign"),
    ("Lymph node FNA: Hodgkin lymphoma cannot be ruled out.", "lymph node", None),
    ("Breast FNA: fibroadenoma, no malignant cells, C2.", "breast", "Benign"),
    ("Breast FNA: not benign.", "breast", None),
    ("(Breast) Atypia, carcinoma in situ cannot be excluded", "breast", "Atypical"),
    ("Thyroid: non-diagnostic.", "thyroid", "Nondiagnostic"),
    ("Bronchial washings: Positive for malignant cells, small cell carcinoma.", "lung", "Malignant"),
    ("Bronchial washings: carcinoma is considered unlikely.", "lung", None),
    ("", None, None),
    ("   \n", None, None),
    ("(", None, None),
    (")(((", None, None),
    ("(Anal swab) HSIL", "anal canal", None),
    ("(Pap smear) AGC, favor neoplastic", "cervix", "AGC, favor neoplastic"),
    ("(Pap smear) Adenocarcinoma in situ (AIS)", "cervix", "AIS"),
    ("(Pap smear) Adenocarcinoma, endocervical", "cervix", "Adenocarcinoma"),
    ("(Salivary gland) Suspicious for salivary duct carcinoma", "salivary gland", "Suspicious for malignancy"),
    ("(Thyroid) Suspicious for a follicular neoplasm", "thyroid", "Follicular neoplasm"),
    ("(Thyroid) Papillary thyroid microcarcinoma cannot be excluded", "thyroid", None),
    ("(Thyroid) Medullary carcinoma rather than papillary carcinoma", "thyroid", None),
    ("(Lung) No evidence of small cell carcinoma; adenocarcinoma present", "lung", None),
    ("(Lung) No small cell carcinoma, adenocarcinoma present", "lung", None),
    ("(Thyroid) Suspicious for urothelial carcinoma; malignant cells.", "thyroid", None),
    ("(Urine) Lymphoma cannot be excluded; metastasis.", "urine", None),
    ("Breast FNA. Preliminary: malignant. Final: benign.", "breast", "Benign"),
    ("Breast FNA. Final: benign. Preliminary: malignant.", "breast", "Benign"),
    ("Breast FNA. Outside diagnosis: malignant. Final diagnosis: benign.", "breast", "Benign"),
    ("Breast FNA. Preliminary: malignant. Final: pending.", "breast", None),
    ("Breast FNA: malignant. Preliminary report. Final:", "breast", None),
    ("Breast FNA. Impression: malignant. Final diagnosis: no malignant cells.", "breast", None),
    ("Pleural fluid. Tumour cells present: N", "serous effusion", None),
    ("Pleural fluid. Tumour cells present: N. Mesothelial cells: Y.", "serous effusion", "NFM"),
    ("Breast FNA: Adequacy = adequate | Malignant cells = not identified | Category = C2", "breast", "Benign"),
]

# Labels of ours, by reading. The hedged ones (1, 9: "suggesting"; 7, 14: no grade) are debatable; the reader abstains
# on three of them, and takes "consistent with cancer cells" in urine for HGUC.
COIN = {
    "Sample1.jpg": ("lung", "Suspicious"),
    "Sample2.jpg": ("cervix", "NILM"),
    "Sample3.jpg": ("cervix", "NILM"),
    "Sample4.jpg": ("cervix", "HSIL"),
    "Sample5.jpg": ("cervix", "AGC"),
    "Sample6.jpg": ("cervix", "ASC-US"),
    "Sample7.jpg": ("urine", "HGUC"),
    "Sample8.jpg": ("serous effusion", "NFM"),
    "Sample9.jpg": ("lymph node", "Suspicious"),
    "Sample10.jpg": ("serous effusion", "NFM"),
    "Sample11.jpg": ("serous effusion", "NFM"),
    "Sample12.jpg": ("serous effusion", "AUS"),
    "Sample13.jpg": ("serous effusion", "Malignant"),
    "Sample14.jpg": ("urine", "HGUC"),
    "Sample15.jpg": ("thyroid", "AUS"),
    "Sample16.jpg": ("serous effusion", "Malignant"),
    "Sample17.jpg": ("thyroid", "Malignant"),
    "Sample18.jpg": ("thyroid", "Malignant"),
    "Sample19.jpg": ("serous effusion", "Malignant"),
    "Sample20.jpg": ("lymph node", "Malignant"),
}


def precision_and_coverage(answers: list[tuple[str | None, str]]) -> tuple[float, float]:
    """Of (answer, truth): how many answers are right, and how many reports have one."""
    given_ones = [(answer, truth) for answer, truth in answers if answer is not None]
    return sum(answer == truth for answer, truth in given_ones) / len(given_ones), len(given_ones) / len(answers)


@pytest.mark.parametrize(("report", "site", "category"), TABLE)
def test_what_a_report_says_and_what_it_does_not(report: str, site: str | None, category: str | None) -> None:
    reading = read_report(report)
    assert (reading.site, reading.category) == (site, category)


def test_the_name_of_a_benign_disease_names_no_malignancy() -> None:
    system = vocabulary().system_of("lung")
    assert system is not None
    for text, named in (("Benign metastasizing leiomyoma.", False), ("Metastasizing leiomyosarcoma.", True)):
        mentions = find_mentions(text, system)
        assert any(mention.category and mention.category.tier == "malignant" for mention in mentions) is named


def test_the_answer_says_which_words_it_was_read_from() -> None:
    reading = read_report("(Ascites) cytology did not find cancer cells.")
    assert (reading.site_words, reading.system) == ("Ascites", "International System for serous fluids")
    assert reading.category_words == "cytology did not find cancer cells"


def test_an_abstention_beside_a_category_says_why() -> None:
    assert read_report("Breast FNA. Preliminary: malignant. Final: pending.").note == "it states no single category"
    assert not read_report("Breast FNA. Cells in sheets.").note


def test_a_known_site_is_not_read_and_decides_the_system() -> None:
    assert read_report("Suspicious for malignancy.", site="thyroid").category == "Suspicious for malignancy"
    assert read_report("Suspicious for malignancy.", site="serous effusion").category == "SFM"
    assert read_report("(Ascites) HSIL", site="blood") == read_report("", site="blood")
    assert read_report("No malignant cells.", system="WHO lung").category == "Benign"


@pytest.mark.skipif(not COIN_REPORTS.is_file(), reason="COIN's example reports are not on this machine")
def test_coins_reports_are_read_rightly_where_they_are_read() -> None:
    with COIN_REPORTS.open(encoding="utf-8", newline="") as file:
        read = [(read_report(row["report"]), COIN[row["image"]]) for row in csv.DictReader(file)]
    assert len(read) == 20
    assert precision_and_coverage([(reading.site, site) for reading, (site, _) in read]) == (1, 1)
    precision, coverage = precision_and_coverage([(reading.category, category) for reading, (_, category) in read])
    assert precision >= PRECISION
    assert coverage >= 0.85


@pytest.mark.skipif(not COIN_REPORTS.is_file(), reason="COIN's example reports are not on this machine")
def test_coins_reports_in_the_glossarys_words_are_read_as_well() -> None:
    with COIN_REPORTS.open(encoding="utf-8", newline="") as file:
        reports = [row["report"] for row in csv.DictReader(file)]
    changed = 0
    for report in reports:
        text, replaced = glossary().apply(report)
        before, after = read_report(report), read_report(text)
        assert (after.site, after.system, after.category) == (before.site, before.system, before.category)
        changed += bool(replaced)
    assert changed == 9


@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("split", ["train", "held-out"])
def test_phantom_reports_are_read_rightly_where_they_are_read(split: str, count: int) -> None:
    read = [(read_report(p.report), p.morphology) for p in phantom_cases(count, seed=11, split=split)]
    sites = precision_and_coverage([(reading.site, morphology.site) for reading, morphology in read])
    categories = precision_and_coverage([(reading.category, morphology.category) for reading, morphology in read])
    assert min(sites[0], categories[0]) >= PRECISION
    assert min(sites[1], categories[1]) >= COVERAGE


_WORDS = [
    "no",
    "not",
    "malignant cells",
    "HSIL",
    "AUS",
    "(",
    ")",
    "cannot exclude",
    ";",
    ",",
    "but",
    "suspicious for",
    "urine",
]
_REPORTS = st.one_of(st.text(max_size=200), st.lists(st.sampled_from(_WORDS), max_size=20).map(" ".join))


@settings(max_examples=60)
@given(_REPORTS, st.sampled_from(["", *(site.name for site in vocabulary().sites)]))
def test_any_text_gives_a_category_of_the_sites_own_system_or_none(report: str, site: str) -> None:
    reading = read_report(report, site=site)
    system = vocabulary().system_of(reading.site) if reading.site else None
    assert reading.system == (system.name if system else None)
    if reading.category is not None:
        assert system is not None
        assert reading.category in [category.name for category in system.categories]
        assert reading.category_words


@pytest.mark.parametrize("category", ["adenocarcinoma", "lymphoma", "malignant cells", "metastatic carcinoma"])
@pytest.mark.parametrize(
    "denial", ["No {}.", "No evidence of {}.", "{} not seen.", "Did not find {}.", "Negative for {}."]
)
def test_denied_is_never_affirmed(denial: str, category: str) -> None:
    for site in ("serous effusion", "lung", "thyroid", "breast", "lymph node"):
        answer = read_report(denial.format(category), site=site)
        assert answer.system is not None
        assert answer.category is None or vocabulary().tier_rank(answer.system, answer.category) == 1


@pytest.mark.parametrize("system", vocabulary().systems, ids=lambda system: system.name)
def test_numbered_categories_are_read_by_every_name_of_their_system(system: ReportingSystem) -> None:
    for category in system.categories:
        for number in category.numbers:
            for name in (
                *system.numbered_by,
                *(f"{name} category" for name in system.numbered_by),
                "Category",
                "Class",
            ):
                reading = read_report(f"({system.sites[0]}) {name} {number}: cells.")
                assert (reading.category, reading.system) == (category.name, system.name), f"{name} {number}"
    if not any(category.numbers for category in system.categories):
        assert read_report(f"({system.sites[0]}) Category 3: cells.").category is None


@pytest.mark.parametrize("heading", ["The Paris System: ", "TPS category: ", "Paris System for Reporting: ", ""])
@pytest.mark.parametrize(
    ("words", "category"),
    [("HGUC.", "HGUC"), ("negative for high-grade urothelial carcinoma.", "NHGUC"), ("SHGUC.", "SHGUC")],
)
def test_the_name_of_a_system_without_numbers_leaves_the_category(heading: str, words: str, category: str) -> None:
    assert read_report(f"(Urine) {heading}{words}").category == category


@pytest.mark.parametrize(
    "value",
    [
        *(
            "yes/no",
            "Y/N",
            "yes no",
            "[yes] [no]",
            "present/absent",
            "absent/present",
            "positive | negative",
            "+/-",
            "±",
        ),
        *(
            "n/a",
            "N/D",
            "TBC",
            "()",
            "***",
            ">",
            "",
            "0.93",
            "0,5 %",
            "1/10",
            "no result",
            "no comment",
            "stains awaited",
        ),
    ],
)
@pytest.mark.parametrize("field", ["Malignant cells:", "HSIL =", "Carcinoma (type):"])
def test_a_field_that_is_filled_unclearly_says_nothing(field: str, value: str) -> None:
    for site in ("serous effusion", "cervix", "lung"):
        assert read_report(f"{field} {value}", site=site).category is None


@pytest.mark.parametrize(
    ("report", "category"),
    [
        ("Malignant cells: 0", "Benign"),
        ("Malignant cells ... none seen on four slides", "Benign"),
        ("Malignancy (yes/no): no.", "Benign"),
        ("Malignant: adenocarcinoma.", "Malignant"),
        ("Malignant: NET.", "Malignant"),
        ("Malignant cells: +++", "Malignant"),
        # The marker is denied, and not the disease.
        ("adenocarcinoma negative for EGFR.", None),
        ("adenocarcinoma: negative for p40.", None),
        ("adenocarcinoma, negative for EGFR.", "Malignant"),
        ("malignancy: negative for malignancy.", "Benign"),
    ],
)
def test_a_field_with_its_value_and_a_heading_with_what_it_names(report: str, category: str | None) -> None:
    assert read_report(report, site="lung").category == category


@pytest.mark.parametrize(
    "between", [" → ", ">", " + ", " & ", ", ", "; ", " (", " [", "…", "..", "~", " then ", " and ", "/", "-", " or "]
)
def test_two_numbers_give_no_category(between: str) -> None:
    close = {" (": ")", " [": "]"}.get(between, "")
    assert read_report(f"Thyroid FNA: Bethesda III{between}V{close}.").category is None
    assert read_report(f"Thyroid FNA: Bethesda 3{between}5{close}.").category is None


@pytest.mark.parametrize("number", ["≥ IV", "<IV", ">= 4", "~4", "3.5", "III.V", "?IV"])
def test_a_number_that_is_compared_or_split_gives_no_category(number: str) -> None:
    assert read_report(f"Thyroid FNA: Bethesda {number}.").category is None


@pytest.mark.parametrize("number", ["II (2).", "II, two slides.", "II. 3 passes.", "II, 5 passes.", "(II)", "#2"])
def test_a_number_beside_what_is_none_gives_its_category(number: str) -> None:
    assert read_report(f"Thyroid FNA: Bethesda {number}").category == "Benign"
