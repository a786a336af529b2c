"""The guard around a small application: what passes, what is refused, which headers answers get. No server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ui.serving.addresses import Addresses
from ui.serving.guard import Guard, Message, Receive, Send, content_security_policy, inline_script_hashes
from ui.serving.server import streamlit_options
from ui.settings import Settings

POLICY = content_security_policy(())
LOCAL, PUBLIC = Addresses.of(8501, None), Addresses.of(8501, "https://cases.example/a")
HERE = {"host": "127.0.0.1:8501"}


async def application(scope: Message, receive: Receive, send: Send) -> None:
    """Answers everything, with a cookie, a header that the guard sets itself, and one that is its own."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    headers = [(b"set-cookie", b"a=b; Path=/"), (b"X-Frame-Options", b"ALLOWALL"), (b"etag", b"1")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"whole"})


def sent(headers: dict[str, str], addresses: Addresses = LOCAL, admits: Any = None, **scope: Any) -> list[Message]:
    """What is sent for a request with these headers."""
    messages: list[Message] = []

    async def send(message: Message) -> None:
        messages.append(message)

    async def receive() -> Message:
        raise AssertionError("nothing of a request's body is read by the guard")

    lines = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    asked = {"type": "http", "method": "GET", "path": "/", "headers": lines, **scope}
    asyncio.run(Guard(application, addresses, POLICY, admits)(asked, receive, send))
    return messages


def status(headers: dict[str, str], **more: Any) -> int:
    return int(sent(headers, **more)[0].get("status", 0))


def test_what_passes_is_answered_with_our_headers_over_the_applications() -> None:
    start, body = sent(HERE)
    assert (start["status"], body["body"]) == (200, b"whole")
    headers = [(name.lower(), value) for name, value in start["headers"]]
    assert headers.count((b"x-frame-options", b"DENY")) == 1
    assert (b"etag", b"1") in headers
    assert (b"content-security-policy", POLICY.encode()) in headers
    assert len({name for name, _ in headers}) == len(headers)


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({}, 421),
        ({"host": "evil.example"}, 421),
        (HERE | {"origin": "http://127.0.0.1:8502"}, 403),
        (HERE | {"origin": "null"}, 403),
        (HERE | {"origin": "https://x.streamlit.app"}, 403),
    ],
)
def test_refusals_are_protected_and_reach_no_application(kind: str, headers: dict[str, str], refused: int) -> None:
    extended = sent(headers, type=kind, extensions={"websocket.http.response": {}})
    assert [message["type"] for message in extended] == [
        f"{'websocket.' if kind == 'websocket' else ''}http.response.{part}" for part in ("start", "body")
    ]
    assert extended[0]["status"] == (403 if kind == "websocket" else refused)
    assert (b"x-frame-options", b"DENY") in extended[0]["headers"]
    assert b"set-cookie" not in dict(extended[0]["headers"])


def test_a_server_without_that_extension_closes_the_websocket() -> None:
    assert [message["type"] for message in sent({"host": "evil.example"}, type="websocket")] == ["websocket.close"]
    (accepted,) = sent(HERE, type="websocket")
    assert (accepted["type"], (b"x-frame-options", b"DENY") in accepted["headers"]) == ("websocket.accept", True)


