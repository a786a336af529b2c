"""The query beside its results: the generated images of a report, the uploaded image or the case, and how it can be
refined. Every change is a new query.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from ui.pictures.sizes import CARD, png_bytes, readable
from ui.text.case import case_summary
from ui.text.generation import prompt_length
from ui.view.escape import escape
from ui.view.session import guarded, service, try_query
from ui.view.slide.search import show_query_slide
from ui.view.viewer.enlarged import pictures_around
from ui.view.viewer.region import show_query_picture
from ui.view.viewer.shown import upload_picture

if TYPE_CHECKING:
    from retrieval import GeneratedImageCheck, GeneratedQuery, Query, SearchResult

THUMBNAIL: Final = 124  # pixels: two side by side in the column of the query, all in a row where it has the whole width


def show_query(query: Query, result: SearchResult) -> None:
    """Show the query of `result`, with the buttons that refine it."""
    if query.image:
        st.header("Query image", anchor=False)
        _show_upload(query)
    elif query.slide:
        show_query_slide(query, result)
    elif query.case:
        _show_case(query)
    if result.generated is not None:
        _show_generated(query, result.generated)
    if query.text.strip():
        _show_text(query)


def _show_upload(query: Query) -> None:
    picture, problem = guarded(lambda: upload_picture(query.image, name=query.label, mpp=query.mpp))
    if picture is None:
        st.error(escape(problem))
    else:
        show_query_picture(query, [picture])


def _show_generated(query: Query, generated: GeneratedQuery) -> None:
    st.header("Synthetic images of the report", anchor=False)
    used = [check for check in generated.images if check.used]
    dropped = [check for check in generated.images if not check.used]
    with st.container(horizontal=True, gap="small"):
        for check in used:
            with st.container(width=THUMBNAIL):
                _show_synthetic(check)
                if len(query.seeds) > 1:
                    st.button(
                        f"Drop seed {check.asked_seed}",
                        key=f"drop-{check.asked_seed}",
                        help="Search again without this image",
                        on_click=try_query,
                        args=(lambda seed=check.asked_seed: query.without_seed(seed),),
                    )
    first, prompt = generated.generation.images[0].provenance, generated.generation.prompt
    st.caption(
        f"Preset {first.preset}: {first.steps} steps, guidance {first.guidance:g}. Prompt that was read "
        f"({prompt_length(prompt)}):"
    )
    st.text(prompt.text)
    if first.negative_prompt:
        st.caption("Negative prompt:")
        st.text(first.negative_prompt)
    if prompt.replaced:
        st.caption("Replaced by the glossary:")
        st.text("\n".join(map(str, prompt.replaced)))
    if prompt.chunks and not prompt.dropped:
        st.caption(f"The report was read in {len(prompt.chunks)} chunks; nothing was left out.")
    if dropped:
        label = (
            "1 image was dropped: it shows" if len(dropped) == 1 else f"{len(dropped)} images were dropped: they show"
        )
        with st.expander(f"{label} another site"), st.container(horizontal=True, gap="small"):
            for check in dropped:
                with st.container(width=THUMBNAIL):
                    _show_synthetic(check)
    if prompt.dropped:
        with st.expander("Parts of the report that the model did not read"):
            st.text("\n".join(prompt.dropped))


def _show_synthetic(check: GeneratedImageCheck) -> None:
    picture = png_bytes(readable(check.generated.image, at_most=CARD))
    st.image(picture, alt=f"Synthetic image, seed {check.seed}", width="stretch", output_format="PNG")
    retry = ", generated again" if check.attempt == 2 else ""
    st.caption(f"**SYNTHETIC**, seed {check.seed}{retry}")
    if check.verdict == "wrong":
        st.caption(escape(f"shows {check.shown_site}, not {check.asked_site}"))
    if check.near_copy:
        st.badge(
            "near copy",
            color="red",
            help=f"Copies a reference image, or a part of it, of case {escape(check.nearest_case_key)}.",
        )


def _show_case(query: Query) -> None:
    case, _ = guarded(lambda: service().archive.case(query.case))
    if case is None or not case.images:
        return  # removed since; the result beside it is still valid
    st.header("Query case", anchor=False)
    around = pictures_around(case, query.image_id)
    show_query_picture(query, around.pictures, start=around.start)
    if len(case.images) > 1:
        st.caption(
            f"The query is all {len(case.images)} images of the case."
            if query.image_id is None
            else "The query is this one of the case's images."
        )
    st.text(f"{case.key}\n{case_summary(case)}")
    if not query.text.strip():
        st.text(case.report)


def _show_text(query: Query) -> None:
    with st.expander("Edit the text, keep the seeds"), st.form("edit_text", border=False):
        text = st.text_area("Text", query.text, height=140, key="edited_text")
        if st.form_submit_button("Search with this text"):
            try_query(lambda: query.with_text(text or ""))
            st.rerun()
