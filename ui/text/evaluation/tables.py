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
AT_A_GLANCE: Final = ("P@1", BY_SITE)
"""A weak encoder may look level at P@10, where a category has hardly ten patients, and not at P@1."""
SHOWN_DIFFERENCES: Final = ("P@10",)
ABREAST: Final = 3
"""Columns of figures with intervals that fit beside a row's name."""
NOT_SHOWN: Final = (
    "The ground truth is the category that the archive records: wrong or coarse labels count as errors of the search, "
    "or hide them.",
    "Cases of one archive share its laboratory, stains and scanners. Other laboratories' images may do worse; the "
    "colour histogram's figures show how much stain alone achieves.",
    "A result of the right category need not look alike, and one of a neighbouring category may be of use: only a "
    "reviewer can judge that.",
    "A report queries here as it was stored, in the words of the archive's own laboratory; others write otherwise. How "
    "rare a word is, is counted over all reports, the query's among them.",
    "Nothing was validated for clinical use, and no figure shows how well anybody would diagnose with it.",
)


def evaluation_text(evaluation: Evaluation) -> str:
    """The figures of every task: all metrics over the whole archive, then one metric site by site."""
    parts = [wrapped(paragraph) for paragraph in (*introduction(evaluation), *remarks(evaluation))]
    parts.append(_glance(evaluation))
    for result in evaluation.families:
        parts.append(f"==== {result.name}\n" + wrapped(query_words(result)))
        parts += [_task(task) for task in result.tasks]
        parts += [_same_report(result.same_report)] if result.same_report else []
        parts += [_confounders(result), _abstention(result)]
    parts.append("\n".join(["What this does not show:", *(wrapped(f"- {line}", indent="  ") for line in NOT_SHOWN)]))
    return "\n\n".join([*parts, RESEARCH_USE])


def introduction(evaluation: Evaluation) -> tuple[str, ...]:
    """What was measured and how, and in a sentence what channels add that cost much or answer only on request."""
    queries = (
        f"{evaluation.sampled} of them, sampled at random with seed {evaluation.seed}, are queries"
        if evaluation.sampled
        else "each of them is a query"
    )
    return (
        f"Archive '{evaluation.archive}': {evaluation.cases} cases with a category, of {evaluation.patients} patients, "
        f"with {evaluation.images} images. Encoder: {evaluation.encoder} ({evaluation.fingerprint[:12]})"
        + (
            f"; of texts: {evaluation.text_encoder} ({evaluation.text_fingerprint[:12]})."
            if evaluation.text_encoder
            else "."
        ),
        f"Leave-one-patient-out: {queries}, and the query's patient is left out; one result for each patient. Every "
        f"figure is a mean over categories, with its 95 % interval from {evaluation.resamples} resamples of whole "
        f"patients (seed {evaluation.seed}). mMV@k is the macro-F1 of the majority vote of the first k; R@10 is the "
        "share of all relevant patients among the first 10, small where they are many; nDCG@10 counts a category of "
        "the same tier (negative, indeterminate … malignant) half, of a neighbouring one a quarter.",
        *((f"Generated: {evaluation.generated}.",) if evaluation.generated else ()),
        *(f"Row '{row}': {rule}." for row, rule in evaluation.rules.items()),
        *(gain.words for gain in evaluation.gains),
    )


def remarks(evaluation: Evaluation) -> tuple[str, ...]:
    """Limits of these figures that a reader must know; empty where there are none."""
    lines = []
    if evaluation.phantoms:
        lines.append(
            f"{evaluation.phantoms} of the {evaluation.cases} cases are phantoms: rendered, without a patient, and "
            "simpler than any smear. Their figures do not carry over to real ones."
        )
    if evaluation.derived:
        lines.append(
            f"{evaluation.derived} of the {evaluation.cases} cases have a category that was extracted from their own "
            "report by rules, and not given: it can be wrong, and it is no ground truth independent of the report."
        )
    if evaluation.unlabelled:
        lines.append(f"{evaluation.unlabelled} cases without a category were neither queries nor candidates.")
    if evaluation.unreadable_images:
        lines.append(f"{evaluation.unreadable_images} image files could not be read; the colour histogram lacks them.")
    return tuple(f"Note: {note}" for note in (*lines, *evaluation.notes))


def query_words(result: QueryTypeResult) -> str:
    """What the queries consist of, and how many there are."""
    words = f"{result.words} {result.asked} cases are queries."
    return words + (f" {result.left_out} have no report to query by." if result.left_out else "")


def same_report_words(same: SameReport) -> str:
    """What the figures of identical reports are based on."""
    return (
        "Is another patient found whose report concludes the same in the same words? "
        f"{same.queries} queries with {same.families} different reports; {same.unanswerable} were left out, since no "
        "other patient's report does. Means over queries."
    )


