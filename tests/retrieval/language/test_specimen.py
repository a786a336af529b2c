"""The site that the words about the specimen name."""

from __future__ import annotations

import pytest

from retrieval.language.label_extraction import read_report
from retrieval.language.specimen import only_site, read_site


@pytest.mark.parametrize(
    ("report", "site", "words"),
    [
        # Of several sites the one that the others only place: a node, then a fluid, then the organ.
        ("(Bronchial lymph node aspirate) Lymphocytes.", "lymph node", "lymph node"),
        ("(Thyroid bed, cervical lymph node) Lymphocytes.", "lymph node", "lymph node"),
        ("(Pleural effusion, right lung) Mesothelial cells.", "serous effusion", "Pleural"),
        ("(Pleural fluid, mediastinal lymph node) Lymphocytes.", "lymph node", "lymph node"),
        # Two of the same rank, or two specimens: none.
        ("(Lung, breast) Cells.", "", ""),
        ("(Lung and lymph node) Cells.", "", ""),
    ],
)
def test_of_several_sites_the_one_of_the_highest_rank_is_meant(report: str, site: str, words: str) -> None:
    assert read_site(report) == (site, words)


@pytest.mark.parametrize(
    ("report", "site"),
    [
        # The name of a system with a number or code that is its own, wherever it stands.
        ("TBSRTC III: AUS (nuclear atypia).", "thyroid"),
        ("Paris: AUC. Haematuria.", "urine"),
        ("IAC Yokohama 3. Columnar cells.", "breast"),
        ("Milan VI, adenoid cystic carcinoma.", "salivary gland"),
        ("ISRSFC IV, SFM.", "serous effusion"),
        ("Report from Paris: cells.", ""),
        ("Milan, 6 slides.", ""),
        ("Milan: 6 slides.", ""),
        # What laboratories write for a specimen.
        ("Endocervical sample: atypical glandular cells.", "cervix"),
        ("Screening Pap, 41 y. Benign.", "cervix"),
        ("Pap: benign.", "cervix"),
        ("Pap stain and MGG: benign.", ""),
        ("MGG, Pap. Benign.", ""),
        ("Neck level III node FNA: lymphocytes.", "lymph node"),
        ("FNAC NODE, SUPRACLAVICULAR LT: LYMPHOCYTES.", "lymph node"),
        ("Submandibular swelling FNA: acini.", "salivary gland"),
        ("Submandibular node FNA: lymphocytes.", "lymph node"),
        ("Pl. effusion: cells.", "serous effusion"),
        ("EBUS FNA 4R: cells.", "lymph node"),
        ("EBUS of RUL mass: cells.", ""),
        ("CBD brush: benign.", "pancreas and bile ducts"),
        ("CT-guided FNA of the right upper lobe: macrophages.", "lung"),
        ("Nondiagnostic specimen: blood. Thyroid.", ""),
        # A later sentence opens with the specimen.
        ("CEA 4 ng/ml. Pancreas neck needling: ductal cells.", "pancreas and bile ducts"),
        ("Slides stained. FNA thyroid: colloid. FNA breast: fat.", ""),
    ],
)
def test_what_laboratories_write_for_a_site(report: str, site: str) -> None:
    assert read_site(report)[0] == site


@pytest.mark.parametrize(
    ("report", "site"),
    [
        ("Medullary carcinoma of thyroid, spindle cells.", "thyroid"),
        ("Follicular lymphoma, groin node.", "lymph node"),
        ("Metastatic medullary carcinoma of thyroid.", ""),  # the origin
        ("Adenocarcinoma, from the lung.", ""),
        ("Lump of scalp: carcinoma of lung.", ""),  # beside a specimen that is not known
        ("Lump: carcinoma of lung.", "lung"),
        ("Carcinoma of lung or of breast.", ""),
        ("Breast carcinoma. Node palpable.", ""),
        ("Diagnostic category: Suspicious for malignancy. Breast FNA.", "breast"),
        ("General categorization: benign. Thyroid FNA.", "thyroid"),
        ("Ascites of a patient with known carcinoma", "serous effusion"),  # fluids and nodes are no origins
        ("Lymph node of a patient with known carcinoma", "lymph node"),
        ("Thyroid of a patient with known carcinoma", ""),
        ("Thyroid smear of a patient with known carcinoma", "thyroid"),
        ("Thyroid of a patient with a nodule", "thyroid"),
    ],
)
def test_the_only_site_that_is_named_is_taken_where_it_is_no_origin(report: str, site: str) -> None:
    assert only_site(report)[0] == site


def test_two_numbered_organs_are_two_specimens() -> None:
    text = "Parotid lump, two needle sites: (1) lymph node, reactive; (2) pleomorphic adenoma."
    for given in ("", "salivary gland"):
        reading = read_report(text, site=given)
        assert (reading.category, reading.note) == (None, "several specimens of different sites")
    both = "Parotid, two needle sites: (1) pleomorphic adenoma; (2) pleomorphic adenoma."
    assert read_report(both).category == "Benign neoplasm"
