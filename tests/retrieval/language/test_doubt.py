"""What keeps a category from being taken: each kind of doubt, and that ordinary reports have none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.language import label_extraction
from retrieval.language.doubt import doubt
from retrieval.language.label_extraction import read_report
from retrieval.language.statement import statement
from retrieval.language.vocabulary import Category, vocabulary
from tests.processor_time import processor_seconds

PLAIN = [
    ("Pleural fluid: metastatic adenocarcinoma, TTF-1 positive.", "Malignant"),
    ("Urine: negative for high-grade urothelial carcinoma.", "NHGUC"),
    ("Cervix: negative for intraepithelial lesion or malignancy. Candida present.", "NILM"),
    ("Thyroid FNA, left lobe. Benign follicular nodule, Bethesda II. Repeat biopsy to exclude malignancy.", "Benign"),
    ("Thyroid FNA, Bethesda V. Suspicious for papillary carcinoma.", "Suspicious for malignancy"),
    ("Cervix: atypical squamous cells, cannot exclude HSIL.", "ASC-H"),
    ("Breast FNA: C3, atypical, probably benign.", "Atypical"),
    ("Breast FNA: fibroadenoma, no material left for stains. Right breast.", "Benign"),
    (
        "Thyroid FNA (Bethesda 2023): cyst fluid only. Nondiagnostic; papillary carcinoma cannot be excluded.",
        "Nondiagnostic",
    ),
    ("(Thyroid) Category V. A repeat sampling is suggested.", "Suspicious for malignancy"),
]

# Report, the category that the rules find, and a word of the reason.
DOUBTS = [
    ("Parotid: pleomorphic adenoma, with atypia (Milan III).", "AUS", "something else"),
    ("Breast FNA: no invasive carcinoma; DCIS.", "Malignant", "something else"),
    ("Lymph node FNA: Hodgkin lymphoma cannot be ruled out.", "Atypical", "not stated"),
    ("Bronchial washing: benign cells, if any.", "Benign", "weighs"),
    ("CSF: atypical lymphocytes, probably reactive.", "atypical", "weighs"),
    ("Urine: it would be HGUC.", "HGUC", "weighs"),
    ("Thyroid FNA: hardly malignant.", "Malignant", "words of another kind"),
    ("Cervix: regression of LSIL.", "LSIL", "words of another kind"),
    ("Lymph node FNA: quasi-lymphoma.", "Malignant", "words of another kind"),
    ("Breast FNA: fibroadenoma. Core three weeks ago.", "Benign", "looks back"),
    ("Breast FNA: fibroadenoma. Removed in 2019.", "Benign", "looks back"),
    ("Breast FNA: fibroadenoma. Draft.", "Benign", "another reader"),
    ("Breast FNA: fibroadenoma. A colleague differs.", "Benign", "another reader"),
    ("Breast FNA: fibroadenoma. Histology was malignant.", "Benign", "something else|another examination"),
    ("Urine: HGUC. FISH negative.", "HGUC", "another examination"),
    ("(Ascites) Adenocarcinoma?", "SFM", "question"),
    ("Left breast, right breast: fibroadenoma.", "Benign", "several sides"),
    ("Urine: benign urothelial cells. Dysplastic groups.", "NHGUC", "another kind of finding"),
    ("Thyroid FNA: goitre or thyroiditis.", "Benign", "not stated"),
    ("Breast FNA: malignant, unremarkable.", "Malignant", "another kind of finding"),
]


@pytest.mark.parametrize(("report", "category"), PLAIN)
def test_an_ordinary_report_is_read(report: str, category: str) -> None:
    assert read_report(report).category == category


@pytest.mark.parametrize(("report", "category", "reason"), DOUBTS)
def test_a_doubt_is_named_and_no_category_is_given(report: str, category: str, reason: str) -> None:
    reading = read_report(report)
    assert (reading.category, reading.category_words) == (None, "")
    assert reading.note.startswith(f"{category} is in doubt: "), reading
    assert any(words in reading.note for words in reason.split("|")), reading.note


WORDS = [
    "no",
    "malignant cells",
    "HSIL",
    "AUS",
    "benign",
    "?",
    "left",
    "right",
    "suspicious for",
    "urine",
    "or",
    "C5",
    ";",
    ":",
]
_REPORTS = st.one_of(st.text(max_size=200), st.lists(st.sampled_from(WORDS), max_size=20).map(" ".join))


@settings(max_examples=150)
@given(_REPORTS, st.sampled_from(["", *(site.name for site in vocabulary().sites)]))
def test_a_doubt_takes_a_category_away_and_changes_nothing_else(report: str, site: str) -> None:
    reading = read_report(report, site=site)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_extraction, "doubt", lambda *_: "")
        certain = read_report(report, site=site)
    assert (reading.site, reading.site_words, reading.system) == (certain.site, certain.site_words, certain.system)
    assert reading.category in (None, certain.category)
    if certain.category is None or reading.category:
        assert reading == certain
    else:
        assert reading.note.startswith(f"{certain.category} is in doubt: ")


@pytest.mark.parametrize(
    "piece", ["HSIL ", "no ", "biopsy ", "'", "(", "x being ", "carcinoma, ", "\n", "left right ", "atypia: "]
)
def test_its_time_is_bounded(piece: str) -> None:
    system = vocabulary().system_of("cervix")
    assert system is not None
    text = "HSIL " + piece * (100_000 // len(piece))
    doubt("HSIL", "HSIL", "HSIL", _category("HSIL"), system)  # the patterns are made once
    assert processor_seconds(lambda: doubt(text, text, "HSIL", _category("HSIL"), system), enough=1) < 1


def test_how_a_category_is_stated() -> None:
    system = vocabulary().system_of("thyroid")
    assert system is not None
    benign = system.category("Benign")
    assert benign is not None
    how = statement("Bethesda II, benign. No carcinoma.", benign, system)
    assert (how.stated, how.contradicted, how.numbered) == (True, False, True)
    assert statement("Benign. Papillary carcinoma.", benign, system).contradicted
    assert not statement("Cells.", benign, system).stated


def _category(name: str) -> Category:
    system = vocabulary().system_of("cervix")
    category = system.category(name) if system else None
    assert category is not None
    return category


@pytest.mark.parametrize(
    ("report", "category"),
    [
        # Where a metastasis comes from may be open; whether it is one may not.
        ("Groin node: metastatic adenocarcinoma, likely stomach.", "Malignant"),
        ("Groin node: metastatic adenocarcinoma, possibly lung or breast primary.", "Malignant"),
        ("Groin node: likely metastatic adenocarcinoma, stomach.", None),
        ("Groin node: metastatic adenocarcinoma unlikely, likely stomach.", None),
        ("Groin node: metastatic carcinoma or lymphoma, likely lung.", None),
        ("Groin node: no metastasis? likely lung.", None),
        ("Known metastatic adenocarcinoma, likely colon. Groin node aspirated.", None),
        # Confirmed by a stain, and not.
        ("Groin node: lymphoma, confirmed on cell block.", "Malignant"),
        ("Groin node: lymphoma, not confirmed on cell block.", None),
        ("Groin node: lymphoma, to be confirmed on cell block.", None),
        # Abbreviations.
        ("Pancreas FNA: PDAC.", "Malignant"),
        ("Pancreas FNA: PDAC?", None),
        ("Pancreas FNA: PDAC or pancreatitis.", None),
        ("History of PDAC. Bile duct brushing received.", None),
        ("Bronchial wash: small cell ca.", "Malignant"),
        ("Bronchial wash: small cell ca versus carcinoid.", None),
        ("Bronchial wash: small cell ca not excluded.", None),
        ("Cervical LN FNAC: NHL.", "Malignant"),
        ("Cervical LN FNAC: NHL not excluded.", None),
        ("NHL clinic. Cervical LN FNAC.", None),
        ("Liver FNA: HCC.", "malignant"),
        ("Liver FNA: HCC or adenoma.", None),
        ("Hx RCC. Node FNA received.", None),
        ("Node FNA: reactive.", "Benign"),
        ("Node FNA: reactive versus lymphoma.", None),
        ("Node FNA: not reactive.", None),
        ("Pancreas FNA: NET, Ki-67 2 %.", "Malignant"),
        ("Pancreas FNA. NET has a risk of 5 %.", None),
        ("CSF: lymphoblasts present.", "malignant"),
        ("CSF: lymphoblasts not excluded.", None),
        # A neoplasm denied without a limit, with one, and not denied.
        ("BAL: negative for neoplasm.", "Benign"),
        ("BAL: no mucinous neoplasm.", None),
        ("BAL: not negative for neoplasm.", None),
        # What is healthy after what is denied.
        ("CSF: no blasts, benign.", "negative"),
        ("CSF: no blasts, benign or reactive.", None),
        # A reason after a colon, and a field with its value.
        ("Breast FNA. Inadequate: no epithelium.", "Insufficient"),
        ("Breast FNA. Inadequate: no. Benign: no.", None),
        ("Breast FNA. Inadequate: no Benign: no Malignant: yes", None),
        # A table that denies each category states none.
        ("LBC | LSIL (-) | HSIL (-) | SCC (-) | AGC (-)", None),
        ("LBC | LSIL (-) | HSIL (-) | SCC (-) | NILM (+)", "NILM"),
        ("Thyroid: AUS (-), FN (-), SFM (-)", None),
        # A number of cells is no year; that of an operation is one.
        ("Cervical LBC: unsatisfactory, fewer than 2000 squamous cells.", "Unsatisfactory"),
        ("Cervical LBC: unsatisfactory. Cone in 2000.", None),
        # The examination that a specimen was taken in, and its verdict.
        ("Cystoscopy urine: suspicious for high-grade urothelial carcinoma.", "SHGUC"),
        ("Cystoscopy: suspicious for high-grade urothelial carcinoma. Urine sent.", None),
        ("Level II node benign, level III node carcinoma.", None),
        ("Cervix: HSIL, invasion cannot be excluded.", None),
        ("Cervix: HSIL. Interpretation field blank.", None),
        # One sample negative, another not; a count of none; what is healthy before what is not, without a stop between.
        ("Bronchial washings: (1) negative; (2) adenocarcinoma.", None),
        ("Bronchial washings. Adenocarcinoma in sample 2. Sample 1 negative.", None),
        ("Bronchial washings A: negative. B: adenocarcinoma.", None),
        ("Bronchial washings: adenocarcinoma, TTF-1 negative. Negative for ALK.", "Malignant"),
        ("Pleural fluid: cells of a carcinoma in 0 of 6 slides.", None),
        ("Breast FNA: carcinoma, HER2 0.", "Malignant"),
        ("Thyroid FNA [x] benign [x] malignant", None),
        ("Thyroid FNA benign malignant", None),
        ("Breast FNA: C5. Please ignore.", None),
    ],
)
def test_words_that_say_it_and_words_that_weigh_it(report: str, category: str | None) -> None:
    assert read_report(report).category == category
