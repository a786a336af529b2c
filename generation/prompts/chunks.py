"""Chunks: a report that is too long for the encoders, cut into pieces that they read one after the other.

Each piece is encoded by itself, and the hidden states are put one behind the other: the UNet attends to the tokens of
all of them, and nothing of the report is left out (see `generation.model.embeddings`). It is cut at the ends of
sentences and after commas where that can be done, and else between words.
"""

from __future__ import annotations

from generation.prompts.clauses import CountTokens, clauses, longest_head

MOST_CHUNKS = 8
"""The UNet's cross-attention grows with every chunk. Eight hold more than the longest of usual reports."""

_WINDOW = 16  # characters a token, at most, that a cut is looked for in: a clause may have no end


def split_chunks(report: str, *, count_tokens: CountTokens, limit: int) -> tuple[str, ...]:
    """The report in chunks of at most `limit` tokens each, marks of begin and end included; of any number.

    As full as they can be: of two chunks that follow each other, the first clause of the later one had no room in the
    earlier.
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
