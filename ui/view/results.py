"""The grid of the cases found, each with its rank in every channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import streamlit as st

from retrieval import to_json
from ui.pictures.sizes import CARD
from ui.text.case import case_summary
from ui.text.score import channel_name, channel_shares, lead, score_parts, score_scale
from ui.text.search import rank_text
from ui.view.diagnostics import agreement_words, show_diagnostics, show_warnings
from ui.view.escape import escape, without_commands
from ui.view.gallery import show_gallery
from ui.view.pictures import show_image
from ui.view.question import shortened
from ui.view.review.place import place
from ui.view.review.session import pinned_keys
from ui.view.review.tray import show_result_pin
from ui.view.session import gallery, guarded, query_by_case, service, try_query
from ui.view.slide.pairs import show_pairs
from ui.view.viewer.enlarged import enlarge, enlarge_patient

if TYPE_CHECKING:
    from index_store import Case
    from retrieval import Query, RankedCase, SearchResult
    from ui.text.score import ScoreScale

WIDTHS: Final = {2: 640, 3: 480, 4: CARD}
"""By pictures a row, the pixels of a picture's longer side: sharp beside the query at 1440."""
PER_ROW: Final = 3
CASE_PAGE: Final = "case_page.py"
COMPARE_PAGE: Final = "compare/page.py"
TABS: Final = ("Ranking", "By category", "Diagnostics")


def show_results(result: SearchResult) -> None:
    """Show what must be read first, then the cases by rank or by category, or the diagnostics; notes, download."""
    if result.warning:
        st.warning(escape(result.warning), icon=":material/contact_support:")
    diagnostics, problem = guarded(lambda: service().diagnose(result)) if result.cases else (None, "")
    if problem:
        st.error(escape(problem))
    if diagnostics is not None:
        show_warnings(diagnostics)
    scale = score_scale(result, service().rules["report"])
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header(heading(result), width="stretch", anchor=False, help=escape(scale.words) if result.cases else None)
        st.download_button(
            "Download as JSON", to_json(result, diagnostics), "coin-result.json", "application/json", on_click="ignore"
        )
    if notes := [*map(without_commands, result.notes), *_disagreements(result)]:
        _show_notes(notes)
    if not result.cases:
        return
    if diagnostics is not None and (words := agreement_words(diagnostics)):
        st.caption(escape(words))
    with st.container(horizontal=True, vertical_alignment="center"):
        tab = st.segmented_control("Show", TABS, default=TABS[0], required=True, key="tab", bind="query-params")
        per_row = _pictures_a_row() if tab == TABS[0] else 0
    if tab == "By category":
        rows, problem = guarded(lambda: gallery(result))
        if problem:
            st.error(escape(problem))
        else:
            show_gallery(rows)
    elif tab == "Diagnostics" and diagnostics is not None:
        show_diagnostics(diagnostics)
    else:
        # One list in a grid, not columns: the tab key and screen readers follow the rank at any width.
        with st.container(key=f"cards-{per_row}"):
            pinned = pinned_keys()
            for ranked in result.cases:
                with st.container(border=True, key=f"card-{ranked.rank}"):
                    _show_card(ranked, result, scale, pinned, at_most=WIDTHS[per_row])
    st.caption(time_line(result))


def _pictures_a_row() -> int:
    """Cards side by side where the window is wide enough, as the reader chose."""
    chosen = st.segmented_control(
        "Pictures a row", list(WIDTHS), default=PER_ROW, required=True, key="per_row", bind="query-params"
    )
    return chosen or PER_ROW


def heading(result: SearchResult) -> str:
    """The number of cases. "Nearest" is said where pictures alone were compared: words have no distance to look at."""
    count = len(result.cases)
    if not count:
        return "No case found"
    nearest = "" if result.query.text.strip() else "nearest "
    return f"{count} {nearest}{'case' if count == 1 else 'cases'}{'' if nearest or count == 1 else ', best first'}"


