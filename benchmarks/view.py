"""How long the page takes in Chromium: words, images that join, a filter, touches, and six users at once.

    python -m benchmarks.view [--archive FOLDER] [--cases 400] [--sessions 6] [--repetitions 5]

The view is served by `coin ui` with the starter, and driven by Playwright. A time counts from the key or click until
all of the answer is on the page and the script has ended. The baseline is the search by the same words alone, without a
page (`CaseSearch.run`), in the same run; "times" are ratios to its median. Before words answered first, no case stood
on the page until "joined by images". "whole page": a touch that draws all of it anew, as every touch did before there
were fragments. At last all sessions ask at once, each its own words, while images are generated; their cases are
compared with those of the search alone.

Archive: of phantoms, or one that is there. Needs Chromium and playwright.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.machine import describe_machine
from generation.phantom import phantom_cases, write_phantoms
from index_store import Archive
from retrieval import CaseSearch, Encoder, Query, add_manifest

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

ROOT: Final = Path(__file__).parents[1]
PATIENCE: Final = 600_000  # milliseconds
JOINED: Final = "The generated images have joined"
REPORTS: Final = (
    "Squamous intraepithelial lesion (HSIL).",
    "Clue cells, shift in flora.",
    "Papillary thyroid carcinoma with nuclear grooves.",
    "High-grade urothelial carcinoma.",
    "Reactive mesothelial cells.",
    "Small cell carcinoma of the lung.",
)
# Resolves with the milliseconds until `holds` does, after a run of the script that has ended, and with the texts of the
# cards. An observer, since timers of pages in the background are throttled.
WATCH: Final = """holds => {
    const met = new Function('return ' + holds), app = document.querySelector('[data-testid="stApp"]');
    const began = performance.now();
    let ran = false;
    window.answered = new Promise(resolve => {
        const look = () => {
            const runs = app.dataset.testScriptState !== 'notRunning';
            ran = ran || runs;
            if (runs || !ran || !met()) return;
            observer.disconnect();
            const cards = [...document.querySelectorAll('[class*=st-key-card-]')].map(card => card.innerText);
            resolve([performance.now() - began, cards]);
        };
        const observer = new MutationObserver(look);
        observer.observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
    });
}"""
CARDS: Final = "document.querySelectorAll('[class*=st-key-card-]').length"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    with tempfile.TemporaryDirectory() as work:
        archive = options.archive or phantoms(Path(work), options.cases)
        print(describe_machine())
        print(json.dumps(measure(archive, Path(work), options.sessions, options.repetitions), indent=1))
    return 0


def measure(archive: Path, work: Path, sessions: int, repetitions: int) -> dict[str, object]:
    """Serve the archive, and time what a user does."""
    from playwright.sync_api import sync_playwright

    alone, expected = _search_alone(archive, repetitions)
    with served(archive, work) as address, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("google-chrome"),
            args=["--no-sandbox", "--disable-gpu"],
        )
        pages = [chromium.new_page(viewport={"width": 1440, "height": 900}) for _ in range(sessions)]
        for page in pages:
            page.set_default_timeout(PATIENCE)
            page.goto(address)
            page.get_by_role("button", name="Search by report").wait_for()
        page = pages[0]
        page.get_by_text("Image generator:").wait_for(state="hidden")
        _ask(page, "Warm.")
        page.get_by_text(JOINED).wait_for()
        times: dict[str, list[float]] = {}
        for number in range(repetitions):
            report = f"{REPORTS[number % len(REPORTS)]} Number {number}."
            began = time.perf_counter()
            times.setdefault("words", []).append(_ask(page, report)[0])
            page.get_by_text(JOINED).wait_for()
            times.setdefault("joined by images", []).append(time.perf_counter() - began)
            choose = page.get_by_role("radio", name="Case", exact=True)
            touched = _timed(
                page, "document.querySelector('.st-key-narrow').innerText.includes('Search by case')", choose.click
            )
            times.setdefault("a touch, drawn by itself", []).append(touched[0])
            page.get_by_role("radio", name="Report", exact=True).click()
            page.get_by_role("button", name="Search by report").wait_for()
            drawn = _timed(page, f"{CARDS} > 0", lambda: page.keyboard.press("r"))
            times.setdefault("a touch, whole page", []).append(drawn[0])
            shown = page.evaluate(f"() => {CARDS}")
            fewer = page.get_by_test_id("stSidebar").get_by_test_id("stNumberInputStepDown").last
            times.setdefault("a filter", []).append(_timed(page, f"{CARDS} === {shown - 1}", fewer.click)[0])
        at_once, mixed = _all_at_once(pages, expected)
        times[f"words, {sessions} users at once"] = at_once
        chromium.close()
    found = {
        name: {"s: median, longest": _figures(taken), "times": round(statistics.median(taken) / alone, 1)}
        for name, taken in times.items()
    }
    return {"search alone, s": round(alone, 3), **found, "answers that were another user's": mixed}


def _all_at_once(pages: Sequence[Page], expected: Sequence[Sequence[str]]) -> tuple[list[float], int]:
    """All users ask, each something else: seconds until each has its words, and how many were shown others' cases."""
    for page, report in zip(pages, REPORTS, strict=False):
        _report(page).fill(report)
        page.evaluate(WATCH, _answered(report))
    for page in pages:
        _report(page).press("Control+Enter")
    answers = [page.evaluate("() => window.answered") for page in pages]
    mixed = sum(
        any(key not in card.split("\n") for key, card in zip(keys, cards, strict=False))
        for (_, cards), keys in zip(answers, expected, strict=False)
    )
    return [milliseconds / 1000 for milliseconds, _ in answers], mixed


