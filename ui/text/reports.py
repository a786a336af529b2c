"""What was read from reports, as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ui.text.layout import clean, wrapped

if TYPE_CHECKING:
    from retrieval import LabelSource


def reports_text(found: Sequence[LabelSource]) -> str:
    """The cases with their labels and the words behind them."""
    if not found:
        return "No case is listed: none matches."
    lines = []
    for source in found:
        labels = " · ".join(filter(None, (source.site, source.system, source.category))) or "no labels"
        lines.append(clean(f"{source.case}: {labels}"))
        lines += [
            wrapped(f"{name} read from: {words}")
            for name, words in (("site", source.site_words), ("category", source.category_words))
            if words
        ]
        if source.note:
            lines.append(wrapped(f"no category: {source.note}"))
    return "\n".join(lines)
