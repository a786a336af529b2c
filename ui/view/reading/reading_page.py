"""The page of a blinded reading: a name, then picture after picture, then (once closed) the truth and the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from retrieval import LONGEST_COMMENT, LONGEST_NAME, Rating
from ui.settings import Settings
from ui.text.reading import PHANTOMS
from ui.view.escape import escape
from ui.view.reading import reading_state as state
from ui.view.reading.reading_results import draw_closed
from ui.view.state import guarded, left_case, user

if TYPE_CHECKING:
    from retrieval import Axis, Picture, Reader, ReaderStudy

HIDDEN: Final = "Real or generated: hidden until the reading is closed."
ZOOMS: Final = {1: "whole", 2: "2 ×", 4: "4 ×"}
# Letters that lie side by side on most keyboards; Streamlit keeps C and R for itself.
KEYS: Final = {"anatomic": "12345", "diagnostic": "ASDFG"}
GUESS_KEYS: Final = {"real": "J", "generated": "K"}


def draw_entrance(names: tuple[str, ...]) -> None:
    """What a reading is, and the form that begins one or goes on with it."""
    st.subheader("Blinded reading", anchor=False)
    name = st.selectbox("Reading", names, key="reading_name") if len(names) > 1 else names[0]
    opened, problem = guarded(lambda: state.study(name))
    if opened is None:
        st.error(escape(problem))
        return
    kinds = "Phantoms and generated" if opened.phantoms == "all" else "Real and generated"
    st.text(
        f"Reading '{opened.name}': {len(opened.pictures)} pictures, one after another, in an order of your own. "
        f"{kinds} images are among them. Which is which stays hidden until you close your reading; then it is shown, "
        "with the figures of everybody who has closed.\n\n"
        "Every answer is stored at once. You may stop at any time and go on under the same name, and change answers "
        "until you close."
    )
    if opened.phantoms != "none":
        st.info(PHANTOMS[opened.phantoms])
    with st.form("begin_reading", border=False, width=420):
        known = user()
        reader = st.text_input("Your name, or a pseudonym", value=known, max_chars=LONGEST_NAME, key="reading_as")
        pseudonym = st.checkbox("This is a pseudonym", value=not known, key="reading_pseudonym")
        st.caption("Results and exports name you so, and say whether it is a pseudonym.")
        if st.form_submit_button("Begin, or go on", type="primary"):
            _, problem = guarded(lambda: state.begin(name, reader or "", pseudonym=pseudonym))
            if problem:
                st.error(escape(problem))
            else:
                st.rerun()


def draw_reading(study: ReaderStudy, reader: Reader) -> None:
    """One picture with its questions."""
    order, ratings = study.order(reader.name), study.ratings.of(reader.name)
    here = min(state.place(study, reader.name), len(order) - 1)
    picture = order[here]
    rated = sum(rating.is_complete for rating in ratings.values())
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(f"Picture {here + 1} of {len(order)}", anchor=False, width="stretch")
        st.text(f"{rated} rated · reading as {reader.name}")
        st.button("Stop for now", on_click=state.leave)
    st.progress(rated / len(order))
    if problem := state.problem():
        st.error(escape(problem))
    left, right = st.columns([1, 1.1], gap="medium")
    with left, st.container(key="wide"):
        _draw_picture(study, picture, here, len(order))
    with right, st.container(key="narrow"):
        _draw_questions(study, reader.name, picture, here, ratings.get(picture.id, Rating()))
        _draw_moves(study, reader.name, here, len(order))
        _draw_closing(study, reader.name, len(order) - rated)


def _draw_picture(study: ReaderStudy, picture: Picture, here: int, total: int) -> None:
    # Keys by place: a picture's id would be no secret, but it has no business in the page.
    keys = [f"{name}-{here}" for name in ("zoom", "across", "down")]
    zoom, across, down = (int(st.session_state.get(key) or usual) for key, usual in zip(keys, (1, 50, 50), strict=True))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.segmented_control(
            "Zoom", list(ZOOMS), default=1, required=True, format_func=lambda of: ZOOMS[of], key=keys[0]
        )
        if zoom > 1:
            st.slider("From left to right, %", 0, 100, 50, key=keys[1], width=170)
            st.slider("From top to bottom, %", 0, 100, 50, key=keys[2], width=170)
    shown, problem = guarded(lambda: state.part_png(study, picture.id, zoom, across, down))
    if shown is None:
        st.error(escape(problem))
    else:
        st.image(shown, alt=f"Picture {here + 1} of {total}", width="stretch", output_format="PNG")
    phantoms = " Phantoms stand for real images." if study.phantoms == "all" else ""
    st.caption(f"{HIDDEN}{phantoms}")


def _draw_questions(study: ReaderStudy, reader: str, picture: Picture, here: int, rating: Rating) -> None:
    if study.shows_labels:
        st.markdown(f"Stated: **{escape(picture.site)}**, **{escape(picture.category)}**")
    for axis, column in zip(study.scale, st.columns(len(study.scale), gap="small"), strict=True):
        with column:
            _draw_axis(study, reader, picture, axis, getattr(rating, axis.name))
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown("**A guess** (may be left out)")
        for word, key in GUESS_KEYS.items():
            chosen = rating.guess == word
            st.button(
                word,
                key=f"guess-{word}",
                type="primary" if chosen else "secondary",
                shortcut=key,
                on_click=state.rate,
                args=(study, reader, picture.id, "guess", None if chosen else word),
            )
    key = f"comment-{here}"
    st.session_state[key] = rating.comment
    st.text_area(
        "Comment (may be left out; stored when you leave the field)",
        key=key,
        height=68,
        max_chars=LONGEST_COMMENT,
        on_change=lambda: state.rate(study, reader, picture.id, "comment", str(st.session_state[key] or "")),
    )


def _draw_axis(study: ReaderStudy, reader: str, picture: Picture, axis: Axis, given: int | None) -> None:
    st.markdown(f"**{axis.title}**")
    st.caption(axis.question if study.shows_labels else axis.without_labels)
    for score, (step, key) in enumerate(zip(axis.steps, KEYS[axis.name], strict=True), start=1):
        st.button(
            f"{score} {step}",
            key=f"{axis.name}-{score}",
            type="primary" if given == score else "secondary",
            shortcut=key,
            width="stretch",
            on_click=state.rate,
            args=(study, reader, picture.id, axis.name, score),
        )


def _draw_moves(study: ReaderStudy, reader: str, here: int, total: int) -> None:
    with st.container(horizontal=True, gap="small"):
        st.button("Previous", shortcut="P", disabled=here == 0, on_click=state.go, args=(here - 1,))
        st.button("Next", shortcut="N", type="primary", disabled=here == total - 1, on_click=state.go, args=(here + 1,))
        st.button("Next without a rating", shortcut="O", on_click=state.next_open, args=(study, reader))


def _draw_closing(study: ReaderStudy, reader: str, lacking: int) -> None:
    with st.popover("Close my reading"):
        if lacking:
            st.markdown(f"**{lacking} pictures lack a rating**; they would stay without.")
        st.text("Once closed, no answer can be changed. Then you see what was real and what was generated.")
        if st.button("Close for good", type="primary"):
            _, problem = guarded(lambda: study.ratings.close_reader(reader))
            if problem:
                st.error(escape(problem))
            else:
                st.rerun()


left_case()
names = state.studies()
if not names:
    st.subheader("No blinded reading here", anchor=False)
    st.text(
        f"There is none in {Settings.from_env().readings_folder}. Whoever looks after the archive makes one:\n\n"
        "    coin generate --text-file report.txt --out generated\n"
        "    coin reading new pilot --generated generated"
    )
else:
    found, problem = guarded(state.at_work)
    if problem:
        st.error(escape(problem))
        state.leave()
    if found is None:
        draw_entrance(names)
    elif found[1].closed:
        draw_closed(*found)
    else:
        draw_reading(*found)
