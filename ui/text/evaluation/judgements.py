"""What a reader's judgements say of a search, for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ui.text.evaluation.tables import figure
from ui.text.layout import clean, page, wrapped
from ui.text.tables import name_value_table

if TYPE_CHECKING:
    from retrieval import JudgementResult


def judgements_text(result: JudgementResult) -> str:
    """The figures, and what they were made of."""
    counts = f"{_count(result.queries, 'query', 'queries')} with {_count(result.judged, 'judged case', 'judged cases')}"
    notes = []
    if result.left_out:
        notes.append(
            f"{_count(result.left_out, 'query', 'queries')} left out: no case was judged relevant, or it was removed."
        )
    if result.removed:
        notes.append(f"Judged, and no longer in the archive: {', '.join(result.removed)}.")
    if not all(score.has_interval for score in result.scores.values()):
        notes.append("With fewer than six queries there are no intervals: nothing is sure.")
    return page(
        [
            wrapped(
                f"Judged by a reader: {counts}. Cases that nobody judged count neither way; places that no judged case "
                "fills count as misses. Intervals: 95 %, from resampled queries."
            ),
            name_value_table([(name, figure(score)) for name, score in result.scores.items()]),
            *(wrapped(clean(note)) for note in notes),
        ]
    )


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
