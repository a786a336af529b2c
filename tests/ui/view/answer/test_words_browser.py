"""Words first, in a real browser: images join by themselves, and parts draw the page where others show a change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.ui.served_view import IN_A_BROWSER, PATIENCE, served

pytestmark = IN_A_BROWSER


@pytest.fixture(scope="module")
def address(models: dict[str, str], archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The view with a cache that holds nothing."""
    folder = tmp_path_factory.mktemp("server")
    own = {"COIN_ARCHIVE": str(archive), "COIN_CACHE": str(folder / "cache"), "COIN_QUERIES": str(folder / "queries")}
    with served({**models, **own}, folder / "log") as address:
        yield address


def ask(page: Page, report: str) -> None:
    box = page.get_by_label("Report", exact=True).and_(page.locator("textarea"))
    box.fill(report)
    box.press("Control+Enter")
    expect(page.locator(".st-key-wide").get_by_text(report, exact=True).first).to_be_visible()
    expect(page.get_by_role("button", name="Open case #1", exact=True)).to_be_visible()


@pytest.mark.slow
def test_images_join_by_themselves_and_parts_draw_the_page(browser: Browser, address: str) -> None:
    expect.set_options(timeout=PATIENCE)
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    ask(page, "Clue cells.")
    expect(page.get_by_text("The generated images have joined")).to_be_visible()
    page.get_by_role("button", name="Pin #2", exact=True).click()
    expect(page.get_by_test_id("stSidebar").get_by_text("Review: 1 case")).to_be_visible()
    page.get_by_role("button", name="More on #2").click()
    page.get_by_role("button", name="More like #2").click()
    expect(page.locator(".st-key-wide").get_by_text("Marks:")).to_be_visible()
    page.close()
