"""The score that ranks, on a scale for readers."""

from __future__ import annotations

import dataclasses

from retrieval.search.fusion import FusionRule
from retrieval.search.results import ChannelAnswer, ChannelRank
from tests.ui.text.test_text import case_of, result_of
from ui.text.score import ScorePart, channel_shares, lead, score_parts, score_scale

BY_RANKS, BY_SCORES = FusionRule("rrf"), FusionRule("score")
RESULT = result_of(case_of())


def alone(channel: str) -> dict[str, object]:
    return {"channels": (ChannelAnswer(channel, 1.0, ("a",), (0.9,)),)}


def test_joined_by_ranks_the_first_place_everywhere_is_a_hundred_points() -> None:
    scale = score_scale(RESULT, BY_RANKS)
    assert scale.text(1 / 61) == "100.0 points"
    assert scale.text(0.75 / 61 + 0.25 / 122) == "87.5 points", "the 62nd place gets half of what the first gets"
    assert "100 is first in all of them (image 75%, reports 25%)" in scale.words


def test_joined_by_scores_it_is_standard_deviations() -> None:
    scale = score_scale(dataclasses.replace(RESULT, rule=BY_SCORES), BY_RANKS)
    assert (scale.text(2.314), scale.text(-0.5)) == ("+2.31 SD", "-0.50 SD")
    assert "standard deviations" in scale.words


def test_one_channel_has_its_own_scale() -> None:
    pictures = dataclasses.replace(RESULT, **alone("image"))  # type: ignore[arg-type]
    assert score_scale(pictures, BY_RANKS).text(0.9123) == "similarity 0.912"
    reports = dataclasses.replace(RESULT, **alone("report"))  # type: ignore[arg-type]
    assert score_scale(reports, BY_RANKS).text(1 / 61) == "100.0 points"
    assert score_scale(reports, BY_SCORES).text(3.0) == "+3.00 SD"
    (ranked,) = pictures.cases
    single = dataclasses.replace(ranked, channel_ranks=ranked.channel_ranks[:1])
    shares = channel_shares(single, pictures)
    assert score_parts(single.channel_ranks, shares, score_scale(pictures, BY_RANKS)) == []


def test_the_parts_of_a_score_name_channel_place_and_limit() -> None:
    places = (ChannelRank("image", 2, 0.9, 0.75 / 62), ChannelRank("report", None, None, 0.0))
    ranked = dataclasses.replace(RESULT.cases[0], channel_ranks=places)
    parts = score_parts(places, channel_shares(ranked, RESULT), score_scale(RESULT, BY_RANKS))
    assert parts == [ScorePart("image", "#2", "73.8", "75", 0.9), ScorePart("reports", "–", "0.0", "25", None)]
    assert parts[0].text == "image: 73.8 of 75, place #2, similarity 0.900"
    raised = score_parts(
        (dataclasses.replace(places[0], part=0.9 / 61), places[1]), (0.75, 0.25), score_scale(RESULT, BY_RANKS)
    )
    assert raised[0].text == "image: 90.0, place #2, similarity 0.900", "no part is more than its limit"


def test_why_a_report_with_the_words_comes_first_is_said() -> None:
    (ranked,) = RESULT.cases
    assert lead(ranked, RESULT) == ""
    assert "come before all others" in lead(dataclasses.replace(ranked, contains_words=True), RESULT)
    pictures = dataclasses.replace(RESULT, **alone("image"))  # type: ignore[arg-type]
    assert lead(dataclasses.replace(ranked, contains_words=True), pictures) == ""
