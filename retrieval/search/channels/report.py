"""The report text against the archive's reports: by words (BM25) and by meaning (the encoder's text tower)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from retrieval.arrays import Vectors
from retrieval.language.words.bm25 import ReportWords
from retrieval.search.channels.channel import Channel, ChannelRanking, Need, SearchMaterials
from retrieval.search.channels.own_runs import (
    ByVectors,
    ByWords,
    ChannelRun,
    EvaluationMaterials,
    Fusion,
    has_report,
    has_vector,
)
from retrieval.search.understood_query import UnderstoodQuery

WORDS: Final = "report: words (BM25)"
MEANING: Final = "report: meaning (text tower)"
"""Runs of an evaluation."""
RULE: Final = "report"
"""Of the file of rules: how words and meaning are joined."""


class ReportChannel(Channel):
    """Text to reports. Where the encoder has no text tower, words alone are compared."""

    name = "report"
    label = "reports"
    colours: ClassVar[Mapping[str, str]] = {name: "#b5533c", WORDS: "#e3a48f", MEANING: "#cf7a5f"}
    role = "text"
    needs = frozenset({Need.TEXT})
    compares_images = False
    uses = frozenset({Need.TEXT_TOWER})
    not_judged = (
        "Similarity to reports is not judged: the same findings in another laboratory's words would be called not "
        "comparable far too often."
    )

    def encode(self, query: UnderstoodQuery, materials: SearchMaterials) -> None:
        """No image is compared."""

    def rank(self, query: UnderstoodQuery, vector: Vectors | None, materials: SearchMaterials) -> ChannelRanking | None:
        """Rank patients by their reports, compared with the words and `materials.text_vector`, float32[1, d]."""
        assert query.text is not None
        reports, notes, meaning = materials.reports(), [], None
        if materials.text_vector is not None:
            if reports.without_vector:
                counted = f"{reports.without_vector} of {reports.count} reports"
                remedy = (
                    "`coin reembed --role text --encoder …`" if materials.encoders.is_separate else "`coin add` again"
                )
                notes.append(f"{counted} are compared by their words alone: run {remedy} to embed them.")
            if reports.vectors is not None:
                meaning = query.feedback.move_text(materials.text_vector, reports)
        permitted = None if query.competing is None else materials.archive.case_ids(query.competing)
        ranking = reports.rank(
            query.text.words, meaning, materials.rules[RULE], permitted=permitted, contained=query.text.contained
        )
        return ChannelRanking(ranking, tuple(notes))

    def own_run(self, materials: EvaluationMaterials) -> ChannelRun:
        """Words and, where reports have vectors, meaning: each alone, and joined report by report."""
        reports, texts = materials.reports, materials.texts
        written = has_report(reports)
        index = ReportWords([report for report, given in zip(reports, written, strict=True) if given])
        words = ByWords(WORDS, reports, written, index)
        if texts is None:
            return ChannelRun((words,))
        queries = texts if materials.query_texts is None else materials.query_texts
        meaning = ByVectors(MEANING, queries, texts, by_case=True, missing=~has_vector(texts))
        rule = materials.rules[RULE]
        joined = Fusion(self.name, rule, {"words": WORDS, "meaning": MEANING}, by_case=True, rule_name=RULE)
        return ChannelRun((words, meaning), joined)
