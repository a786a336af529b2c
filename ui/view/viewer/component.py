"""What the viewer shows, as data, and the component that shows it (`assets/`).

The component belongs to the package by `pyproject.toml` beside this module. Streamlit finds it there in an installed
package; in a checkout, whose metadata lists no files, it is told of it here.
"""

from __future__ import annotations

import dataclasses
import functools
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import streamlit as st

from retrieval import RESEARCH_USE

if TYPE_CHECKING:
    from streamlit.components.v2.types import ComponentRenderer

PACKAGE: Final = "coin-retrieval"
TALL: Final = "68vh"
BESIDE: Final = "300px"
"""Height in the column beside the results."""


@dataclass(frozen=True)
class Tiles:
    """That a picture is Deep Zoom tiles: their edge in pixels, the coarsest and the finest level."""

    size: int
    first: int
    last: int


@dataclass(frozen=True)
class Box:
    """A part of a picture, in its own pixels."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Picture:
    """A picture that can be shown."""

    id: str
    """What names it where a region of it is drawn; marks name it, too."""
    url: str
    """Of its file; of tiles, what their addresses begin with."""
    width: int
    height: int
    alt: str
    mpp: float | None = None
    """µm a pixel; None where it is not known."""
    label: str = ""
    """That it shows no patient."""
    caption: str = ""
    thumb: str = ""
    """The address of a thumbnail; needed beside other pictures."""
    on_slide: bool = False
    """Whether it is a field of a slide, which can be opened at its place."""
    tiles: Tiles | None = None
    at: Box | None = None
    """What is shown of it first; None: all of it."""


@dataclass(frozen=True)
class Mark:
    """A frame on a picture."""

    picture: str
    box: Box
    name: str = ""
    strong: bool = True


@dataclass(frozen=True)
class Pane:
    """Pictures of which one is shown at a time, with what stands around it."""

    pictures: Sequence[Picture]
    title: str = ""
    start: int = 0
    report: Sequence[tuple[str, bool]] = ()
    """Text in parts, and whether each is marked."""
    marks: Sequence[Mark] = field(default=())
    region: str = ""
    """What a region does that is drawn, in words; empty where none can be."""


def show_viewer(
    panes: Sequence[Pane],
    *,
    key: str,
    height: str = TALL,
    note: str = "",
    on_region: Callable[[str, Box], None] | None = None,
    on_place: Callable[[str], None] | None = None,
) -> None:
    """Show pictures side by side, zoomed and panned in step.

    Args:
        key: of the component; other pictures under the same key replace those that are shown.
        note: said above several panes.
        on_region: called with a picture's id and the part of it that was drawn, before the page is rendered anew.
        on_place: called with the id of a field whose place on its slide is wanted; likewise.
    """

    def region_changed() -> None:
        region = getattr(st.session_state[key], "region", None)
        if region is not None and on_region is not None:
            sides = (int(region[side]) for side in ("x", "y", "width", "height"))
            on_region(str(region["picture"]), Box(*sides))

    def place_changed() -> None:
        picture = getattr(st.session_state[key], "place", None)
        if picture is not None and on_place is not None:
            on_place(str(picture))

    data = {
        "panes": [_pane(pane) for pane in panes],
        "height": height,
        "note": note,
        "places": on_place is not None,
        "notice": RESEARCH_USE,
    }
    component("viewer")(key=key, data=data, on_region_change=region_changed, on_place_change=place_changed)


def _pane(pane: Pane) -> dict[str, Any]:
    values = dataclasses.asdict(pane)
    values["marks"] = [dataclasses.asdict(mark.box) | dataclasses.asdict(mark) for mark in pane.marks]
    return values


def component(name: str) -> ComponentRenderer:
    """One of the components that `pyproject.toml` names, whose script in `assets/` has its name."""
    _declare()
    return _renderer(name)


@functools.cache
def _renderer(name: str) -> ComponentRenderer:
    return st.components.v2.component(f"{PACKAGE}.{name}", js=f"{name}.js")


def _declare() -> None:
    """Tell the running server of the component where it did not find it by itself."""
    from streamlit.components.v2.get_bidi_component_manager import get_bidi_component_manager
    from streamlit.components.v2.manifest_scanner import ComponentConfig, ComponentManifest

    manager = get_bidi_component_manager()
    if manager.get_component_asset_root(f"{PACKAGE}.behaviour") is not None:
        return
    folder = Path(__file__).parent
    declared = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    configured = [ComponentConfig.from_dict(each) for each in declared["tool"]["streamlit"]["component"]["components"]]
    project = declared["project"]
    manager.register_from_manifest(ComponentManifest(project["name"], project["version"], configured), folder)
