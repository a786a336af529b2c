"""What the generator reads beside a real smear."""

from __future__ import annotations

import numpy as np
import pytest

from retrieval.training.starter.smears import BLOOD, as_pairs

CELL = {"site": "cervix", "category": "HSIL", "image": "a.png", "patient": "a", "report": "High grade."}
BREAST = "(Cerebrospinal fluid) malignant cells, metastasis of a breast carcinoma."


@pytest.mark.parametrize(
    ("row", "kind", "start"),
    [
        (CELL, "cell", "(Cervix, single cell) "),
        (CELL, "field", "(Cervix) "),
        ({**CELL, "site": "cerebrospinal fluid", "category": "malignant", "report": BREAST}, "field", "(Cerebrospinal"),
        ({**CELL, "site": "blood", "category": "", "report": "Peripheral blood smear."}, "field", "(Blood) "),
        (
            {**CELL, "site": "unspecified", "category": "malignant", "report": "Neuroendocrine tumour."},
            "field",
            "Neuro",
        ),
    ],
)
def test_a_caption_names_site_kind_and_diagnosis(row: dict[str, str], kind: str, start: str) -> None:
    pairs = as_pairs([row], [kind], np.zeros((1, 4, 4, 3), np.uint8), 0)
    assert pairs.captions is not None
    said = {pairs.captions(0, np.random.default_rng(seed)) for seed in range(40)}
    assert all(caption.startswith(start) and caption.endswith(".") for caption in said)
    if row["site"] == "blood":
        assert said == {f"(Blood) {words}." for words in ("Peripheral blood smear", *BLOOD)}
    elif row["site"] == "unspecified":
        assert said == {"Neuroendocrine tumour."}
    else:
        assert len(said) > 2, "in several wordings"
