"""The page that compares: the query beside one to three cases, in step, and the words that their reports share."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import streamlit as st

from ui.text.case import case_summary
from ui.view.answer.images import show_images
from ui.view.answer.search import search
from ui.view.compare.query_side import QuerySide, query_side
from ui.view.escape import escape
from ui.view.review.place import place, restore_place
from ui.view.session import current_outcome, current_query, guarded, opened_cases
from ui.view.slide.place import go_to_place, show_place
from ui.view.viewer.component import Pane, show_viewer
from ui.view.viewer.enlarged import pictures_around

if TYPE_CHECKING:
    from index_store import Case
    from retrieval import SearchResult

SEARCH_PAGE: Final = "search_page.py"
CASE_PAGE: Final = "case_page.py"
MOST_CASES: Final = 3


def show_comparison(cases: list[Case], result: SearchResult | None) -> None:
    """Show the query of the session, where there is one, and the cases beside it."""
    query = current_query()
    side = None if query is None else query_side(query, result, cases[0].key)
    asked = "" if side is None else side.text
    panes = [_case_pane(case, result, asked or _others(cases, case)) for case in cases]
    if side is not None:
        panes.insert(0, _query_pane(side, cases))
    if side is not None and side.problem:
        st.info(escape(side.problem))
    if len(cases) > 1 or asked.strip():
        st.caption(f"Marked: words that a report shares with {'the query' if asked.strip() else 'another'}.")
    show_viewer(panes, key="compare", height="51vh", note=_note(panes), on_place=partial(show_place, cases))
    go_to_place()
    with st.container(horizontal=True, gap="xsmall"):
        for case in cases:
            if st.button(f"Open case {escape(case.key)}", key=f"open-{case.key}"):
                st.switch_page(CASE_PAGE, query_params={"case": case.key, **place()})


def _others(cases: list[Case], case: Case) -> str:
    """What a report is compared with where the query has no text: the first case's, and that with all others."""
    return cases[0].report if case is not cases[0] else " ".join(other.report for other in cases[1:])


def _query_pane(side: QuerySide, cases: list[Case]) -> Pane:
    from retrieval import shared_words

    others = " ".join(case.report for case in cases)
    return Pane(side.pictures, "Query", report=shared_words(side.text, others), marks=side.marks)


def _case_pane(case: Case, result: SearchResult | None, text: str) -> Pane:
    from retrieval import shared_words

    found = next((ranked for ranked in result.cases if ranked.case.key == case.key), None) if result else None
    around = pictures_around(case, None if found is None else found.image.id)
    title = f"{'' if found is None else f'#{found.rank} '}{case.key}"
    report = ((f"{case_summary(case)}\n", False), *shared_words(case.report, text))
    return Pane(around.pictures, title, around.start, report)


def _note(panes: list[Pane]) -> str:
    shown = [pane.pictures[pane.start] for pane in panes if pane.pictures]
    if len(shown) < 2:
        return ""
    if not all(picture.mpp for picture in shown):
        return "The scale of a picture is unknown: each fits its frame at first, and sizes cannot be compared."
    return "At one scale: what is as long on the screen is as long on the specimen."


def _chosen(result: SearchResult | None) -> list[str]:
    """The cases of the address; others of the result can be chosen in their place."""
    keys = list(dict.fromkeys(st.query_params.get_all("case")))[:MOST_CASES]
    ranks = {} if result is None else {ranked.case.key: ranked.rank for ranked in result.cases}
    choice = st.multiselect(
        f"Cases beside the query, at most {MOST_CASES}",
        list(dict.fromkeys([*keys, *ranks])),
        keys,
        max_selections=MOST_CASES,
        format_func=lambda key: f"#{ranks[key]} {key}" if key in ranks else key,
        placeholder="Choose a case",
    )
    if choice != keys:
        st.query_params["case"] = choice
    return list(choice)


restore_place()
outcome = None
if (asked := current_query()) is not None:
    # Searched again, an outcome is joined by the images that were generated meanwhile.
    kept = current_outcome()
    outcome = search(asked if kept is None else kept.query)
result = None if outcome is None else outcome.result
with st.container(horizontal=True, vertical_alignment="center"):
    st.title("Compare", anchor=False)
    if st.button("Back to the search"):
        st.switch_page(SEARCH_PAGE)
keys = _chosen(result)
if not keys:
    st.text("Choose one to three cases. Each card of a result has a button for it.")
else:
    found, problem = guarded(lambda: opened_cases(keys))
    if found is None:
        st.error(escape(problem))
    else:
        if outcome is not None and outcome.needs_images:  # they are the query's pictures
            show_images(outcome)
        show_comparison(found, result)
