"""Escaping of untrusted text where Streamlit renders Markdown: labels, captions, messages.

`st.text` shows text as it is and is used for reports. Buttons and alerts render Markdown only, so names and messages
are escaped for them.
"""

from __future__ import annotations

import re
from typing import Final

from ui.text.layout import clean

# CommonMark 0.31 §2.4: any ASCII punctuation may be escaped by a backslash. That also disarms Streamlit's own
# `:red[…]` and `$…$`.
_PUNCTUATION: Final = re.compile(r"([!-/:-@\[-`{-~])")
# What Streamlit's page looks for in text *after* backslashes were taken out: addresses and e-mail addresses (GFM 0.29
# §6.9), `:material/…:`, `:streamlit:` and emoji by name, arrows and comparisons between spaces. Each match is a place
# where a character that shows nothing keeps the two sides apart.
_JOINS: Final = re.compile(
    r"(?<=http)(?=://)|(?<=https)(?=://)|(?<=www)(?=\.)|(?=@)|(?<=:)(?=[\w+/-]+:)"
    r"|(?<=(?<!\S)[<>~-])(?=[=>-]+(?!\S))",
    re.IGNORECASE,
)
_OPTION: Final = re.compile(r"\s*\((?:[^()]*\s)?--[^()]*\)")
_COMMAND: Final = re.compile(r"`coin\b|(?<!\S)--\w")
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+")
KEEPER: Final = "Whoever keeps the archive can change that."
WORD_JOINER: Final = "\u2060"


def escape(text: str) -> str:
    """`text` such that Markdown shows it literally, on one line, and makes no link of any part."""
    apart = _JOINS.sub(WORD_JOINER, " ".join(clean(text).split()))
    return _PUNCTUATION.sub(r"\\\1", apart)


def without_commands(text: str) -> str:
    """A note without the words of the command line: who reads the page may have none, and no hold of the archive."""
    kept = []
    for sentence in _SENTENCE.split(_OPTION.sub("", text)):
        command = _COMMAND.search(sentence)
        if command is None:
            kept.append(sentence)
            continue
        before = sentence[: command.start()].rpartition(": ")[0]
        kept += [f"{before}.", KEEPER] if before else [KEEPER]
    return " ".join(dict.fromkeys(kept))
