"""How many clicks and seconds five tasks of a pathologist take on the page, in Chromium, with a picture of each.

    python -m benchmarks.view_tasks [--archive FOLDER] [--cases 132] [--repetitions 3] [--pictures FOLDER]

The view is served by `coin ui` with the starter. A task's time counts from its first click or key until what it is for
is on the page (a picture: its pixels); a click is one of the mouse, a drag or a choice of a file, and typing is none.
A person reads and decides between the clicks, which is not in it. Before the first task all models are loaded and the
report's images are generated, as for whoever asks again.

Archive: of phantoms, or one that is there. Needs Chromium and playwright.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PIL import Image

from benchmarks.machine import describe_machine
from benchmarks.view import JOINED, PATIENCE, phantoms, served
from generation.phantom import phantom_cases, write_phantoms

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

REPORT: Final = "High-grade squamous intraepithelial lesion (HSIL): hyperchromatic nuclei, irregular membranes."
NOTES: Final = ("Chromatin as in the query.", "Stain differs.", "Look-alike: compare the membranes.")
SIZE: Final = 1152, 720
COLOURS: Final = 128
"""Of the pictures' files: for documents, so that they have some 100 kB."""


class Hand:
    """A page and the clicks that were made on it."""

    def __init__(self, page: Page, upload: Path) -> None:
        self.page, self.upload, self.clicks = page, upload, 0

    def click(self, name: str) -> None:
        """Click a button."""
        self.press(self.page.get_by_role("button", name=name, exact=True).first)

    def press(self, target: Locator) -> None:
        """Click anything."""
        self.clicks += 1
        target.click()

    def ask(self) -> None:
        """Type the report, send it off by the button, and wait for all of its answer."""
        self.page.get_by_label("Report", exact=True).and_(self.page.locator("textarea")).fill(REPORT)
        self.click("Search by report")
        self.answered(REPORT)
        self.page.get_by_text(JOINED).wait_for()

    def answered(self, words: str) -> None:
        """Wait for cases that answer this, with the first picture drawn."""
        self.page.locator(".st-key-question").get_by_text(words).first.wait_for()
        self.page.locator(".st-key-card-1").wait_for()
        self.page.wait_for_function("() => document.querySelector('.st-key-card-1 .coin-picture')?.naturalWidth > 0")

    def opened(self, panes: int) -> None:
        """Wait for viewers that show their pictures: each says how far it is zoomed."""
        self.page.get_by_text(re.compile(r"^\d+ %$")).nth(panes - 1).wait_for()


def compare_with_the_best(hand: Hand) -> None:
    """Report to side-by-side with the best case."""
    hand.ask()
    hand.click("Compare #1")
    hand.page.get_by_text("Marked: words").wait_for()
    hand.opened(2)


def region_of_an_upload(hand: Hand) -> None:
    """Region of an upload to similar cases."""
    hand.press(hand.page.get_by_role("radio", name="Image", exact=True))
    hand.clicks += 1
    hand.page.locator("input[type=file]").first.set_input_files(hand.upload)
    hand.page.get_by_role("button", name=f"Remove {hand.upload.name}").wait_for()
    hand.click("Search by image")
    hand.answered(hand.upload.name)
    hand.opened(1)
    hand.click("Search by a region")
    stage = hand.page.get_by_role("application").first.bounding_box()
    assert stage is not None
    x, y = stage["x"] + stage["width"] / 2, stage["y"] + stage["height"] / 2
    hand.clicks += 1
    hand.page.mouse.move(x - 60, y - 60)
    hand.page.mouse.down()
    hand.page.mouse.move(x + 60, y + 60, steps=8)
    hand.page.mouse.up()
    hand.page.get_by_role("button", name="Whole image again").wait_for()
    hand.answered("A part of image")


def three_cases_to_a_sheet(hand: Hand) -> None:
    """Three cases of an answer, pinned with notes, to a printed sheet."""
    for rank in (1, 2, 3):
        hand.click(f"Pin #{rank}")
        hand.page.get_by_role("button", name=f"Unpin #{rank}").wait_for()
    hand.press(hand.page.get_by_test_id("stSidebar").get_by_role("link", name="Review"))
    for number, note in enumerate(NOTES, start=1):
        field = hand.page.get_by_label(f"Note on {number}", exact=True)
        hand.press(field)
        field.fill(note)
    hand.page.keyboard.press("Tab")
    with hand.page.expect_download() as download:
        hand.click("Page that prints")
    sheet = hand.page.context.new_page()
    sheet.goto(f"file://{download.value.path()}")
    sheet.pdf(format="A4")
    sheet.close()


