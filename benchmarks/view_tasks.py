"""How many clicks and seconds five tasks of a pathologist take on the page, in Chromium.

    python -m benchmarks.view_tasks [--archive FOLDER] [--cases 132] [--repetitions 3] [--pictures FOLDER]

The view is served by `coin ui` with the starter. A click is one of the mouse, a drag, or the choice of a file; typing
is none. Seconds count from the first click or key until what the task is for is on the page, with its pictures; the
time to read and to decide is not in them. Before the first task the models are loaded and the report's images made.

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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.machine import describe_machine
from benchmarks.view import JOINED, PATIENCE, phantoms, served
from generation.phantom import phantom_cases, write_phantoms

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

REPORT: Final = "Thyroid, crowded follicular cells with some nuclear grooves, suspicious for papillary carcinoma."
NOTES: Final = ("Grooves, as in the query.", "Stain differs.", "Look-alike: compare the chromatin.")
DRAWN: Final = """pictures => {
    const first = [...document.querySelectorAll(pictures)].slice(0, 3);
    return first.length > 0 && first.every(each => each.naturalWidth > 0);
}"""


class Hand:
    """A page, the picture that is uploaded to it, and how many clicks were made."""

    def __init__(self, page: Page, address: str, upload: Path) -> None:
        self.page, self.address, self.upload, self.clicks = page, address, upload, 0

    def click(self, target: Locator) -> None:
        """Click, and count it."""
        self.clicks += 1
        target.click()

    def press(self, name: str) -> None:
        """Click the button of this name."""
        self.click(self.page.get_by_role("button", name=name, exact=True).first)

    def choose(self, name: str) -> None:
        """Click the choice of this name."""
        self.click(self.page.get_by_role("radio", name=name, exact=True).first)

    def ask(self) -> None:
        """Type the report, and search by it."""
        self.page.get_by_label("Report", exact=True).and_(self.page.locator("textarea")).fill(REPORT)
        self.press("Search by report")
        self.answered(REPORT)

    def answered(self, words: str) -> None:
        """Wait for the cases that answer this, with the first pictures drawn."""
        self.page.locator(".st-key-question").get_by_text(words).first.wait_for()
        self.page.wait_for_function(DRAWN, arg="[class*=st-key-card-] .coin-picture")

    def opened(self, viewers: int) -> None:
        """Wait for viewers that show their pictures: each says how far it is zoomed."""
        self.page.get_by_text(re.compile(r"^\d+ %$")).nth(viewers - 1).wait_for()


def compare_with_the_best(hand: Hand) -> None:
    """Until the query's first image and the case are side by side."""
    hand.ask()
    hand.press("Compare #1")
    hand.page.get_by_text("Marked: words").wait_for()
    hand.opened(2)


def search_a_region(hand: Hand) -> None:
    """Until the cases that answer the region are there."""
    hand.choose("Image")
    hand.clicks += 1
    hand.page.locator("input[type=file]").first.set_input_files(hand.upload)
    hand.page.get_by_role("button", name=f"Remove {hand.upload.name}").wait_for()
    hand.press("Search by image")
    hand.answered("Image")
    hand.opened(1)
    hand.press("Search by a region")
    stage = hand.page.get_by_role("application").first.bounding_box()
    assert stage is not None
    x, y = stage["x"] + stage["width"] / 2, stage["y"] + stage["height"] / 2
    hand.clicks += 1
    hand.page.mouse.move(x - 60, y - 60)
    hand.page.mouse.down()
    hand.page.mouse.move(x + 60, y + 60, steps=8)
    hand.page.mouse.up()
    hand.page.get_by_role("button", name="Whole image again").wait_for()
    hand.answered("part of")


