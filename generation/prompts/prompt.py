"""Prompts: what of a report the text encoders get to read.

SDXL's encoders read 77 tokens and cut off the rest, and in a report the diagnosis stands last. A report that fits is
the prompt, word for word but for the glossary's replacements: COIN was trained on free report text. A longer one is
condensed to what matters most, or encoded whole in several chunks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, get_args

from generation.errors import EmptyReportError, SettingsError
from generation.prompts.chunks import MOST_CHUNKS, split_chunks
from generation.prompts.clauses import CountTokens
from generation.prompts.condensing import condense
from generation.prompts.glossary import Glossary, Replacement

TOKEN_LIMIT: Final = 77  # of CLIP's text encoders, with the two tokens that mark begin and end
_SMALLEST_LIMIT: Final = 16

LongReports = Literal["condense", "chunk"]
"""What becomes of a report that is longer than the encoders read."""


class Encoded(NamedTuple):
    """What the text encoders are given of a prompt: texts that are encoded each by itself, their hidden states put one
    behind the other, and the text whose pooled embedding is taken.
    """

    texts: tuple[str, ...]
    pooled: str

    @classmethod
    def of(cls, text: str) -> Encoded:
        """One text, for both."""
        return cls((text,), text)


@dataclass(frozen=True)
class Prompt:
    """A report and what is encoded of it.

    `text` is encoded and takes `tokens` of `limit` tokens (begin and end marks included). `dropped` holds what was left
    out, in the order of the report; together with `text` it is the whole report but for spaces and punctuation, and for
    the wordings that the glossary `replaced`.
    """

    report: str
    text: str
    tokens: int
    limit: int
    dropped: tuple[str, ...] = ()
    chunks: tuple[str, ...] = ()
    """Where `text` is encoded in several chunks, these in their order; `tokens` and `limit` are those of all."""
    summary: str = ""
    """Beside chunks: the condensed report, whose pooled embedding stands for the whole."""
    replaced: tuple[Replacement, ...] = ()

    @property
    def encoded(self) -> Encoded:
        return Encoded(self.chunks, self.summary) if self.chunks else Encoded.of(self.text)

    @property
    def reading(self) -> str:
        """How the report was read: "whole", "condensed", "chunked", or "condensed and chunked"."""
        ways = [way for way, taken in (("condensed", self.dropped), ("chunked", self.chunks)) if taken]
        return " and ".join(ways) or "whole"


def build_prompt(
    report: str,
    *,
    count_tokens: CountTokens,
    limit: int = TOKEN_LIMIT,
    long_reports: LongReports = "condense",
    glossary: Glossary | None = None,
) -> Prompt:
    """The prompt for a report: the report itself where it fits into `limit` tokens, else condensed or in chunks.

    `count_tokens` counts as the encoders do, with begin and end marks (`pipeline.PromptTokens.count`). A report of more
    than `MOST_CHUNKS` chunks is condensed to what surely fits into them.

    Raises `EmptyReportError` for a report without a letter or digit, `SettingsError` for a limit below 16.
    """
    if limit < _SMALLEST_LIMIT:
        raise SettingsError(f"A prompt of {limit} tokens holds no site and diagnosis: {_SMALLEST_LIMIT} are needed.")
    # A lone surrogate (bytes that were no UTF-8, from a command line) cannot be encoded: it becomes "?".
    readable = report.encode(errors="replace").decode()
    if not any(character.isalnum() for character in readable):
        raise EmptyReportError("The report is empty: there is nothing to generate from. Enter report text.")
    replaced: tuple[Replacement, ...] = ()
    if glossary is not None:
        readable, replaced = glossary.apply(readable)
    text = " ".join(readable.split())
    tokens = count_tokens(text)
    if tokens <= limit:
        return Prompt(report, text, tokens, limit, replaced=replaced)
    condensed, needed, dropped = condense(readable, count_tokens=count_tokens, limit=limit)
    if long_reports == "chunk":
        chunks, dropped = _chunks(readable, tokens, count_tokens, limit)
        if len(chunks) > 1:
            tokens = sum(count_tokens(chunk) for chunk in chunks)
            return Prompt(report, " ".join(chunks), tokens, limit * len(chunks), dropped, chunks, condensed, replaced)
        condensed, needed = chunks[0], count_tokens(chunks[0])  # it was too long by marks between its clauses
    return Prompt(report, condensed, needed, limit, dropped, replaced=replaced)


def _chunks(report: str, tokens: int, count_tokens: CountTokens, limit: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """At most `MOST_CHUNKS` chunks, and what is left out of them."""
    if tokens <= MOST_CHUNKS * limit:
        chunks = split_chunks(report, count_tokens=count_tokens, limit=limit)
        if len(chunks) <= MOST_CHUNKS:
            return chunks, ()
    # Two chunks in a row always hold more than one could, so that half of the room is surely enough.
    room = MOST_CHUNKS * (limit - 2) // 2
    text, _, dropped = condense(report, count_tokens=count_tokens, limit=room)
    return split_chunks(text, count_tokens=count_tokens, limit=limit), dropped


def check_long_reports(way: str) -> None:
    """Raises `SettingsError` for a way that does not exist."""
    if way not in get_args(LongReports):
        raise SettingsError(
            f"Long reports cannot be read by {way!r}: choose one of {', '.join(get_args(LongReports))}."
        )
