"""The language of cytology reports as data: the words that mark headings, conclusions, advice and so on (cues.toml)."""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path
from typing import Any


def alternatives(group: str, use: str) -> str:
    r"""The cues of a group that are read for one use, as alternatives of a regular expression.

    Args:
        group: a table of cues.toml, such as "conclusion" or "heading.site".
        use: "condensing", "labels" or "query"; the cues that are for `all` uses come first.

    Returns:
        `a|b|c`, to be put into a group; a space of the file is `\s+`.

    Raises:
        KeyError: there is no such group.
    """
    table: dict[str, Any] = _document()
    for name in group.split("."):
        table = table[name]
    return "|".join(cue.replace(" ", r"\s+") for cue in (*table.get("all", ()), *table.get(use, ())))


@functools.cache
def _document() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("cues.toml").read_text(encoding="utf-8"))
