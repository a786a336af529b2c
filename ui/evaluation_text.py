"""An evaluation in words and tables, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from retrieval.notice import RESEARCH_USE
from ui.text import clean, wrapped

if TYPE_CHECKING:
    from retrieval import Estimate, Evaluation
    from retrieval.evaluation_results import Part, TaskResult

BY_SITE: Final = "P@10"
"""The metric that is shown site by site: how much of the first page of a search is right."""
NOT_SHOWN: Final = (
    "A category stands for the truth here as the archive records it: wrong or coarse labels count as the search's "
    "mistakes, or hide them.",
    "Cases of one archive share its laboratory, stains and scanners. Other laboratories' images may do worse; the "
    "colour histogram's figures say how much stain alone achieves.",
    "A result of the right category need not look alike, and one of a neighbouring category may be of use: only a "
    "reviewer can say.",
    "Image queries only: nothing here measures how well a report finds its cases.",
    "Nothing was validated for clinical use, and no figure says how well anybody would diagnose with it.",
)


def evaluation_text(evaluation: Evaluation) -> str:
    """The figures of every question: all metrics over the whole archive, then one metric site by site."""
    parts = [wrapped(paragraph) for paragraph in (*introduction(evaluation), *remarks(evaluation))]
    parts += [_task(task) for task in evaluation.tasks]
    parts.append("\n".join(["What this does not show:", *(wrapped(f"- {line}", indent="  ") for line in NOT_SHOWN)]))
    return "\n\n".join([*parts, RESEARCH_USE])


def introduction(evaluation: Evaluation) -> tuple[str, ...]:
    """What was measured and how, in two paragraphs."""
    asked = f"{evaluation.sampled} of them" if evaluation.sampled else "each of them"
    return (
        f"Archive '{evaluation.archive}': {evaluation.cases} cases with a category, of {evaluation.patients} patients, "
        f"with {evaluation.images} images. Encoder: {evaluation.encoder} ({evaluation.fingerprint[:12]}).",
        f"Leave-one-patient-out: {asked} asks by the mean of its images' vectors, without its own patient; one result "
        f"a patient. Every figure is a mean over categories, with its 95 % interval from {evaluation.resamples} "
        f"resamples of whole patients (seed {evaluation.seed}). mMV@k is the macro-F1 of the majority vote of the "
        "first k; R@10 is the share of all relevant patients among the first 10, small where they are many; nDCG@10 "
        "counts a category of the same tier (negative, indeterminate … malignant) half, of a neighbouring one a "
        "quarter.",
    )


def remarks(evaluation: Evaluation) -> tuple[str, ...]:
    """What a reader must know to read the figures rightly; empty where there is nothing."""
    found = []
    if evaluation.phantoms:
        found.append(
            f"{evaluation.phantoms} of the {evaluation.cases} cases are phantoms: drawn, without a patient, and "
            "simpler than any smear. Their figures say nothing of real ones."
        )
    if evaluation.derived:
        found.append(
            f"{evaluation.derived} of the {evaluation.cases} cases have a category that was read from their own report "
            "by rules, and given by nobody: it can be wrong, and it is no truth independent of the report."
        )
    if evaluation.unlabelled:
        found.append(f"{evaluation.unlabelled} cases without a category were neither asked with nor searched in.")
    if evaluation.unreadable_images:
        found.append(f"{evaluation.unreadable_images} image files could not be read; the colour histogram lacks them.")
    return tuple(f"Note: {note}" for note in found)


def counts(task: TaskResult, part: Part) -> str:
    """How many queries a part's figures rest on."""
    words = f"{part.queries} queries of {part.patients} patients, {_counted(part.categories, task)}"
    if part.site is None and task.unanswerable:
        words += f"; {task.unanswerable} cases were not asked with, since no other patient has what they would ask for"
    return words


def site_name(part: Part) -> str:
    """What a part is called."""
    return "all sites" if part.site is None else clean(part.site) or "site not given"


def figure(estimate: Estimate) -> str:
    """A mean with its interval; an expectation, whose interval is a point, alone."""
    return f"{estimate.mean:.3f}" if estimate.low == estimate.high == estimate.mean else str(estimate)


def _counted(categories: int, task: TaskResult) -> str:
    one, many = ("site", "sites") if task.name == "site" else ("category", "categories")
    return f"{categories} {one if categories == 1 else many}"


def _task(task: TaskResult) -> str:
    whole, *sites = task.parts
    channels = [row.channel for row in whole.rows]
    metrics = [[name, *(figure(row.scores[name]) for row in whole.rows)] for name in whole.rows[0].scores]
    lines = [
        f"== {task.name}",
        wrapped(f"{task.question} {counts(task, whole)}."),
        "",
        *_aligned([["", *channels], *metrics]),
    ]
    if len(sites) > 1:
        rows = [
            [site_name(part), str(part.queries), str(part.categories), *(figure(r.scores[BY_SITE]) for r in part.rows)]
            for part in sites
        ]
        lines += ["", *_aligned([[BY_SITE, "n", "categories", *channels], *rows])]
    return "\n".join(lines)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        ("  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))).rstrip() for row in rows
    ]
