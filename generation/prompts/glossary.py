"""The glossary: machine-translated wordings of reports and their meanings, read from glossary.toml.

COIN's published reports were translated by machine ("cue cells", "transpiration of lymph nodes"). The glossary replaces
such wordings by the usual ones, whole words only, and reports the replacements.
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
    """A wording as it stood in a report, and its replacement."""

    wording: str
    meaning: str

    def __str__(self) -> str:
        return f"“{self.wording}” → “{self.meaning}”"


@dataclass(frozen=True)
class Entry:
    """A wording, its meaning, the COIN reports that hold it, and the reason for this reading."""

    wording: str
    meaning: str
    source: str
    reason: str

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Matches the wording as whole words, in any case and with any white space; its group `side` may be set."""
        words = re.escape(self.wording).replace(r"\ ", r"\s+")
        words = words.replace(re.escape(_SIDE) + r"\s+", r"(?:(?P<side>left|right|both)\s+)?")
        return re.compile(rf"(?<!\w){words}(?!\w)", re.IGNORECASE)

    @cached_property
    def words(self) -> frozenset[str]:
        """The words that a text must have for the pattern to match, casefolded."""
        return _words(self.wording.replace(_SIDE, " "))

    def replacement(self, match: re.Match[str]) -> str:
        """The meaning of the words matched, with a capital if these begin with one."""
        side = match.groupdict().get("side") or ""
        meaning = " ".join(self.meaning.replace(_SIDE, side).split())
        return meaning[0].upper() + meaning[1:] if match.group()[0].isupper() else meaning


@dataclass(frozen=True)
class Glossary:
    """All of glossary.toml. Raises `ValueError` if two entries explain the same wording, or one explains nothing."""

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
        """Replace every wording in a text; returns the text and the replacements in glossary order, each once."""
        replaced: dict[Replacement, None] = {}
        held = _words(text)
        for entry in self.entries:
            if not entry.words <= held:  # sixty patterns take far longer to fail
                continue

            def replace(match: re.Match[str], entry: Entry = entry) -> str:
                meaning = entry.replacement(match)
                replaced[Replacement(" ".join(match.group().split()), meaning)] = None
                return meaning

            text, count = entry.pattern.subn(replace, text)
            held = _words(text) if count else held
        return text, tuple(replaced)


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.casefold()))


def in_words(replaced: Sequence[Replacement]) -> str:
    """The replacements in one line; empty for none."""
    return "; ".join(map(str, replaced))


@cache
def glossary() -> Glossary:
    """The glossary that is shipped with the software."""
    return read_glossary(Path(__file__).with_name("glossary.toml"))


def read_glossary(path: Path) -> Glossary:
    """Read a glossary file.

    Raises:
        ValueError: the file is no glossary (`tomllib.TOMLDecodeError` is one).
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        document: dict[str, Any] = tomllib.load(file)
    try:
        return Glossary(document["version"], tuple(Entry(**entry) for entry in document["entries"]))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path.name} is no glossary: {error}. Compare it with the one that is shipped.") from error