def _show_notes(notes: Sequence[str]) -> None:
    """One stands there; several are opened, so that the cases below come into sight."""
    several = len(notes) > 1
    with (
        st.container(key="notes"),
        st.expander(f"{len(notes)} notes on this answer", icon=":material/info:") if several else st.container(),
    ):
        for note in notes:
            st.info(escape(note))


def _disagreements(result: SearchResult) -> list[str]:
    sentences = []
    for overlap in result.overlaps:
        if overlap.disagree:
            left, right = (channel_name(channel) for channel in overlap.channels)
            sentences.append(
                f"The channels disagree: {left} and {right} share {overlap.shared} of their first {overlap.of} "
                "cases. Each card gives its rank in each of them."
            )
    return sentences


def time_line(result: SearchResult) -> str:
    """How long the search took."""
    timing = result.timing
    return (
        f"Searched in {timing.total_s:.2f} s: generate {timing.generate_s:.2f}, embed {timing.embed_s:.2f}, "
        f"search {timing.search_s:.3f}."
    )


def _show_card(
    ranked: RankedCase, result: SearchResult, scale: ScoreScale, pinned: frozenset[str], *, at_most: int
) -> None:
    case, rank, query = ranked.case, ranked.rank, result.query
    details = case_summary(case, ranked.image)
    with st.container(horizontal=True, gap="xsmall", vertical_alignment="center"):
        st.markdown(f"**#{rank}** · {scale.text(ranked.score)}", width="stretch")
        show_result_pin(result, ranked, pinned)
    with st.container(key=f"picture-{rank}"):
        # Laid over the picture by style.css: a click on it, or the key Enter, enlarges.
        enlarged = st.button(f"Enlarge #{rank}", key=f"enlarge-{rank}")
        show_image(case, ranked.image, at_most=at_most, alt=f"Case #{rank}: {details}")
    if enlarged:
        enlarge(case, ranked.image)
    if ranked.matches:
        show_pairs(ranked)
    st.markdown(f"**{escape(details)}**")
    if len(ranked.channel_ranks) > 1:
        st.caption(" · ".join(escape(rank_text(channel_rank)) for channel_rank in ranked.channel_ranks))
    if ranked.only_channel:
        st.badge(
            f"only {channel_name(ranked.only_channel)}",
            color="orange",
            help="No other channel ranks it among its first.",
        )
    st.caption(escape(case.key))
    st.text(shortened(case.report))
    if ranked.other_images:
        more = "1 more image" if ranked.other_images == 1 else f"{ranked.other_images} more images"
        if st.button(f"{more} of the patient of #{rank}", key=f"images-{rank}", type="tertiary"):
            enlarge_patient(case, ranked.image, query.where)
    with st.container(horizontal=True, gap="xsmall"):
        if st.button(f"Compare #{rank}", key=f"compare-{rank}", help="Side by side with the query"):
            st.switch_page(COMPARE_PAGE, query_params={"case": case.key, **place()})
        if st.button(f"Open case #{rank}", key=f"open-{rank}"):
            st.switch_page(CASE_PAGE, query_params={"case": case.key, **place()})
        with st.popover(f"More on #{rank}"):
            _show_more(case, rank, query)
            _show_score(ranked, result, scale)


def _show_score(ranked: RankedCase, result: SearchResult, scale: ScoreScale) -> None:
    """What the number on the card is made of."""
    parts = score_parts(ranked.channel_ranks, channel_shares(ranked, result), scale)
    if parts:
        st.markdown(f"**What {scale.text(ranked.score)} are made of**")
        for part in parts:
            st.text(part.text)
    if words := lead(ranked, result):
        st.text(words)


def _show_more(case: Case, rank: int, query: Query) -> None:
    st.button(f"Find similar to #{rank}", key=f"similar-{rank}", on_click=query_by_case, args=(case.key,))
    st.button(
        f"More like #{rank}",
        key=f"more-{rank}",
        disabled=case.key in query.more,
        on_click=try_query,
        args=(lambda: query.more_like(case.key),),
    )
    st.button(
        f"Less like #{rank}",
        key=f"less-{rank}",
        disabled=case.key in query.less,
        on_click=try_query,
        args=(lambda: query.less_like(case.key),),
    )
