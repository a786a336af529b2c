"""Diagnostics of a result and the nearest of each category in words."""

from __future__ import annotations

import dataclasses

import pytest

from retrieval import CategoryRow, ConfounderAudit, ConfounderCount, Gallery, RankedCase, Region, SystemAgreement
from retrieval.assessment.diagnostics import NotJudged, ResultDiagnostics
from retrieval.assessment.label_agreement import Agreement
from retrieval.assessment.novelty import NoveltyCheck
from retrieval.language.vocabulary import LookAlikes
from retrieval.search.results import ChannelRank
from tests.ui.text.test_text import REPORT_RULE, case_of, result_of
from ui.text.gallery import gallery_text
from ui.text.search import diagnostics_text, exceeds_chance, rank_text, search_text
from ui.view.diagnostics import agreement_words

SYSTEM = SystemAgreement(
    system="Bethesda",
    sites=("cervix",),
    patients=9,
    categories=(),
    entropy_bits=1.25,
    entropy=0.62,
    lowest_tier="negative",
    highest_tier="malignant",
    tiers_apart=4,
    tier_deviation=1.0,
    non_diagnostic=0,
    derived=0,
)
SHARE = ConfounderCount("stain", "Pap", 7, 10, 4.26, 0.04, 5.14, 0.02)
JUDGED = NoveltyCheck("image", True, 0.9, 0.8, 0.5, 0.05, 0.01, 0.1, 40)


def diagnostics(audit: ConfounderAudit, system: SystemAgreement = SYSTEM) -> ResultDiagnostics:
    return ResultDiagnostics(
        told=None,  # type: ignore[arg-type]
        agreement=Agreement((system,), "Bethesda", 10, 3, 0, 0),
        comparability=(JUDGED,),
        not_judged=(NotJudged("report", "Reports are never judged."), NotJudged("generated", "Run coin calibrate.")),
        nuisance=audit,
    )


def test_agreement_novelty_and_confounders_follow_each_other() -> None:
    rare = dataclasses.replace(SHARE, field="slide", value="S1", tail_at_sites=0.0099)
    lines = diagnostics_text(diagnostics(ConfounderAudit(True, (SHARE, rare), (), 30))).splitlines()
    flat = " ".join(lines)
    assert flat.startswith(
        SYSTEM.words + " Entropy 1.25 bits (62% of the most there could be); tiers from negative to "
    )
    assert "3 of the retrieved cases have no category." in lines
    assert f"By image: {JUDGED.words}" in flat
    assert "Not judged: Run coin calibrate." in lines
    assert "never judged" not in flat
    shared = (
        "Shared with the query, where it should not matter: stain 'Pap' 7 of 10 (5.1 by chance), slide 'S1' 7 of 10"
    )
    assert shared in flat
    assert rare.words in flat, "beyond chance: a sentence of its own"
    assert SHARE.words not in flat
    order = [flat.index(part) for part in (SYSTEM.words, "have no category", "By image", "Not judged", "Shared with")]
    assert order == sorted(order)


def test_cases_that_are_not_comparable_are_not_said_to_agree() -> None:
    agreeing = diagnostics(ConfounderAudit(True, (SHARE,), (), 30))
    assert agreement_words(agreeing) == SYSTEM.words
    rejected = dataclasses.replace(JUDGED, comparable=False)
    none = dataclasses.replace(agreeing, comparability=(JUDGED, rejected))
    assert agreement_words(none) == ""
    text = " ".join(diagnostics_text(none).split())
    assert text.startswith(f"By image: {JUDGED.words} By image: {rejected.words}")
    assert SYSTEM.words not in text
    assert "have no category" not in text


def test_values_that_are_not_the_query_s_are_called_the_most_frequent() -> None:
    text = diagnostics_text(diagnostics(ConfounderAudit(False, (SHARE,), (), 30)))
    assert "Most frequent among the hits, where it should not matter: stain" in text
    assert "Shared" not in text
    assert "should not matter" not in diagnostics_text(diagnostics(ConfounderAudit(True, (), (), 30)))


@pytest.mark.parametrize(("tail", "exceeds"), [(0.0, True), (0.0099, True), (0.01, False), (0.5, False)])
def test_one_search_of_a_hundred_is_chance(tail: float, exceeds: bool) -> None:
    assert exceeds_chance(dataclasses.replace(SHARE, tail_at_sites=tail)) is exceeds


@pytest.mark.parametrize(("patients", "entropy", "shown"), [(2, 0.5, True), (1, 0.5, False), (9, None, False)])
def test_entropy_needs_two_patients(patients: int, entropy: float | None, shown: bool) -> None:
    system = dataclasses.replace(SYSTEM, patients=patients, entropy=entropy, tiers_apart=0)
    text = diagnostics_text(diagnostics(ConfounderAudit(True, (), (), 30), system))
    assert ("Entropy" in text) is shown
    assert "tiers from" not in text


def test_a_rank_beyond_the_first_is_a_dash() -> None:
    assert rank_text(ChannelRank("report", 3, 0.5, 0.1)) == "reports #3"
    assert rank_text(ChannelRank("report", None, None, 0.0)) == "reports –"


def test_a_region_and_feedback_stand_in_the_first_line() -> None:
    result = result_of(case_of())
    query = dataclasses.replace(result.query, text="", image_id=1, region=Region(0.1, 0.2, 0.75, 1), less=("a", "b"))
    first = search_text(dataclasses.replace(result, query=query), REPORT_RULE).splitlines()[0]
    assert first == (
        "Cases nearest to the case asked, within 0.1, 0.2, 0.75, 1 of the image; more like liked; less like a, b"
    )


def test_one_channel_alone_has_its_own_scale() -> None:
    result = result_of(case_of())
    alone = dataclasses.replace(result, channels=result.channels[:1], overlaps=())
    assert " 1  similarity 0." in search_text(alone, REPORT_RULE)
    assert "Ordered by the cosine similarity" in search_text(alone, REPORT_RULE)
    agreeing = dataclasses.replace(result, overlaps=(dataclasses.replace(result.overlaps[0], shared=2),))
    assert ("disagree" in search_text(agreeing, REPORT_RULE)) == agreeing.overlaps[0].disagree


def row(category: str, available: int, *ranked: RankedCase) -> CategoryRow:
    return CategoryRow(category, "malignant", ranked, available)


def test_categories_stand_in_the_system_s_order_with_their_counts() -> None:
    case = case_of(phantom=True)
    entry = RankedCase(1, 0.9, 0.8125, case, case.images[0], 0, (), "")
    near = row("HSIL", 1, entry)
    gallery = Gallery(
        system="Bethesda",
        site="cervix",
        rows=(row("NILM", 2, dataclasses.replace(entry, similarity=None)), near, row("ASC-H", 0)),
        category="HSIL",
        look_alikes=(near,),
        sources=(LookAlikes("Bethesda", ("HSIL", "ASC-H"), "They look alike.", "A book.", "10.1/x"),),
    )
    text = gallery_text(gallery)
    assert text.startswith("The nearest of each category in Bethesda at cervix.")
    assert "  NILM (malignant, 2 patients)\n    0.000  case-1  [PHANTOM]  cervix · HSIL · Papanicolaou\n" in text
    assert "  HSIL (malignant, 1 patient)\n    0.812  case-1  [PHANTOM]" in text
    assert "ASC-H (" not in text
    assert "Look-alikes of HSIL, among the rows above: HSIL.\n  They look alike. A book. doi:10.1/x" in text
    assert gallery_text(None).startswith("No reporting system is known")
    assert " at " not in gallery_text(dataclasses.replace(gallery, site="")).splitlines()[0]
