"""An evaluation in words and tables, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from retrieval import RESEARCH_USE
from ui.text.layout import clean, wrapped
from ui.text.tables import table

if TYPE_CHECKING:
    from retrieval import (
        Difference,
        Estimate,
        Evaluation,
        FusionChoice,
        Part,
        QueryTypeResult,
        RunResult,
        SameReport,
        TaskResult,
    )

BY_SITE: Final = "P@10"
"""The metric that is shown site by site: how much of the first page of a search is right."""
SHOWN_DIFFERENCES: Final = ("P@10",)
ABREAST: Final = 3
"""Columns of figures with intervals that fit beside a row's name."""
NOT_SHOWN: Final = (
    "A category stands for the truth here as the archive records it: wrong or coarse labels count as the search's "
    "mistakes, or hide them.",
    "Cases of one archive share its laboratory, stains and scanners. Other laboratories' images may do worse; the "
    "colour histogram's figures say how much stain alone achieves.",
    "A result of the right category need not look alike, and one of a neighbouring category may be of use: only a "
    "reviewer can say.",
    "A report asks here as it was stored, in the words of the archive's own laboratory; others write otherwise. How "
    "rare a word is, is counted over all reports, the query's among them.",
    "Nothing was validated for clinical use, and no figure says how well anybody would diagnose with it.",
)


def evaluation_text(evaluation: Evaluation) -> str:
    """The figures of every question: all metrics over the whole archive, then one metric site by site."""
    parts = [wrapped(paragraph) for paragraph in (*introduction(evaluation), *remarks(evaluation))]
    parts.append(_glance(evaluation))
    for family in evaluation.families:
        parts.append(f"==== {family.name}\n" + wrapped(asked(family)))
        parts += [_task(task) for task in family.tasks]
        parts += [_same_report(family.same_report)] if family.same_report else []
        parts += [_nuisance(family), _abstention(family)]
    parts.append("\n".join(["What this does not show:", *(wrapped(f"- {line}", indent="  ") for line in NOT_SHOWN)]))
    return "\n\n".join([*parts, RESEARCH_USE])


