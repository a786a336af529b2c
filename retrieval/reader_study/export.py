"""Every rating of the readers who have closed, one row each, with the picture's origin.

Apart from `ratings`, since it needs the study, which itself holds its ratings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from generation import csv_text
from retrieval.notice import RESEARCH_USE
from retrieval.reader_study.ratings import Rating

if TYPE_CHECKING:
    from retrieval.reader_study.study import ReaderStudy

COLUMNS: Final = (
    *("reading", "reader", "reader_is_pseudonym", "position", "picture", "kind", "site", "category", "source_sha256"),
    *("preset", "model_fingerprint", "lora_fingerprint", "seed"),
    *("anatomic", "diagnostic", "guess", "comment", "rated", "notice"),
)
_OF_PROVENANCE: Final = ("preset", "model_fingerprint", "lora_fingerprint", "seed")


def rating_rows(study: ReaderStudy) -> list[dict[str, Any]]:
    """One row for each picture of each reader who has closed; None where there is no answer.

    Case keys and prompts are left out: a prompt is the report's text.
    """
    origins = study.truth().origins
    rows = []
    for reader in study.ratings.readers():
        if not reader.closed:
            continue
        ratings = study.ratings.of(reader.name)
        for position, picture in enumerate(study.order(reader.name), start=1):
            origin, rating = origins[picture.id], ratings.get(picture.id, Rating())
            rows.append(
                {
                    "reading": study.name,
                    "reader": reader.name,
                    "reader_is_pseudonym": reader.pseudonym,
                    "position": position,
                    "picture": picture.id,
                    "kind": origin.kind,
                    "site": origin.site,
                    "category": origin.category,
                    "source_sha256": origin.source_sha256,
                    **{name: origin.provenance.get(name) for name in _OF_PROVENANCE},
                    "anatomic": rating.anatomic,
                    "diagnostic": rating.diagnostic,
                    "guess": rating.guess,
                    "comment": rating.comment,
                    "rated": rating.rated,
                    "notice": RESEARCH_USE,
                }
            )
    return rows


def rows_csv(rows: list[dict[str, Any]]) -> str:
    """The rows as CSV. Cells that a spreadsheet would take for a formula get an apostrophe in front."""
    return csv_text(COLUMNS, rows, line_end="\n")