CONFOUNDERS: Final = (
    "The share of the first 10 that has the query's stain, preparation, source, slide or scale, beside the share that "
    "chance would give among cases of the hits' sites. Where hits share it more often than by chance, it may be the "
    "reason that they are hits. Means over queries."
)
ABSTENTION: Final = (
    "The majority vote of the first 5 on the category, when only the queries with the highest top score are answered. "
    "AURC is the mean error over all shares answered (lower is better). Means over queries."
)


def counts(task: TaskResult, part: Part) -> str:
    """How many queries a part's figures are based on."""
    words = f"{part.queries} queries of {part.patients} patients, {_counted(part.categories, task)}"
    if part.site is None and task.unanswerable:
        words += f"; {task.unanswerable} cases were left out, since no other patient is relevant to them"
    return words


def site_name(part: Part) -> str:
    """The heading of a part."""
    return "all sites" if part.site is None else clean(part.site) or "site not given"


def figure(estimate: Estimate) -> str:
    """A mean with its interval; an expectation, whose interval is a point, alone."""
    return f"{estimate.mean:.3f}" if estimate.low == estimate.high == estimate.mean else str(estimate)


def _glance(evaluation: Evaluation) -> str:
    """Two metrics of every run over the whole archive, before the hundreds of lines that follow."""
    return "\n".join(["==== at a glance", *(line for metric in AT_A_GLANCE for line in _glance_at(evaluation, metric))])


def _glance_at(evaluation: Evaluation, metric: str) -> list[str]:
    tasks = [task.name for task in evaluation.families[0].tasks]
    heads = [name.removeprefix("category ") for name in tasks]  # so that a line fits a terminal
    lines = []
    for result in evaluation.families:
        wholes = {task.name: task.parts[0].rows for task in result.tasks}
        lines += [[result.name.capitalize(), *([""] * len(tasks))]]
        for i, run in enumerate(wholes[tasks[0]]):
            lines.append([f"  {run.channel}", *(figure(wholes[name][i].scores[metric]) for name in tasks)])
    return ["", *table([[metric, *heads], *lines])]


def _counted(categories: int, task: TaskResult) -> str:
    singular, plural = ("site", "sites") if task.name == "site" else ("category", "categories")
    return f"{categories} {singular if categories == 1 else plural}"


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
        [f"{pair.channel} − {pair.minus}", *(signed(pair.scores[metric]) for metric in metrics)] for pair in differences
    ]
    return table([["difference", *metrics], *rows])


def signed(estimate: Estimate, *, star: bool = True) -> str:
    """A difference with its interval, and with a star where the interval, as it is shown, excludes zero."""
    mark = " *" if star and (round(estimate.low, 3) > 0 or round(estimate.high, 3) < 0) else ""
    return f"{estimate.text(sign='+')}{mark}"


def _same_report(same: SameReport) -> str:
    lines = [wrapped(f"Identical reports. {same_report_words(same)}"), "", *_figures(same.rows)]
    if same.differences:
        lines += ["", *_differences(same.differences, ("MRR",))]
    return "\n".join(lines)


def _confounders(result: QueryTypeResult) -> str:
    if not result.nuisance:
        return wrapped(
            "Confounders: nothing to compare. Each of stain, preparation, source, slide and scale is unknown, differs "
            "among the images of every case, or is the same for all cases."
        )
    rows = [
        [share.field, share.channel, str(share.found), f"{share.expected:.3f}", signed(share.excess)]
        for share in result.nuisance
    ]
    lines = table([["", "row", "share", "chance", "above chance"], *rows])
    return "\n".join([wrapped(f"Confounders. {CONFOUNDERS}"), "", *lines])


def _abstention(result: QueryTypeResult) -> str:
    shares = list(result.abstention[0].accuracy)
    rows = [
        [run.channel, f"{run.aurc:.3f}", *(f"{run.accuracy[share]:.3f}" for share in shares)]
        for run in result.abstention
    ]
    head = ["", "AURC", *(f"{share} % answered" for share in shares)]
    return "\n".join([wrapped(f"Abstention. {ABSTENTION}"), "", *table([head, *rows])])


def choice_text(choices: Sequence[FusionChoice], file: str) -> str:
    """The chosen rules, and their figures on the held-out half of the patients beside those of other rules."""
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
        rows = [[other.name, str(other.precision), signed(other.chosen_minus)] for other in choice.compared]
        adds = [f"Of the channels, on these: {' '.join(each.words for each in choice.contributions)}"]
        compared = table([["on these", "P@10", "chosen − this"], *rows])
        parts.append("\n".join([*lines, *compared, *(["", *map(wrapped, adds)] if choice.contributions else [])]))
    written = f"Written to {file}: use it with `--rules {file}`, in `coin search`, `coin ui` and here."
    return "\n\n".join([*parts, wrapped(written), RESEARCH_USE])
