"""The view, served by `coin ui` in a process of its own, for tests in a real browser."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = 600_000  # milliseconds: generous, since a busy machine starts a server slowly
THEMES: Final[tuple[Literal["light"], Literal["dark"]]] = ("light", "dark")
# Whether the page has the ground of that theme: it follows the browser's setting by itself.
GROUND = """dark => {
    const [red] = getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor.match(/\\d+/g);
    return (red < 128) === dark;
}"""
# Whether the page is as it will stay: its script has run, and no colour changes any more.
SETTLED = """() => {
    const script = document.querySelector('[data-testid=stApp]').dataset.testScriptState;
    const moving = document.getAnimations().filter(each => each.effect.getComputedTiming().endTime < Infinity);
    const stale = document.querySelector('[data-stale=true]');
    return script === 'notRunning' && !stale && moving.every(each => each.playState !== 'running');
}"""
IN_A_BROWSER = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium"),
]


def barriers(page: Page) -> list[tuple[str, str, str]]:
    """What axe-core finds serious or critical on the page as it is, in the light theme and in the dark one: the theme,
    what it is, and the first element."""
    found = []
    for theme in THEMES:
        page.emulate_media(color_scheme=theme)
        page.wait_for_function(GROUND, arg=theme == "dark")
        page.wait_for_function(SETTLED)
        for each in Axe().run(page).response["violations"]:
            if each["impact"] in ("serious", "critical"):
                found.append((theme, each["help"], each["nodes"][0]["html"]))
    page.emulate_media(color_scheme="light")
    page.wait_for_function(GROUND, arg=False)
    return found


@contextlib.contextmanager
def served(settings: Mapping[str, str], log: Path) -> Iterator[str]:
    """The address of the view with these settings (as environment variables), on a free port of the loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, **settings, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "ui", "ui", "--no-browser", "--port", str(port)]
    with log.open("w") as output:
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_until_healthy(f"http://127.0.0.1:{port}", server, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=300)


def wait_until_healthy(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for a server of Streamlit; fail with its log where it ends or does not answer."""
    deadline = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:  # not listening yet: give it a moment, and see that it lives
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(timeout=0.1)
                pytest.fail(f"the server ended:\n{log.read_text()}")
    pytest.fail(f"the server does not answer:\n{log.read_text()}")
