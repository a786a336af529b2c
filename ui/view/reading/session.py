"""The state of a reader study in a session of the view: which study, the reader's name, the picture that is shown."""

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
from ui.pictures.sizes import PAGE, png_bytes, readable
from ui.settings import Settings
from ui.view.session import guarded

if TYPE_CHECKING:
    from retrieval import Reader, ReaderStudy

SHOWN: Final = 704  # pixels at least: a picture of 128 is enlarged to this, the same way for all


def studies() -> tuple[str, ...]:
    """The names of the studies in the folder; none where it cannot be read."""
    found, _ = guarded(lambda: reader_study_names(Settings.from_env().readings_folder))
    return found or ()


def open_study(name: str) -> ReaderStudy:
    """The study of that name, shared by all sessions."""
    folder = Settings.from_env().readings_folder
    # A study that was deleted and created anew under its name is another one.
    return _cached_study(str(folder), name, reader_study_created_ns(folder, name))


@st.cache_resource(show_spinner=False)
def _cached_study(folder: str, name: str, created_ns: int) -> ReaderStudy:
    return open_reader_study(folder, name)


def current() -> tuple[ReaderStudy, Reader] | None:
    """The study and the reader of this session; None before a reader has begun."""
    kept: tuple[str, str] | None = st.session_state.get("reader")
    if kept is None:
        return None
    name, reader = kept
    return open_study(name), open_study(name).ratings.reader(reader)


def begin(name: str, reader: str, *, pseudonym: bool) -> None:
    """Begin or resume a study under a name."""
    known = open_study(name).ratings.begin(reader, pseudonym=pseudonym)
    st.session_state["reader"] = name, known.name
    st.session_state.pop("reading_position", None)


def leave() -> None:
    """Release the session for another reader; every answer is stored."""
    for key in ("reader", "reading_position"):
        st.session_state.pop(key, None)


def position(study: ReaderStudy, reader: str) -> int:
    """Index, from 0, of the picture shown in the reader's order: at first, the first that lacks a rating."""
    if "reading_position" not in st.session_state:
        next_open(study, reader)
    return int(st.session_state["reading_position"])


def go_to(index: int) -> None:
    """Show the picture at this index, from 0, of the reader's order."""
    st.session_state["reading_position"] = index


def next_open(study: ReaderStudy, reader: str) -> None:
    """Show the next picture that lacks a rating, after this one and then from the beginning; stay where none does."""
    current_index = int(st.session_state.get("reading_position", 0))
    ratings = study.ratings.of(reader)
    order = study.order(reader)
    lacking = [i for i, picture in enumerate(order) if not (picture.id in ratings and ratings[picture.id].is_complete)]
    after = [i for i in lacking if i > current_index or "reading_position" not in st.session_state]
    go_to((after or lacking or [current_index])[0])


def rate(study: ReaderStudy, reader: str, picture: str, question: str, answer: int | str | None) -> None:
    """Store an answer; an error is shown when the page is rendered."""

    def store() -> None:
        try:
            study.ratings.rate(reader, picture, question, answer)
        except ReaderStudyClosedError:  # in another tab: the page shows so by itself
            return

    _, problem = guarded(store)
    if problem:
        st.session_state["reading_problem"] = problem


def problem() -> str:
    """Why the last answer could not be stored; returned once."""
    return str(st.session_state.pop("reading_problem", ""))


def results(study: ReaderStudy) -> ReaderStudyResults:
    """The results, computed once for each set of readers who have closed and each count of the others' ratings."""
    from retrieval import progress_of

    return _results(study, str(study.folder), progress_of(study))


@st.cache_data(max_entries=20, show_spinner="Computing the results")
def _results(_study: ReaderStudy, folder: str, readers: object) -> ReaderStudyResults:
    return evaluate_reader_study(_study)


def part_png(study: ReaderStudy, picture: str, zoom: int = 1, across: int = 50, down: int = 50) -> bytes:
    """PNG bytes of a picture, or of the part around a centre (in %) that `zoom` shows; the same size for all."""
    return _part_png(study, str(study.folder), picture, zoom, across, down)


@st.cache_data(max_entries=400, show_spinner=False)
def _part_png(_study: ReaderStudy, folder: str, picture: str, zoom: int, across: int, down: int) -> bytes:
    with PIL.Image.open(io.BytesIO(_study.picture(picture)), formats=("JPEG",)) as file:
        image = PIL.Image.frombytes("RGB", file.size, file.convert("RGB").tobytes())  # without metadata
    side = image.width
    cut = side / zoom
    left, top = ((side - cut) * percent / 100 for percent in (across, down))
    if zoom > 1:
        whole = readable(image, at_least=SHOWN, at_most=PAGE).width
        box = (left, top, left + cut, top + cut)
        image = image.resize((whole, whole), PIL.Image.Resampling.LANCZOS, box=box)
    return png_bytes(readable(image, at_least=SHOWN, at_most=PAGE))
