"""What the cases below answer: text, picture, filters and marks of the query that was searched, above its results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from ui.pictures.sizes import CARD, png_bytes, readable
from ui.text.query import choice_words, filter_words, picture_words
from ui.view.escape import escape
from ui.view.filters import reset_filters
from ui.view.session import ask_last, guarded, service, try_query

if TYPE_CHECKING:
    from PIL.Image import Image

    from retrieval import Query
    from ui.view.session import Refused

PICTURE: Final = 96  # pixels: the picture itself stands in the viewer beside
LETTERS: Final = 420  # of a text before it is cut


def show_question(query: Query) -> None:
    """Show what was asked, with the buttons that take back marks and filters."""
    with st.container(border=True, key="question"):
        st.header("What was asked", anchor=False)
        with st.container(horizontal=True, gap="small"):
            picture = _picture(query)
            if picture is not None:
                st.image(picture, alt=f"Query: {picture_words(query)}", width=PICTURE, output_format="PNG")
            with st.container(width="stretch", gap="xsmall"):
                if words := picture_words(query):
                    st.markdown(f"**{escape(words[0].upper() + words[1:])}**")
                if query.text.strip():
                    _show_text(query.text.strip())
        for words in choice_words(query):
            st.caption(escape(words))
        filters = filter_words(query.where)
        with st.container(horizontal=True, gap="xsmall", vertical_alignment="center"):
            st.caption(f"**Filters:** {escape(' · '.join(filters) or 'none')}", width="content")
            if filters:
                st.button("Reset the filters", icon=":material/close:", on_click=reset_filters, args=(query,))
        _show_marks(query)


def show_refused(refused: Refused) -> None:
    """Show why nothing is searched, and the way back."""
    with st.container(key="refused"):
        st.header("Nothing was searched", anchor=False)
        st.error(escape(refused.problem))
        if refused.last is not None:
            st.button("Back to the last results", on_click=ask_last)


def shortened(text: str) -> str:
    """A text in one line, cut at a word where it is long."""
    text = " ".join(text.split())
    if len(text) <= LETTERS:
        return text
    return f"{text[:LETTERS].rsplit(' ', 1)[0]} …"


def _show_text(text: str) -> None:
    st.markdown("**Report**")
    st.text(shortened(text))
    if len(" ".join(text.split())) > LETTERS:
        with st.expander("The whole text"):
            st.text(text)


def _show_marks(query: Query) -> None:
    if not (query.more or query.less):
        return
    with st.container(horizontal=True, gap="xsmall", vertical_alignment="center"):
        st.caption("**Marks:**", width="content")
        for word, keys in (("More like", query.more), ("Less like", query.less)):
            for key in keys:
                st.button(
                    f"{word} {escape(key)}",
                    key=f"unmark-{key}",
                    icon=":material/close:",
                    help="Remove this mark",
                    on_click=try_query,
                    args=(lambda key=key: query.unmarked(key),),
                )


def _picture(query: Query) -> bytes | None:
    """PNG of the query's picture, or of the part of it that queries, kept while the session asks by it."""
    asked = (query.image, query.case, query.image_id, query.region)
    kept: tuple[object, bytes | None] | None = st.session_state.get("question_picture")
    if kept is None or kept[0] != asked:
        picture, _ = guarded(lambda: _decoded(query))  # that it cannot be read is said in the place of the cases
        kept = asked, None if picture is None else png_bytes(readable(picture, at_most=CARD))
        st.session_state["question_picture"] = kept
    return kept[1]


def _decoded(query: Query) -> Image | None:
    from index_store import decode_image, decode_picture

    if query.image:
        picture = decode_picture(query.image).image
    elif query.case:
        images = service().archive.case(query.case).images
        shown = next((image for image in images if query.image_id in (None, image.id)), None)
        if shown is None:
            return None
        picture = decode_image(shown.path, expected=shown.file_sha256)
    else:
        return None
    return picture if query.region is None else query.region.cut(picture)
