"""The grid of the nearest cases, with what they were found by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from retrieval import to_json
from ui.pictures.pictures import CARD
from ui.text.case import facts
from ui.text.search import channel_name, place_text
from ui.view.escape import escape
from ui.view.gallery import draw_gallery
from ui.view.neighbourhood import draw_neighbourhood, draw_summary
from ui.view.pictures import show_image
from ui.view.state import ask_by_case, ask_guarded, gallery, guarded, service

if TYPE_CHECKING:
    from retrieval import Query, RankedCase, SearchResult

CARD_WIDTH: Final = 250  # pixels: three beside the query at 1400, and an image at twice the 128 px of a phantom
REPORT_LETTERS: Final = 420  # of a report on a card; the case's own page shows all of it
CASE_PAGE: Final = "case_page.py"
SHOWN: Final = ("Ranking", "By category", "Neighbourhood")


def draw_results(result: SearchResult) -> None:
    """The nearest cases in the order of their rank, or by category, or their neighbourhood; notes, time, download."""
    found, problem = guarded(lambda: service().neighbourhood(result)) if result.cases else (None, "")
    with st.container(horizontal=True, vertical_alignment="center"):
        heading = f"{len(result.cases)} nearest cases" if result.cases else "No case found"
        st.subheader(heading, width="stretch", anchor=False)
        st.download_button(
            "Download as JSON", to_json(result, found), "coin-result.json", "application/json", on_click="ignore"
        )
    st.caption(_asked_by(result))
    for note in result.notes:
        st.info(escape(note))
    if problem:
        st.error(escape(problem))
    if found is not None:
        draw_summary(found)
    _draw_disagreement(result)
    if not result.cases:
        return
    shown = st.segmented_control(
        "Show", SHOWN, default=SHOWN[0], required=True, key="shown", label_visibility="collapsed"
    )
    if shown == "By category":
        rows, problem = guarded(lambda: gallery(result))
        if problem:
            st.error(escape(problem))
        else:
            draw_gallery(rows)
    elif shown == "Neighbourhood" and found is not None:
        draw_neighbourhood(found)
    else:
        # One list that wraps, not columns: the order of reading and of the tab key is that of rank at any width.
        with st.container(horizontal=True, gap="small"):
            for ranked in result.cases:
                with st.container(border=True, width=CARD_WIDTH):
                    _draw_card(ranked, result.query)


def _draw_disagreement(result: SearchResult) -> None:
    for overlap in result.overlaps:
        if overlap.disagree:
            first, second = (channel_name(channel) for channel in overlap.channels)
            st.info(
                f"The channels disagree: {first} and {second} share {overlap.shared} of their first {overlap.of} "
                "cases. Each card says which of them put it there."
            )


def _asked_by(result: SearchResult) -> str:
    query, timing = result.query, result.timing
    name = query.label or query.case
    label = f" {escape(name)}" if name else ""
    marks = len(query.more) + len(query.less)
    refined = f", refined by {marks} marked case{'s' if marks > 1 else ''}" if marks else ""
    part = ", by a part of the image" if query.region else ""
    return (
        f"Asked by {query.kind}{label}{part}{refined}. {timing.total_s:.2f} s: generate {timing.generate_s:.2f}, "
        f"embed {timing.embed_s:.2f}, search {timing.search_s:.3f}. "
        f"{_measure(result)}"
    )


def _measure(result: SearchResult) -> str:
    if not result.channels:
        return ""
    lead = channel_name(result.channels[0].channel)
    if len(result.channels) == 1:
        return f"Similarity is the cosine in the channel “{lead}”: 1 is identical."
    joined = {"rrf": "their ranks", "score": "their normalised scores"}[result.rule.method]
    shares = ", ".join(f"{channel_name(a.channel)} {a.weight:.0%}" for a in result.channels)
    return f"The order joins the channels by {joined} ({shares}). Similarity is the cosine in the channel “{lead}”."


def _draw_card(ranked: RankedCase, query: Query) -> None:
    case, rank = ranked.case, ranked.rank
    details = facts(case, stain=ranked.image.stain, preparation=ranked.image.preparation)
    similar = "" if ranked.similarity is None else f" · similarity **{ranked.similarity:.3f}**"
    st.markdown(f"**#{rank}**{similar}")
    show_image(case, ranked.image, at_most=CARD, alt=f"Case #{rank}: {details}")
    st.markdown(f"**{escape(details)}**")
    if len(ranked.places) > 1:
        st.caption(" · ".join(escape(place_text(place)) for place in ranked.places))
    if ranked.alone:
        st.badge(f"only {channel_name(ranked.alone)}", color="orange", help="No other channel has it among its first.")
    st.caption(escape(case.key))
    st.text(_shortened(case.report))
    if ranked.other_images:
        st.caption(f"+ {ranked.other_images} more images of this patient")
    with st.container(horizontal=True, gap="xsmall"):
        if st.button(f"Open case #{rank}", key=f"open-{rank}"):
            st.switch_page(CASE_PAGE, query_params={"case": case.key})
        st.button(f"Find similar to #{rank}", key=f"similar-{rank}", on_click=ask_by_case, args=(case.key,))
        st.button(
            f"More like #{rank}",
            key=f"more-{rank}",
            disabled=case.key in query.more,
            on_click=ask_guarded,
            args=(lambda: query.more_like(case.key),),
        )
        st.button(
            f"Less like #{rank}",
            key=f"less-{rank}",
            disabled=case.key in query.less,
            on_click=ask_guarded,
            args=(lambda: query.less_like(case.key),),
        )


def _shortened(report: str) -> str:
    report = " ".join(report.split())
    if len(report) <= REPORT_LETTERS:
        return report
    return f"{report[:REPORT_LETTERS].rsplit(' ', 1)[0]} …"
