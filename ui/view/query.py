"""What was asked, beside the results: the synthetic images of a report, the uploaded image, or the case; and what can
be changed about it. Every change is a new query.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from ui.pictures.pictures import CARD, png_bytes, readable
from ui.text.case import facts
from ui.text.generation import prompt_length
from ui.view.escape import escape
from ui.view.pictures import show_image, show_upload
from ui.view.region import draw_region
from ui.view.state import ask_guarded, guarded, service

if TYPE_CHECKING:
    from retrieval import GeneratedImageCheck, GeneratedQuery, Query, SearchResult

THUMBNAIL: Final = 124  # pixels: two side by side in the column of the query, all in a row where it has the whole width


def draw_query(asked: Query, result: SearchResult) -> None:
    """Draw the query that led to `result`."""
    _draw_marks(asked)
    if asked.image:
        st.subheader("The image asked by", anchor=False)
        show_upload(asked.image, alt="The image that was asked by")
        st.text(asked.label)
        draw_region(asked)
    elif asked.case:
        _draw_case(asked)
    if result.generated is not None:
        _draw_generated(asked, result.generated)
    if asked.text.strip():
        _draw_text(asked)


def _draw_marks(asked: Query) -> None:
    if not (asked.more or asked.less):
        return
    st.subheader("Marked cases", anchor=False)
    with st.container(horizontal=True, gap="xsmall"):
        for word, keys in (("More like", asked.more), ("Less like", asked.less)):
            for key in keys:
                st.button(
                    f"{word} {escape(key)}",
                    key=f"unmark-{key}",
                    icon=":material/close:",
                    help="Take this mark back",
                    on_click=ask_guarded,
                    args=(lambda key=key: asked.unmarked(key),),
                )


def _draw_generated(asked: Query, generated: GeneratedQuery) -> None:
    st.subheader("Synthetic images of the report", anchor=False)
    used = [check for check in generated.images if check.used]
    dropped = [check for check in generated.images if not check.used]
    with st.container(horizontal=True, gap="small"):
        for check in used:
            with st.container(width=THUMBNAIL):
                _draw_synthetic(check)
                if len(asked.seeds) > 1:
                    st.button(
                        f"Drop seed {check.asked_seed}",
                        key=f"drop-{check.asked_seed}",
                        help="Ask again without this image",
                        on_click=ask_guarded,
                        args=(lambda seed=check.asked_seed: asked.without_seed(seed),),
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
        label = f"{len(dropped)} images were dropped: they show another site"
        with st.expander(label), st.container(horizontal=True, gap="small"):
            for check in dropped:
                with st.container(width=THUMBNAIL):
                    _draw_synthetic(check)
    if prompt.dropped:
        with st.expander("Parts of the report that the model did not read"):
            st.text("\n".join(prompt.dropped))


def _draw_synthetic(check: GeneratedImageCheck) -> None:
    picture = png_bytes(readable(check.drawn.image, at_most=CARD))
    st.image(picture, alt=f"Synthetic image, seed {check.seed}", width="stretch", output_format="PNG")
    again = ", drawn again" if check.attempt == 2 else ""
    st.caption(f"**SYNTHETIC**, seed {check.seed}{again}")
    if check.verdict == "wrong":
        st.caption(escape(f"shows {check.shown_site}, asked for {check.asked_site}"))
    if check.near_copy:
        st.badge(
            "near copy", color="red", help=f"Very like a reference image, of case {escape(check.nearest_case_key)}."
        )


def _draw_case(asked: Query) -> None:
    case, _ = guarded(lambda: service().archive.case(asked.case))
    if case is None or not case.images:
        return  # removed since: the result beside it still stands
    st.subheader("The case asked by", anchor=False)
    image = next((one for one in case.images if one.id == asked.image_id), case.images[0])
    show_image(case, image, at_most=CARD, alt="First image of the case that was asked by")
    if len(case.images) > 1:
        st.caption(
            f"All {len(case.images)} images of the case ask together."
            if asked.image_id is None
            else "This one of the case's images asks."
        )
    st.text(f"{case.key}\n{facts(case)}")
    draw_region(asked, image_id=image.id)
    if not asked.text.strip():
        st.text(case.report)


def _draw_text(asked: Query) -> None:
    with st.expander("Edit the text, keep the seeds"), st.form("edit_text", border=False):
        text = st.text_area("Text", asked.text, height=140, key="edited_text")
        if st.form_submit_button("Ask with this text"):
            ask_guarded(lambda: asked.with_text(text or ""))
            st.rerun()
