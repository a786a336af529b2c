"""Chunks: nothing of a report is lost, and each chunk fits. Counted with CLIP's own vocabulary."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generation import EmptyReportError, SettingsError, build_prompt
from generation.prompts.prompt import MOST_CHUNKS, Prompt, check_long_reports, split_chunks
from tests.generation.clip_tokens import characters, count_tokens

LONG = (
    "(Thyroid right lobe nodule) The smear shows follicular epithelium arranged in sheets, with enlarged, elongated, "
    "crowded and overlapping nuclei. Nuclear grooves and pseudoinclusions are observed. Colloid is scant, thick and "
    "stains deeply. Multinucleated giant cells are seen in the background, together with a few lymphocytes. "
    "The lesion is considered to be papillary thyroid carcinoma. Clinical correlation is advised."
)


def chunked(report: str, limit: int = 77) -> Prompt:
    return build_prompt(report, count_tokens=count_tokens, limit=limit, long_reports="chunk")


def test_a_report_that_fits_is_one_text() -> None:
    prompt = chunked("(Ascites) cytology did not find cancer cells.")
    assert (prompt.encoded, prompt.chunks, prompt.reading) == (((prompt.text,), prompt.text), (), "whole")


def test_a_long_report_is_read_whole_in_chunks_cut_between_clauses() -> None:
    prompt = chunked(LONG)
    condensed = build_prompt(LONG, count_tokens=count_tokens)
    assert prompt.encoded == (prompt.chunks, condensed.text)
    assert "papillary thyroid carcinoma" in condensed.text
    assert prompt.reading == "chunked"
    assert " ".join(prompt.chunks) == prompt.text == LONG
    assert prompt.dropped == ()
    assert len(prompt.chunks) == 2
    assert all(chunk[-1] in ".,;" for chunk in prompt.chunks)
    assert [count_tokens(chunk) <= 77 for chunk in prompt.chunks] == [True, True]
    assert (prompt.tokens, prompt.limit) == (sum(map(count_tokens, prompt.chunks)), 2 * 77)


def test_a_denied_list_is_not_cut() -> None:
    """Wherever the end of the chunk would fall in it."""
    denied = "Crystals, foreign bodies and parasites are absent."
    for words in range(20):
        report = f"(Urine) {'cell ' * words}. {denied} Benign."
        chunks = split_chunks(report, count_tokens=count_tokens, limit=20)
        assert any(denied in chunk for chunk in chunks), words


def test_chunks_are_as_full_as_they_can_be() -> None:
    """Counted in words: clauses are joined up to the limit, and longer ones cut at it."""

    def words(text: str) -> int:
        return len(text.split())

    assert split_chunks("one two. three four. five.", count_tokens=words, limit=4) == ("one two. three four.", "five.")
    assert split_chunks("one two three four five", count_tokens=words, limit=2) == ("one two", "three four", "five")
    report = " ".join(["word"] * 16) + "."
    assert build_prompt(report, count_tokens=words, limit=16, long_reports="chunk").reading == "whole"
    eight = build_prompt(" ".join([report] * 8), count_tokens=words, limit=16, long_reports="chunk")
    assert (len(eight.chunks), eight.dropped) == (MOST_CHUNKS, ())


def test_the_longest_reports_are_condensed_and_say_so() -> None:
    report = "(Urine) " + "The smear shows further cells, many of them without a nucleus. " * 80 + "Diagnosis: HGUC."
    prompt = chunked(report)
    assert 1 < len(prompt.chunks) <= MOST_CHUNKS
    assert prompt.reading == "condensed and chunked"
    assert "(Urine)" in prompt.text
    assert "HGUC" in prompt.text
    assert characters(prompt.text, *prompt.dropped) == characters(report)


@given(report=st.text(max_size=600), limit=st.integers(16, 80))
@settings(max_examples=100)
def test_of_any_text_nothing_is_lost_and_every_chunk_fits(report: str, limit: int) -> None:
    try:
        prompt = chunked(report, limit)
    except EmptyReportError:
        return
    assert all(count_tokens(chunk) <= limit for chunk in prompt.encoded.texts)
    assert count_tokens(prompt.encoded.pooled) <= limit
    assert len(prompt.encoded.texts) <= MOST_CHUNKS
    assert characters(prompt.text, *prompt.dropped) == characters(report)


@pytest.mark.slow
@pytest.mark.parametrize("filler", ["x", "cells ", "a,", "The smear shows atypical cells, large. "])
def test_the_work_of_cutting_grows_with_the_length_alone(filler: str) -> None:
    counted = 0

    def counting(text: str) -> int:
        nonlocal counted
        counted += len(text)
        return count_tokens(text)

    for length in (2_000, 8_000):
        counted = 0
        chunks = split_chunks((filler * length)[:length], count_tokens=counting, limit=77)
        assert all(count_tokens(chunk) <= 77 for chunk in chunks)
        assert counted < 60 * length


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"'shorten'.*condense, chunk"):
        check_long_reports("shorten")
