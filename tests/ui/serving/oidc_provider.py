"""A provider of OpenID Connect on the loopback: discovery, keys, a page to sign in, codes with PKCE, signed tokens."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import html
import json
import secrets
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT = "coin"
SECRET = "what the provider gave"
GROUPS = 200  # Microsoft Entra names as many in a token, of 36 letters each
FORM = """<!doctype html><title>Provider</title><form method="post"><input name="name" aria-label="Name" autofocus>
<input type="hidden" name="query" value="{query}"><button>Continue</button></form>"""


class Provider:
    """What the handler knows: its key, its address, the codes that wait, and the claims of each user."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "test", "use": "sig", "alg": "RS256"})
        self.issuer = ""
        self.codes: dict[str, tuple[dict[str, str], dict[str, Any]]] = {}
        self.signed_out = 0

    def metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "end_session_endpoint": f"{self.issuer}/end",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
        }

    def authorize(self, asked: dict[str, str], name: str) -> str:
        """The address that the browser goes back to after `name` signed in."""
        assert (asked["client_id"], asked["response_type"]) == (CLIENT, "code")
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe()
        claims: dict[str, Any] = {"sub": f"id-of-{name}", "name": name.title(), "email": f"{name}@hospital.example"}
        if name.startswith("unverified"):
            claims |= {"email": "boss@hospital.example", "email_verified": False}
        if name.startswith("guest"):
            claims["email"] = f"{name}@elsewhere.example"
        if name.startswith("busy"):
            claims["groups"] = [secrets.token_hex(16) for _ in range(GROUPS)]
        self.codes[code] = asked, claims
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def token(self, sent: dict[str, str], basic: str) -> dict[str, Any]:
        """Tokens for a code, once, for the client that shows its secret and the verifier of its challenge."""
        client, secret = map(unquote, base64.b64decode(basic.removeprefix("Basic ")).decode().split(":"))
        assert (client, secret) == (CLIENT, SECRET)
        asked, claims = self.codes.pop(sent["code"])
        digest = hashlib.sha256(sent["code_verifier"].encode()).digest()
        assert base64.urlsafe_b64encode(digest).decode().rstrip("=") == asked["code_challenge"]
        assert sent["redirect_uri"] == asked["redirect_uri"]
        now = int(time.time())
        claims = {**claims, "iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        signed = jwt.encode({"alg": "RS256", "kid": "test"}, claims, self.key)
        return {"access_token": secrets.token_urlsafe(), "token_type": "Bearer", "expires_in": 300, "id_token": signed}


def _handler(provider: Provider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Nothing is printed."""

        def answer(self, body: str, kind: str, status: int = 200, **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(body.encode())), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if url.path == "/.well-known/openid-configuration":
                self.answer(json.dumps(provider.metadata()), "application/json")
            elif url.path == "/keys":
                self.answer(json.dumps({"keys": [provider.key.as_dict(private=False)]}), "application/json")
            elif url.path == "/authorize":
                self.answer(FORM.format(query=html.escape(url.query)), "text/html")
            elif url.path == "/end":
                provider.signed_out += 1
                back = parse_qs(url.query)["post_logout_redirect_uri"][0]
                self.answer("", "text/plain", 302, Location=back)
            else:
                self.answer("", "text/plain", 404)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            sent = {name: values[0] for name, values in parse_qs(body).items()}
            if urlsplit(self.path).path == "/authorize":
                asked = {name: values[0] for name, values in parse_qs(sent["query"]).items()}
                self.answer("", "text/plain", 302, Location=provider.authorize(asked, sent["name"]))
            else:
                tokens = provider.token(sent, self.headers["Authorization"])
                self.answer(json.dumps(tokens), "application/json")

    return Handler


@contextlib.contextmanager
def oidc_provider() -> Iterator[Provider]:
    """A provider that answers on a free port of the loopback."""
    provider = Provider()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(provider)) as server:
        provider.issuer = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield provider
        server.shutdown()
        thread.join()
