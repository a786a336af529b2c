"""What a cache holds of a removed case's report is deleted, in every form in which a query hands it on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from PIL import Image

from generation import GenerationCache, text_sha256
from retrieval import forget_generated
from retrieval.generated.checked_generation import second_attempt, with_site_hint
from retrieval.language.query_text import query_text
from tests.generation.test_provenance import PROVENANCE
from tests.retrieval.labelled_archive import made_case

REPORT = "Groups of cells with large nuclei. Recommend repeat in six months. Signed by Dr. Roe."
CASE = dataclasses.replace(made_case(1, patient="1", site="breast", category="x"), report=REPORT)


def cached(cache: GenerationCache, text: str, number: int) -> Path:
    provenance = dataclasses.replace(PROVENANCE, report_sha256=text_sha256(text))
    return cache.put(f"{number:064x}", Image.new("RGB", (8, 8)), provenance)


@pytest.mark.parametrize(
    "text",
    [
        REPORT,
        f"{REPORT}\n",
        query_text(REPORT),
        with_site_hint(query_text(REPORT), "thyroid"),
        second_attempt(query_text(REPORT), "urine", [1])[0],
        with_site_hint(query_text(REPORT), "breast"),
    ],
)
def test_each_form_of_the_report_is_known(tmp_path: Path, text: str) -> None:
    cache = GenerationCache(tmp_path)
    own, other = cached(cache, text.strip(), 1), cached(cache, "Another report.", 2)
    (tmp_path / f"{3:064x}.png").write_bytes(b"damaged")
    (tmp_path / "note.txt").touch()
    assert forget_generated(cache, [CASE]) == 1
    assert not own.exists()
    assert {path.name for path in tmp_path.iterdir()} == {other.name, f"{3:064x}.png", "note.txt"}


def test_a_cache_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert forget_generated(GenerationCache(tmp_path / "nowhere"), [CASE]) == 0
    assert not (tmp_path / "nowhere").exists()
