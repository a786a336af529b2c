"""The view in a real browser: the two ways to ask that matter most, by mouse and by keyboard, and how it is served."""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from generation.phantom import Phantom
from retrieval import RESEARCH_USE
from tests.ui.conftest import CASES
from tests.ui.served_view import IN_A_BROWSER, PATIENCE, barriers, served

# The first search imports torch and loads models, on a machine that may be busy: 70 s were seen beside a training.
FIRST_SEARCH = 600_000

pytestmark = IN_A_BROWSER


@pytest.fixture(scope="module")
def address(models: dict[str, str], archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The view, served by `coin ui` on a free port of the loopback."""
    settings = {**models, "COIN_ARCHIVE": str(archive), "COIN_MAX_UPLOAD_MB": "1"}
    with served(settings, tmp_path_factory.mktemp("server") / "log") as address:
        yield address


@pytest.fixture
def page(browser, address: str) -> Iterator[Page]:  # type: ignore[no-untyped-def]
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    strangers: list[str] = []
    page.on("request", lambda request: strangers.append(request.url) if is_elsewhere(request.url, address) else None)
    forbidden: list[str] = []
    page.on("console", lambda said: forbidden.append(said.text) if "Security Policy" in said.text else None)
    page.goto(address)
    expect(page.get_by_text("Which cases look like this one?")).to_be_visible()
    expect(page.get_by_text(RESEARCH_USE)).to_be_visible()
    yield page
    expect(page.get_by_test_id("stAlertContentWarning").get_by_text(RESEARCH_USE)).to_be_visible()
    assert strangers == [], "the view asked another host for something"
    assert forbidden == [], "the view needs what its own policy forbids"
    page.close()


def is_elsewhere(url: str, address: str) -> bool:
    return url.startswith(("http", "ws")) and not url.split("://", 1)[1].startswith(address.split("://", 1)[1])


@pytest.mark.slow
def test_report_to_results_to_case(page: Page, phantoms: list[Phantom]) -> None:
    """By keyboard alone until the results are there."""
    box = page.get_by_label("Report", exact=True).and_(page.locator("textarea"))
    box.focus()
    page.keyboard.type("Squamous intraepithelial lesion (HSIL).")
    page.keyboard.press("Control+Enter")

    expect(page.get_by_text("10 cases, best first")).to_be_visible(timeout=FIRST_SEARCH)
    expect(page.get_by_text("SYNTHETIC", exact=True)).to_have_count(2)
    expect(page.get_by_alt_text("Synthetic image, seed 1")).to_be_visible()
    expect(page.get_by_text("PHANTOM: rendered, no patient")).to_have_count(10)
    assert barriers(page) == []
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as JSON").click()
    result = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    assert result["notice"] == RESEARCH_USE
    keys = [case["case"] for case in result["cases"]]
    assert len(set(keys)) == 10

    button = page.get_by_role("button", name="Open case #3", exact=True)
    button.focus()
    page.keyboard.press("Enter")
    third = next(phantom for phantom in phantoms if phantom.key == keys[2])
    expect(page.get_by_role("heading", name=f"Case {third.key}")).to_be_visible()
    expect(page.get_by_text(third.report, exact=True)).to_be_visible()
    expect(page.get_by_role("application", name="Image 1 of 1")).to_be_visible()
    assert f"case={third.key}" in page.url

    page.get_by_role("button", name="Back to the search").click()
    expect(page.get_by_text("10 cases, best first")).to_be_visible()
    page.get_by_role("radio", name="By category").click()
    expect(page).to_have_url(re.compile("tab=By"))
    page.reload()
    expect(page.get_by_text("It is a comparison and no vote")).to_be_visible()
    page.go_back()  # one click made one entry of the history: no page without its case between
    expect(page.get_by_role("heading", name=f"Case {third.key}")).to_be_visible()
    page.go_back()
    expect(page.get_by_text("10 cases, best first")).to_be_visible()


@pytest.mark.slow
def test_upload_to_results(page: Page, manifest: Path, phantoms: list[Phantom]) -> None:
    asked = phantoms[1]
    page.get_by_text("Image", exact=True).click()
    field = page.locator("input[type=file]").first
    field.set_input_files(manifest.parent / "images" / f"{asked.key}.png")
    expect(page.get_by_role("button", name=f"Remove {asked.key}.png")).to_be_visible()
    # A file that the server refuses: the one before is gone, and is not searched in its place.
    field.set_input_files({"name": "large.png", "mimeType": "image/png", "buffer": bytes(2 << 20)})
    expect(page.get_by_text("status code 413")).to_be_visible()
    page.get_by_role("button", name="Search by image").click()
    expect(page.get_by_text("Choose an image file first")).to_be_visible()
    field.set_input_files(manifest.parent / "images" / f"{asked.key}.png")
    expect(page.get_by_role("button", name=f"Remove {asked.key}.png")).to_be_visible()
    page.get_by_role("button", name="Search by image").click()

    expect(page.get_by_text("10 nearest cases")).to_be_visible(timeout=FIRST_SEARCH)
    expect(page.get_by_role("application", name="Query image")).to_be_visible()
    first = page.get_by_alt_text("Case #1: ")
    expect(first).to_be_visible()
    assert asked.morphology.site in (first.get_attribute("alt") or "")
    expect(page.get_by_text(asked.report, exact=True)).to_be_visible()

    page.get_by_role("button", name="More on #2").click()
    page.get_by_role("button", name="Find similar to #2", exact=True).click()
    expect(page.get_by_text("Query case")).to_be_visible()
    expect(page.get_by_text("10 nearest cases")).to_be_visible()


@pytest.mark.slow
def test_keys_focus_and_what_is_typed_and_not_searched(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    panel = page.locator(".st-key-query_panel")
    focused = page.locator(":focus")
    expect(page.get_by_role("button", name="Keys (?)")).to_be_visible()
    page.keyboard.press("/")
    expect(focused).to_have_attribute("aria-label", "Report")
    page.keyboard.type("Clue cells.?")
    expect(panel).to_have_attribute("data-draft", "true")
    page.keyboard.press("Control+Enter")
    expect(focused).to_have_text("What was asked", timeout=FIRST_SEARCH)
    expect(focused).to_be_in_viewport()
    expect(panel).to_have_attribute("data-draft", "false")
    expect(page.get_by_alt_text("Case #1: ")).to_be_in_viewport()
    assert barriers(page) == []

    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(focused).to_have_text("Enlarge #2")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    assert barriers(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("o")
    expect(focused).to_contain_text("Case ")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    assert barriers(page) == []

    page.keyboard.press("b")
    expect(page.get_by_text("10 cases, best first")).to_be_visible()
    page.evaluate(
        """async () => {
            const canvas = Object.assign(document.createElement('canvas'), { width: 90, height: 60 });
            canvas.getContext('2d').fillRect(0, 0, 50, 50);
            const picture = await new Promise((then) => canvas.toBlob(then));
            const clipboardData = new DataTransfer();
            clipboardData.items.add(new File([picture], 'image.png', { type: 'image/png' }));
            document.dispatchEvent(new ClipboardEvent('paste', { clipboardData }));
        }"""
    )
    expect(page.get_by_role("button", name="Remove pasted.png")).to_be_visible()
    expect(panel).to_have_attribute("data-draft", "true")


@pytest.mark.slow
def test_a_narrow_window_shows_everything_without_sideways_scrolling(page: Page) -> None:
    page.set_viewport_size({"width": 820, "height": 900})
    expect(page.get_by_role("button", name="Search by report")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert f"{CASES} cases" in page.inner_text("body")
    assert barriers(page) == []


@pytest.mark.slow
def test_a_page_on_another_port_gets_no_hold_of_the_view(browser: Browser, address: str) -> None:
    """It cannot show the view in a frame, read it, load its scripts, open its websocket, or keep hold of its window."""
    with foreign_page() as elsewhere:
        page = browser.new_page()
        page.goto(elsewhere)
        tried = page.evaluate(
            """async address => {
                const settled = (element, url) => new Promise(resolve => {
                    element.onload = () => resolve('loaded');
                    element.onerror = () => resolve('refused');
                    element.src = url;
                    document.body.append(element);
                });
                const frame = document.createElement('iframe');
                await settled(frame, address);
                const socket = new WebSocket(address.replace('http', 'ws') + '/_stcore/stream');
                const opened = window.open(address);
                await new Promise(resolve => setTimeout(resolve, 3000));
                return {
                    picture: await settled(document.createElement('img'), address + '/favicon.png'),
                    read: await fetch(address).then(() => 'read', () => 'refused'),
                    sent: await fetch(address + '/_stcore/upload_file/a/b', {method: 'PUT', body: 'x'})
                        .then(() => 'sent', () => 'refused'),
                    socket: socket.readyState === WebSocket.OPEN ? 'open' : 'refused',
                    window: opened === null || opened.closed ? 'no hold' : 'a hold',
                };
            }""",
            address,
        )
        framed = page.frames[1]
        assert framed.url.startswith("chrome-error:")
        page.context.close()
    assert tried == {
        "picture": "refused",
        "read": "refused",
        "sent": "refused",
        "socket": "refused",
        "window": "no hold",
    }


@contextlib.contextmanager
def foreign_page() -> Iterator[str]:
    """The address of an empty page on another port of this machine."""

    class Empty(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>elsewhere</title><body>")

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is printed."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Empty) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_only_names_of_this_machine_are_answered(address: str) -> None:
    """DNS rebinding: a page elsewhere that resolves to 127.0.0.1 gets no session."""
    host, port = address.removeprefix("http://").split(":")
    handshake = (
        "GET /_stcore/stream HTTP/1.1\r\nHost: {name}\r\nOrigin: http://{name}\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    answers = {}
    for name in (f"127.0.0.1:{port}", "attacker.example"):
        with socket.create_connection((host, int(port)), timeout=300) as connection:
            connection.sendall(handshake.format(name=name).encode())
            answers[name] = connection.recv(64).split(b" ")[1]
    assert answers == {f"127.0.0.1:{port}": b"101", "attacker.example": b"403"}
