"""The table of docs/settings.md, which is made from `ui/settings.py`.

python -m tests.docs.settings_page     # writes it anew
"""

from __future__ import annotations

import re
from pathlib import Path

from ui import settings_table

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def current() -> str:
    """The page as it is."""
    return PAGE.read_text(encoding="utf-8")


def renewed() -> str:
    """The page with the table of the settings in force."""
    page, tables = re.subn(r"(?m)^(\|.*\n)+", lambda _: settings_table() + "\n", current())
    assert tables == 1, "the page has one table"
    return page


if __name__ == "__main__":
    PAGE.write_text(renewed(), encoding="utf-8")
