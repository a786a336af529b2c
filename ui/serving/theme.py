"""Streamlit's theme, from the view's colours and type sizes in `ui/view/tokens.css`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

TOKENS: Final = Path(__file__).resolve().parents[1] / "view" / "tokens.css"
_TOKEN: Final = re.compile(r"--coin-([a-z-]+):\s*([^;]+);")


def tokens() -> dict[str, str]:
    """The view's design tokens by name, without the prefix."""
    return dict(_TOKEN.findall(TOKENS.read_text(encoding="utf-8")))


def theme_options() -> dict[str, Any]:
    """Options of Streamlit's theme."""
    found = tokens()
    return {
        "theme.base": "light",
        "theme.primaryColor": found["primary"],
        "theme.backgroundColor": found["ground"],
        "theme.secondaryBackgroundColor": found["surface"],
        "theme.textColor": found["ink"],
        "theme.borderColor": found["line"],
        "theme.showWidgetBorder": True,
        # Labels and captions are 0.875 of it: the size of `text`, below which nothing is.
        "theme.baseFontSize": int(found["text-large"].removesuffix("px")),
    }
