"""How a report states a category: each rule by a sentence, and by the one beside it that the rule leaves alone."""

from __future__ import annotations

import pytest

from retrieval.language.statement import statement
from retrieval.language.vocabulary import vocabulary


@pytest.mark.parametrize(
    ("site", "category", "text", "how"),
    [
        # c: contradicted, s: stated, n: numbered, d: defined by a doubt.
        ("thyroid", "Benign", "Benign.", "s"),
        ("thyroid", "Benign", "Not benign.", ""),
        ("thyroid", "Malignant", "Not malignant.", "c"),
        ("thyroid", "Suspicious for malignancy", "Not suspicious for malignancy.", "c"),
        ("thyroid", "Suspicious for malignancy", "Not suspicious for malignancy, Bethesda V.", "sn"),
        ("breast", "Suspicious", "Suspicious for carcinoma.", "s"),
        ("breast", "Suspicious", "Suspicious, C4.", "sn"),
        # What is graver must be denied, what is milder absent.
        ("thyroid", "AUS", "AUS. Papillary carcinoma cannot be excluded.", "s"),
        ("thyroid", "Benign", "Benign. Papillary carcinoma cannot be excluded.", "cs"),
        ("thyroid", "Nondiagnostic", "Nondiagnostic. Papillary carcinoma cannot be excluded.", "s"),
        ("thyroid", "Nondiagnostic", "Nondiagnostic. Benign.", "cs"),
        ("thyroid", "Benign", "Benign. AUS.", "cs"),
        ("thyroid", "Malignant", "Malignant. Benign.", "cs"),
        ("cervix", "HSIL", "HSIL. LSIL.", "cs"),
        ("cervix", "HSIL", "HSIL. No carcinoma.", "s"),
        ("cervix", "NILM", "NILM. No carcinoma.", "s"),
        ("cervix", "NILM", "No HSIL.", "s"),
        ("cervix", "HSIL", "HSIL is favoured.", ""),
        # Two names of cancers are one finding, and one of them alone denied is none.
        ("thyroid", "Malignant", "Malignant. Papillary carcinoma.", "s"),
        ("thyroid", "Malignant", "Malignant. Papillary carcinoma or medullary carcinoma.", "s"),
        ("thyroid", "Malignant", "No papillary carcinoma, malignant.", "c"),
        ("cervix", "SCC", "SCC. Adenocarcinoma.", "s"),
        ("cervix", "SCC", "Adenocarcinoma.", "s"),
        ("cervix", "SCC", "No adenocarcinoma.", "c"),
        ("cervix", "SCC", "Adenocarcinoma cannot be excluded.", "c"),
        ("cervix", "SCC", "Adenocarcinoma is favoured.", ""),
        ("cervix", "SCC", "SCC or adenocarcinoma.", ""),
        ("cervix", "HSIL", "HSIL. No LSIL.", "cs"),
        ("cervix", "LSIL", "LSIL, suspicious for HSIL.", "cs"),
        ("cervix", "ASC-US", "ASC-US, suspicious for HSIL.", "s"),
        ("thyroid", "Malignant", "Malignant. No tumour.", "cs"),
        ("thyroid", "Benign", "Benign. No tumour.", "s"),
        # "Suspicious" opens the category's name, where that follows at once.
        ("thyroid", "Follicular neoplasm", "Suspicious for a follicular neoplasm.", "s"),
        (
            "thyroid",
            "Follicular neoplasm",
            "Suspicious. The smear of the left lobe has a follicular neoplasm.",
            "cs",
        ),
        ("thyroid", "Suspicious for malignancy", "Features of papillary carcinoma, suspicious for malignancy.", "s"),
        ("thyroid", "Suspicious for malignancy", "Suspicious for malignancy. Papillary carcinoma.", "cs"),
        # Defined by a doubt.
        ("cervix", "ASC-H", "HSIL cannot be excluded.", "sd"),
        ("cervix", "ASC-H", "Atypical squamous cells, HSIL cannot be excluded.", "sd"),
        ("cervix", "LSIL", "LSIL. HSIL cannot be excluded.", "s"),
        ("urine", "SHGUC", "Suspicious for HGUC.", "s"),
        # "Atypical cells" describe what is named after them; C3 is probably benign.
        ("cervix", "HSIL", "Atypical cells. HSIL.", "s"),
        ("breast", "Atypical", "C3, probably benign.", "sn"),
        ("breast", "Atypical", "Atypical, probably benign.", "s"),
        # The end of a list of denials is a statement where it is the last.
        ("thyroid", "Benign", "No blasts, benign.", "s"),
        ("thyroid", "Benign", "No blasts, benign, follicular cells.", ""),
        ("thyroid", "Malignant", "The features are suggestive of papillary carcinoma.", "s"),
        ("thyroid", "Suspicious for malignancy", "The features are suggestive of papillary carcinoma.", ""),
        ("thyroid", "Malignant", "Suggestive of malignancy.", ""),
        ("thyroid", "Benign", "The findings suggest goitre, or thyroiditis.", "s"),
        ("thyroid", "Benign", "Goitre is favoured.", ""),
    ],
)
def test_a_category_is_stated_or_contradicted(site: str, category: str, text: str, how: str) -> None:
    system = vocabulary().system_of(site)
    assert system is not None
    wanted = system.category(category)
    assert wanted is not None
    found = statement(text, wanted, system)
    told = {"c": found.contradicted, "s": found.stated, "n": found.numbered, "d": found.defined_by_doubt}
    assert "".join(letter for letter, true in told.items() if true) == how


@pytest.mark.parametrize(("specimen_end", "contradicted"), [(0, True), (5, True), (6, False), (7, False)])
def test_a_finding_that_names_the_specimen_contradicts_nothing(specimen_end: int, contradicted: bool) -> None:
    system = vocabulary().system_of("thyroid")
    assert system is not None
    malignant = system.category("Malignant")
    assert malignant is not None
    text = "Goitre, aspirate: malignant."
    found = statement(text, malignant, system, specimen_end)
    assert found.contradicted is contradicted
    assert [text[start:end] for start, end in found.spans] == ["Goitre", "malignant"]
