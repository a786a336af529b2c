"""Search by a region of the image: a rectangle, set by two sliders and shown on the image."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

import PIL.Image
import streamlit as st
from PIL import ImageDraw

from ui.pictures.sizes import png_bytes
from ui.view.escape import escape
from ui.view.pictures import image_png, upload_png
from ui.view.session import guarded, service, try_query

if TYPE_CHECKING:
    from PIL.Image import Image

    from retrieval import Query, Region

WHOLE: Final = (0, 100)
FRAME: Final = "#d6336c"  # no stain has this pink


def show_region(query: Query, *, image_id: int | None = None) -> None:
    """Show the sliders and the rectangle that they set; the button searches by what is inside."""
    region = query.region
    # Sliders of their own for each image and region: a setting for another image does not apply to this one.
    identity = hash((query.image, query.case, image_id, region))
    keys = f"region_across-{identity}", f"region_down-{identity}"
    # Each move of a slider renders the page anew; a closed expander would then hide the slider that is being moved.
    moved = any(tuple(st.session_state.get(key, WHOLE)) != WHOLE for key in keys)
    with st.expander("Search by a part of the image", expanded=region is not None or moved):
        across = st.slider("From left to right, %", *WHOLE, _percent(region, "left", "right"), key=keys[0])
        down = st.slider("From top to bottom, %", *WHOLE, _percent(region, "top", "bottom"), key=keys[1])
        framed, problem = guarded(lambda: framed_png(query, image_id, across, down))
        if framed is None:
            st.error(escape(problem))
            return
        st.image(framed, alt="The image with the chosen part framed", width="stretch", output_format="PNG")
        with st.container(horizontal=True, gap="xsmall"):
            st.button(
                "Search by this part",
                on_click=try_query,
                args=(lambda: query.within(_chosen(*keys), image_id=image_id),),
            )
            if region is not None:
                st.button("Whole image again", on_click=try_query, args=(lambda: query.within(None),))


def _percent(region: Region | None, first: str, second: str) -> tuple[int, int]:
    if region is None:
        return WHOLE
    return round(100 * getattr(region, first)), round(100 * getattr(region, second))


def _chosen(across_key: str, down_key: str) -> Region:
    """The region that the sliders set now: a callback runs before the page is rendered anew."""
    from retrieval import Region

    across, down = st.session_state[across_key], st.session_state[down_key]
    return Region(across[0] / 100, down[0] / 100, across[1] / 100, down[1] / 100)


def framed_png(query: Query, image_id: int | None, across: tuple[int, int], down: tuple[int, int]) -> bytes:
    """The query's image, or the archive's, as PNG with a frame around a part. `across` and `down`: from, to, in %."""
    shown = upload_png(query.image) if query.image else image_png(service().archive.image(image_id or 0))
    picture: Image = PIL.Image.open(io.BytesIO(shown)).convert("RGB")
    sides = (
        across[0] / 100 * (picture.width - 1),
        down[0] / 100 * (picture.height - 1),
        across[1] / 100 * (picture.width - 1),
        down[1] / 100 * (picture.height - 1),
    )
    ImageDraw.Draw(picture).rectangle(sides, outline=FRAME, width=3)
    return png_bytes(picture)
