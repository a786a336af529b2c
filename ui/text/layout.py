"""The page of plain text: cleaned, wrapped, with the research-use line at its end.

Reports, names and messages come from files that others wrote. All that is printed goes through `clean`, so that no
terminal escape sequence and no bidirectional override reaches the screen.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterable
from typing import Final

from retrieval import RESEARCH_USE

WIDTH: Final = 100


def clean(text: str) -> str:
    """`text` without control and invisible formatting characters; newlines stay, tabs become spaces."""
    text = text.replace("\r\n", "\n").replace("\t", " ")
    return "".join(c for c in text if c == "\n" or unicodedata.category(c) not in ("Cc", "Cf"))


def wrapped(text: str, *, indent: str = "") -> str:
    """`text`, cleaned and wrapped to the page; its own line breaks are kept. Paths, options and addresses stay whole: a
    line may be longer than the page."""
    lines: list[str] = []
    for paragraph in clean(text).splitlines():
        width = WIDTH - len(indent)
        lines += textwrap.wrap(paragraph, width, break_on_hyphens=False, break_long_words=False) or [""]
    return "\n".join(f"{indent}{line}".rstrip() for line in lines)


def page(parts: Iterable[str]) -> str:
    """The parts with a blank line between, and the research-use line at the end."""
    return "\n\n".join([*(part for part in parts if part), RESEARCH_USE])
