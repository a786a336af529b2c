"""What was asked, beside the results: the synthetic images of a report, the uploaded image, or the case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from ui.pictures import CARD, png_bytes, readable
from ui.text import facts
from ui.view.pictures import show_image, show_upload
from ui.view.state import Question, guarded, service

if TYPE_CHECKING:
    from generation import Generation
    from retrieval import SearchResult

THUMBNAIL: Final = 124  # pixels: two side by side in the column of the query, all in a row where it has the whole width


def draw_query(asked: Question, result: SearchResult) -> None:
    """Draw the query that led to `result`."""
    if result.generation is not None:
        _draw_generation(result.generation)
    elif asked.kind == "image":
        st.subheader("The image asked by", anchor=False)
        show_upload(asked.image, alt="The image that was asked by")
        st.text(asked.label)
    else:
        _draw_case(asked.label)


def _draw_generation(generation: Generation) -> None:
    st.subheader("Synthetic images of the report", anchor=False)
    made = generation.images
    with st.container(horizontal=True, gap="small"):
        for image in made:
            with st.container(width=THUMBNAIL):
                picture = png_bytes(readable(image.image, at_most=CARD))
                seed = image.provenance.seed
                st.image(picture, alt=f"Synthetic image, seed {seed}", width="stretch", output_format="PNG")
                st.caption(f"**SYNTHETIC**, seed {seed}")
    first = made[0].provenance
    st.caption(f"Preset {first.preset}: {first.steps} steps, guidance {first.guidance:g}. Prompt that was read:")
    st.text(generation.prompt.text)
    if generation.prompt.dropped:
        with st.expander("Parts of the report that the model did not read"):
            st.text("\n".join(generation.prompt.dropped))


def _draw_case(key: str) -> None:
    case, _ = guarded(lambda: service().archive.case(key))
    if case is None or not case.images:
        return  # removed since: the result beside it still stands
    st.subheader("The case asked by", anchor=False)
    show_image(case, case.images[0], at_most=CARD, alt="First image of the case that was asked by")
    st.text(f"{case.key}\n{facts(case)}")
    st.text(case.report)
