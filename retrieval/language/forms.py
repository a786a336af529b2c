"""Forms with boxes: of the choices that a report lists, those that are ticked."""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 5_000
"""Characters that are read of a report: what stands further down is rarely the conclusion."""
_BOX: Final = re.compile(r"\[\s*([xX✓✔*]?)\s*\]|\(\s*([xX✓✔*]?)\s*\)|([☐□☒☑✓✔])|(?<!_)_{1,4}([xX✓]?)_{1,4}(?!_)")


def ticked(text: str) -> str:
    """A form with boxes: what is not ticked is cut, and so are the boxes. Other texts are returned as they are."""
    text = text[:LONGEST]
    boxes = list(_BOX.finditer(text))
    if not boxes or (len(boxes) == 1 and not _mark(boxes[0])):
        return text
    last = text[boxes[-1].end() :].partition("\n")[0]
    before = bool(re.search(r"\w", last))  # "[x] NILM  [ ] HSIL": each box stands before its choice
    kept = [text[: boxes[0].start()]] if before else []
    for number, box in enumerate(boxes):
        if before:
            end = boxes[number + 1].start() if number + 1 < len(boxes) else len(text)
            choice = text[box.end() : end]
            if number + 1 == len(boxes) and not _mark(box):  # what follows the last choice is not the choice's
                choice_end = re.search(r"[.;\n]", choice)
                choice, rest = (
                    (choice[: choice_end.start()], choice[choice_end.start() :]) if choice_end else (choice, "")
                )
                kept.append(rest)
                continue
            kept.append(f" {choice}" if _mark(box) else (" . " if "\n" not in choice else "\n"))
        else:
            start = boxes[number - 1].end() if number else 0
            choice = text[start : box.start()]
            if not _mark(box):
                head, mark, _ = choice.rpartition("\n") if "\n" in choice else choice.rpartition(". ")
                choice = head + mark
            kept.append(f"{choice} . ")
    if not before:
        kept.append(text[boxes[-1].end() :])
    return "".join(kept)


def _mark(box: re.Match[str]) -> bool:
    return any(group in ("x", "X", "✓", "✔", "*", "☒", "☑") for group in box.groups() if group)
