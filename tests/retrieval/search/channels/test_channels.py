"""The registry of channels, and that a new one is a class and a line."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from index_store import Archive
from retrieval import (
    CaseSearch,
    Encoder,
    EvaluationError,
    Query,
    QueryError,
    add_manifest,
    channel_label,
    choose_fusion,
    evaluate_archive,
    query_type_label,
    rules_text,
    to_dict,
)
from retrieval.assessment.diagnostics import Diagnostics
from retrieval.search.channels.channel import Channel, Need, SearchMaterials
from retrieval.search.channels.own_runs import ByVectors, ChannelRun, EvaluationMaterials
from retrieval.search.channels.registry import CHANNELS, channel_of_query_type
from retrieval.search.channels.report import MEANING, WORDS
from retrieval.search.fusion import default_rules
from retrieval.search.understood_query import UnderstoodQuery
from tests.retrieval.conftest import speckled
from ui.html.evaluation_charts import colour
from ui.html.evaluation_page import evaluation_page
from ui.text.search import search_text


class AlwaysZero(Channel):
    """Compares a fixed image with the archive's images, whatever the text."""

    name = "zero"
    label = "image zero"
    needs = frozenset({Need.TEXT})
    colours: ClassVar[Mapping[str, str]] = {"zero": "#123456"}

    def encode(self, query: UnderstoodQuery, materials: SearchMaterials):  # type: ignore[no-untyped-def]
        return materials.encoder.encode_images([speckled(0)])

    def own_run(self, materials: EvaluationMaterials) -> ChannelRun:
        queries, references = materials.images
        return ChannelRun((ByVectors("zero", np.broadcast_to(references[0], queries.shape), references),))


@pytest.fixture
def archive(encoder: Encoder, tmp_path: Path) -> Iterator[Archive]:
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "case", "report", "site", "category"])
        for number in range(6):
            speckled(number).save(tmp_path / f"{number}.png")
            category = ("Benign", "Malignant")[number % 2]
            writer.writerow([f"{number}.png", f"case {number}", f"Report {number}", "cervix", category])
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
    assert (channel_label("zero"), query_type_label("zero")) == ("image zero", "image zero")
    diagnostics = Diagnostics(archive, encoder).describe(result)
    (missing,) = [entry for entry in diagnostics.not_judged if entry.channel == "zero"]
    assert "not calibrated" in missing.reason
    shown = search_text(joined, default_rules()["report"], Diagnostics(archive, encoder).describe(joined))
    assert "image zero #" in shown
    assert "not calibrated" not in shown, "nothing can be done about it"
    names = [entry["channel"] for entry in to_dict(result)["cases"][0]["channels"]]
    assert names == ["zero"]
    with pytest.raises(QueryError, match="'zero' needs report text"):
        Query(case="case 0", channels=("zero",))


@pytest.mark.slow
def test_a_new_channel_is_evaluated_shown_and_fused(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CHANNELS, "zero", AlwaysZero())  # type: ignore[arg-type]
    evaluation = evaluate_archive(archive, histogram=False)
    by_image, by_report, by_both = evaluation.families
    rows = {row.channel: row.scores for row in by_report.tasks[0].parts[0].rows}
    assert list(rows) == ["joint", "report", "zero", WORDS, MEANING, "fused", "chance"]
    assert [row.channel for row in by_image.tasks[0].parts[0].rows] == ["image", "chance"], "it needs a report"
    assert [row.channel for row in by_both.tasks[0].parts[0].rows][:-1] == ["image", "fused", "fused with image"]
    # All find the benign case 0 first, but for itself: two or three of the three benign cases, and no other, are right.
    assert rows["zero"]["P@1"].mean in (pytest.approx(1 / 3), pytest.approx(1 / 2))
    assert "zero" in evaluation.rules["fused"]
    assert colour("zero") == "#123456"
    assert "#123456" in evaluation_page(evaluation)
    text, both = choose_fusion(archive, rules=default_rules())[-2:]
    assert (text.channels, both.channels) == (("joint", "report", "zero"), ("image", "joint", "report", "zero"))
    assert "zero = " in rules_text([text], default_rules())


def test_names_labels_and_query_types_are_told_apart() -> None:
    assert list(CHANNELS) == ["image", "generated", "joint", "report", "colour"]
    assert [channel.name for channel in CHANNELS.values()] == list(CHANNELS)
    assert len({channel.label for channel in CHANNELS.values()}) == len(CHANNELS)
    types = [query_type for channel in CHANNELS.values() for query_type in channel.query_types]
    assert types == ["case", "image", "generated", "joint", "report", "colour"]
    assert [channel_of_query_type(query_type) for query_type in types] == [
        "image",
        "image",
        "generated",
        "joint",
        "report",
        "colour",
    ]
    assert channel_label("no channel") == "no channel"


def test_a_channel_that_is_not_calibrated_says_so() -> None:
    with pytest.raises(EvaluationError, match="another laboratory's words"):
        CHANNELS["report"].own_similarities(None)  # type: ignore[arg-type]
