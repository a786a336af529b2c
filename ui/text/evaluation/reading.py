"""A blinded reader study in words and tables: for a terminal, and for the view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import retrieval
from ui.text.layout import clean, page, wrapped
from ui.text.tables import table

if TYPE_CHECKING:
    from retrieval import Agreement, Estimate, Guesses, ReaderCount, ReaderStudy, ReaderStudyResults, Scores

Rows = Sequence[dict[str, str]]

PHANTOMS: Final = {
    "none": "",
    "some": "Some of the images in the role of real ones are phantoms: rendered by a program, of no patient.",
    "all": "All images in the role of real ones are phantoms here: rendered by a program, of no patient. This shows "
    "that the method works, and nothing about real material.",
}
QUESTIONS: Final = {"anatomic": "anatomic authenticity", "diagnostic": "diagnostic authenticity", "guess": "the guess"}
LIMITS: Final = (
    "This is not a planned study: how many readers and images a study needs is to be planned, with a statistician, "
    "before anybody rates.",
    "Intervals cover the choice of images of the same kind. They do not cover other readers, another archive or "
    "another generator.",
    "The scale is this project's own, and its figures are not to be compared with those of COIN's authors.",
    "That an image is taken for real does not make it fit for any use. Nothing here was validated.",
)


def study_text(study: ReaderStudy) -> str:
    """The study that was created: for its owner, who may know how many pictures are generated."""
    truth = study.truth()
    parts = [f"Created the study '{study.name}' in {study.folder}.", _composition(study)]
    if truth.by_category < max(truth.count("generated"), len(study.pictures) - truth.count("generated")):
        parts.append(
            "Not every picture has a counterpart of the same site and category: its content may then reveal whether it "
            "is real. Generate from this archive's reports, or choose its sites with --site."
        )
    if truth.left_out:
        counts = ", ".join(f"{count} {reason}" for reason, count in truth.left_out.items())
        parts.append(f"Left out: {counts}.")
    parts.append(
        "Readers rate it in the view: `coin ui --reading-only yes` shows them nothing else, and no search. Keep the "
        "folder from them: it shows which pictures are generated, and these carry no label."
    )
    return page(wrapped(part) for part in parts)


def _composition(study: ReaderStudy) -> str:
    truth = study.truth()
    shown = "shown to" if study.shows_labels else "hidden from"
    total = len(study.pictures)
    return (
        f"{total} pictures: {real_counts(truth.count('real'), truth.count('phantom'))} and "
        f"{truth.count('generated')} generated. "
        f"{truth.by_category} pairs share site and category, {truth.by_site} more the site. "
        f"All are {study.side} × {study.side} pixels, {study.compression}; site and category are {shown} readers. "
        f"{PHANTOMS[study.phantoms]}"
    ).strip()


def real_counts(real: int, phantoms: int) -> str:
    """ "50 real", "50 phantoms instead of real ones", or both."""
    substitutes = f"{phantoms} phantoms instead of real ones"
    return substitutes if not real else f"{real} real and {substitutes}" if phantoms else f"{real} real"


def progress_text(name: str, readers: Sequence[ReaderCount]) -> str:
    """The readers of a study, and their progress."""
    lines = [clean(name)]
    for reader in readers:
        status = f"closed {reader.closed[:10]}" if reader.closed else "still reading"
        lines.append(clean(f"  {_named(reader)}  {reader.complete} of {reader.pictures} rated, {status}"))
    return "\n".join(lines if readers else [*lines, "  nobody has begun"])


def results_text(results: ReaderStudyResults) -> str:
    """All results, for a terminal."""
    parts = [*(wrapped(line) for line in introduction(results)), "Authenticity\n" + _grid(score_rows(results))]
    parts.append("Real or generated?\n" + _grid(guess_rows(results)))
    if results.agreement:
        parts.append("Agreement\n" + _grid(agreement_rows(results)))
    parts.append("\n".join(["What this does not show:", *(wrapped(f"- {line}", indent="  ") for line in LIMITS)]))
    return page(parts)


def introduction(results: ReaderStudyResults) -> list[str]:
    """What was rated by whom, in a few sentences."""
    names = ", ".join(_named(reader) for reader in results.readers)
    lines = [
        f"Study '{results.reading}', archive '{results.archive}': {real_counts(results.real, results.phantoms)}, "
        f"and {results.generated} generated images; {results.by_category} pairs share site and category, "
        f"{results.by_site} more the site. Pictures of {results.side} × {results.side} pixels, {results.compression}.",
        f"Readers counted, all of them closed: {names}.",
    ]
    if phantoms := PHANTOMS["all" if not results.real else "some" if results.phantoms else "none"]:
        lines.insert(1, phantoms)
    if results.still_reading:
        unfinished = ", ".join(f"{_named(reader)} ({reader.complete})" for reader in results.still_reading)
        lines.append(f"Still reading, and not counted: {unfinished}.")
    lines.append(
        f"Intervals are of {100 * results.confidence:.0f} %. Images of one patient, or generated from one report, are "
        f"one piece of evidence; means of fewer than {retrieval.FEWEST_CLUSTERS} have no interval. An answer that was "
        "not given is left out, and counted as missing."
    )
    return lines


def score_rows(results: ReaderStudyResults) -> Rows:
    """A row for each axis of the scale: its means with intervals, and the counts behind them."""
    return [_score_row(scores, results) for scores in results.scores]


def _score_row(scores: Scores, results: ReaderStudyResults) -> dict[str, str]:
    return {
        "1 to 5": QUESTIONS[scores.axis],
        real_word(results): _estimate(scores.real),
        "generated": _estimate(scores.generated),
        f"generated − {real_word(results)}": _estimate(scores.difference, sign="+"),
        "images": f"{scores.images_real} + {scores.images_generated}",
        "ratings": str(scores.ratings),
        "missing": str(scores.missing),
    }


def real_word(results: ReaderStudyResults) -> str:
    """What the generated images are compared with."""
    return "phantom" if not results.real else "real, phantom" if results.phantoms else "real"


def guess_rows(results: ReaderStudyResults) -> Rows:
    """A row for each reader, and one for all where there are several."""
    rows = [_guess_row(guesses, results) for guesses in results.guesses]
    if results.accuracy is not None:
        guessed = sum(guesses.guessed for guesses in results.guesses)
        right = sum(guesses.right for guesses in results.guesses)
        missing = sum(guesses.missing for guesses in results.guesses)
        rows.append(
            {
                **dict.fromkeys(rows[0], ""),
                "reader": "all",
                "right": f"{right} of {guessed}",
                "accuracy": _estimate(results.accuracy),
                "missing": str(missing),
            }
        )
    return rows


def _guess_row(guesses: Guesses, results: ReaderStudyResults) -> dict[str, str]:
    return {
        "reader": clean(guesses.reader),
        "right": f"{guesses.right} of {guesses.guessed}",
        "accuracy": _estimate(guesses.accuracy),
        "chance": "–" if guesses.chance is None else f"{guesses.chance:.2f}",
        "chance within": _within(guesses),
        "generated seen": f"{guesses.generated_right} of {guesses.generated}",
        f"{real_word(results)} seen": f"{guesses.real_right} of {guesses.real}",
        "missing": str(guesses.missing),
    }


def _within(guesses: Guesses) -> str:
    if guesses.accuracy is None or guesses.chance is None:
        return "–"
    return "yes" if guesses.accuracy.low <= guesses.chance <= guesses.accuracy.high else "no"


def agreement_rows(results: ReaderStudyResults) -> Rows:
    """A row for each coefficient."""
    everybody = len(results.readers)
    return [_agreement_row(agreement, everybody) for agreement in results.agreement]


def _agreement_row(agreement: Agreement, everybody: int) -> dict[str, str]:
    whole = len(agreement.readers) == everybody > 2
    kappa = _estimate(agreement.kappa) if agreement.kappa else f"undefined: {agreement.undefined}"
    return {
        "of": QUESTIONS[agreement.question],
        "readers": "all" if whole else clean(" and ".join(agreement.readers)),
        "statistic": agreement.statistic,
        "value": kappa,
        "the same answer": "–" if agreement.observed is None else f"{100 * agreement.observed:.0f} %",
        "images": str(agreement.images),
    }


def _named(reader: ReaderCount) -> str:
    return clean(f"{reader.name} ({'a pseudonym' if reader.pseudonym else 'a name'})")


def _estimate(estimate: Estimate | None, *, sign: str = "") -> str:
    if estimate is None:
        return "too few"
    return estimate.text(digits=2, sign=sign)


def _grid(rows: Rows) -> str:
    return "\n".join(table([list(rows[0]), *(list(row.values()) for row in rows)]))
