"""An evaluation as a page: figures with their intervals, and charts, in one HTML file that loads nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from retrieval import RESEARCH_USE
from ui.html import evaluation_charts as charts
from ui.html.rendering import render
from ui.text.evaluation import tables as words

if TYPE_CHECKING:
    from retrieval import Evaluation, QueryTypeResult, TaskResult

BY_SITE: Final = ("P@1", "P@10")
GLANCE: Final = "P@10"


def evaluation_page(evaluation: Evaluation) -> str:
    """One HTML document, without scripts and without anything to fetch. All names of the archive are escaped."""
    return render(
        "evaluation.html",
        evaluation=evaluation,
        research_use=RESEARCH_USE,
        glance=GLANCE,
        by_site=BY_SITE,
        category_task=_category_task,
        # charts
        bars=charts.bars,
        colour=charts.colour,
        confounders=charts.confounders,
        curves=charts.curves,
        differences=charts.differences,
        horizontal_bars=charts.horizontal_bars,
        # words
        abstention_words=words.ABSTENTION,
        query_words=words.query_words,
        confounder_words=words.CONFOUNDERS,
        counts=words.counts,
        figure=words.figure,
        introduction=words.introduction,
        not_shown=words.NOT_SHOWN,
        remarks=words.remarks,
        same_report_words=words.same_report_words,
        signed=words.signed,
        site_name=words.site_name,
    )


def _category_task(result: QueryTypeResult) -> TaskResult:
    """The category in the whole archive."""
    return next(task for task in result.tasks if task.name.startswith("category"))
