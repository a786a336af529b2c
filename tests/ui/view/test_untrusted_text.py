"""Untrusted text stays text, in a real browser: no link, picture, icon or formula comes of it, no letter is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.ui.served_view import IN_A_BROWSER, PATIENCE, ROOT, wait_until_healthy
from tests.ui.serving.reverse_proxy import free_port
from tests.ui.view.untrusted_texts import CONTROL, KINDS
from ui.text.layout import clean
from ui.view.escape import WORD_JOINER

pytestmark = [*IN_A_BROWSER, pytest.mark.slow]

# By element: its text, the values of its fields, and what Markdown would have made.
LOOK = """() => Object.fromEntries(
  [...document.querySelectorAll('[class*="st-key-"]')].map(element => [
    [...element.classList].find(name => name.startsWith('st-key-')).slice(7),
    {
      text: element.innerText,
      values: [...element.querySelectorAll('input, textarea')].map(field => field.value),
      made: [...element.querySelectorAll(
        'a, img, em, del, code, h1, h2, li, blockquote, hr, script, sup, .katex, [type=checkbox], '
        + '.stMarkdown [translate=no], [data-testid=stMarkdownContainer] span[style*=color]'
      )].map(found => found.outerHTML.slice(0, 200)),
    },
  ]))"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    log = tmp_path_factory.mktemp("server") / "log"
    options = {"server.port": port, "server.address": "127.0.0.1", "server.headless": "true"}
    command = [sys.executable, "-m", "streamlit", "run", str(Path(__file__).with_name("untrusted_page.py"))]
    command += [f"--{name}={value}" for name, value in {**options, "browser.gatherUsageStats": "false"}.items()]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with log.open("w") as output:
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_until_healthy(f"http://127.0.0.1:{port}", server, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=300)


@pytest.fixture(scope="module")
def page(browser: Browser, address: str) -> Iterator[Page]:
    page = browser.new_page()
    page.goto(address)
    expect(page.get_by_text("That was all.")).to_be_visible(timeout=PATIENCE)
    for late in ("control-0 a", "control-4 .katex-html", "table-0 table", "select-0 input", "field-0 textarea"):
        expect(page.locator(f".st-key-{late}").first).to_be_visible(timeout=PATIENCE)
    yield page
    page.close()


def test_every_kind_of_text_is_shown_as_it_is_in_every_element(page: Page) -> None:
    seen = page.evaluate(LOOK)
    shown = {name: element for name, element in seen.items() if not name.startswith(("control", "pressed"))}
    assert len(shown) > 11 * len(KINDS)
    wrong = []
    for name, element in shown.items():
        kind, number = name.rsplit("-", 1)
        if element["made"]:
            wrong.append((name, element["made"]))
        if kind in ("written", "chosen", "multi", "dataframe"):
            continue
        given = KINDS[int(number)]
        text = " ".join(" ".join([element["text"], *element["values"]]).replace(WORD_JOINER, "").split())
        expected = given if kind in ("text", "select", "field") else " ".join(clean(given).split())
        if expected not in text:
            wrong.append((name, text))
    assert not wrong, wrong


def test_what_is_not_escaped_would_become_something(page: Page) -> None:
    seen = page.evaluate(LOOK)
    for number, kind in enumerate(CONTROL):
        element = seen[f"control-{number}"]
        assert element["made"] or kind not in element["text"], kind
