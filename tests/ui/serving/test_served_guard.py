"""The served view refuses other names and other pages on every kind of path, and protects every answer."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import streamlit

from tests.ui.served_view import served
from ui.serving.guard import content_security_policy, inline_script_hashes

pytestmark = pytest.mark.slow

PUBLIC = "https://cases.example"
SCRIPT = next((Path(streamlit.__file__).parent / "static" / "static" / "js").glob("index.*.js")).name
PATHS = (
    *("/", "/case", "/nowhere", f"/static/js/{SCRIPT}", "/favicon.png", "/media/x.png", "/component/x", "/auth/login"),
    *("/pictures/images/1.png", "/pictures/kept/x.png", "/pictures/slides/x/0/1/0_0.jpg"),
    *("/_stcore/health", "/_stcore/host-config", "/_stcore/metrics", "/_stcore/agent/openapi.json", "/oauth2callback"),
    *("/_stcore/upload_file/a/b", "//", "/..%2f", "/%00", "/_stcore/stream"),
)
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


@dataclass(frozen=True)
class Answer:
    status: int
    body: str
    headers: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class View:
    port: int
    log: Path

    def ask(self, path: str, host: str | None = "", method: str = "GET", body: bytes = b"", **headers: str) -> Answer:
        """Send one request; `host` None leaves the header out, and empty is the view's own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            if host is not None:
                connection.putheader("Host", host or f"127.0.0.1:{self.port}")
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            if body:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body or None)
            answer = connection.getresponse()
            given: dict[str, list[str]] = {}
            for name, value in answer.getheaders():
                given.setdefault(name.lower(), []).append(value)
            return Answer(answer.status, answer.read().decode("utf-8", "replace"), given)

    def handshake(self, host: str, origin: str | None) -> Answer:
        """Status and head of the answer to a websocket's handshake."""
        sent = [f"Host: {host}", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
        sent += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="] + ([] if origin is None else [f"Origin: {origin}"])
        with socket.create_connection(("127.0.0.1", self.port), timeout=300) as connection:
            connection.sendall("\r\n".join(["GET /_stcore/stream HTTP/1.1", *sent, "", ""]).encode())
            head = b""
            while b"\r\n\r\n" not in head and (more := connection.recv(4096)):
                head += more
        lines = head.split(b"\r\n\r\n")[0].decode().split("\r\n")
        given: dict[str, list[str]] = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            given.setdefault(name.lower(), []).append(value.strip())
        return Answer(int(lines[0].split()[1]), "", given)


TAKEN_BACK = {
    "STREAMLIT_SERVER_ADDRESS": "0.0.0.0",
    "STREAMLIT_SERVER_ENABLE_CORS": "false",
    "STREAMLIT_SERVER_ENABLE_XSRF_PROTECTION": "false",
    "STREAMLIT_SERVER_ENABLE_STATIC_SERVING": "true",
    "STREAMLIT_SERVER_ENABLE_AGENT_API": "true",
    "STREAMLIT_GLOBAL_DEVELOPMENT_MODE": "true",
    "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "true",
    "STREAMLIT_CLIENT_SHOW_ERROR_DETAILS": "full",
}
"""What an administrator's environment, or a folder from elsewhere, may ask of Streamlit; the view does not follow."""


@pytest.fixture(scope="module")
def view(models: dict[str, str], archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[View]:
    settings = {**models, **TAKEN_BACK, "COIN_ARCHIVE": str(archive), "COIN_PUBLIC_URL": PUBLIC}
    log = tmp_path_factory.mktemp("server") / "log"
    with socket.create_server(("127.0.0.1", 0)) as outside:
        # Whatever the server fetched from elsewhere would go through this.
        proxy = f"http://127.0.0.1:{outside.getsockname()[1]}"
        proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), proxy)
        with served({**settings, **proxies, "no_proxy": "", "NO_PROXY": ""}, log) as address:
            yield View(int(address.rsplit(":", 1)[1]), log)
        outside.setblocking(False)
        with pytest.raises(BlockingIOError):
            outside.accept()


def protected(answer: Answer) -> None:
    for name, value in HEADERS.items():
        assert answer.headers.get(name) == [value], (name, answer)
    (policy,) = answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-eval" not in policy


