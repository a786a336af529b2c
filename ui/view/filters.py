"""The sidebar: filters on the cases that a search may return, and their number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import streamlit as st

from ui.view.escape import escape
from ui.view.session import service, set_query

if TYPE_CHECKING:
    from index_store import CaseFilter
    from retrieval import Facet, Query

# facet -> (label, field of CaseFilter)
_FACETS: Final[Mapping[str, tuple[str, str]]] = {
    "site": ("Site", "sites"),
    "system": ("Reporting system", "systems"),
    "category": ("Category", "categories"),
    "stain": ("Stain", "stains"),
    "preparation": ("Preparation", "preparations"),
    "kind": ("Kind of image", "kinds"),
}
MOST_CASES: Final = 100  # on one page
MOST_SPELLINGS: Final = 20
_PHANTOMS: Final = {"With phantoms": None, "Without phantoms": False, "Phantoms only": True}


@dataclass(frozen=True)
class Filters:
    """What the sidebar says."""

    chosen: Mapping[str, Any]
    """By field of `CaseFilter` that is shown."""
    k: int
    """Cases to return."""
    problem: str = ""
    """Why they are none: nothing can be searched then."""

    def applied(self, query: Query) -> Query:
        """The query with these filters. What it restricts and no field shows, as a saved query can, stays."""
        from index_store import CaseFilter

        where = replace(query.where or CaseFilter(), **self.chosen)
        return replace(query, where=where if where.includes or where.excludes else None, k=self.k)


def show_filters() -> Filters:
    """Show the filters."""
    from index_store import FilterError
    from retrieval import archive_labels

    labels = archive_labels(service().archive).facets()
    facets = {**service().archive.facets(), **{name: _counts(found) for name, found in labels.items()}}
    problem = ""
    with st.sidebar:
        st.header("Filters", anchor=False)
        chosen: dict[str, Any] = {}
        for facet, (label, field) in _FACETS.items():
            counts = {name: count for name, count in facets.get(facet, {}).items() if name}
            if len(counts) > 1:  # a filter with one choice filters nothing
                chosen[field] = tuple(_multiselect(label, counts, _spellings(labels.get(facet, ()))))
        if set(service().archive.status().scales) - {"unknown"}:
            try:
                chosen["mpp"] = _scale_range()
            except (ValueError, FilterError):
                problem = "Write the scale as a range of µm a pixel, such as 0.2:0.3, or leave the field empty."
        phantoms = st.selectbox("Phantoms", _PHANTOMS, key="filter_phantoms", persist_state="session")
        st.session_state.setdefault("k", service().settings.k)  # set for a saved query, too: no default beside it
        k = st.number_input("Cases to show", 1, MOST_CASES, key="k", persist_state="session")
    return Filters({**chosen, "phantoms": _PHANTOMS[phantoms]}, int(k), problem)


def reset_filters(query: Query) -> None:
    """Take all filters off a query. Only in a callback, as `set_filters`."""
    set_filters(None, query.k)
    set_query(replace(query, where=None))


def set_filters(where: CaseFilter | None, k: int) -> None:
    """Set the filters to those of a saved query. Only in a callback: before the sidebar is shown."""
    from index_store import CaseFilter
    from retrieval import archive_labels

    where = where or CaseFilter()
    labels = archive_labels(service().archive)
    for facet, (label, field) in _FACETS.items():
        values = getattr(where, field)
        named = [labels.named(facet, value) for value in values] if facet in labels.facets() else values
        st.session_state[f"filter_{label}"] = list(dict.fromkeys(named))
    st.session_state["filter_mpp"] = f"{where.mpp[0]:g}:{where.mpp[1]:g}" if where.mpp else ""
    st.session_state["filter_phantoms"] = next(name for name, value in _PHANTOMS.items() if value == where.phantoms)
    st.session_state["k"] = min(k, MOST_CASES)


def _scale_range() -> tuple[float, float] | None:
    """The range of µm a pixel that is entered; None where there is none. Raises ValueError and FilterError."""
    from index_store import CaseFilter

    entered = st.text_input(
        "Scale, µm a pixel", key="filter_mpp", placeholder="All, or such as 0.2:0.3", persist_state="session"
    )
    if not entered.strip():
        return None
    low, high = map(float, entered.replace(",", ".").split(":"))
    return CaseFilter(mpp=(low, high)).mpp


def _counts(facets: Sequence[Facet]) -> dict[str, int]:
    return {facet.name: facet.cases for facet in facets}


def _spellings(facets: Sequence[Facet]) -> str | None:
    """Which entries find other spellings, too; None where none does."""
    lines = [f"{facet.name}: {', '.join(facet.others)}" for facet in facets if facet.others]
    if not lines:
        return None
    return "Each entry finds every spelling of what it means. " + "; ".join(map(escape, lines[:MOST_SPELLINGS])) + "."


def _multiselect(label: str, counts: Mapping[str, int], hint: str | None) -> list[str]:
    return st.multiselect(
        label,
        list(counts),
        help=hint,
        format_func=lambda name: f"{name} ({counts[name]})",
        key=f"filter_{label}",
        placeholder="All",
        persist_state="session",
    )
