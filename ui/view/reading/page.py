"""The page of a blinded reader study: a name, then picture after picture, then, once closed, origins and results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from retrieval import LONGEST_COMMENT, LONGEST_NAME, Rating
from ui.settings import Settings
from ui.text.evaluation.reading import PHANTOMS
from ui.view.escape import escape
from ui.view.reading import session
from ui.view.reading.results import show_closed
from ui.view.session import guarded, left_case, user

if TYPE_CHECKING:
    from retrieval import Axis, Picture, Reader, ReaderStudy

HIDDEN: Final = "Real or generated: hidden until you close your reading."
ZOOMS: Final = {1: "whole", 2: "2 ×", 4: "4 ×"}
# Letters that lie side by side on most keyboards; Streamlit keeps C and R for itself.
KEYS: Final = {"anatomic": "12345", "diagnostic": "ASDFG"}
GUESS_KEYS: Final = {"real": "J", "generated": "K"}


def show_entrance(names: tuple[str, ...]) -> None:
    """Show what the study is, and the form that begins or resumes it."""
    st.title("Blinded reader study", anchor=False)
    name = st.selectbox("Study", names, key="reading_name") if len(names) > 1 else names[0]
    opened, problem = guarded(lambda: session.open_study(name))
    if opened is None:
        st.error(escape(problem))
        return
    kinds = "Phantoms and generated" if opened.phantoms == "all" else "Real and generated"
    st.text(
        f"Study '{opened.name}': {len(opened.pictures)} pictures, one after another, in an order of your own. "
        f"{kinds} images are among them. Which is which stays hidden until you close your reading; then it is shown, "
        "with the results of all readers who have closed.\n\n"
        "Every answer is stored at once. You may stop at any time and resume under the same name, and change answers "
        "until you close."
    )
    if opened.phantoms != "none":
        st.info(PHANTOMS[opened.phantoms])
    with st.form("begin_reading", border=False, width=420):
        known = user()
        reader = st.text_input("Your name, or a pseudonym", value=known, max_chars=LONGEST_NAME, key="reading_as")
        pseudonym = st.checkbox("This is a pseudonym", value=not known, key="reading_pseudonym")
        st.caption("Results and exports show this name, and whether it is a pseudonym.")
        if st.form_submit_button("Begin or resume", type="primary"):
            _, problem = guarded(lambda: session.begin(name, reader or "", pseudonym=pseudonym))
            if problem:
                st.error(escape(problem))
            else:
                st.rerun()


def show_reading(study: ReaderStudy, reader: Reader) -> None:
    """Show one picture with its questions."""
    order, ratings = study.order(reader.name), study.ratings.of(reader.name)
    index = min(session.position(study, reader.name), len(order) - 1)
    picture = order[index]
    rated = sum(rating.is_complete for rating in ratings.values())
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header(f"Picture {index + 1} of {len(order)}", anchor=False, width="stretch")
        st.text(f"{rated} rated · reading as {reader.name}")
        st.button("Stop for now", on_click=session.leave)
    st.progress(rated / len(order))
    if problem := session.problem():
        st.error(escape(problem))
    left, right = st.columns([1, 1.1], gap="medium")
    with left:
        _show_picture(study, picture, index, len(order))
    with right:
        _show_questions(study, reader.name, picture, index, ratings.get(picture.id, Rating()))
        _show_moves(study, reader.name, index, len(order))
        _show_closing(study, reader.name, len(order) - rated)


def _show_picture(study: ReaderStudy, picture: Picture, index: int, total: int) -> None:
    # Keys by position, not by picture: the page needs no ids.
    keys = [f"{name}-{index}" for name in ("zoom", "across", "down")]
    zoom, across, down = (int(st.session_state.get(key) or usual) for key, usual in zip(keys, (1, 50, 50), strict=True))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.segmented_control(
            "Zoom", list(ZOOMS), default=1, required=True, format_func=lambda zoom: ZOOMS[zoom], key=keys[0]
        )
        if zoom > 1:
            st.slider("From left to right, %", 0, 100, 50, key=keys[1], width=170)
            st.slider("From top to bottom, %", 0, 100, 50, key=keys[2], width=170)
    shown, problem = guarded(lambda: session.part_png(study, picture.id, zoom, across, down))
    if shown is None:
        st.error(escape(problem))
    else:
        st.image(shown, alt=f"Picture {index + 1} of {total}", width="stretch", output_format="PNG")
    phantoms = " Phantoms are shown instead of real images." if study.phantoms == "all" else ""
    st.caption(f"{HIDDEN}{phantoms}")


def _show_questions(study: ReaderStudy, reader: str, picture: Picture, index: int, rating: Rating) -> None:
    if study.shows_labels:
        st.markdown(f"Stated: **{escape(picture.site)}**, **{escape(picture.category)}**")
    for axis, column in zip(study.scale, st.columns(len(study.scale), gap="small"), strict=True):
        with column:
            _show_axis(study, reader, picture, axis, getattr(rating, axis.name))
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown("**A guess** (may be left out)")
        for word, key in GUESS_KEYS.items():
            chosen = rating.guess == word
            st.button(
                word,
                key=f"guess-{word}",
                type="primary" if chosen else "secondary",
                shortcut=key,
                on_click=session.rate,
                args=(study, reader, picture.id, "guess", None if chosen else word),
            )
    key = f"comment-{index}"
    st.session_state[key] = rating.comment
    st.text_area(
        "Comment (may be left out; stored when you leave the field)",
        key=key,
        height=68,
        max_chars=LONGEST_COMMENT,
        on_change=lambda: session.rate(study, reader, picture.id, "comment", str(st.session_state[key] or "")),
    )


def _show_axis(study: ReaderStudy, reader: str, picture: Picture, axis: Axis, given: int | None) -> None:
    st.markdown(f"**{escape(axis.title)}**")
    st.caption(escape(axis.question if study.shows_labels else axis.without_labels))
    for score, (step, key) in enumerate(zip(axis.steps, KEYS[axis.name], strict=True), start=1):
        st.button(
            f"{score} {escape(step)}",
            key=f"{axis.name}-{score}",
            type="primary" if given == score else "secondary",
            shortcut=key,
            width="stretch",
            on_click=session.rate,
            args=(study, reader, picture.id, axis.name, score),
        )


def _show_moves(study: ReaderStudy, reader: str, index: int, total: int) -> None:
    with st.container(horizontal=True, gap="small"):
        st.button("Previous", shortcut="P", disabled=index == 0, on_click=session.go_to, args=(index - 1,))
        st.button(
            "Next", shortcut="N", type="primary", disabled=index == total - 1, on_click=session.go_to, args=(index + 1,)
        )
        st.button("Next without a rating", shortcut="O", on_click=session.next_open, args=(study, reader))


def _show_closing(study: ReaderStudy, reader: str, lacking: int) -> None:
    with st.popover("Close my reading"):
        if lacking:
            one = lacking == 1
            st.markdown(
                f"**{'1 picture lacks' if one else f'{lacking} pictures lack'} a rating**; "
                f"{'it' if one else 'they'} would stay without."
            )
        st.text("Once closed, no answer can be changed. Then you see what was real and what was generated.")
        if st.button("Close for good", type="primary"):
            _, problem = guarded(lambda: study.ratings.close_reader(reader))
            if problem:
                st.error(escape(problem))
            else:
                st.rerun()


left_case()
names = session.studies()
if not names:
    st.title("No reader study here", anchor=False)
    st.text(f"There is none in {Settings.from_env().readings_folder}. Whoever keeps the archive prepares one.")
else:
    found, problem = guarded(session.current)
    if problem:
        st.error(escape(problem))
        session.leave()
    if found is None:
        show_entrance(names)
    elif found[1].closed:
        show_closed(*found)
    else:
        show_reading(*found)
