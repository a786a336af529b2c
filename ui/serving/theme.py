"""Streamlit's theme, from the view's colours and type sizes in `ui/view/tokens.css`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

TOKENS: Final = Path(__file__).resolve().parents[1] / "view" / "tokens.css"
_TOKEN: Final = re.compile(r"--coin-([a-z-]+):\s*(?:light-dark\((\S+), (\S+)\)|([^;]+));")


def tokens(*, dark: bool = False) -> dict[str, str]:
    """The view's design tokens by name, without the prefix; `dark`: those of the dark theme."""
    found = _TOKEN.findall(TOKENS.read_text(encoding="utf-8"))
    return {name: alike or (in_dark if dark else in_light) for name, in_light, in_dark, alike in found}


def theme_options() -> dict[str, Any]:
    """Options of Streamlit's two themes, of which it takes the one that the browser prefers."""
    return {
        **_colours("light", tokens()),
        **_colours("dark", tokens(dark=True)),
        "theme.showWidgetBorder": True,
        # Labels and captions are 0.875 of it: the size of `text`, below which nothing is.
        "theme.baseFontSize": int(tokens()["text-large"].removesuffix("px")),
    }


def _colours(theme: str, found: dict[str, str]) -> dict[str, Any]:
    return {
        f"theme.{theme}.primaryColor": found["primary"],
        f"theme.{theme}.backgroundColor": found["ground"],
        f"theme.{theme}.secondaryBackgroundColor": found["surface"],
        f"theme.{theme}.textColor": found["ink"],
        f"theme.{theme}.borderColor": found["line"],
    }
