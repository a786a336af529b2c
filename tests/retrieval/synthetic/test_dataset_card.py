"""The dataset card: the hub reads its head, and no value breaks its tables."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from retrieval.synthetic.dataset_card import card_text
from retrieval.synthetic.plan import SetSummary

RECIPE: dict[str, Any] = {
    "sampling": ["draft", 20, 4.0, "", []],
    "size": 64,
    "base": "tiny | base",
    "base_fingerprint": "a" * 64,
    "lora": "x + y",
    "lora_fingerprint": "b" * 64 + " + " + "c" * 64,
    "long_reports": "condense",
    "negative_prompt": "blurred | dark\n| x |",
    "glossary": True,
}


def card(images: int = 8, copies: object = None, **recipe: object) -> str:
    made = SimpleNamespace(recipe={**RECIPE, **recipe}, per_report=2)
    counts: dict[str, Any] = {"drawn": 0, "reports": 4, "distinct_reports": 3, "classes": {"cervix_HSIL": 5, "a": 3}}
    summary = SetSummary(
        folder=Path("set"), images=images, **counts, exact_duplicates=1, near_duplicates=2, set_aside=0, seconds=1.0,
        skipped=(),
    )  # fmt: skip
    return card_text(made, summary, copies)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("images", "size"),
    [
        (999, "n<1K"),
        (1_000, "1K<n<10K"),
        (9_999, "1K<n<10K"),
        (10_000, "10K<n<100K"),
        (100_000, "100K<n<1M"),
        (1_000_000, "1M<n<10M"),
    ],
)
def test_the_head_is_the_hub_s(images: int, size: str) -> None:
    _, head, _ = card(images).split("---\n", 2)
    read = yaml.safe_load(head)
    assert read["size_categories"] == [size]
    assert read["license"] == "other"
    assert read["configs"] == [{"config_name": "default", "data_files": [{"split": "train", "path": "train/**"}]}]


def test_every_row_of_a_table_has_its_two_cells() -> None:
    lines = [line for line in card().splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {3}
    assert "| base | tiny / base, fingerprint aaaaaaaaaaaaaaaa |" in lines
    assert "| LoRA | x + y, fingerprint bbbbbbbbbbbbbbbb + cccccccccccccccc |" in lines
    assert "| sampling | preset draft: 20 steps, guidance 4, the base's own scheduler |" in lines
    assert "| reports | 4 rows, 3 different |" in lines
    assert [line for line in lines if line.startswith("| cervix_HSIL")] == ["| cervix_HSIL | 5 |"]
    plain = card(lora="", lora_fingerprint="", negative_prompt="", glossary=False)
    assert "| LoRA | none |" in plain
    assert "negative prompt: none; glossary: no |" in plain


def test_what_a_copy_check_found_is_in_it() -> None:
    assert "`coin copy-check` measures" in card()
    copies = SimpleNamespace(
        references=12,
        patients=3,
        patients_named=True,
        others="another patient's image",
        near_copies=(1, 2),
        images=8,
        nearer_than_baseline_95=0.1234,
        extreme=0.9,
        alarms=(3,),
        plain=0,
        plain_references=0,
        unreadable=0,
        skipped={},
    )
    text = card(copies=copies)
    assert (
        "Compared with 12 images of 3 patients: 2 of 8 copy one of them or a part of one (perceptual hash, keypoints), "
        "1 more are alarmingly alike to one (encoder's space), and 12.3% lie" in text
    )
    copies.patients_named, copies.others = False, "another image"
    unnamed = card(copies=copies)
    assert "with 12 images (**their patients are not all named**, so that nothing is said of" in unnamed
    assert "of them lie to another image (encoder" in unnamed and "3 patients" not in unnamed
    copies.nearer_than_baseline_95 = copies.extreme = None
    copies.plain, copies.skipped = 4, {"Has no report.": 1}
    assert (
        "keypoints); whether others are alarmingly alike could not be told; of 4 images and 0 references with little "
        "detail, whole pictures alone could be recognised; 0 images and 1 references could not be read. The weights'"
        in card(copies=copies)
    )
