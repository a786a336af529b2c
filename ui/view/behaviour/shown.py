"""What the page does in the browser by itself (`ui/view/viewer/assets/behaviour.js`): keys and their list, the focus
after a change, pictures from the clipboard, and the mark on what is typed and not searched.
"""

from __future__ import annotations

from ui.view.query_panel import searched_fields
from ui.view.session import asked_count, current_result
from ui.view.viewer.component import component


def show_behaviour(page: str) -> None:
    """Let the browser know which page this is and what it answers. After the page was rendered."""
    data = {"page": page, "asked": asked_count(), "said": _said(), "searched": searched_fields()}
    component("behaviour")(key="behaviour", data=data)


def _said() -> str:
    """What a screen reader says once cases are there; that nothing was searched is an alert of its own."""
    result = current_result()
    return "" if result is None else f"Found: {len(result.cases)}."