@pytest.mark.parametrize("path", PATHS)
def test_every_path_answers_to_our_names_alone_and_is_protected(view: View, path: str) -> None:
    for host in ("", f"localhost:{view.port}", "localhost:9000", "cases.example"):
        answer = view.ask(path, host)
        assert answer.status not in (403, 421, 500), (path, host, answer)
        protected(answer)
    for host in ("evil.example", f"evil.example:{view.port}", "127.0.0.1.evil.example", "[::1]", "0.0.0.0"):
        answer = view.ask(path, host)
        assert answer.status == 421, (path, host)
        assert "--public-url" in answer.body
        protected(answer)


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_every_method_is_guarded(view: View, method: str) -> None:
    for path in ("/", "/_stcore/upload_file/a/b", "/_stcore/health", "/media/x.png"):
        assert view.ask(path, "evil.example", method).status == 421
        assert view.ask(path, method=method, Origin=f"http://127.0.0.1:{view.port + 1}").status == 403
        protected(view.ask(path, method=method))


def test_a_request_without_or_with_two_names_is_refused(view: View) -> None:
    assert view.ask("/", host=None).status in (400, 421)
    assert view.ask("/", HOST="evil.example").status in (400, 421)


def test_uploads_from_other_pages_are_refused(view: View) -> None:
    body = b"x" * 100_000
    for origin in (f"http://127.0.0.1:{view.port + 1}", "http://localhost:3000", "https://evil.example", "null"):
        answer = view.ask("/_stcore/upload_file/a/b", method="PUT", body=body, Origin=origin)
        assert answer.status == 403, origin
        protected(answer)
        assert "access-control-allow-origin" not in answer.headers
    own = view.ask("/_stcore/upload_file/a/b", method="PUT", body=body, Origin=f"http://127.0.0.1:{view.port}")
    assert (own.status, "XSRF" in own.body) == (403, True), "our own page needs its token too"


def test_the_websocket_takes_our_own_pages_alone(view: View) -> None:
    here = f"127.0.0.1:{view.port}"
    for host, origin in (
        (here, f"http://{here}"),
        (f"localhost:{view.port}", f"http://localhost:{view.port}"),
        ("cases.example", PUBLIC),
        (here, PUBLIC),
    ):
        answer = view.handshake(host, origin)
        assert answer.status == 101, (host, origin)
        protected(answer)
    for host, origin in (
        (here, f"http://127.0.0.1:{view.port + 1}"),
        (here, f"http://localhost:{view.port}"),
        (here, "http://127.0.0.1"),
        (here, "http://0.0.0.0"),
        (here, "https://x.streamlit.app"),
        (here, "https://evil.example"),
        (here, "null"),
        ("cases.example", "http://cases.example"),
        ("cases.example", f"http://{here}"),
        ("evil.example", "http://evil.example"),
        ("evil.example", None),
    ):
        answer = view.handshake(host, origin)
        assert answer.status == 403, (host, origin)
        protected(answer)


def test_only_our_own_pages_may_send_messages_to_the_page(view: View) -> None:
    allowed = json.loads(view.ask("/_stcore/host-config").body)["allowedOrigins"]
    assert allowed == [f"http://127.0.0.1:{view.port}", f"http://localhost:{view.port}", PUBLIC]


def test_cookies_at_an_encrypted_address_are_for_encrypted_connections(view: View) -> None:
    (public,) = view.ask("/_stcore/health", "cases.example").headers["set-cookie"]
    assert public.endswith("; Secure")
    (local,) = view.ask("/_stcore/health").headers["set-cookie"]
    assert "Secure" not in local


def test_the_policy_names_the_scripts_of_the_start_page(view: View) -> None:
    page = view.ask("/")
    (policy,) = page.headers["content-security-policy"]
    inline = re.findall(r"<script>", page.body)
    assert len(inline) == len(re.findall(r"'sha256-", policy)) == 1
    assert content_security_policy(inline_script_hashes(page.body)) == policy


def test_the_view_is_driven_by_pages_alone(view: View) -> None:
    """Streamlit's interface for programs is off; no folder is served; it listens on one address."""
    for path in ("/_stcore/agent/interact", "/_stcore/agent/mcp"):
        answer = view.ask(path, method="POST", body=b"{}", Content_Type="application/json")
        assert answer.status >= 400 and "not_available" in answer.body, (path, answer)
    assert view.ask("/app/static/style.css").body == view.ask("/").body, "no folder of files is served"
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.2", view.port), timeout=5).close()