def last_weeks_query(hand: Hand) -> None:
    """Last week's query again."""
    hand.press(hand.page.get_by_test_id("stSidebar").get_by_text("History"))
    hand.press(hand.page.get_by_role("button", name=REPORT[:20]).last)
    hand.answered(REPORT)


def look_alikes(hand: Hand) -> None:
    """A case under review to look-alikes of the neighbouring category."""
    hand.click("Open case 1")
    hand.click("Find similar cases")
    hand.press(hand.page.get_by_role("radio", name="By category", exact=True))
    hand.page.get_by_text("Look-alikes of").wait_for()


TASKS: Final[Sequence[tuple[Callable[[Hand], None], str, str]]] = (
    (compare_with_the_best, "", "compare"),
    (region_of_an_upload, "", "region"),
    (three_cases_to_a_sheet, "answer", "review"),
    (last_weeks_query, "", "view"),
    (look_alikes, "review", "look-alikes"),
)
"""Each with the page it begins on (the search, an answer, or the review) and the name of its picture."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    print(describe_machine())
    with tempfile.TemporaryDirectory() as work:
        archive = options.archive or phantoms(Path(work), options.cases, size=512)
        print(json.dumps(measure(archive, Path(work), options.repetitions, options.pictures), indent=1))
    return 0


def measure(archive: Path, work: Path, repetitions: int, pictures: Path | None) -> dict[str, object]:
    """Do each task some times; by its words the clicks, and the seconds: median and longest."""
    from playwright.sync_api import sync_playwright

    other = phantom_cases(9)[-1:]
    upload = write_phantoms(work / "upload", other, size=512).parent / "images" / f"{other[0].key}.png"
    found: dict[str, object] = {}
    with served(archive, work) as address, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("google-chrome"),
            args=["--no-sandbox", "--disable-gpu"],
        )
        page = chromium.new_context(viewport={"width": 1440, "height": 900}).new_page()
        page.set_default_timeout(PATIENCE)
        hand = Hand(page, upload)
        _begin(hand, address, "answer")
        for task, begins_on, name in TASKS:
            taken = []
            for _ in range(repetitions):
                _begin(hand, address, begins_on)
                hand.clicks, began = 0, time.perf_counter()
                task(hand)
                taken.append(time.perf_counter() - began)
            seconds = [round(statistics.median(taken), 1), round(max(taken), 1)]
            found[task.__doc__ or name] = {"clicks": hand.clicks, "s: median, longest": seconds}
            if pictures is not None:
                _save(page, pictures / f"{name}.png", work)
        chromium.close()
    return found


def _begin(hand: Hand, address: str, begins_on: str) -> None:
    """Open the page that a task begins on."""
    if begins_on == "review":
        hand.page.goto(f"{address}/review")
        hand.page.get_by_role("button", name="Open case 1", exact=True).wait_for()
        return
    hand.page.goto(address)
    hand.page.get_by_role("button", name="Search by report").wait_for()
    if begins_on == "answer":
        hand.ask()
        for rank in (1, 2, 3):  # pinned by the repetition before
            if (pinned := hand.page.get_by_role("button", name=f"Unpin #{rank}")).count():
                pinned.click()
                hand.page.get_by_role("button", name=f"Pin #{rank}", exact=True).wait_for()


def _save(page: Page, path: Path, work: Path) -> None:
    """A picture of the page once its own pictures have come, without what the mouse points at."""
    page.mouse.move(0, 0)
    page.wait_for_load_state("networkidle")
    page.screenshot(path=work / "shot.png")
    with Image.open(work / "shot.png") as shot:
        small = shot.convert("RGB").resize(SIZE, Image.Resampling.LANCZOS)
        small = small.quantize(COLOURS, dither=Image.Dither.NONE)
    path.parent.mkdir(parents=True, exist_ok=True)
    small.save(path, optimize=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--archive", type=Path, default=None, help="one that is there")
    parser.add_argument("--cases", type=int, default=132, help="of the archive that is made")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--pictures", type=Path, default=None, help="folder for a picture of each task")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
