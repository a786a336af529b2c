"""What a session of the view knows of a blinded reading: which one, and under which name."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

import PIL.Image
import streamlit as st

from retrieval import (
    ReaderStudyClosedError,
    ReaderStudyResults,
    evaluate_reader_study,
    open_reader_study,
    reader_study_created_ns,
    reader_study_names,
)
from ui.pictures.pictures import PAGE, png_bytes, readable
from ui.settings import Settings
from ui.view.state import guarded

if TYPE_CHECKING:
    from retrieval import Reader, ReaderStudy

SHOWN: Final = 704  # pixels at least: a picture of 128 is enlarged to this, the same way for all


def studies() -> tuple[str, ...]:
    """The names of the readings that there are; none where the folder cannot be read."""
    found, _ = guarded(lambda: reader_study_names(Settings.from_env().readings_folder))
    return found or ()


def study(name: str) -> ReaderStudy:
    """The reading of that name, one for all sessions."""
    folder = Settings.from_env().readings_folder
    # A study that was deleted and made anew under its name is another one.
    return _study(str(folder), name, reader_study_created_ns(folder, name))


@st.cache_resource(show_spinner=False)
def _study(folder: str, name: str, made: int) -> ReaderStudy:
    return open_reader_study(folder, name)


def at_work() -> tuple[ReaderStudy, Reader] | None:
    """The reading and the reader of this session; None before somebody has begun."""
    held: tuple[str, str] | None = st.session_state.get("reader")
    if held is None:
        return None
    name, reader = held
    return study(name), study(name).ratings.reader(reader)


def begin(name: str, reader: str, *, pseudonym: bool) -> None:
    """Begin or go on to read under a name."""
    known = study(name).ratings.begin(reader, pseudonym=pseudonym)
    st.session_state["reader"] = name, known.name
    st.session_state.pop("reading_place", None)


def leave() -> None:
    """Let somebody else read in this session; every answer is stored."""
    for key in ("reader", "reading_place"):
        st.session_state.pop(key, None)


def place(of: ReaderStudy, reader: str) -> int:
    """Which picture of the reader's order is shown, from 0: at first, the first that lacks a rating."""
    if "reading_place" not in st.session_state:
        next_open(of, reader)
    return int(st.session_state["reading_place"])


def go(to: int) -> None:
    st.session_state["reading_place"] = to


def next_open(of: ReaderStudy, reader: str) -> None:
    """Go to the next picture that lacks a rating, from here on and then from the beginning; stay where none does."""
    here = int(st.session_state.get("reading_place", 0))
    ratings = of.ratings.of(reader)
    order = of.order(reader)
    lacking = [i for i, picture in enumerate(order) if not (picture.id in ratings and ratings[picture.id].is_complete)]
    after = [i for i in lacking if i > here or "reading_place" not in st.session_state]
    go((after or lacking or [here])[0])


def rate(of: ReaderStudy, reader: str, picture: str, question: str, answer: int | str | None) -> None:
    """Store an answer; what went wrong is shown when the page is drawn."""

    def store() -> None:
        try:
            of.ratings.rate(reader, picture, question, answer)
        except ReaderStudyClosedError:  # in another tab: the page shows so by itself
            return

    _, problem = guarded(store)
    if problem:
        st.session_state["reading_problem"] = problem


def problem() -> str:
    """Why the last answer could not be stored; shown once."""
    return str(st.session_state.pop("reading_problem", ""))


def results(of: ReaderStudy) -> ReaderStudyResults:
    """The figures, worked out once for each set of readers who have closed and each count of the others' ratings."""
    from retrieval import progress_of

    return _results(of, str(of.folder), progress_of(of))


@st.cache_data(max_entries=20, show_spinner="Working out the figures")
def _results(_of: ReaderStudy, folder: str, readers: object) -> ReaderStudyResults:
    return evaluate_reader_study(_of)


def part_png(of: ReaderStudy, picture: str, zoom: int = 1, across: int = 50, down: int = 50) -> bytes:
    """PNG bytes of a picture, or of the part around a centre (in %) that `zoom` shows; the same size for all."""
    return _part_png(of, str(of.folder), picture, zoom, across, down)


@st.cache_data(max_entries=400, show_spinner=False)
def _part_png(_of: ReaderStudy, folder: str, picture: str, zoom: int, across: int, down: int) -> bytes:
    with PIL.Image.open(io.BytesIO(_of.picture(picture)), formats=("JPEG",)) as file:
        image = PIL.Image.frombytes("RGB", file.size, file.convert("RGB").tobytes())  # pixels alone
    side = image.width
    cut = side / zoom
    left, top = ((side - cut) * percent / 100 for percent in (across, down))
    if zoom > 1:
        whole = readable(image, at_least=SHOWN, at_most=PAGE).width
        box = (left, top, left + cut, top + cut)
        image = image.resize((whole, whole), PIL.Image.Resampling.LANCZOS, box=box)
    return png_bytes(readable(image, at_least=SHOWN, at_most=PAGE))
