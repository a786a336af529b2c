"""A case's picture enlarged over the page."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
import streamlit as st

from retrieval import meant_filter
from ui.view.escape import escape
from ui.view.session import service, user
from ui.view.slide.place import go_to_place, show_place
from ui.view.viewer.component import Box, Pane, show_viewer
from ui.view.viewer.region import DRAW, query_by_region
from ui.view.viewer.shown import case_picture

if TYPE_CHECKING:
    from index_store import Case, CaseFilter, Image

WIDTH: Final = 1200
MOST: Final = 12
"""Pictures of the case beside the one that was asked for."""
MOST_OF_PATIENT: Final = 60


def pictures_around(case: Case, image_id: int | None) -> Pane:
    """An image of a case (None: its first) among those that stand next to it."""
    ids = [image.id for image in case.images]
    shown = ids.index(image_id) if image_id in ids else 0
    first = max(0, min(shown - MOST // 2, len(ids) - MOST))
    pictures = [
        case_picture(case, image, alt=f"Image {number} of {len(ids)}")
        for number, image in enumerate(case.images[first : first + MOST], start=first + 1)
    ]
    return Pane(pictures, start=shown - first, region=DRAW)


def enlarge(case: Case, image: Image) -> None:
    """Open a window over the page that shows an image at its own pixels; a region of it can be searched by."""
    _open(f"Case {case.key}", pictures_around(case, image.id), [case])


def enlarge_patient(case: Case, image: Image, where: CaseFilter | None) -> None:
    """Open such a window with all images of the case's patient that a filter permits."""
    archive = service().archive
    table = archive.image_table(meant_filter(archive, where))
    ids = table.ids[np.isin(table.patients, table.patients_of(np.array([case.id]))[0])][:MOST_OF_PATIENT].tolist()
    of_image = {image_id: found for image_id, found in archive.cases_of_images(ids).items() if found.key != case.key}
    opened = {key: service().case(key, user=user()) for key in dict.fromkeys(of.key for of in of_image.values())}
    cases = [case, *opened.values()]
    shown = [(of, each) for of in cases for each in of.images if each.id in set(ids)]
    pictures = [
        case_picture(of, each, alt=f"Image {number} of {len(shown)}, case {of.key}")
        for number, (of, each) in enumerate(shown, start=1)
    ]
    start = next((at for at, (_, each) in enumerate(shown) if each.id == image.id), 0)
    _open(f"Images of the patient of case {case.key}", Pane(pictures, start=start, region=DRAW), cases)


def _open(title: str, pane: Pane, cases: Sequence[Case]) -> None:
    def search(picture: str, box: Box) -> None:
        of = next(each for each in cases if any(str(image.id) == picture for image in each.images))
        query_by_region(of, picture, box)

    def show() -> None:
        show_viewer([pane], key="enlarged", on_region=search, on_place=partial(show_place, cases))
        go_to_place()
        if st.session_state.pop("searched", False):
            st.rerun()

    st.session_state["window"] = True
    st.dialog(escape(title), width=WIDTH, on_dismiss=closed_window)(show)()


def window_is_open() -> bool:
    """Whether such a window is over the page: drawing the page anew would close it."""
    return bool(st.session_state.get("window", False))


def closed_window() -> None:
    """Note that it was closed: by its reader, or because the page is drawn anew."""
    st.session_state["window"] = False
