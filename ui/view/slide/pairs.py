"""On the card of a slide query: which field of the query met which field of the case, and where both lie."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import streamlit as st
from PIL import Image as Pictures
from PIL import ImageDraw

from ui.pictures.sizes import CARD, fitted, png_bytes
from ui.serving.theme import tokens
from ui.text.case import place_text
from ui.view.escape import escape
from ui.view.pictures import show_small
from ui.view.session import guarded
from ui.view.slide.shown import open_slides

if TYPE_CHECKING:
    from index_store import Case, CaseSlide, SlidePlace
    from retrieval import MatchedField, RankedCase

PAIRS: Final = 3
FIELD: Final = 100  # pixels: two side by side on a card
LINE: Final = 3


def show_pairs(ranked: RankedCase) -> None:
    """Show the pairs of a result, best first: both fields, their places in words, and the case's on its overview."""
    for number, match in enumerate(ranked.matches[:PAIRS], start=1):
        _show_pair(match, ranked.case, number)
    for slide in ranked.case.slides:
        places = [match.image.place for match in ranked.matches[:PAIRS] if match.image.place is not None]
        here = [place for place in places if place.slide == slide.fingerprint]
        picture, _ = guarded(partial(framed_overview, slide, here)) if here else (None, "")
        if picture is not None:
            st.image(picture, alt="Where these fields lie on their slide", width="stretch", output_format="PNG")


def _show_pair(match: MatchedField, case: Case, number: int) -> None:
    field, image = match.field, match.image
    box = field.x, field.y, field.width, field.height
    asked, _ = guarded(lambda: open_slides().region(field.slide, field.plane, box))
    with st.container(horizontal=True, gap="xsmall"):
        if asked is not None:
            st.image(asked, alt=f"Query field {number}", width=FIELD)
        show_small([image], width=FIELD, alt=f"Field {number} of the case, ")
    where = place_text(case, image) or "an image"
    other = "" if image.case_key == case.key else f" of the case {image.case_key}"
    st.caption(
        f"{number}: **{match.similarity:.3f}** " + escape(f"query field at {field.x:,}, {field.y:,} ~ {where}{other}")
    )


def framed_overview(slide: CaseSlide, places: list[SlidePlace]) -> bytes | None:
    """PNG of the archive's overview of a slide with numbered frames at places; None where it keeps none."""
    if slide.overview is None:
        return None
    picture = fitted(_overview(str(slide.overview), slide.overview_sha256), CARD)
    scale = max(picture.size) / max(slide.width, slide.height)
    draw, colour = ImageDraw.Draw(picture), tokens()["mark"]
    for number, place in enumerate(places, start=1):
        left, top = place.x * scale, place.y * scale
        # A field is a few pixels of an overview: its frame stays visible.
        right, bottom = left + max(place.width * scale, 6), top + max(place.height * scale, 6)
        draw.rectangle((left - 2, top - 2, right + 2, bottom + 2), outline=colour, width=LINE)
        draw.text((right + 5, top - 3), str(number), colour, stroke_width=2, stroke_fill="white")
    return png_bytes(picture)


def _overview(path: str, sha256: str) -> Pictures.Image:
    return Pictures.open(io.BytesIO(_overview_png(path, sha256))).convert("RGB")


@st.cache_data(max_entries=200, show_spinner=False)
def _overview_png(path: str, sha256: str) -> bytes:
    from index_store import decode_image

    return png_bytes(decode_image(Path(path), expected=sha256))
