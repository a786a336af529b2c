"""The viewer in a real browser: the picture's own pixels, regions as they were drawn, cases in step, slides."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from retrieval import RESEARCH_USE
from tests.small_slides import small_slide
from tests.ui.conftest import coin
from tests.ui.served_view import IN_A_BROWSER, PATIENCE, barriers, served

pytestmark = [*IN_A_BROWSER, pytest.mark.slow]

WIDTH, HEIGHT = 1600, 1200
PERCENT = re.compile(r"^\d+ %$")
BLOCK = 4
"""Pixels of a square of one colour: a thumbnail of 320 px mixes them."""


@pytest.fixture(scope="module")
def squares() -> NDArray[np.uint8]:
    """uint8[HEIGHT, WIDTH, 3]: squares coloured by chance."""
    rng = np.random.default_rng(0)
    fine = rng.integers(0, 255, (HEIGHT // BLOCK, WIDTH // BLOCK, 3), np.uint8)
    return fine.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1)


@pytest.fixture(scope="module")
def address(
    squares: NDArray[np.uint8], models: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A view with a case of 0.25 µm a pixel, the same specimen at 0.5, and a slide."""
    folder = tmp_path_factory.mktemp("pictures")
    picture = Image.fromarray(squares)
    picture.save(folder / "fine.png")
    picture.reduce(2).save(folder / "half.png")
    (folder / "slides").mkdir()
    small_slide(folder / "slides" / "alpha.svs")
    rows = [
        {"image": "fine.png", "case": "fine", "report": "Cervix. HSIL.", "mpp": "0.25"},
        {"image": "half.png", "case": "half", "report": "Cervix. LSIL.", "mpp": "0.5"},
        {"image": "slides/alpha.svs", "case": "sliced", "report": "Smear."},
    ]
    (folder / "list.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    settings = {**models, "COIN_ARCHIVE": str(folder / "archive"), "COIN_SLIDES": str(folder / "slides")}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        assert coin("init").exit_code == 0
        added = coin("add", folder / "list.jsonl", "--fields", "2")
        assert added.exit_code == 0, added.output
    with served(settings, folder / "log") as address:
        yield address


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda asked: None if is_here(asked.url, address) else faults.append(asked.url))
    page.on("console", lambda said: faults.append(said.text) if "Security Policy" in said.text else None)
    yield page
    assert faults == []
    page.close()


def is_here(url: str, address: str) -> bool:
    return url.startswith(("data:", "blob:", address, address.replace("http", "ws")))


def stage(page: Page, number: int = 0) -> Locator:
    """One of the page's viewers, once its picture is drawn."""
    found = page.locator(".stage").nth(number)
    expect(found.locator(".zoom")).to_have_text(PERCENT)
    return found


def drawn(viewer: Locator) -> NDArray[np.float64]:
    """float64[height, width, 3]: what the viewer's canvas shows."""
    script = "stage => stage.querySelector('canvas').toDataURL('image/png')"
    data = base64.b64decode(viewer.evaluate(script).split(",", 1)[1])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(float)


def settled(page: Page, viewer: Locator) -> NDArray[np.float64]:
    """The same once something is shown and nothing moves any more."""
    before = drawn(viewer)
    for _ in range(100):
        page.wait_for_timeout(300)
        now = drawn(viewer)
        if now.std() > 1 and now.shape == before.shape and np.array_equal(now, before):
            return now
        before = now
    raise AssertionError("the picture never rests")


