"""Counted with CLIP's own vocabulary, which open_clip brings along: the numbers are those of the real SDXL."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from generation import EmptyReportError, SettingsError, build_prompt
from generation.prompts.condensing import condense
from generation.prompts.glossary import glossary
from generation.prompts.prompt import LongReports, Prompt
from tests.generation.clip_tokens import characters, count_tokens

COIN_REPORTS = Path(__file__).parents[3] / "../shared/data/coin-examples/reports.csv"

# What of each of COIN's example reports no prompt may lose: the site, empty where the report states none, and the
# diagnosis.
ESSENTIALS = {
    "Sample1": ("sputum", "suggesting adenocarcinoma cells"),
    "Sample2": ("", "NILM"),
    "Sample3": ("", "No intraepithelial lesion or malignancy (NILM)"),
    "Sample4": ("", "Squamous intraepithelial lesion (HSIL)"),
    "Sample5": ("", "Atypical glandular cells (AGC)"),
    "Sample6": ("", "ASC-US"),
    "Sample7": ("Urinalysis", "consistent with cancer cells"),
    "Sample8": ("abdominal lavage", "did not find cancer cells"),
    "Sample9": ("bronchial lymph", "suggesting cancer cells"),
    "Sample10": ("peritoneal lavage", "did not find cancer cells"),
    "Sample11": ("Ascites", "did not find cancer cells"),
    "Sample12": ("left pleural cavity", "Cancer cells cannot be ruled out"),
    "Sample13": ("Ascites", "adenocarcinoma cells"),
    "Sample14": ("urine", "considered to be tumor cells"),
    "Sample15": ("thyroid", "atypia of uncertain significance (AUS)"),
    "Sample16": ("pleural effusion", "consistent with adenocarcinoma cells"),
    "Sample17": ("Thyroid", "papillary thyroid carcinoma"),
    "Sample18": ("thyroid", "papillary thyroid carcinoma"),
    "Sample19": ("abdominal fluid", "suggesting adenocarcinoma"),
    "Sample20": ("lymph nodes", "small cell carcinoma"),
}
# What of these the glossary words otherwise.
IN_USUAL_WORDS = {
    "Urinalysis": "Urine cytology",
    "left pleural cavity": "Left pleural effusion",
    "atypia of uncertain significance (AUS)": "atypia of undetermined significance (AUS)",
}


def prompt_of(report: str, limit: int = 77) -> Prompt:
    return build_prompt(report, count_tokens=count_tokens, limit=limit)


def test_a_report_that_fits_is_the_prompt_word_for_word() -> None:
    report = "(Ascites) smear shows clustered atypical cells,\n consistent with adenocarcinoma.  Please correlate."
    prompt = prompt_of(report)
    assert prompt.text == " ".join(report.split())
    assert prompt.report == report
    assert prompt.dropped == ()
    assert prompt.tokens == count_tokens(prompt.text) <= prompt.limit == 77


@pytest.mark.skipif(not COIN_REPORTS.exists(), reason="COIN's example reports are not beside this checkout")
@pytest.mark.parametrize("limit", [77, 40, 24])
@pytest.mark.parametrize("way", ["condense", "chunk"])
@pytest.mark.parametrize("with_glossary", [False, True])
def test_coins_own_reports_keep_site_and_diagnosis(limit: int, way: LongReports, with_glossary: bool) -> None:
    with COIN_REPORTS.open(encoding="utf-8", newline="") as file:
        reports = {row["image"].removesuffix(".jpg"): row["report"] for row in csv.DictReader(file)}
    assert reports.keys() == ESSENTIALS.keys()
    lost = []
    for name, report in reports.items():
        known = glossary() if with_glossary else None
        prompt = build_prompt(report, count_tokens=count_tokens, limit=limit, long_reports=way, glossary=known)
        assert all(count_tokens(text) <= limit for text in (*prompt.encoded.texts, prompt.encoded.pooled))
        assert not (way == "chunk" and prompt.dropped)
        needed = [IN_USUAL_WORDS.get(words, words) if with_glossary else words for words in ESSENTIALS[name]]
        lost += [(name, words, prompt.text) for words in needed if words not in prompt.text]
    assert lost == []


def test_recommendations_go_first_then_other_sentences_then_morphology() -> None:
    site = "(Left parotid gland)"
    morphology = "The smear shows crowded groups of basaloid cells with scant cytoplasm."
    other = "The sample arrived in two tubes on a Monday."
    conclusion = "The morphology is consistent with adenoid cystic carcinoma."
    advice = "Further clinical examination is recommended."
    report = " ".join([site, other, morphology, conclusion, advice])
    kept = []
    for limit in range(count_tokens(report), 29, -1):
        text = prompt_of(report, limit).text
        kept.append([part for part in (advice, other, morphology) if part in text])
    assert kept[0] == [advice, other, morphology]
    assert [other, morphology] in kept
    assert [morphology] in kept
    for limit in (60, 40, 30):
        assert prompt_of(report, limit).text.startswith(site)
        assert "consistent with adenoid cystic carcinoma" in prompt_of(report, limit).text


@pytest.mark.parametrize(
    ("report", "essentials"),
    [
        ("DIAGNOSIS:\nHigh-grade urothelial carcinoma\n{}", ["High-grade urothelial carcinoma"]),
        ("{} Specimen: bile duct brushing. Impression: atypical, favour reactive.", ["bile duct", "favour reactive"]),
        ("Clinical history: breast carcinoma 2009. {} No malignant cells are seen.", ["No malignant cells"]),
        ("{} Pleural fluid. Negative for malignancy. Please repeat if suspected.", ["Pleural fluid", "Negative for"]),
    ],
)
def test_headings_and_negations_are_understood(report: str, essentials: list[str]) -> None:
    prompt = prompt_of(report.format("The smear shows many scattered cells with round nuclei and a clean field. " * 20))
    assert [essential for essential in essentials if essential not in prompt.text] == []


_REST = "on the left side there too"


@pytest.mark.parametrize(
    ("report", "first", "second"),
    [
        # A conclusion's heading outweighs a cue.
        (f"(Urine) Diagnosis: NILM {_REST}. {{}} Consistent with atrophy {_REST}.", "NILM", "atrophy"),
        # Of equal conclusions the last one is the main one.
        (f"(Urine) Suspicious for lymphoma {_REST}. {{}} Consistent with atrophy {_REST}.", "atrophy", "lymphoma"),
        # A category that opens the report outweighs a later cue; another category does not.
        (f"NILM {_REST}. {{}} Consistent with atrophy {_REST}.", "NILM", "atrophy"),
        (f"(Urine) Two. NILM {_REST}. {{}} Consistent with atrophy {_REST}.", "atrophy", "NILM"),
        # A cue, or a category, outweighs the mention of a disease.
        (f"(Urine) Consistent with atrophy {_REST}. {{}} There is inflammation {_REST}.", "atrophy", "inflammation"),
        (f"(Urine) NILM {_REST}. {{}} There is inflammation {_REST}.", "NILM", "inflammation"),
        # The history goes before advice, advice before other sentences, these before the site.
        ("(Urine) History: breast pain. {} Please repeat soon. NHGUC.", "repeat", "History"),
        ("(Urine) Please repeat soon. {} Two glass tubes. NHGUC.", "tubes", "repeat"),
        ("(Urine) Two glass tubes. Organ: left one. {} NHGUC.", "Organ", "tubes"),
        # A site that advice names is not the specimen's.
        ("Please repeat the thyroid fna. {} Two lung tubes. NHGUC.", "lung", "thyroid"),
        # What follows a conclusion belongs to it within the sentence, not beyond.
        ("(Urine) Consistent with HGUC. Two tubes only. {}", "Many", "tubes"),
    ],
)
def test_what_matters_more_is_kept_longer(report: str, first: str, second: str) -> None:
    """As the limit falls (in words here), `second` is dropped before `first`, never after it."""

    def words(text: str) -> int:
        return len(text.split())

    whole = report.format("Many round cells with nuclei lie there.")
    texts = [condense(whole, count_tokens=words, limit=limit)[0] for limit in range(words(whole), 8, -1)]
    kept = [(first in text, second in text) for text in texts]
    assert kept[0] == (True, True) and (False, True) not in kept
    assert (True, False) in kept


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (9, "(Left thyroid lobe. Consistent with papillary carcinoma of the."),
        (12, "(Left thyroid lobe nodule. Consistent with papillary carcinoma of the thyroid gland."),
        (15, "(Left thyroid lobe nodule near. Consistent with papillary carcinoma of the thyroid gland with spread."),
    ],
)
def test_long_clauses_are_cut_into_thirds_of_the_limit(limit: int, expected: str) -> None:
    """So that there is room for the head of the site and of the conclusion, and for more of the conclusion."""
    report = (
        "(Left thyroid lobe nodule near the isthmus and the trachea of an old man) "
        "Consistent with papillary carcinoma of the thyroid gland with spread beyond it."
    )
    assert condense(report, count_tokens=lambda text: len(text.split()), limit=limit)[0] == expected


def test_a_report_of_exactly_the_limit_is_not_touched() -> None:
    """Condensing would lose a mark that stands by itself."""
    report = "; " + "cells " * 14 + "NHGUC."
    assert build_prompt(report, count_tokens=lambda text: len(text.split()), limit=16).text == report


def test_parts_are_kept_until_the_limit_is_full() -> None:
    report = "(Urine) NHGUC. Many cells. Two tubes."
    text, tokens, dropped = condense(report, count_tokens=lambda text: len(text.split()), limit=6)
    assert (text, tokens, dropped) == (report, 6, ())


def test_what_is_dropped_is_readable_and_in_order() -> None:
    report = "Two tubes. (Urine) smear shows debris, casts and crystals, consistent with NHGUC. Please repeat."
    kept = "(Urine) smear shows debris, casts and crystals, consistent with NHGUC."
    prompt = prompt_of(report, count_tokens(kept))
    assert prompt.text == kept
    assert prompt.dropped == ("Two tubes.", "Please repeat.")


@pytest.mark.parametrize("report", ["", " \n\t ", " . ; -- ()"])
def test_an_empty_report_is_refused(report: str) -> None:
    with pytest.raises(EmptyReportError, match=r"empty.*Enter report text"):
        prompt_of(report)


@pytest.mark.parametrize(
    "filler",
    ["The smear shows atypical cells, large. ", "cells ", "x", pytest.param("🙂", marks=pytest.mark.slow), "(", "a,"],
)
def test_a_report_of_20000_characters_keeps_its_diagnosis(filler: str) -> None:
    ending = " Consistent with papillary thyroid carcinoma."
    report = (filler * 20_000)[: 20_000 - len(ending)] + ending
    prompt = prompt_of(report)
    assert "papillary thyroid carcinoma" in prompt.text
    assert prompt.tokens == count_tokens(prompt.text) <= 77
    assert characters(prompt.text, *prompt.dropped) == characters(report)


def test_a_limit_without_room_is_refused() -> None:
    with pytest.raises(SettingsError, match="16 are needed"):
        prompt_of("Urine.", limit=15)


@given(report=st.text(max_size=400), limit=st.integers(16, 80))
def test_any_text_fits_and_nothing_vanishes_unsaid(report: str, limit: int) -> None:
    try:
        prompt = prompt_of(report, limit)
    except EmptyReportError:
        assert not any(character.isalnum() for character in report)
        return
    assert prompt.tokens == count_tokens(prompt.text) <= limit
    assert prompt.text
    assert characters(prompt.text, *prompt.dropped) == characters(report)


_SENTENCES = [
    "The smear shows clusters of atypical cells with enlarged, hyperchromatic nuclei and scant cytoplasm.",
    "The background is bloody, with debris and a few lymphocytes.",
    "Mitotic figures are observed.",
    "Further clinical examination is recommended.",
    "Received in CytoLyt.",
    "Nuclear grooves are evident",
]
_DIAGNOSES = ["papillary thyroid carcinoma", "small cell carcinoma", "reactive changes", "a benign follicular nodule"]
_PHRASES = ["The morphology is consistent with {}.", "Diagnosis: {}.", "The lesion is considered to be {}; see above."]


@pytest.mark.slow
@given(
    before=st.lists(st.sampled_from(_SENTENCES), max_size=40),
    after=st.lists(st.sampled_from(_SENTENCES), max_size=10),
    diagnosis=st.sampled_from(_DIAGNOSES),
    phrase=st.sampled_from(_PHRASES),
    separator=st.sampled_from([" ", "\n", "\n\n", "; "]),
    limit=st.integers(24, 77),
)
@example(  # a heading without a full stop before it: its diagnosis was cut in two
    before=[_SENTENCES[0], _SENTENCES[5], _SENTENCES[5]],
    after=[],
    diagnosis="papillary thyroid carcinoma",
    phrase="Diagnosis: {}.",
    separator=" ",
    limit=24,
)
@settings(max_examples=150)
def test_the_conclusion_and_the_site_are_never_lost(
    before: list[str], after: list[str], diagnosis: str, phrase: str, separator: str, limit: int
) -> None:
    report = separator.join(["(Left thyroid lobe)", *before, phrase.format(diagnosis), *after])
    prompt = prompt_of(report, limit)
    assert diagnosis in prompt.text
    assert "thyroid lobe" in prompt.text
    assert prompt.tokens <= limit