def print_three_cases(hand: Hand) -> None:
    """Until the sheet is a PDF. It is opened by a click on the download, and printed by a key."""
    for rank in (1, 2, 3):
        hand.press(f"Pin #{rank}")
        hand.page.get_by_role("button", name=f"Unpin #{rank}").wait_for()
    hand.click(hand.page.get_by_test_id("stSidebar").get_by_role("link", name="Review"))
    for number, note in enumerate(NOTES, start=1):
        field = hand.page.get_by_label(f"Note on {number}", exact=True)
        hand.click(field)
        field.fill(note)
    with hand.page.expect_download() as download:
        hand.press("Page that prints")
    sheet = hand.page.context.new_page()
    hand.clicks += 1
    sheet.goto(f"file://{download.value.path()}")
    for note in NOTES:
        sheet.get_by_text(note).wait_for()
    sheet.pdf(format="A4")
    sheet.close()


def ask_again(hand: Hand) -> None:
    """Until the cases of the earlier query are there."""
    hand.click(hand.page.get_by_test_id("stSidebar").get_by_text("History"))
    hand.click(hand.page.get_by_role("button", name=REPORT[:20]).first)
    hand.answered(REPORT)


def see_look_alikes(hand: Hand) -> None:
    """Until the look-alikes stand side by side."""
    hand.press("Open case 1")
    hand.press("Find similar cases")
    hand.choose("By category")
    hand.page.get_by_text("Look-alikes of").wait_for()
    hand.page.wait_for_function(DRAWN, arg=".st-key-cards-4-alike .coin-picture")


def search_page(hand: Hand) -> None:
    """The page to search on, without a query."""
    hand.page.goto(hand.address)
    hand.page.get_by_role("button", name="Search by report").wait_for()


def answer(hand: Hand) -> None:
    """The cases of a report with its images, no case pinned."""
    search_page(hand)
    hand.ask()
    hand.page.get_by_text(JOINED).wait_for()
    for rank in (1, 2, 3):
        pinned = hand.page.get_by_role("button", name=f"Unpin #{rank}", exact=True)
        if pinned.count():
            pinned.click()
            hand.page.get_by_role("button", name=f"Pin #{rank}", exact=True).wait_for()


def review(hand: Hand) -> None:
    """The page of the review."""
    hand.page.goto(f"{hand.address}/review")
    hand.page.get_by_role("button", name="Open case 1", exact=True).wait_for()


TASKS: Final[Mapping[str, tuple[Callable[[Hand], None], Callable[[Hand], None]]]] = {
    "report to side-by-side with the best case": (search_page, compare_with_the_best),
    "region of an upload to similar cases": (search_page, search_a_region),
    "three pinned cases with notes to a printed sheet": (answer, print_three_cases),
    "last week's query again": (search_page, ask_again),
    "a case under review to look-alikes of the neighbouring category": (review, see_look_alikes),
}
"""By what is wanted, what leads to the page that the task begins on, and the task."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--archive", type=Path, default=None, help="one that is there")
    parser.add_argument("--cases", type=int, default=132, help="of the archive that is made")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--pictures", type=Path, default=None, help="folder for a picture of each task's last page")
    options = parser.parse_args(arguments)
    print(describe_machine())
    with tempfile.TemporaryDirectory() as work:
        archive = options.archive or phantoms(Path(work), options.cases, size=256)
        print(json.dumps(measure(archive, Path(work), options.repetitions, options.pictures), indent=1))
    return 0


def measure(archive: Path, work: Path, repetitions: int, pictures: Path | None) -> dict[str, object]:
    """Do each task some times: by task its clicks, and the seconds (median and longest)."""
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
        hand = Hand(page, address, upload)
        answer(hand)
        for name, (begin, task) in TASKS.items():
            taken = []
            for _ in range(repetitions):
                begin(hand)
                hand.clicks, began = 0, time.perf_counter()
                task(hand)
                taken.append(time.perf_counter() - began)
            seconds = [round(statistics.median(taken), 1), round(max(taken), 1)]
            found[name] = {"clicks": hand.clicks, "s: median, longest": seconds}
            if pictures is not None:
                page.screenshot(path=pictures / f"{task.__name__}.png")
        chromium.close()
    return found


if __name__ == "__main__":
    sys.exit(main())
