"""What a set generates at once, and a recipe that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from index_store import ReportRow
from retrieval import SyntheticSetError
from retrieval.synthetic.dataset import _batches, read_recipe
from retrieval.synthetic.plan import SetImage


@pytest.mark.parametrize(
    ("size", "groups"),
    [
        (2, ["aa", "a", "bb", "c"]),
        (3, ["aaa", "bb", "c"]),
        (9, ["aaa", "bb", "c"]),
        (1, list("aaabbc")),
        (0, list("aaabbc")),
    ],
)
def test_a_batch_is_of_one_report(size: int, groups: list[str]) -> None:
    row = ReportRow(2, "Report.", {})
    images = [SetImage(row, report, seed, "") for seed, report in enumerate("aaabbc")]
    made = list(_batches(images, size))
    assert ["".join(image.report_sha256 for image in group) for group in made] == groups
    assert [image.seed for group in made for image in group] == list(range(6))
    assert list(_batches([], size)) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ("{}", "cannot be read"),
        ('{"recipe": []}', "is damaged"),
        (None, "holds no set of generated images"),
    ],
)
def test_a_recipe_that_is_none_says_so(text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "set.json").write_text(text)
    with pytest.raises(SyntheticSetError, match=message):
        read_recipe(tmp_path)
