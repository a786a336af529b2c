"""Prompts: the part of a report that the text encoders read.

SDXL's encoders read 77 tokens and cut off the rest, and in a report the diagnosis stands last. A report that fits is
the prompt, word for word but for the glossary's replacements: COIN was trained on free report text. A longer one is
condensed to the most important clauses, or encoded whole in chunks: the hidden states of the chunks are concatenated
along the axis of tokens, so that the UNet attends to all of them (see `generation.model.embeddings`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, get_args

from generation.errors import EmptyReportError, SettingsError
from generation.prompts.clauses import CountTokens, clauses, longest_head
from generation.prompts.condensing import condense
from generation.prompts.glossary import Glossary, Replacement

TOKEN_LIMIT: Final = 77
"""Tokens that CLIP's text encoders read, with the two that mark begin and end."""
MOST_CHUNKS: Final = 8
"""The UNet's cross-attention grows with every chunk. Eight hold more than the longest of usual reports."""
_SMALLEST_LIMIT: Final = 16
_WINDOW: Final = 16  # characters a token, at most, within which a cut is looked for: a clause may have no end

LongReports = Literal["condense", "chunk"]
"""How a report is treated that is longer than the encoders read."""


class Encoded(NamedTuple):
    """The input of the text encoders for one prompt.

    Each of `texts` is encoded by itself, and their hidden states are concatenated; the pooled embedding is that of
    `pooled`.
    """

    texts: tuple[str, ...]
    pooled: str

    @classmethod
    def of(cls, text: str) -> Encoded:
        """The same text for both."""
        return cls((text,), text)


@dataclass(frozen=True)
class Prompt:
    """A report and the part of it that is encoded.

    `text` is encoded and takes `tokens` of `limit` tokens (begin and end marks included). `dropped` holds the parts
    left out, in the order of the report. `text` and `dropped` together are the whole report except for spaces and
    punctuation, and for the wordings that the glossary `replaced`.
    """

    report: str
    text: str
    tokens: int
    limit: int
    dropped: tuple[str, ...] = ()
    chunks: tuple[str, ...] = ()
    """The chunks in their order if `text` is encoded in several; `tokens` and `limit` are then sums over them."""
    summary: str = ""
    """The condensed report, whose pooled embedding is used beside chunks; "" without chunks."""
    replaced: tuple[Replacement, ...] = ()

    @property
    def encoded(self) -> Encoded:
        """The input of the text encoders."""
        return Encoded(self.chunks, self.summary) if self.chunks else Encoded.of(self.text)

    @property
    def reading(self) -> str:
        """How the report was treated: "whole", "condensed", "chunked", or "condensed and chunked"."""
        ways = [way for way, used in (("condensed", self.dropped), ("chunked", self.chunks)) if used]
        return " and ".join(ways) or "whole"


def build_prompt(
    report: str,
    *,
    count_tokens: CountTokens,
    limit: int = TOKEN_LIMIT,
    long_reports: LongReports = "condense",
    glossary: Glossary | None = None,
) -> Prompt:
    """Make the prompt for a report: the report itself if it fits into `limit` tokens, else condensed or in chunks.

    Args:
        report: free text.
        count_tokens: counts as the encoders do, with begin and end marks (`PromptTokens.count`).
        limit: tokens that the encoders read at once.
        long_reports: "condense" or "chunk". A report of more than `MOST_CHUNKS` chunks is condensed to what is certain
            to fit into them.
        glossary: replaces wordings before anything else; None replaces nothing.

    Raises:
        EmptyReportError: the report holds no letter and no digit.
        SettingsError: the limit is below 16.
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
        condensed, needed = chunks[0], count_tokens(chunks[0])  # only the marks between its clauses made it too long
    return Prompt(report, condensed, needed, limit, dropped, replaced=replaced)


def _chunks(report: str, tokens: int, count_tokens: CountTokens, limit: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Cut a report of `tokens` tokens into at most `MOST_CHUNKS` chunks; returns them and the parts left out."""
    if tokens <= MOST_CHUNKS * limit:
        chunks = split_chunks(report, count_tokens=count_tokens, limit=limit)
        if len(chunks) <= MOST_CHUNKS:
            return chunks, ()
    # Two consecutive chunks always hold more tokens than one may, so a text of half of all tokens is certain to fit.
    text, _, dropped = condense(report, count_tokens=count_tokens, limit=MOST_CHUNKS * (limit - 2) // 2)
    return split_chunks(text, count_tokens=count_tokens, limit=limit), dropped


def split_chunks(report: str, *, count_tokens: CountTokens, limit: int) -> tuple[str, ...]:
    """Cut the whole report into any number of chunks of at most `limit` tokens, begin and end marks included.

    It is cut at the ends of sentences and after commas where possible, else between words. The chunks are as full as
    possible: the first clause of a chunk did not fit into the chunk before it.
    """
    chunks: list[str] = []
    for clause in clauses(report):
        text = clause.text
        longer = f"{chunks[-1]} {text}" if chunks else text
        if count_tokens(longer) <= limit:
            chunks[-1:] = [longer]
            continue
        window = _WINDOW * limit
        while len(text) > window or count_tokens(text) > limit:
            end = longest_head(text[:window], count_tokens, limit)
            chunks.append(text[:end])
            text = text[end:].lstrip()
        if text:
            chunks.append(text)
    return tuple(chunks)


def check_long_reports(way: str) -> None:
    """Raise `SettingsError` if `way` is none of `LongReports`."""
    if way not in get_args(LongReports):
        raise SettingsError(
            f"Long reports cannot be read by {way!r}: choose one of {', '.join(get_args(LongReports))}."
        )
