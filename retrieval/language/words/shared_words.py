"""Which words of a text stand in another one, too: what is marked where reports are read side by side."""

from __future__ import annotations

import re
from typing import Final

from retrieval.language.english import function_words
from retrieval.language.words.terms import forms, words_of

_PARTS: Final = re.compile(r"\w+|\W+")


def shared_words(text: str, other: str) -> tuple[tuple[str, bool], ...]:
    """`text` in parts, each with whether it is words that `other` has, too, in the singular or plural.

    Words without a meaning of their own do not count; negations do. The parts joined are the text.
    """
    known = {form for word in words_of(other) if word not in function_words() for form in forms(word)}
    parts: list[tuple[str, bool]] = []
    for part in _PARTS.findall(text):
        words = words_of(part)
        shared = bool(words) and all(word in known and word not in function_words() for word in words)
        if parts and parts[-1][1] == shared:
            parts[-1] = (parts[-1][0] + part, shared)
        else:
            parts.append((part, shared))
    return tuple(parts)
