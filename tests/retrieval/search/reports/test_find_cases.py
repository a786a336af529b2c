"""Cases looked up by key, labels and words of the report."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from index_store import Archive
from retrieval import CaseSearch, Encoder, add_manifest
from tests.retrieval.conftest import speckled

CASES = (
    ("c-1", "cervix", "HSIL", "Koilocytes and dyskeratosis."),
    ("c-2", "cervix", "NILM", "Clue cells."),
    ("c-10", "urinary tract", "HGUC", "Clue: papillary groups."),
    ("d-1", "thyroid", "Malignant", "Papillary carcinoma, nuclear grooves."),
    ("d-2", "thyroid", "", " "),
)


@pytest.fixture(scope="module")
def search(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CaseSearch]:
    folder = tmp_path_factory.mktemp("cases")
    lines = ["image\tcase\tsite\tcategory\treport"]
    for number, (key, site, category, report) in enumerate(CASES):
        speckled(number).save(folder / f"{number}.png")
        lines.append(f"{number}.png\t{key}\t{site}\t{category}\t{report}")
    (folder / "manifest.tsv").write_text("\n".join(lines))
    with Archive.create(folder / "archive") as archive:
        add_manifest(archive, folder / "manifest.tsv", encoder)
        yield CaseSearch(archive, encoder)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", ["c-1", "c-10", "c-2", "d-1"]),
        ("c-1", ["c-1", "c-10"]),
        ("thyroid", ["d-1"]),
        ("THYR", ["d-1"]),
        ("urine", ["c-10"]),
        ("hsil", ["c-1"]),
        ("papillary", ["c-10", "d-1"]),
        ("papillary thyroid", ["d-1"]),
        ("clue cell", ["c-2"]),
        ("papillary \ud800", ["c-10", "d-1"]),
        ("cervix nothing", []),
        ("d", ["d-1"]),
        ("c", ["c-1", "c-10", "c-2"]),
    ],
)
def test_each_word_may_stand_in_key_label_or_report(search: CaseSearch, text: str, keys: list[str]) -> None:
    assert search.find_cases(text, limit=9) == keys
    assert search.find_cases(text, limit=1) == keys[:1]
