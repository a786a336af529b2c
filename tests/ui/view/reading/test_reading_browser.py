"""A blinded reading in a real browser: rated by keyboard, resumed, closed; and what is served tells nothing."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

import PIL.Image
import pytest
from playwright.sync_api import Page, Response, expect

from retrieval import RESEARCH_USE, ReaderStudy
from tests.ui.reading_parts import PAIRS
from tests.ui.served_view import IN_A_BROWSER, PATIENCE, barriers, served

pytestmark = IN_A_BROWSER
TOTAL = 2 * PAIRS


@pytest.fixture
def log(study: ReaderStudy, tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def address(study: ReaderStudy, environment: dict[str, str], log: Path) -> Iterator[str]:
    """A view of readings alone; it has no archive and needs none."""
    settings = {"COIN_READING_ONLY": "yes", "COIN_READINGS": str(study.folder.parent), "COIN_ARCHIVE": "not there"}
    with served({**environment, **settings}, log) as address:
        yield address


def begin(browser, address: str, reader: str) -> Page:  # type: ignore[no-untyped-def]
    page: Page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    page.goto(address)
    page.get_by_label("Your name, or a pseudonym").fill(reader)
    page.get_by_role("button", name="Begin or resume").click()
    expect(page.get_by_alt_text(re.compile(r"^Picture \d+ of"))).to_be_visible()
    return page


@pytest.mark.slow
def test_read_by_keyboard_resume_and_close(browser, address: str, study: ReaderStudy, log: Path) -> None:  # type: ignore[no-untyped-def]
    order = study.order("P1")
    page = begin(browser, address, "P1")
    expect(page.get_by_text("Real or generated: hidden until you close your reading.")).to_be_visible()
    assert barriers(page) == []
    for key, name in (("4", "4 plausible"), ("s", "2 hardly"), ("k", "generated")):
        page.keyboard.press(key)
        expect(page.locator('[data-testid="stBaseButton-primary"]', has_text=name)).to_be_visible()
    # While somebody types, the same letters are letters.
    page.get_by_label("Comment").click()
    page.keyboard.type("1 nucleus, as a guess")
    page.get_by_role("button", name="Next", exact=False).first.click()
    expect(page.get_by_alt_text(f"Picture 2 of {TOTAL}")).to_be_visible()
    found = study.ratings.of("P1")
    assert list(found) == [order[0].id]
    first = found[order[0].id]
    assert (first.anatomic, first.diagnostic, first.guess) == (4, 2, "generated")
    assert first.comment == "1 nucleus, as a guess"
    page.close()

    page = begin(browser, address, "P1")
    expect(page.get_by_alt_text(f"Picture 2 of {TOTAL}")).to_be_visible()
    page.keyboard.press("p")
    expect(page.get_by_alt_text(f"Picture 1 of {TOTAL}")).to_be_visible()
    # While the picture changes there may be two such fields for a moment, and in the end there is one.
    expect(page.get_by_label("Comment").last).to_have_value("1 nucleus, as a guess")
    page.get_by_role("button", name="Close my reading").click()
    expect(page.get_by_text(f"{TOTAL - 1} pictures lack a rating")).to_be_visible()
    page.get_by_role("button", name="Close for good").click()
    expect(page.get_by_text("SYNTHETIC: generated, no patient")).to_have_count(PAIRS)
    expect(page.get_by_text("PHANTOM: rendered, no patient")).to_have_count(PAIRS)
    page.set_viewport_size({"width": 390, "height": 844})  # the tables scroll sideways
    assert barriers(page) == []
    expect(page.get_by_text(RESEARCH_USE)).to_be_visible()
    page.close()
    assert study.ratings.reader("P1").closed
    assert "nucleus" not in log.read_text()


@pytest.mark.slow
def test_what_is_served_tells_nothing(browser, address: str, study: ReaderStudy) -> None:  # type: ignore[no-untyped-def]
    """Addresses, headers, and files of all pictures: alike but for their pixels."""
    answers: list[Response] = []
    page: Page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.on("response", lambda answer: answers.append(answer) if re.search(r"/media/\w+\.\w+$", answer.url) else None)
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    page.goto(address)
    page.get_by_label("Your name, or a pseudonym").fill("P2")
    page.get_by_role("button", name="Begin or resume").click()
    truth = study.truth().origins
    hints = {picture.id for picture in study.pictures}
    hints |= {origin.source_sha256 for origin in truth.values()} | {"SYNTHETIC", "coin-provenance", "phantom-"}
    for place in range(1, TOTAL + 1):
        expect(page.get_by_alt_text(f"Picture {place} of {TOTAL}")).to_be_visible()
        page.wait_for_load_state("networkidle")
        assert not [hint for hint in hints if hint in page.content()]
        if place < TOTAL:
            page.get_by_role("button", name="Next", exact=False).first.click()  # keys are tried above
    kinds = set()
    for answer in answers:
        assert re.fullmatch(r".*/media/[0-9a-f]+\.png", answer.url)
        assert not [hint for hint in hints if hint in answer.url]
        headers = {name: value for name, value in answer.headers.items() if name not in ("content-length", "date")}
        with PIL.Image.open(io.BytesIO(answer.body())) as image:
            kinds.add((image.format, image.size, tuple(image.info), tuple(sorted(headers.items()))))
    assert len({answer.url for answer in answers}) == TOTAL
    assert len(kinds) == 1
    page.close()
