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
_BROKEN: Final = re.compile(r"(?<=[^\W\d_])-\n(?=[^\W\d_])")
"""A word over two lines."""
_WORD: Final = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


def is_english(text: str) -> bool:
    """Whether a text is in English, or has too few words to tell. Time O(length), of which 5,000 characters count."""
    text = _BROKEN.sub("", text[:_LONGEST])
    letters = [character for character in text if character.isalpha()]
    other_script = sum("LATIN" not in unicodedata.name(letter, "") for letter in letters if not letter.isascii())
    # Single Greek letters and "µ" stand in English reports; a few characters of another script say a whole finding.
    if other_script >= 4 and other_script > 0.02 * len(letters):
        return False
    # A short word in capitals is an abbreviation, unless all are in capitals.
    longest_code = _LONGEST_CODE if any(map(str.islower, text)) else _LONGEST_CODE // 2
    words = [word.lower() for word in _WORD.findall(text) if not (word.isupper() and len(word) <= longest_code)]
    english = sum(word in word_list("english") for word in words)
    return sum(map(_is_foreign, words)) <= english


def function_words() -> frozenset[str]:
    """English words without a meaning of their own, case folded. No negation is among them."""
    return word_list("function")


def word_list(name: str) -> frozenset[str]:
    """One of the lists of languages.toml: "function", "general", "morphology" …, case folded."""
    return _words()[name]


@functools.lru_cache(maxsize=4_096)
def _is_foreign(word: str) -> bool:
    """Whether a word in lower case is of another language, or has a form that English words do not have."""
    if word in word_list("other"):
        return True
    if any(word in word_list(name) for name in ("names", "function", "general", "morphology", "not_other")):
        return False
    return _accented(word) or (word not in _described() and _other_forms().fullmatch(word) is not None)


@functools.lru_cache(maxsize=1)
def _words() -> dict[str, frozenset[str]]:
    lists = tomllib.loads(Path(__file__).with_name("languages.toml").read_text(encoding="utf-8"))
    return {name: frozenset(words.split()) for name, words in lists.items() if isinstance(words, str)}


@functools.lru_cache(maxsize=1)
def _other_forms() -> re.Pattern[str]:
    lists = tomllib.loads(Path(__file__).with_name("languages.toml").read_text(encoding="utf-8"))
    return re.compile("|".join(lists["other_forms"]))


@functools.lru_cache(maxsize=1)
def clinical_words() -> frozenset[str]:
    """English words of reports that name nobody, case folded."""
    return _described() | word_list("general") | word_list("function") | word_list("morphology") | word_list("markers")


@functools.lru_cache(maxsize=1)
def _described() -> frozenset[str]:
    """The words that describe cells and diseases in English, by vocabulary.toml and doubt.toml."""
    lists = tomllib.loads(Path(__file__).with_name("doubt.toml").read_text(encoding="utf-8"))
    return frozenset(lists["describing"].split())


def _accented(word: str) -> bool:
    """Whether a word has Latin letters that English does not write."""
    return any(not letter.isascii() and "LATIN" in unicodedata.name(letter, "") for letter in word)
