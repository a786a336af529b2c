"""The Python of docs/api.md, as it stands: every block, in order, in a folder with a manifest of phantoms."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from generation.phantom.phantom import phantom_cases, write_phantoms
from retrieval.search.results import ChannelAnswer, ChannelRank, MatchedField, Overlap, RankedCase, SearchResult
from tests.few_steps import few_steps

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CASES = 88


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of the snippets: a manifest with its images, and an image to search by."""
    write_phantoms(tmp_path, phantom_cases(CASES))
    shutil.copy(next((tmp_path / "images").glob("*.png")), tmp_path / "field.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_the_snippets_run_as_they_stand(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in BLOCK.finditer(text):
        lines_before = text.count("\n", 0, block.start(1))
        with few_steps():
            exec(compile("\n" * lines_before + block[1], str(PAGE), "exec"), names)
    out = capsys.readouterr().out
    assert f"{CASES} images, {CASES} reports, 0 rows skipped" in out
    assert [len(names[name].cases) for name in ("by_report", "by_case")] == [5, 5]
    assert {ranked.case.site for ranked in names["by_image"].cases} == {"serous effusion"}
    for ranked in names["by_report"].cases:
        assert sum(channel.part for channel in ranked.channel_ranks) == pytest.approx(ranked.score)
        assert -1 <= ranked.similarity <= 1
    assert (folder / "synthetic-1.png").stat().st_size > 1000
    assert "P@10" in out


def test_the_snippets_are_short() -> None:
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert len(blocks) >= 6
    assert max(block.count("\n") for block in blocks) <= 12


def test_every_field_of_the_table_of_scores_exists() -> None:
    all_records = (RankedCase, ChannelRank, ChannelAnswer, Overlap, SearchResult, MatchedField)
    records = {record.__name__: record for record in all_records}
    fields = re.findall(r"`([A-Z]\w+)\.(\w+)`", PAGE.read_text(encoding="utf-8"))
    named = [(name, field) for name, field in fields if name != "Archive"]
    assert len(named) >= 8
    assert [f"{name}.{field}" for name, field in named if field not in records[name].__dataclass_fields__] == []
