"""A comparison of two encoders as a page: verdicts, charts and figures, in one HTML file that loads nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval import RESEARCH_USE
from ui.html import evaluation_charts as charts
from ui.html.rendering import render
from ui.html.svg import Chart
from ui.text.evaluation import comparison as words
from ui.text.evaluation.tables import figure, signed

if TYPE_CHECKING:
    from retrieval import ComparedSearch, EncoderComparison


def comparison_page(comparison: EncoderComparison) -> str:
    """One HTML document, without scripts and without anything to fetch. All names of the archive are escaped."""

    def differences(search: ComparedSearch) -> Chart:
        metric = comparison.decided_by
        rows = [(words.part_name(part), part.difference[metric]) for part in search.parts]
        return charts.difference_points(rows, f"Second minus first in {metric}, {search.name}")

    return render(
        "encoder_comparison.html",
        comparison=comparison,
        research_use=RESEARCH_USE,
        caution=words.CAUTION,
        differences=differences,
        figure=figure,
        introduction=words.comparison_introduction(comparison),
        part_name=words.part_name,
        signed=signed,
        verdicts=words.verdict_lines(comparison),
    )