def alike(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Correlation of two pictures."""
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def middle(pixels: NDArray[np.generic], edge: int) -> NDArray[np.float64]:
    top, left = (pixels.shape[0] - edge) // 2, (pixels.shape[1] - edge) // 2
    return pixels[top : top + edge, left : left + edge].astype(float)


def zoom(viewer: Locator) -> int:
    return int(viewer.locator(".zoom").inner_text().removesuffix(" %"))


def test_one_to_one_shows_the_pictures_own_pixels(page: Page, address: str, squares: NDArray[np.uint8]) -> None:
    page.goto(f"{address}/case?case=fine")
    viewer = stage(page)
    fitted = zoom(viewer)
    assert fitted < 100
    viewer.hover()
    page.mouse.wheel(0, -400)
    settled(page, viewer)
    assert zoom(viewer) > fitted, "the wheel zooms"
    viewer.focus()
    page.keyboard.press("0")
    page.keyboard.press("1")
    shown = middle(settled(page, viewer), 200)
    assert zoom(viewer) == 100
    # The frame's middle may lie between two pixels; a thumbnail of 320 px blown up would be alike by 0.65.
    places = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    assert max(alike(shown, middle(np.roll(squares, place, (0, 1)), 200)) for place in places) > 0.8
    expect(viewer.locator(".scale")).to_have_text("20 µm")
    notice = viewer.get_by_text(RESEARCH_USE)
    expect(notice).to_be_hidden()
    page.keyboard.press("f")
    expect(notice).to_be_visible()
    page.keyboard.press("f")
    expect(notice).to_be_hidden()
    expect(viewer.locator(".scale .bar")).to_have_css("width", re.compile(r"^(79|80|81)(\.\d+)?px$"))


@pytest.mark.parametrize("turned", [False, True])
def test_a_region_is_searched_as_it_was_drawn(page: Page, address: str, turned: bool) -> None:
    """One to one, the frame's middle is the picture's; turned to the right and mirrored, its axes are exchanged."""
    page.goto(f"{address}/case?case=fine")
    viewer = stage(page)
    viewer.focus()
    for key in ("1", *(("]", "m") if turned else ())):
        page.keyboard.press(key)
    settled(page, viewer)
    box = viewer.bounding_box()
    assert box is not None
    centre = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.keyboard.press("d")
    page.mouse.move(centre[0] - 60, centre[1] - 30)
    page.mouse.down()
    page.mouse.move(centre[0], centre[1])
    page.mouse.move(centre[0] + 100, centre[1] + 40)
    page.mouse.up()
    expect(page.get_by_role("heading", name="nearest cases")).to_be_visible()
    page.get_by_text("Region in numbers").click()
    fields = [int(page.get_by_label(f"{side}, pixels").input_value()) for side in ("Left", "Top", "Width", "Height")]
    left, top = (-30, -60) if turned else (-60, -30)
    wide, high = (70, 160) if turned else (160, 70)
    assert fields == pytest.approx([WIDTH / 2 + left, HEIGHT / 2 + top, wide, high], abs=2)


def test_cases_are_compared_in_step_at_one_scale(page: Page, address: str) -> None:
    """The second picture is the first one's specimen at half the pixels: in step, both frames show the same."""
    page.goto(f"{address}/compare?case=fine&case=half")
    first, second = stage(page), stage(page, 1)
    assert alike(settled(page, first), settled(page, second)) > 0.7
    assert zoom(second) == pytest.approx(2 * zoom(first), abs=2)
    first.hover()
    page.mouse.wheel(0, -500)
    settled(page, first)
    box = first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 120, box["y"] + 150, steps=5)
    page.mouse.up()
    moved = settled(page, first)
    assert zoom(second) == pytest.approx(2 * zoom(first), abs=2)
    # The same squares, of which the second picture has a quarter of the pixels.
    assert alike(moved, settled(page, second)) > 0.7
    marks = page.locator(".report mark")
    expect(marks).to_have_text(["Cervix", "Cervix"])
    assert barriers(page) == []
    page.get_by_role("button", name="Zoom and pan in step").click()
    kept = zoom(second)
    first.hover()
    page.mouse.wheel(0, -300)
    settled(page, first)
    assert zoom(second) == kept, "not in step any more"


def test_a_slide_opens_at_its_field_and_a_part_of_it_is_searched(page: Page, address: str) -> None:
    page.goto(f"{address}/case?case=sliced")
    stage(page)
    page.get_by_role("button", name="Show on the slide").click()
    expect(page.get_by_text("Search by the whole slide")).to_be_visible()
    viewer = stage(page)
    expect(viewer.locator(".mark:not(.soft)")).to_have_count(1)
    settled(page, viewer)
    expect(viewer.locator(".navigator")).to_be_visible()
    assert barriers(page) == []
    page.get_by_role("button", name="Search by a part of the slide").click()
    box = viewer.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 300, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 500, box["y"] + 300, steps=3)
    page.mouse.up()
    expect(page.get_by_text("Region ")).to_be_visible()
    expect(page.get_by_alt_text("Query field 1").first).to_be_visible()
    expect(page.get_by_alt_text("Where these fields lie on their slide").first).to_be_visible()
    page.get_by_role("button", name="Pin #1").click()
    page.get_by_role("link", name="Review: 1 case").click()
    expect(page.get_by_alt_text("Case 1, other image 1 of 1")).to_be_visible()
    assert barriers(page) == []
