"""The query panel: a report, an image, a case, or a slide; and a report together with one of these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from index_store import MAX_MPP, MIN_MPP
from retrieval import archive_labels
from ui.view.escape import escape
from ui.view.example_reports import EXAMPLE_REPORTS
from ui.view.session import current_query, guarded, refuse, service, try_query
from ui.view.slide.search import show_slide_form, slide_fields

if TYPE_CHECKING:
    from retrieval import Query

FORMATS: Final = "PNG, JPEG, TIFF, BMP, WebP or DICOM"
ANY_SIZE: Final = 1_000_000  # MB
FILE: Final = "file"
IMAGE_REPORT: Final = "Its report, if there is one"
CASE: Final = "Case"
FIND: Final = "Key, site, category, or words of the report"
PICKABLE: Final = 1000  # cases offered at once


def show_query_panel() -> None:
    """Show the form of the chosen kind of query."""
    with st.container(key="query_panel"):  # its mark where something is typed and not searched: behaviour.js
        _show_form()


def _show_form() -> None:
    kind = st.segmented_control(
        "Search by",
        ["Report", "Image", "Case", *(["Slide"] if service().settings.slides else [])],
        default="Report" if "search_by" not in st.session_state else None,
        required=True,
        key="search_by",
        persist_state="session",
        wrap=True,
    )
    {"Report": _by_report, "Image": _by_image, "Case": _by_case, "Slide": show_slide_form}[kind or "Report"]()


def fill_panel(query: Query) -> None:
    """Fill the form with a query from elsewhere: what stands there is what was searched. Only in a callback."""
    values: dict[str, object]
    if query.image:
        kind, values = "Image", {"image_report": query.text, "image_mpp": query.mpp}
    elif query.slide is not None:
        kind, values = "Slide", slide_fields(query)
    elif query.case:
        kind, values = "Case", {"case_key": query.case, "case_report": bool(query.text)}
    else:
        kind, values = "Report", {"report": query.text}
    st.session_state.update({"search_by": kind, **values})


def searched_fields() -> dict[str, str]:
    """By field of the forms, what of it was searched last; the browser compares it with what is typed. Of all forms:
    another one is shown without the page being drawn anew."""
    fields = dict.fromkeys(("Report", FILE, IMAGE_REPORT, CASE), "")
    query = current_query()
    if query is not None and (query.image or query.slide is not None):
        fields |= {FILE: query.label, IMAGE_REPORT: query.text}
    elif query is not None:
        fields |= {CASE: _named([query.case])[query.case]} if query.case else {"Report": query.text}
    return fields


def _by_report() -> None:
    st.pills("Examples", list(EXAMPLE_REPORTS), key="example", on_change=_take_example, wrap=True)
    with st.form("query_by_report", border=False):
        text = st.text_area("Report", height=170, key="report", persist_state="session")
        with st.expander("How the images are made"):
            generation = _generation_fields()
        if st.form_submit_button("Search by report", type="primary"):
            try_query(lambda: _query(text=text or "", **generation))


def _generation_fields() -> dict[str, object]:
    """Show how many images are generated for a report, and how; returns these fields of a query."""
    settings = service().settings
    n_images = int(st.number_input("Images", 1, 16, settings.n_images, key="n_images", persist_state="session"))
    seed = int(
        st.number_input(
            "Seed",
            0,
            2**32 - 1,
            settings.seed,
            key="seed",
            persist_state="session",
            help="Another one, other images",
        )
    )
    presets = ["lcm", "lightning"] if settings.few_step_lora else ["draft", "reference"]
    chosen = presets.index(settings.preset) if settings.preset in presets else 0
    preset = st.selectbox("Preset", presets, chosen, key="preset", persist_state="session")
    return {"seeds": tuple(range(seed, seed + n_images)), "preset": preset}


def _take_example() -> None:
    if label := st.session_state["example"]:
        st.session_state["report"] = EXAMPLE_REPORTS[label]


def _by_image() -> None:
    with st.form("query_by_image", border=False):
        # Streamlit would refuse a file in the browser, by its name or size, and leave the one before in its place. So
        # the browser takes any, and the server says what is wrong.
        upload = st.file_uploader("Cytology image", key="upload", max_upload_size=ANY_SIZE)
        st.caption(f"{FORMATS}, at most {service().settings.max_upload_mb} MB. Or paste one (Ctrl+V).")
        mpp = st.number_input(
            "µm a pixel, if it is known",
            *(MIN_MPP, MAX_MPP, None),
            step=0.01,
            format="%.4g",
            key="image_mpp",
            persist_state="session",
            help="Compares cells at their real size. Empty: what the file says, if anything. 40× is about 0.25.",
        )
        text = st.text_area(IMAGE_REPORT, height=100, key="image_report", persist_state="session")
        if st.form_submit_button("Search by image", type="primary"):
            if upload is None:
                refuse(f"Choose an image file first, of at most {service().settings.max_upload_mb} MB.")
            else:
                data, name = upload.getvalue(), upload.name
                try_query(lambda: _query(image=data, label=name, text=text or "", mpp=mpp))


def _by_case() -> None:
    text = st.text_input("Find a case", key="case_words", placeholder=FIND, help=FIND, persist_state="session") or ""
    found, problem = guarded(lambda: _found(text))
    if problem:
        st.error(escape(problem))
    if text.strip():
        st.caption(_found_words(len(found or ())))
    chosen = st.session_state.get("case_key")
    names = {**(_named([chosen]) if chosen else {}), **(found or {})}
    with st.form("query_by_case", border=False):
        key = st.selectbox(
            CASE,
            list(names),
            index=None,
            key="case_key",
            format_func=lambda key: names.get(key, key),
            placeholder="Choose a case, or type its key",
            accept_new_options=True,
            persist_state="session",
        )
        with_report = st.checkbox("Also by its report", key="case_report", persist_state="session")
        if st.form_submit_button("Search by case", type="primary"):
            if key:
                try_query(lambda: _case_query(key, with_report=with_report))
            else:
                refuse("Choose a case first.")


def _found(text: str) -> dict[str, str]:
    """The cases with these words, named as by `_named`; read anew where the words or the archive changed."""
    asked = service().archive, service().archive.revision, text
    kept: tuple[object, dict[str, str]] | None = st.session_state.get("found_cases")
    if kept is None or kept[0] != asked:
        kept = asked, _named(service().cases.find_cases(text, limit=PICKABLE))
        st.session_state["found_cases"] = kept
    return kept[1]


def _found_words(count: int) -> str:
    if count == PICKABLE:
        return f"The first {PICKABLE:,} cases; more words find fewer."
    return f"{count or 'No'} case{'' if count == 1 else 's'} found"


def _named(keys: list[str]) -> dict[str, str]:
    """Cases by key, with site and category; an unknown key is named by itself."""
    archive = service().archive
    found, _ = guarded(lambda: archive.case_labels(keys))
    names = {key: key for key in keys}
    for key, labels in (found or {}).items():
        site, _, category = archive_labels(archive).shown(labels.site, labels.system, labels.category)
        names[key] = " · ".join(filter(None, (key, site, category)))
    return names


def _case_query(key: str, *, with_report: bool) -> Query:
    return _query(case=key, text=service().archive.case(key).report if with_report else "")


def _query(**values: object) -> Query:
    from retrieval import Query

    settings = service().settings
    defaults = {"seeds": service().seeds, "preset": settings.preset}
    return Query(**{**defaults, **values})  # type: ignore[arg-type]
