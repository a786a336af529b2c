"""An import as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ui.text.layout import clean

if TYPE_CHECKING:
    from generation import Imported

_SHOWN = 10


def import_text(made: Imported) -> str:
    """Where it is now, where it came from, what was changed and left out."""
    revision = f", revision {made.revision}" if made.revision else ""
    lines = [
        f"{made.kind} imported to {made.folder} from {made.source}{revision}.",
        f"Licence as published: {made.licence or 'none stated; ask the authors'}.",
        *made.changes,
    ]
    if made.left_out:
        further = len(made.left_out) - _SHOWN
        more = f" and {further} further (all are in README.md)" if further > 0 else ""
        lines.append(f"Left out: {', '.join(made.left_out[:_SHOWN])}{more}.")
    return "\n".join(clean(line) for line in lines)