def test_what_is_no_request_passes() -> None:
    passed = []

    async def started(scope: Message, receive: Receive, send: Send) -> None:
        passed.append(scope["type"])

    asyncio.run(Guard(started, LOCAL, POLICY)({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert passed == ["lifespan"]


def test_coming_back_from_the_provider_may_name_its_page() -> None:
    """Only there, and only by GET."""
    foreign = HERE | {"origin": "https://login.example"}
    assert status(foreign, path="/oauth2callback") == 200
    assert status(HERE | {"origin": "null"}, path="/a/oauth2callback") == 200
    assert status(foreign, path="/oauth2callback", method="POST") == 403
    assert status(foreign, path="/_stcore/upload_file/oauth2callback", method="PUT") == 403
    assert status(foreign, path="/xoauth2callback") == 403
    assert status({"host": "evil.example"}, path="/oauth2callback") == 421


def test_with_sign_in_pictures_and_uploads_are_for_who_signed_in() -> None:
    asked: list[str] = []

    def admits(cookies: str) -> bool:
        asked.append(cookies)
        return cookies == "user=ada"

    for base, addresses in (("", LOCAL), ("/a", PUBLIC)):
        for path in (
            "/pictures/images/1.png",
            "/media/x.png",
            "/component/x",
            "/_stcore/upload_file/a/b",
            "/_stcore/metrics",
        ):
            for name, expected in (("eve", 401), ("ada", 200)):
                headers = HERE | {"cookie": f"user={name}"}
                assert status(headers, addresses=addresses, admits=admits, path=base + path) == expected, path
            assert status(HERE, addresses=addresses, admits=admits, path=base + path) == 401
            assert status(HERE, addresses=addresses, path=base + path) == 200, "nobody signs in"
        for path in ("/", "/case", "/_stcore/health", "/static/js/x.js", "/oauth2callback", "/auth/login"):
            assert status(HERE, addresses=addresses, admits=admits, path=base + path) == 200, path
    assert "" in asked


def test_cookies_of_an_encrypted_address_are_for_encrypted_connections() -> None:
    def cookie(host: str, addresses: Addresses) -> bytes:
        return dict(sent({"host": host}, addresses)[0]["headers"])[b"set-cookie"]

    assert cookie("cases.example", PUBLIC) == b"a=b; Path=/; Secure"
    assert cookie("127.0.0.1:8501", PUBLIC) == b"a=b; Path=/"
    assert cookie("cases.example", Addresses.of(8501, "http://cases.example")) == b"a=b; Path=/"


@pytest.mark.parametrize(("kind", "scheme"), [("http", "https"), ("websocket", "wss")])
def test_the_application_sees_the_public_address(kind: str, scheme: str) -> None:
    """For its redirects: a proxy passes neither scheme nor port on."""
    seen = []

    async def looking(scope: Message, receive: Receive, send: Send) -> None:
        seen.append((scope["scheme"], dict(scope["headers"])[b"host"]))

    guard = Guard(looking, Addresses.of(8501, "https://cases.example:8443"), POLICY)
    for host in (b"cases.example", b"127.0.0.1:8501"):
        asked = {"type": kind, "method": "GET", "path": "/", "scheme": scheme[:-1], "headers": [(b"host", host)]}
        asyncio.run(guard(asked, None, None))  # type: ignore[arg-type]
    assert seen == [(scheme, b"cases.example:8443"), (scheme[:-1], b"127.0.0.1:8501")]


def test_hashes_of_scripts_within_a_page() -> None:
    # The example of CSP 3 §8.2 (a hash that somebody else computed).
    example = "<script src='x'></script><p>y</p><script type='module'>alert('Hello, world.');</script>z"
    assert inline_script_hashes(example) == ("'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='",)


def test_what_protects_is_set_and_not_left_to_defaults() -> None:
    """A `.streamlit/config.toml` in the working folder wins over Streamlit's defaults, and ours over it."""
    options = streamlit_options(Settings(), Addresses.of(8501, None))
    assert options["server.address"] == "127.0.0.1"
    assert options["server.allowedHosts"] == ["127.0.0.1", "localhost"]
    assert options["browser.serverAddress"] == "127.0.0.1", "else an address is looked up elsewhere"
    on = ("server.enableCORS", "server.enableXsrfProtection", "server.headless", "logger.hideWelcomeMessage")
    off = ("server.enableAgentApi", "server.enableStaticServing", "browser.gatherUsageStats", "server.showEmailPrompt")
    off += ("global.developmentMode", "client.showErrorLinks")
    assert options["runner.postScriptGC"] is False, "it stops all sessions after each touch of one"
    assert all(options[name] is True for name in on)
    assert all(options[name] is False for name in off)
    assert (options["client.showErrorDetails"], options["server.trustedUserHeaders"]) == ("none", {})
