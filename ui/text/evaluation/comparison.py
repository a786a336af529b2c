"""Two encoders compared, in words and tables, for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ui.text.evaluation.tables import figure, signed
from ui.text.layout import clean, page, wrapped
from ui.text.tables import table

if TYPE_CHECKING:
    from index_store import EncoderInfo
    from retrieval import ComparedPart, ComparedSearch, EncoderComparison, RoleVerdict

CAUTION: Final = (
    "These are the archive's own cases, with its stains, scanners and wordings: another archive may decide otherwise.",
    "A site by itself has few patients, and some interval of many excludes 0 by chance: sites do not decide here.",
    "An encoder that was trained on these cases looks better than it is.",
    "Nothing was validated for clinical use.",
)


def comparison_text(comparison: EncoderComparison) -> str:
    """The verdict for each role, then the figures of each search: over the whole archive, and site by site."""
    return page(
        [
            *(wrapped(line) for line in comparison_introduction(comparison)),
            "\n".join(wrapped(line) for line in verdict_lines(comparison)),
            *(_search(search, comparison) for search in comparison.searches),
            *(wrapped(f"Note: {note}") for note in comparison.notes),
            "\n".join(["What this does not show:", *(wrapped(f"- {line}", indent="  ") for line in CAUTION)]),
        ]
    )


def comparison_introduction(comparison: EncoderComparison) -> tuple[str, ...]:
    """What was compared and how, a paragraph each."""
    queries = (
        f"{comparison.sampled} of them, sampled at random with seed {comparison.seed}, are queries"
        if comparison.sampled
        else "each of them is a query"
    )
    phantoms = f" {comparison.phantoms} of the cases are phantoms: rendered, without a patient." * bool(
        comparison.phantoms
    )
    return (
        f"Archive '{comparison.archive}': {comparison.cases} cases with a category, of {comparison.patients} patients, "
        f"with {comparison.images} images.{phantoms} First: {encoder_words(comparison.first)}. Second: "
        f"{encoder_words(comparison.second)}.",
        f"{comparison.question} Leave-one-patient-out: {queries}, and the query's patient is left out. Every figure is "
        f"a mean over categories, with its 95 % interval from {comparison.resamples} resamples of whole patients (seed "
        f"{comparison.seed}). The differences, second minus first, are of the same queries, their intervals by sign "
        f"flips of patients. A star: the interval excludes 0. {comparison.decided_by} over the whole archive decides.",
    )


def encoder_words(encoder: EncoderInfo) -> str:
    """An encoder by name, size and the beginning of its fingerprint."""
    return f"{encoder.name} ({encoder.dim}-d, {encoder.fingerprint[:12]})"


def verdict_lines(comparison: EncoderComparison) -> list[str]:
    """For each role which encoder is better, and how to use it where the archive does not."""
    return [f"Role {verdict.role}: {verdict.words}{_advice(verdict, comparison)}" for verdict in comparison.verdicts]


def _advice(verdict: RoleVerdict, comparison: EncoderComparison) -> str:
    if not verdict.better:
        return ""
    if comparison.roles.get(verdict.role) == verdict.better:
        return " The archive uses it."
    return f" Use it: `coin encoders --role {verdict.role}={verdict.better[:12]}`."


def part_name(part: ComparedPart) -> str:
    """The heading of a part."""
    return "all sites" if part.site is None else clean(part.site) or "site not given"


def _search(search: ComparedSearch, comparison: EncoderComparison) -> str:
    whole, *sites = search.parts
    rows = [
        [metric, figure(whole.first[metric]), figure(whole.second[metric]), signed(whole.difference[metric])]
        for metric in comparison.metrics
    ]
    counts = f"{whole.queries} queries of {whole.patients} patients, {whole.categories} categories."
    lines = [
        f"==== {search.name} (role {search.role})",
        wrapped(counts),
        "",
        *table([["", "first", "second", "second − first"], *rows]),
    ]
    if sites:
        metric = comparison.decided_by
        by_site = [
            [
                part_name(part),
                str(part.queries),
                f"{part.first[metric].mean:.3f}",
                f"{part.second[metric].mean:.3f}",
                signed(part.difference[metric]),
            ]
            for part in sites
        ]
        lines += ["", *table([[metric, "n", "first", "second", "second − first"], *by_site])]
    return "\n".join(lines)
