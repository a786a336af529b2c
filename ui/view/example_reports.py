"""Example reports to try the system with. Written for this project in COIN's two styles; no patient's report."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

EXAMPLE_REPORTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Cervix, HSIL": (
            "High-grade squamous intraepithelial lesion (HSIL).; Additional comment: Crowded groups of small cells "
            "with scant cytoplasm, dark irregular nuclei and a high nuclear-cytoplasmic ratio. Colposcopy and biopsy "
            "are recommended."
        ),
        "Cervix, clue cells": (
            "No intraepithelial lesion or malignancy (NILM).; Additional comment: Clue cells >20%, squamous cells "
            "covered by coccobacilli, suggesting bacterial vaginosis."
        ),
        "Thyroid, papillary": (
            "(Fine-needle aspiration of the right lobe of the thyroid gland) The smear shows many cells in papillae "
            "and sheets with pale nuclei, nuclear grooves and intranuclear inclusions. The morphology is consistent "
            "with papillary thyroid carcinoma."
        ),
        "Urine, HGUC": (
            "(Voided urine) The smear shows malignant urothelial cells with a high N:C ratio, dark irregular nuclei "
            "and coarse chromatin. The findings are consistent with high-grade urothelial carcinoma (HGUC)."
        ),
        "Effusion, reactive": (
            "(Pleural effusion) The smear shows reactive mesothelial cells, lymphocytes and macrophages. Did not find "
            "cancer cells."
        ),
        "Lung, small cell": (
            "(Bronchial brushing) The smear shows small atypical cells with scant cytoplasm, nuclear moulding and fine "
            "chromatin. The morphology is consistent with small cell carcinoma of the lung."
        ),
    }
)
