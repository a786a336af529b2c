"""The page on the proxy as it stands: nginx with TLS and a name of its own, a provider, a browser, the audit log."""

from __future__ import annotations

import json
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from generation.phantom import Phantom
from tests.ui.conftest import coin
from tests.ui.served_view import CHROMIUM, PATIENCE, served
from tests.ui.serving.oidc_provider import SECRET, Provider, oidc_provider
from tests.ui.serving.reverse_proxy import NAME, NGINX, free_port, printed, proxied

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium"),
    pytest.mark.skipif(NGINX is None, reason="no nginx on this machine: apt-get install nginx-light"),
]


@dataclass(frozen=True)
class Site:
    """The view behind the proxy."""

    url: str
    local: str
    audit: Path
    provider: Provider
    log: Path


@pytest.fixture(scope="module")
def site(models: dict[str, str], archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("proxy")
    port = free_port()
    url = f"https://{NAME}:{port}"
    with oidc_provider() as provider:
        sign_in = printed("toml")
        for old, new in (
            ("https://login.hospital.example", provider.issuer),
            ("at least 32 random characters", "0123456789abcdef" * 4),
        ):
            assert sign_in.count(old) == 1
            sign_in = sign_in.replace(old, new)
        assert SECRET in sign_in
        (folder / "sign-in.toml").write_text(sign_in, encoding="utf-8")
        (folder / "sign-in.toml").chmod(0o600)
        settings = {
            **models,
            "COIN_ARCHIVE": str(archive),
            "COIN_PUBLIC_URL": url,
            "COIN_SIGN_IN": str(folder / "sign-in.toml"),
            "COIN_AUDIT": str(folder / "audit"),
        }
        with served(settings, folder / "log") as local, proxied(int(local.rsplit(":", 1)[1]), port, folder):
            yield Site(url, local, folder / "audit", provider, folder / "log")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium that finds the printed name on this machine."""
    from playwright.sync_api import sync_playwright

    rules = f"--host-resolver-rules=MAP {NAME} 127.0.0.1"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", rules]
        )
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """A page of a browser in which nobody has signed in."""
    context = browser.new_context(ignore_https_errors=True, viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    violations: list[str] = []
    page.on("console", lambda said: violations.append(said.text) if "Content Security Policy" in said.text else None)
    yield page
    context.close()
    assert violations == []


def sign_in(page: Page, site: Site, name: str) -> None:
    page.goto(site.url)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Continue").click()


def sign_out(page: Page) -> None:
    """Sign out, and wait until the browser has come back from the provider.

    "Sign in" already shows while the browser is still on its way there, and the cookie goes on that way.
    """
    with page.expect_navigation(wait_until="commit"):
        page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


def events(site: Site) -> list[dict[str, str]]:
    lines = [line for file in sorted(site.audit.glob("*")) for line in file.read_text("utf-8").splitlines()]
    return [event for event in map(json.loads, lines) if "user" in event]


def test_sign_in_search_and_open_a_case(page: Page, site: Site, archive: Path, phantoms: list[Phantom]) -> None:
    """The websocket lives behind the proxy, and the log names who signed in."""
    page.goto(f"{site.url}/case?case={phantoms[0].key}")
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    assert phantoms[0].report[:30] not in page.inner_text("body")

    sign_in(page, site, "ada")
    expect(page.get_by_text("Which cases look like this one?")).to_be_visible()
    expect(page.get_by_text("Signed in as ada@hospital.example")).to_be_visible()
    cookies = page.context.cookies(site.url)
    assert {"_streamlit_user", "_streamlit_xsrf"} <= {cookie["name"] for cookie in cookies}
    assert all(cookie["secure"] for cookie in cookies)

    page.get_by_text("Case", exact=True).click()
    box = page.get_by_role("combobox", name="Case")
    box.fill(phantoms[0].key)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Search by case").click()
    expect(page.get_by_text("10 nearest cases")).to_be_visible(timeout=600_000)
    pictures = page.get_by_alt_text("Case #1: ")
    expect(pictures).to_be_visible()
    picture = str(pictures.get_attribute("src"))
    page.get_by_role("button", name="Open case #1", exact=True).click()
    expect(page.get_by_role("heading", name="Case phantom-")).to_be_visible()
    assert {(event["user"], event["event"]) for event in events(site)} == {
        ("ada@hospital.example", "query"),
        ("ada@hospital.example", "case"),
    }
    assert coin("audit", "--archive", archive, "--audit", site.audit).exit_code == 0

    # A picture is shown to who is signed in, and to nobody else who knows its address.
    path = picture.removeprefix(site.url)
    assert path.startswith("/pictures/images/")
    assert page.request.get(f"{site.local}{path}").status == 401

    sign_out(page)
    assert site.provider.signed_out == 1
    assert "_streamlit_user" not in {cookie["name"] for cookie in page.context.cookies(site.url)}
    log = site.log.read_text()
    assert "upgrade" not in log.lower(), "the server understood every request"
    assert phantoms[0].key not in log
    assert phantoms[0].report[:30] not in log


def test_who_is_not_among_the_users_stays_out(page: Page, site: Site) -> None:
    sign_in(page, site, "guest")
    expect(page.get_by_text("guest@elsewhere.example is not among the users of this view.")).to_be_visible()
    assert page.get_by_text("Which cases look like this one?").count() == 0
    sign_out(page)
    sign_in(page, site, "unverified-eve")  # claims the address of somebody else
    expect(page.get_by_text("id-of-unverified-eve is not among the users of this view.")).to_be_visible()


def test_a_large_picture_is_uploaded_through_the_proxy(page: Page, site: Site, tmp_path: Path) -> None:
    """More than the megabyte that nginx lets through by default."""
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    assert (tmp_path / "noise.png").stat().st_size > 2 << 20
    sign_in(page, site, "ada")
    page.get_by_text("Image", exact=True).click()
    page.locator("input[type=file]").set_input_files(tmp_path / "noise.png")
    expect(page.get_by_role("button", name="Remove noise.png")).to_be_visible()
    page.get_by_role("button", name="Search by image").click()
    expect(page.get_by_text("10 nearest cases")).to_be_visible(timeout=600_000)
    expect(page.get_by_label("Query image").first).to_be_visible()
    expect(page.locator(".zoom").first).to_have_text(re.compile(r"^\d+ %$"))  # it came through the proxy, too


def test_a_user_in_many_groups_has_many_cookies_and_enters(page: Page, site: Site) -> None:
    """nginx's usual limits are below what providers put into their tokens."""
    sign_in(page, site, "busy-bob")
    expect(page.get_by_text("Signed in as busy-bob@hospital.example")).to_be_visible()
    cookies = page.context.cookies(site.url)
    assert sum(len(cookie["value"]) for cookie in cookies) > 8192


def test_past_the_proxy_nobody_is_signed_in(page: Page, site: Site) -> None:
    page.goto(site.local)
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    for path in ("/media/x.png", "/_stcore/upload_file/a/b", "/_stcore/metrics"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(site.local + path, headers={"Cookie": "_streamlit_user=x"}))
        assert refused.value.code == 401
        refused.value.close()


def test_the_proxy_passes_the_headers_on(site: Site) -> None:
    request = urllib.request.Request(f"https://127.0.0.1:{site.url.rsplit(':', 1)[1]}/", headers={"Host": NAME})
    with urllib.request.urlopen(request, context=ssl._create_unverified_context()) as answer:
        assert answer.headers["Content-Security-Policy"].count("frame-ancestors 'none'") == 1
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
        assert answer.headers.get_all("X-Content-Type-Options") == ["nosniff"]
