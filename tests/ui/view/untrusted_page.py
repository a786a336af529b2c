"""A page of Streamlit that shows each kind of untrusted text in each element in which the view shows such text."""

from __future__ import annotations

import streamlit as st

from tests.ui.view.untrusted_texts import CONTROL, KINDS
from ui.view.escape import escape

for number, kind in enumerate(KINDS):
    shown = escape(kind)
    with st.container(key=f"subheader-{number}"):
        st.subheader(f"Case {shown}", anchor=False)
    for element in ("caption", "markdown", "error", "info"):
        with st.container(key=f"{element}-{number}"):
            getattr(st, element)(f"Case {shown}")
    with st.container(key=f"button-{number}"):
        st.button(f"Open {shown}", key=f"pressed-{number}", help=shown)
    with st.container(key=f"bold-{number}"):
        st.markdown(f"**{shown}** · 3 patients")
    with st.container(key=f"table-{number}"):
        st.table([{shown: shown}])
    with st.container(key=f"text-{number}"):
        st.text(kind)
    with st.container(key=f"select-{number}"):
        st.selectbox("Query", KINDS, index=number, key=f"chosen-{number}")
    with st.container(key=f"field-{number}"):
        st.text_area("Text", kind, key=f"written-{number}")
with st.container(key="multi-0"):
    st.multiselect("Site", KINDS, default=KINDS)
with st.container(key="dataframe-0"):
    st.dataframe({"value": KINDS}, hide_index=True)
for number, kind in enumerate(CONTROL):
    with st.container(key=f"control-{number}"):
        st.markdown(kind)
st.text("That was all.")
