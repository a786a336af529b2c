"""Model cards as Markdown: what is shown in them is escaped, since sites and categories come from others' files."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence

from generation.training.data.pairs import PairCounts

RESEARCH_USE = "**Research use only. Not for diagnosis.**"
SHOWN = 40
"""Values of one particular; a manifest may have a thousand sources."""
_LONGEST = 120


def page(title: str, *, front: Mapping[str, object], sections: Mapping[str, Sequence[str]]) -> str:
    """A card: front matter (YAML), title, notice, and paragraphs under headings; empty ones are left out."""
    lines = ["---", *(f"{name}: {json.dumps(value)}" for name, value in front.items()), "---"]
    parts = ["\n".join(lines), f"# {title}", RESEARCH_USE]
    for heading, paragraphs in sections.items():
        kept = [paragraph for paragraph in paragraphs if paragraph]
        parts += [f"## {heading}", *kept] if heading and kept else kept
    return "\n\n".join(parts) + "\n"


def counts_table(sets: Mapping[str, PairCounts]) -> str:
    """Images, patients and different reports of each set, then images by each value of what is known of them."""
    names = list(sets)
    rows = [[what, *(str(getattr(sets[name], what)) for name in names)] for what in ("images", "patients", "reports")]
    attributes = dict.fromkeys(what for of in sets.values() for what in of.values)
    for what in attributes:
        values = dict.fromkeys(value for of in sets.values() for value in of.values.get(what, {}))
        for place, value in enumerate(values):
            if place == SHOWN:
                rows.append([f"{what}: {len(values) - SHOWN} further", *("" for _ in names)])
                break
            counts = [str(of.values.get(what, {}).get(value, 0)) for of in sets.values()]
            rows.append([f"{what}: {value or 'not given'}", *counts])
    return table(["", *names], rows)


def settings_table(settings: Mapping[str, object]) -> str:
    """Names and values."""
    return table(["setting", "value"], [[name.replace("_", " "), str(value)] for name, value in settings.items()])


def skipped_list(skipped: Mapping[str, int]) -> str:
    """What was left out, by reason; empty where nothing was."""
    return "\n".join(f"- Left out: {count} × {plain(reason)}" for reason, count in sorted(skipped.items()))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [_row(head), "|" + "---|" * len(head), *(_row(row) for row in rows)]
    return "\n".join(lines)


def plain(text: str) -> str:
    """`text` in one line that Markdown and HTML take as text."""
    line = "".join(" " if unicodedata.category(one).startswith("C") else one for one in text)
    line = " ".join(line.split())[:_LONGEST]
    for sign, instead in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "&#124;"), ("`", "&#96;")):
        line = line.replace(sign, instead)
    for sign in "\\*_[]":
        line = line.replace(sign, f"\\{sign}")
    return line


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(plain(cell) for cell in cells)} |"