def _ask(page: Page, report: str) -> tuple[float, list[str]]:
    _report(page).fill(report)
    return _timed(page, _answered(report), lambda: _report(page).press("Control+Enter"))


def _answered(report: str) -> str:
    """That the cases on the page answer this report."""
    return f"document.querySelector('.st-key-wide').innerText.includes({json.dumps(report)}) && {CARDS} > 0"


def _timed(page: Page, holds: str, act: Callable[[], object]) -> tuple[float, list[str]]:
    """Seconds from an act until the page holds what it should, and the texts of the cards."""
    page.evaluate(WATCH, holds)
    act()
    milliseconds, cards = page.evaluate("() => window.answered")
    return milliseconds / 1000, cards


def _report(page: Page) -> Locator:
    return page.get_by_label("Report", exact=True).and_(page.locator("textarea"))


def _search_alone(folder: Path, repetitions: int) -> tuple[float, list[list[str]]]:
    """Median seconds of a search by words without a page, and the keys that each report finds."""
    with Archive.open(folder, read_only=True) as archive:
        search = CaseSearch(archive, Encoder(None).load())
        found = [[r.case.key for r in search.run(Query(text=report), generate=False).cases] for report in REPORTS]
        times = []
        for number in range(repetitions):
            began = time.perf_counter()
            search.run(Query(text=f"{REPORTS[number % len(REPORTS)]} Number {number}."), generate=False)
            times.append(time.perf_counter() - began)
    return statistics.median(times), found


def phantoms(work: Path, cases: int, *, size: int = 64) -> Path:
    """An archive of phantoms, embedded by the starter."""
    manifest = write_phantoms(work / "phantoms", phantom_cases(cases), size=size)
    with Archive.create(work / "archive") as archive:
        add_manifest(archive, manifest, Encoder(None))
    return work / "archive"


@contextlib.contextmanager
def served(archive: Path, work: Path) -> Iterator[str]:
    """The address of the view, on a free port, with a cache of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "COIN_CACHE": str(work / "cache"), "COIN_QUERIES": str(work / "queries")}
    command = [sys.executable, "-m", "ui", "ui", "--no-browser", "--port", str(port), "--archive", str(archive)]
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    try:
        while server.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health"):
                break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def _figures(seconds: Sequence[float]) -> list[float]:
    return [round(statistics.median(seconds), 2), round(max(seconds), 2)]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--archive", type=Path, default=None, help="one that is there")
    parser.add_argument("--cases", type=int, default=400, help="of the archive that is made")
    parser.add_argument("--sessions", type=int, default=len(REPORTS), choices=range(1, len(REPORTS) + 1))
    parser.add_argument("--repetitions", type=int, default=5)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
