"""The glossary: machine-translated wordings of reports and what is meant by them, read from glossary.toml.

COIN's published reports were translated by machine ("cue cells", "transpiration of lymph nodes"). The glossary replaces
such a wording by the usual one, whole words only, and says what it replaced.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

_SIDE = "{side}"


@dataclass(frozen=True)
class Replacement:
    """A wording as it stood in a report, and what it was replaced by."""

    wording: str
    meaning: str

    def __str__(self) -> str:
        return f"“{self.wording}” → “{self.meaning}”"


@dataclass(frozen=True)
class Entry:
    """A wording, what is meant by it, in which of COIN's reports it stands, and why it means that."""

    wording: str
    meaning: str
    source: str
    reason: str

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        words = re.escape(self.wording).replace(r"\ ", r"\s+")
        words = words.replace(re.escape(_SIDE) + r"\s+", r"(?:(?P<side>left|right|both)\s+)?")
        return re.compile(rf"(?<!\w){words}(?!\w)", re.IGNORECASE)

    def meant(self, found: re.Match[str]) -> str:
        """What is meant by the words found, with a capital where these begin with one."""
        side = found.groupdict().get("side") or ""
        meaning = " ".join(self.meaning.replace(_SIDE, side).split())
        return meaning[0].upper() + meaning[1:] if found.group()[0].isupper() else meaning


@dataclass(frozen=True)
class Glossary:
    """All of glossary.toml. Raises `ValueError` where two entries explain the same wording, or one explains nothing."""

    version: int
    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        wordings = [entry.wording for entry in self.entries]
        if len(set(wordings)) < len(wordings):
            raise ValueError("The glossary explains a wording twice. Remove one of its entries.")
        for entry in self.entries:
            if not (entry.wording.strip() and entry.meaning.strip() and entry.source and entry.reason):
                raise ValueError(f"The glossary's entry {entry.wording!r} lacks its meaning, source or reason.")

    def apply(self, text: str) -> tuple[str, tuple[Replacement, ...]]:
        """The text with every wording replaced, and what was replaced, in the order of the glossary, each once."""
        replaced: dict[Replacement, None] = {}
        for entry in self.entries:

            def replace(found: re.Match[str], entry: Entry = entry) -> str:
                meaning = entry.meant(found)
                replaced[Replacement(" ".join(found.group().split()), meaning)] = None
                return meaning

            text = entry.pattern.sub(replace, text)
        return text, tuple(replaced)


def in_words(replaced: Sequence[Replacement]) -> str:
    """What was replaced, in one line; empty for nothing."""
    return "; ".join(map(str, replaced))


@cache
def glossary() -> Glossary:
    """The glossary that comes with the software."""
    return read_glossary(Path(__file__).with_name("glossary.toml"))


def read_glossary(path: Path) -> Glossary:
    """Read a glossary file.

    Raises `ValueError` (`tomllib.TOMLDecodeError` is one) for a file that is no glossary, `OSError` where it cannot be
    read.
    """
    with path.open("rb") as file:
        document: dict[str, Any] = tomllib.load(file)
    try:
        return Glossary(document["version"], tuple(Entry(**entry) for entry in document["entries"]))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path.name} is no glossary: {error}. Compare it with the one that is shipped.") from error
