"""The long reports and wordings that `benchmarks.prompts` measures with."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.long_reports import ABSENT, ADEQUACY, ADVICE, HISTORIES, METHODS, long_report
from benchmarks.prompt_ways import Truncated, mistranslated, pooled
from generation.model.embeddings import PromptEmbeddings
from generation.phantom import phantom_cases
from generation.phantom.wording import WORDS
from generation.prompts.condensing import condense
from generation.prompts.glossary import glossary
from retrieval import read_report
from tests.generation.clip_tokens import count_tokens

PHANTOMS = phantom_cases(60, seed=5, split="held-out")


@pytest.mark.slow
def test_long_reports_are_long_and_say_what_the_phantom_shows_late() -> None:
    for phantom in PHANTOMS:
        report = long_report(phantom, count_tokens, 77)
        assert report == long_report(phantom, count_tokens, 77)
        assert count_tokens(report) > 77
        seen = phantom.morphology
        [diagnosis] = {
            text for text in WORDS.findings[seen.site, seen.finding].diagnoses.held_out if f" {text}." in report
        }
        assert report.index(diagnosis) > len(report) / 2
        assert read_report(report).site == seen.site
        kept, _, dropped = condense(report, count_tokens=count_tokens, limit=77)
        assert diagnosis in kept
        assert dropped


@pytest.mark.slow
def test_no_training_report_holds_the_sentences_around() -> None:
    trained = " ".join(phantom.report for phantom in phantom_cases(2000, seed=3, split="train"))
    for sentence in (*HISTORIES, *ADEQUACY, *METHODS, *ABSENT, *ADVICE):
        assert sentence not in trained


def test_the_glossary_takes_back_what_was_mistranslated() -> None:
    report = "(Aspiration of lymph nodes) Clue cells, eccentric nuclei, hyperchromatic nuclei."
    wrong = mistranslated(report)
    assert wrong == "(transpiration of lymph nodes) cue cells, nuclear shift, deeply stained nuclei."
    assert glossary().apply(wrong)[0].casefold() == report.casefold()


def test_the_baseline_is_the_beginning_of_the_report() -> None:
    generator = Truncated(device="cpu")
    report = long_report(PHANTOMS[0], generator._files.tokens.count, 77)
    prompt = generator.prompt(report)
    assert report.startswith(prompt.text)
    assert 70 <= prompt.tokens <= 77
    assert generator.prompt("NILM.").text == "NILM."


def test_another_pooling_is_put_in_place_and_taken_back() -> None:
    rows = torch.tensor([[0.0, 1], [2, 3], [9, 9]])  # of two chunks, and of the condensed report
    for by, expected in (("first", [0, 1]), ("mean", [1, 2]), ("condensed", [9, 9])):
        with pooled(by):
            np.testing.assert_array_equal(PromptEmbeddings.pool(rows), [expected])
    np.testing.assert_array_equal(PromptEmbeddings.pool(rows), [[9, 9]])
    with pooled("mean"):
        np.testing.assert_array_equal(PromptEmbeddings.pool(rows[:1]), [[0, 1]])
