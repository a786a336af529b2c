"""Model cards as Markdown. Values are escaped, since sites and categories come from files of others."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

from generation.training.data.holdout import HELD_OUT
from generation.training.data.pairs import PairCounts

RESEARCH_USE = "**Research use only. Not for diagnosis.**"
SHOWN = 40
"""Most values of one attribute that are listed; a manifest may have a thousand sources."""
_LONGEST = 120


def page(title: str, *, sections: Mapping[str, Sequence[str]]) -> str:
    """Lay out a card: title, notice, and paragraphs under headings; empty ones are left out.

    There is no front matter, by which hubs list models: what is trained on patients' images is not to be published.
    """
    parts = [f"# {title}", RESEARCH_USE]
    for heading, paragraphs in sections.items():
        kept = [paragraph for paragraph in paragraphs if paragraph]
        parts += [f"## {heading}", *kept] if heading and kept else kept
    return "\n\n".join(parts) + "\n"


def counts_table(sets: Mapping[str, PairCounts]) -> str:
    """A table of images, patients and different reports of each set, then of images by value of each attribute."""
    names = list(sets)
    shown = ["images", "patients", "reports"]
    if not all(counts.patients_named for counts in sets.values()):
        shown.remove("patients")
    rows = [[what, *(str(getattr(sets[name], what)) for name in names)] for what in shown]
    attributes = dict.fromkeys(what for counts in sets.values() for what in counts.values)
    for what in attributes:
        values = dict.fromkeys(value for counts in sets.values() for value in counts.values.get(what, {}))
        for number, value in enumerate(values):
            if number == SHOWN:
                rows.append([f"{what}: {len(values) - SHOWN} further", *("" for _ in names)])
                break
            images = [str(counts.values.get(what, {}).get(value, 0)) for counts in sets.values()]
            rows.append([f"{what}: {value or 'not given'}", *images])
    return table(["", *names], rows)


def held_out_words(one_in: int, *, patients_named: bool) -> str:
    """What was held out, and by what."""
    if patients_named:
        return (
            f"Held out are whole patients, one in {one_in} by a hash of their name; nothing was learned from them. "
            f"`{HELD_OUT}` lists them as hashes: `coin augment-check` tests on no other patient of this data."
        )
    return (
        "**Patients are not named, and nothing is held out by patient.** Held out are images, one in "
        f"{one_in} (with the others of its case, where cases are named): images of one patient may be among those "
        "learned from and those held out, so that all figures of held-out images may be too good. Name patients in the "
        "manifest's column `patient`."
    )


def settings_table(settings: Mapping[str, object]) -> str:
    """A table of names and values."""
    return table(["setting", "value"], [[name.replace("_", " "), str(value)] for name, value in settings.items()])


def skipped_list(skipped: Mapping[str, int]) -> str:
    """A list of the numbers of pairs left out by reason; empty if none was."""
    return "\n".join(f"- Left out: {count} × {plain(reason)}" for reason, count in sorted(skipped.items()))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [_row(head), "|" + "---|" * len(head), *(_row(row) for row in rows)]
    return "\n".join(lines)


def plain(text: str) -> str:
    """Escape `text` for Markdown and HTML, in one line."""
    line = "".join(" " if unicodedata.category(character).startswith("C") else character for character in text)
    line = " ".join(line.split())[:_LONGEST]
    for sign, instead in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "&#124;"), ("`", "&#96;")):
        line = line.replace(sign, instead)
    for sign in "\\*_[]":
        line = line.replace(sign, f"\\{sign}")
    return line


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(plain(cell) for cell in cells)} |"
