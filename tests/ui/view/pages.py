"""The view's pages run without a browser, and what they give to the viewer."""

from __future__ import annotations

import concurrent.futures
import json
from pathlib import Path
from typing import Any

from streamlit.testing.v1 import AppTest

from retrieval import RESEARCH_USE

PATIENCE = 600.0  # seconds: generous, for a busy machine
APP = Path(__file__).parents[3] / "ui" / "view" / "app.py"


def opened() -> AppTest:
    """The view's first page."""
    return checked(AppTest.from_file(str(APP), default_timeout=300).run())


def page(path: str, **query: str | list[str]) -> AppTest:
    """One of the view's pages at an address."""
    app = opened()
    for name, value in query.items():
        app.query_params[name] = value
    return checked(app.switch_page(path).run())


def checked(app: AppTest) -> AppTest:
    """Every page, whatever it shows, has the banner and no traceback."""
    assert not app.exception, app.exception
    assert RESEARCH_USE in app.warning[0].value
    return app


def joined(app: AppTest) -> AppTest:
    """The page once the generated images have joined the answer, where they do."""
    outcome = app.session_state.get("outcome", None)
    if outcome is None or outcome.images is None:
        return app
    concurrent.futures.wait([outcome.images.answer], timeout=PATIENCE)
    return checked(app.run())


def click(app: AppTest, label: str) -> AppTest:
    """The page after a click on the one button of that label."""
    (button,) = [button for button in app.button if button.label == label]
    return checked(button.click().run())


def viewer(app: AppTest, number: int = 0) -> dict[str, Any]:
    """What the page gives to one of its viewers."""
    data: dict[str, Any] = json.loads(app.get("bidi_component")[number].proto.json)
    return data
