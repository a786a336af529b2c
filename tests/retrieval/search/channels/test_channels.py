"""The registry of channels, and that a new one is a class and a line."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from index_store import Archive
from retrieval import CaseSearch, Encoder, EvaluationError, Query, QueryError, add_manifest, channel_label
from retrieval.assessment.diagnostics import Diagnostics
from retrieval.search.channels.channel import Channel, Need, SearchMaterials
from retrieval.search.channels.registry import CHANNELS, channel_of_query_type
from retrieval.search.understood_query import UnderstoodQuery
from tests.retrieval.conftest import speckled


class AlwaysZero(Channel):
    """Compares a fixed image with the archive's images, whatever the text."""

    name = "zero"
    label = "image zero"
    needs = frozenset({Need.TEXT})

    def encode(self, query: UnderstoodQuery, materials: SearchMaterials):  # type: ignore[no-untyped-def]
        return materials.encoder.encode_images([speckled(0)])


@pytest.fixture
def archive(encoder: Encoder, tmp_path: Path) -> Iterator[Archive]:
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "case", "report"])
        for number in range(3):
            speckled(number).save(tmp_path / f"{number}.png")
            writer.writerow([f"{number}.png", f"case {number}", f"Report {number}"])
    with Archive.create(tmp_path / "archive") as archive:
        add_manifest(archive, tmp_path / "manifest.csv", encoder)
        yield archive


def test_a_new_channel_is_a_class_and_a_line_of_the_registry(
    archive: Archive, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CHANNELS, "zero", AlwaysZero())  # type: ignore[arg-type]
    search = CaseSearch(archive, encoder)
    result = search.run(Query(text="anything", channels=("zero",)))
    assert result.cases[0].case.key == "case 0"
    assert result.cases[0].similarity == pytest.approx(1, abs=1e-5)
    joined = search.run(Query(text="Report 2"))
    assert [answer.channel for answer in joined.channels] == ["joint", "report", "zero"]
    assert {rank.channel for rank in joined.cases[0].channel_ranks} == {"joint", "report", "zero"}
    assert channel_label("zero") == "image zero"
    (missing,) = [
        entry for entry in Diagnostics(archive, encoder).describe(result).not_judged if entry.channel == "zero"
    ]
    assert "not calibrated" in missing.reason
    with pytest.raises(QueryError, match="'zero' needs report text"):
        Query(case="case 0", channels=("zero",))


def test_names_labels_and_query_types_are_told_apart() -> None:
    assert list(CHANNELS) == ["image", "generated", "joint", "report"]
    assert [channel.name for channel in CHANNELS.values()] == list(CHANNELS)
    assert len({channel.label for channel in CHANNELS.values()}) == len(CHANNELS)
    types = [query_type for channel in CHANNELS.values() for query_type in channel.query_types]
    assert types == ["case", "image", "generated", "joint", "report"]
    assert [channel_of_query_type(query_type) for query_type in types] == [
        "image",
        "image",
        "generated",
        "joint",
        "report",
    ]
    assert channel_label("no channel") == "no channel"


def test_a_channel_that_is_not_calibrated_says_so() -> None:
    with pytest.raises(EvaluationError, match="another laboratory's words"):
        CHANNELS["report"].own_similarities(None)  # type: ignore[arg-type]
