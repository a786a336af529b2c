"""The `coin` command lines of README and docs."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
_INLINE = re.compile(r"`(coin(?: [^`\n]*(?:\n[^`\n]+)?)?)`")


@dataclass(frozen=True)
class Printed:
    """A command line that a page prints."""

    page: str
    line: int
    words: tuple[str, ...]
    """Without `coin`, and without what stands in for something else (…)."""

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: coin {self.text}"


def printed_commands(page: Path) -> list[Printed]:
    """Those of a page's blocks, in order: lines that begin with `coin`, also after variables or a shell's loop."""
    lines = page.read_text(encoding="utf-8").splitlines()
    found = []
    for number, line in enumerate(lines):
        if re.match(r"(?: {4,}|\$ ?)(?:[A-Z_]+=\S+ )*coin ", line):
            text = line.strip()
            for following in lines[number + 1 :]:
                if not text.endswith("\\"):
                    break
                text = text.removesuffix("\\") + following.strip()
            found.append(_printed(page, number + 1, text))
    return [printed for printed in found if printed.words]  # `coin` alone sets up a shell's completion


def inline_commands(page: Path) -> list[Printed]:
    """Those that a page names within its text: `coin add`, or `coin add --redact`."""
    text = page.read_text(encoding="utf-8")
    return [_printed(page, text.count("\n", 0, match.start()) + 1, match[1]) for match in _INLINE.finditer(text)]


def _printed(page: Path, line: int, text: str) -> Printed:
    words = shlex.split(text, comments=True)
    words = [word for word in words[words.index("coin") + 1 :] if word not in ("…", "&")]
    words = words[: words.index(">")] if ">" in words else words
    return Printed(page.relative_to(ROOT).as_posix(), line, tuple(words))
