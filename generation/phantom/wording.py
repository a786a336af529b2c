"""The words of phantom reports: data only. Every list's last third is kept for held-out reports.

Written after the two styles of COIN's published reports (a Bethesda line with "Additional comment", and
"(specimen) smear shows … consistent with …"), machine-translated turns of phrase included. Braces are filled from the
morphology: {amount}, {specimen}. No sentence is copied from a real report.
"""

from __future__ import annotations

SPECIMENS: dict[str, tuple[str, ...]] = {
    "cervix": ("Cervical smear", "Cervical liquid-based cytology", "Cervicovaginal smear", "Cervical scrape",
               "Cervical cytology", "Pap smear of the cervix"),
    "thyroid": ("Fine-needle aspiration of the right lobe of the thyroid gland", "FNA of left thyroid lobe nodule",
                "Thyroid right lobe nodule", "Thyroid isthmus nodule, fine-needle aspiration",
                "Left thyroid nodule", "FNA of a thyroid nodule", "Puncture of the right thyroid lobe",
                "Thyroid gland, left lobe, aspirate", "US-guided FNA of the thyroid gland"),
    "urine": ("Voided urine", "Urine", "Bladder washing", "Urine sediment", "Urine, liquid-based preparation",
              "Morning urine", "Catheterised urine", "Urinary cytology", "Urine of the renal pelvis"),
    "serous effusion": ("Pleural effusion", "Ascites", "Peritoneal lavage", "Left pleural effusion",
                        "Abdominal fluid", "Pericardial effusion", "Ascitic fluid", "Right pleural fluid",
                        "Fluid of the left pleural cavity"),
    "breast": ("FNA of a left breast lump", "Right breast mass", "Breast nodule, upper outer quadrant",
               "Fine-needle aspiration of the breast", "Left breast, 2 o'clock, aspirate", "Breast lump",
               "Puncture of a right breast nodule", "Mammary lump, fine-needle aspirate", "FNA of the breast"),
    "lung": ("Sputum", "Bronchial brushing of the right upper lobe", "Bronchoalveolar lavage",
             "FNA of a left lung mass", "Bronchial washing", "Lung nodule, right lower lobe",
             "Brushing of the left main bronchus", "Lung mass, transthoracic aspirate", "Bronchial brush smear"),
    "salivary gland": ("FNA of the right parotid gland", "Parotid mass", "Left submandibular gland",
                       "Fine-needle aspiration of the salivary gland", "Left parotid nodule",
                       "Salivary gland, aspirate", "Puncture of the left parotid gland",
                       "Submandibular salivary gland mass", "FNA of a parotid gland lesion"),
    "lymph node": ("FNA of a left cervical lymph node", "Supraclavicular lymph node", "Para-aortic lymph nodes",
                   "Right axillary lymph node", "Mediastinal lymph node, station 7", "Inguinal lymph node",
                   "Puncture of neck lymph nodes", "Lymph node, right neck, aspirate",
                   "Transbronchial aspiration of hilar lymph nodes"),
}  # fmt: skip

OPENINGS = (
    "({specimen}) smear shows {findings}.",
    "The {specimen_lower} smear shows {findings}.",
    "({specimen}) Smears show {findings}.",
    "({specimen}) cytology shows {findings}.",
    "{specimen}: {findings}.",
    "The smear of the {specimen_lower} shows {findings}.",
    "({specimen}) Cytological examination reveals {findings}.",
    "{specimen} cytology with {findings}.",
    "Microscopy of the {specimen_lower} shows {findings}.",
)

CONCLUSIONS = (
    "The morphology is consistent with {diagnosis}.",
    "The lesion is considered to be {diagnosis}.",
    "The findings are consistent with {diagnosis}.",
    "The features suggest {diagnosis}.",
    "Diagnosis: {diagnosis}.",
    "This is consistent with {diagnosis}.",
    "The appearances are those of {diagnosis}.",
    "Cytological diagnosis: {diagnosis}.",
    "In summary, {diagnosis}.",
)

RECOMMENDATIONS = (
    "Further clinical examination is recommended.",
    "Please correlate with clinical findings.",
    "Follow-up is recommended.",
    "Further examination is recommended.",
    "Clinical correlation is advised.",
    "Repeat sampling if clinically indicated.",
)

AMOUNTS = {
    "few": ("a small number of", "a few", "scattered", "occasional", "sparse"),
    "some": ("moderate numbers of", "several", "multiple", "some", "a moderate amount of"),
    "many": ("a large number of", "numerous", "many", "abundant", "plentiful"),
}

# What lies between the cells, where the report mentions it.
BACKGROUND_WORDS: dict[str, tuple[str, ...]] = {
    "blood": ("The background is bloody.", "Red blood cells in the background.", "Blood-stained background."),
    "inflammation": ("Neutrophils are seen.", "Inflammatory background.", "With many neutrophils."),
    "lymphocytes": (
        "Lymphocytes are seen in the background.",
        "With lymphocytes.",
        "A lymphocytic background.",
    ),
    "macrophages": ("Macrophages are present.", "With foamy macrophages.", "Histiocytes are seen."),
    "dust macrophages": (
        "Alveolar macrophages are present.",
        "With dust cells.",
        "Pigmented macrophages are seen.",
    ),
    "necrosis": ("Necrotic background.", "With necrotic debris.", "Tumour diathesis is seen."),
    "colloid": ("Colloid is present.", "With colloid in the background.", "Colloid is seen."),
    "mucin": ("Mucus is present.", "With strands of mucus.", "A mucoid background."),
    "matrix": ("Fibrillary stroma is present.", "With myxoid stroma.", "Stromal matrix is seen."),
    "globules": ("Hyaline globules are present.", "With matrix globules.", "Acellular globules are seen."),
    "bacteria": ("Coccobacilli are present.", "With bacteria.", "A film of bacteria is seen."),
    "fat": ("Fat vacuoles are present.", "With adipose tissue.", "Fatty material is seen."),
    "lymphoglandular": (
        "Lymphoglandular bodies are present.",
        "With cytoplasmic fragments.",
        "Lymphoid globules.",
    ),
    "protein": ("Proteinaceous background.", "With granular precipitate.", "Protein-rich background."),
    "squames": ("Squamous cells are present.", "With a few squames.", "Superficial squames are seen."),
}

COMMENTS = (
    "Additional comment: {text}",
    "Additional comments: {text}",
    "Comment: {text}",
    "Additional Comment: {text}",
    "Additional recommendation: {text}",
    "Note: {text}",
)
