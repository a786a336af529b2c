"""What stands before every request of the view: checks of Host and Origin, and headers on every answer.

Streamlit itself compares Host and Origin for its websocket alone, and there lets any port of this machine in; its
pages, pictures and uploads answer to every name, and it forbids no framing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from html.parser import HTMLParser
from typing import Any, Final

from ui.serving.addresses import Addresses
from ui.serving.pictures.addresses import ROOT as PICTURES

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

CALLBACK: Final = "oauth2callback"
_PROXY: Final = "Where a proxy stands before it, set --public-url (COIN_PUBLIC_URL)."
_MISDIRECTED: Final = f"The view does not answer to this name. {_PROXY}"
_FOREIGN: Final = f"This request comes from a page that is not the view's. {_PROXY}"
_NOT_SIGNED_IN: Final = "Please sign in first."
# Pages ask by themselves who signed in. Streamlit answers these to whoever knows an address; and a session, which the
# page with the button has too, is enough to fill the memory by uploads.
_CLOSED: Final = (
    f"{PICTURES}/",
    *("media/", "component/", "_stcore/upload_file/", "_stcore/bidi-components/", "_stcore/metrics"),
)


class _InlineScripts(HTMLParser):
    """Collects the scripts that stand within a page."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag == "script" and "src" not in dict(attrs)
        if self._inside:
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.scripts[-1] += data


def inline_script_hashes(page: str) -> tuple[str, ...]:
    """CSP sources (CSP 3 §2.3.1) of the scripts that stand within an HTML page."""
    found = _InlineScripts()
    found.feed(page)
    found.close()
    digests = (hashlib.sha256(script.encode()).digest() for script in found.scripts)
    return tuple(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


def content_security_policy(script_hashes: Iterable[str]) -> str:
    """The policy of the view's pages: everything from itself, nothing in a frame, no script but Streamlit's files."""
    directives = {
        "default-src": "'none'",
        "script-src": " ".join(("'self'", *script_hashes)),
        "style-src": "'self' 'unsafe-inline'",  # Streamlit's components write their styles into the page
        "img-src": "'self' data: blob:",
        "font-src": "'self' data:",
        "connect-src": "'self'",
        "worker-src": "'self' blob:",
        "manifest-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {sources}" for name, sources in directives.items())


def security_headers(policy: str) -> Headers:
    """The headers of every answer."""
    headers = {
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
    }
    return [(name.encode(), value.encode()) for name, value in headers.items()]


class Guard:
    """An ASGI application around another: refuses requests under other names and from other pages."""

    def __init__(
        self, app: Application, addresses: Addresses, policy: str, admits: Callable[[str], bool] | None = None
    ) -> None:
        """`admits` tells from a request's header Cookie whether its user may enter; None where nobody signs in."""
        self._app = app
        self._addresses = addresses
        self._headers = security_headers(policy)
        self._admits = admits
        base = f"/{addresses.path}" if addresses.path else ""
        self._closed = tuple(f"{base}/{path}" for path in _CLOSED)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request; what is no request (the server's start and end) passes."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        public = any(self._addresses.name_in(host) == self._addresses.public_name != "" for host in hosts)
        secure = public and self._addresses.public_origin.startswith("https:")

        async def send_with_headers(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.accept", "websocket.http.response.start"):
                message["headers"] = self._completed(message.get("headers", []), secure=secure)
            await send(message)

        status, reason = self._refusal(scope, hosts)
        if status:
            await _refuse(scope, send_with_headers, status, reason)
        else:
            await self._app(self._seen_by_users(scope) if public else scope, receive, send_with_headers)

    def _refusal(self, scope: Message, hosts: list[str]) -> tuple[int, str]:
        """Status and text of the refusal; 0 where the request may pass."""
        if len(hosts) != 1 or not self._addresses.name_in(hosts[0]):
            return 421, _MISDIRECTED
        origins = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
        # Coming back from signing in, some browsers name the provider's page. That address is protected by its state.
        safe = scope["type"] == "http" and scope["method"] == "GET" and scope["path"].endswith(f"/{CALLBACK}")
        if not safe and not all(self._addresses.is_own_origin(origin, hosts[0]) for origin in origins):
            return 403, _FOREIGN
        if self._admits is not None and scope["path"].startswith(self._closed):
            cookies = b"; ".join(value for name, value in scope["headers"] if name == b"cookie")
            if not self._admits(cookies.decode("latin-1")):
                return 401, _NOT_SIGNED_IN
        return 0, ""

    def _seen_by_users(self, scope: Message) -> Message:
        """The request with scheme, name and port of the public address, which a proxy may have taken away.

        Redirects lead there then, and Streamlit too sees that page and request belong together.
        """
        scheme, _, place = self._addresses.public_origin.partition("://")
        headers = [(name, place.encode() if name == b"host" else value) for name, value in scope["headers"]]
        return {
            **scope,
            "scheme": scheme.replace("http", "ws" if scope["type"] == "websocket" else "http"),
            "headers": headers,
        }

    def _completed(self, headers: Iterable[tuple[bytes, bytes]], *, secure: bool) -> Headers:
        """An answer's headers with ours; ours win. With `secure`, cookies are for encrypted connections only."""
        ours = {name for name, _ in self._headers}
        kept = []
        for name, value in headers:
            if name.lower() == b"set-cookie" and secure and b"; secure" not in value.lower():
                value += b"; Secure"
            if name.lower() not in ours:
                kept.append((name, value))
        return kept + self._headers


async def _refuse(scope: Message, send: Send, status: int, reason: str) -> None:
    kind = "http.response"
    if scope["type"] == "websocket":
        # A refused handshake is 403 everywhere. Servers without this extension answer so by themselves.
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008})
            return
        kind, status = "websocket.http.response", 403
    body = f"{reason}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    # What was sent with a refused request is not read: the connection ends.
    await send({"type": f"{kind}.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": f"{kind}.body", "body": body})
