"""Escaping of untrusted text where Streamlit renders Markdown: labels, captions, messages.

`st.text` shows text as it is and is used for reports. Buttons and alerts render Markdown only, so names and messages
are escaped for them.
"""

from __future__ import annotations

import re

from ui.text.layout import clean

# CommonMark 0.31 §2.4: any ASCII punctuation may be escaped by a backslash. That also disarms Streamlit's own
# `:red[…]`, `:material/…:` and `$…$`.
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")


def escape(text: str) -> str:
    """`text` such that Markdown shows it literally, on one line."""
    return _PUNCTUATION.sub(r"\\\1", " ".join(clean(text).split()))
