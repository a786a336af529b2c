"""Words of English: whether a report is in English, told from them (the rules for labels know no other language).

Reports are short and leave out what sentences are made of, so that statistics of letters fail on them. Words do not:
function words and the vocabulary of cytology of other languages, and letters that English does not write.
"""

from __future__ import annotations

import functools
import re
import tomllib
import unicodedata
from pathlib import Path
from typing import Final

_LONGEST: Final = 5_000
_LONGEST_CODE: Final = 4
_WORD: Final = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


def is_english(text: str) -> bool:
    """Whether a text is in English, or has too few words to tell. Time O(length), of which 5,000 characters count."""
    text = text[:_LONGEST]
    letters = [character for character in text if character.isalpha()]
    other_script = sum("LATIN" not in unicodedata.name(letter, "") for letter in letters if not letter.isascii())
    # Single Greek letters and "µ" stand in English reports; a few characters of another script say a whole finding.
    if other_script >= 4 and other_script > 0.02 * len(letters):
        return False
    # "AUS" is a category, and no German word.
    words = [word.lower() for word in _WORD.findall(text) if not (word.isupper() and len(word) <= _LONGEST_CODE)]
    known = _words()
    foreign = sum(word in known["other"] or (_accented(word) and word not in known["names"]) for word in words)
    english = sum(word in known["english"] for word in words)
    return foreign <= english


def function_words() -> frozenset[str]:
    """English words without a meaning of their own, case folded. No negation is among them."""
    return word_list("function")


def word_list(name: str) -> frozenset[str]:
    """One of the lists of languages.toml: "function", "general", "morphology" …, case folded."""
    return _words()[name]


@functools.lru_cache(maxsize=1)
def _words() -> dict[str, frozenset[str]]:
    lists = tomllib.loads(Path(__file__).with_name("languages.toml").read_text(encoding="utf-8"))
    return {name: frozenset(words.split()) for name, words in lists.items()}


def _accented(word: str) -> bool:
    """Whether a word has Latin letters that English does not write."""
    return any(not letter.isascii() and "LATIN" in unicodedata.name(letter, "") for letter in word)