def introduction(evaluation: Evaluation) -> tuple[str, ...]:
    """What was measured and how, in two paragraphs."""
    asked = f"{evaluation.sampled} of them" if evaluation.sampled else "each of them"
    return (
        f"Archive '{evaluation.archive}': {evaluation.cases} cases with a category, of {evaluation.patients} patients, "
        f"with {evaluation.images} images. Encoder: {evaluation.encoder} ({evaluation.fingerprint[:12]}).",
        f"Leave-one-patient-out: {asked} asks, without its own patient; one result a patient. Every figure is a mean "
        f"over categories, with its 95 % interval from {evaluation.resamples} resamples of whole patients (seed "
        f"{evaluation.seed}). mMV@k is the macro-F1 of the majority vote of the first k; R@10 is the share of all "
        "relevant patients among the first 10, small where they are many; nDCG@10 counts a category of the same tier "
        "(negative, indeterminate … malignant) half, of a neighbouring one a quarter.",
        *((f"Generated: {evaluation.generated}.",) if evaluation.generated else ()),
        *(f"Row '{row}': {rule}." for row, rule in evaluation.rules.items()),
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
    return tuple(f"Note: {note}" for note in (*found, *evaluation.notes))


def asked(family: QueryTypeResult) -> str:
    """Who asked, and by what."""
    words = f"{family.words} {family.asked} cases ask."
    return words + (f" {family.left_out} have no report to ask by." if family.left_out else "")


def same_report_words(same: SameReport) -> str:
    """What the figures of equal reports rest on."""
    return (
        "Is another patient found whose report concludes the same in the same words? "
        f"{same.queries} queries of {same.families} families; {same.unanswerable} were not asked with, since no other "
        "patient's report does. Means over queries."
    )


NUISANCE: Final = (
    "The share of the first 10 that has the query's stain, preparation, source or slide, beside what chance would "
    "bring among cases of the sites found. Hits that share it more than by chance may be there for it. Means over "
    "queries."
)
ABSTENTION: Final = (
    "The majority vote of the first 5 on the category, when only the queries whose first result is "
    "nearest are answered. AURC is the mean error over all shares answered (lower is better). Means over queries."
)


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


def _glance(evaluation: Evaluation) -> str:
    """One metric of every row over the whole archive, before the hundreds of lines that follow."""
    questions = [task.name for task in evaluation.families[0].tasks]
    heads = [name.removeprefix("category ") for name in questions]  # so that a line fits a terminal
    lines = []
    for family in evaluation.families:
        wholes = {task.name: task.parts[0].rows for task in family.tasks}
        lines += [[family.name.capitalize(), *([""] * len(questions))]]
        for i, row in enumerate(wholes[questions[0]]):
            lines.append([f"  {row.channel}", *(figure(wholes[name][i].scores[BY_SITE]) for name in questions)])
    return "\n".join(["==== at a glance", "", *table([[BY_SITE, *heads], *lines])])


def _counted(categories: int, task: TaskResult) -> str:
    one, many = ("site", "sites") if task.name == "site" else ("category", "categories")
    return f"{categories} {one if categories == 1 else many}"


def _task(task: TaskResult) -> str:
    whole, *sites = task.parts
    lines = [f"== {task.name}", wrapped(f"{task.question} {counts(task, whole)}."), "", *_figures(whole.rows)]
    if task.differences:
        lines += ["", *_differences(task.differences, SHOWN_DIFFERENCES)]
    if len(sites) > 1:
        lines += ["", *_by_site(sites)]
    return "\n".join(lines)


def _figures(rows: Sequence[RunResult]) -> list[str]:
    """All metrics, a few at a time, so that a line fits a terminal."""
    metrics = list(rows[0].scores)
    lines: list[str] = []
    for start in range(0, len(metrics), ABREAST):
        shown = metrics[start : start + ABREAST]
        cells = [[row.channel, *(figure(row.scores[name]) for name in shown)] for row in rows]
        lines += [*([""] if lines else []), *table([["", *shown], *cells])]
    return lines


def _by_site(sites: Sequence[Part]) -> list[str]:
    rows = [row.channel for row in sites[0].rows]
    if len(rows) <= ABREAST:
        heads, shown = rows, figure
        key = []
    else:  # intervals would not fit
        heads, shown = [f"({i})" for i in range(1, len(rows) + 1)], lambda estimate: f"{estimate.mean:.3f}"
        key = [
            wrapped(f"{BY_SITE}, means alone: " + ", ".join(f"{h} {row}" for h, row in zip(heads, rows, strict=True)))
        ]
    cells = [
        [site_name(part), str(part.queries), str(part.categories), *(shown(row.scores[BY_SITE]) for row in part.rows)]
        for part in sites
    ]
    return [*key, *table([[BY_SITE, "n", "categories", *heads], *cells])]


def _differences(differences: Sequence[Difference], metrics: Sequence[str]) -> list[str]:
    rows = [
        [f"{one.channel} − {one.minus}", *(signed(one.scores[metric]) for metric in metrics)] for one in differences
    ]
    return table([["difference", *metrics], *rows])


def signed(estimate: Estimate, *, star: bool = True) -> str:
    """A difference with its interval, and with a star where that holds no zero."""
    mark = " *" if star and (estimate.low > 0 or estimate.high < 0) else ""
    return f"{estimate.mean:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]{mark}"


def _same_report(same: SameReport) -> str:
    lines = [wrapped(f"Exact report family. {same_report_words(same)}"), "", *_figures(same.rows)]
    if same.differences:
        lines += ["", *_differences(same.differences, ("MRR",))]
    return "\n".join(lines)


def _nuisance(family: QueryTypeResult) -> str:
    if not family.nuisance:
        return wrapped("Nuisance audit: no case has one stain, preparation, source or slide of all its images.")
    rows = [
        [one.field, one.channel, str(one.found), f"{one.expected:.3f}", signed(one.excess)] for one in family.nuisance
    ]
    return "\n".join(
        [
            wrapped(f"Nuisance audit. {NUISANCE}"),
            "",
            *table([["", "row", "share", "chance", "above chance"], *rows]),
        ]
    )


def _abstention(family: QueryTypeResult) -> str:
    shares = list(family.abstention[0].accuracy)
    rows = [
        [one.channel, f"{one.aurc:.3f}", *(f"{one.accuracy[share]:.3f}" for share in shares)]
        for one in family.abstention
    ]
    head = ["", "AURC", *(f"{share} % answered" for share in shares)]
    return "\n".join([wrapped(f"Abstention. {ABSTENTION}"), "", *table([head, *rows])])


def choice_text(choices: Sequence[FusionChoice], file: str) -> str:
    """Which rules were chosen, what they reached on the other half of the patients, and beside what."""
    parts = []
    for choice in choices:
        lines = [
            f"== {choice.name}: {choice.rule.words(choice.channels)}",
            wrapped(
                f"Chosen among {choice.tried} rules on {choice.choosing_queries} queries of {choice.choosing_patients} "
                f"patients ({choice.why}): P@10 of the category {choice.choosing}. On the {choice.measured_queries} "
                f"queries of the other {choice.measured_patients} patients: {choice.measured}."
            ),
            "",
        ]
        rows = [[one.name, str(one.precision), signed(one.chosen_minus)] for one in choice.compared]
        parts.append("\n".join([*lines, *table([["there", "P@10", "chosen − this"], *rows])]))
    written = f"Written to {file}: use it with `--rules {file}`, in `coin search`, `coin ui` and here."
    return "\n\n".join([*parts, wrapped(written), RESEARCH_USE])
