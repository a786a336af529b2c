"""Sign-in by OpenID Connect: the file that names the provider, who may enter, and the name for the audit log."""

from __future__ import annotations

import fnmatch
import importlib.util
import json
import secrets
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from ui.errors import ViewError
from ui.serving.addresses import LOOPBACK_NAMES, Addresses
from ui.serving.guard import CALLBACK

_NEEDED: Final = ("client_id", "client_secret", "server_metadata_url")
_OPTIONAL: Final = {"cookie_secret": str, "client_kwargs": dict, "users": list}
SHORTEST_SECRET: Final = 32  # characters: Streamlit signs with HMAC-SHA-256, whose key has 32 bytes


@dataclass(frozen=True)
class SignIn:
    """The client of an OpenID Connect provider, and who of its users may enter (patterns; none: all)."""

    client_id: str
    client_secret: str = field(repr=False)
    server_metadata_url: str
    cookie_secret: str = field(default="", repr=False)
    client_kwargs: Mapping[str, Any] = field(default_factory=dict)
    users: tuple[str, ...] = ()

    def secrets(self, addresses: Addresses) -> dict[str, Any]:
        """The section `auth` of Streamlit's secrets. Without a cookie secret, sign-ins end with the server."""
        return {
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "server_metadata_url": self.server_metadata_url,
            "cookie_secret": self.cookie_secret or secrets.token_hex(32),
            "redirect_uri": f"{addresses.url}/{CALLBACK}",
            "client_kwargs": dict(self.client_kwargs),
        }

    def admits(self, user: str) -> bool:
        """Whether a signed-in user may enter."""
        name = user.casefold()
        return bool(user) and (
            not self.users or any(fnmatch.fnmatchcase(name, pattern.casefold()) for pattern in self.users)
        )


def user_name(claims: Mapping[str, Any]) -> str:
    """The name of who signed in, for the audit log; empty where nobody did.

    The e-mail address, unless the provider says that it was not verified: then anybody could claim it, and the
    subject, which the provider gives, is taken.
    """
    if not claims.get("is_logged_in"):
        return ""
    if claims.get("email") and claims.get("email_verified") is False:
        return str(claims.get("sub") or "")
    return str(claims.get("email") or claims.get("name") or claims.get("sub") or "")


def user_of_cookies(header: str, cookie_secret: str) -> str:
    """The name of who is signed in by a request's header Cookie, as Streamlit signs it; empty where nobody is."""
    from starlette.requests import cookie_parser
    from streamlit.auth_util import get_cookie_with_chunks
    from streamlit.web.server.starlette.starlette_app_utils import decode_signed_value
    from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME

    cookies = cookie_parser(header)

    def signed(name: str) -> bytes | None:
        value = cookies.get(name)
        return decode_signed_value(cookie_secret, name, value) if value else None

    claims = get_cookie_with_chunks(signed, USER_COOKIE_NAME)
    return user_name(json.loads(claims)) if claims else ""


def read_sign_in(path: str | Path) -> SignIn:
    """The sign-in that a file in the form of Streamlit's `secrets.toml` describes, in its section `auth`.

    Raises:
        ViewError: it cannot be read, others may read it, or a value is missing or cannot be used.
    """
    path = Path(path)
    try:
        if path.stat().st_mode & 0o007:
            raise ViewError(f"'{path}' holds secrets and is open to every user of this machine: chmod 600 '{path}'")
        values = tomllib.loads(path.read_text(encoding="utf-8")).get("auth")
    except OSError as error:
        raise ViewError(f"the sign-in file '{path}' cannot be read ({error.strerror})") from error
    except ValueError as error:  # the text of a TOML error may show what stands there
        raise ViewError(f"the sign-in file '{path}' is not TOML in UTF-8") from error
    if not isinstance(values, dict):
        raise ViewError(f"the sign-in file '{path}' has no section [auth]")
    values.pop("redirect_uri", None)  # follows from the view's address
    return _checked(path, values)


def _checked(path: Path, values: dict[str, Any]) -> SignIn:
    for name in _NEEDED:
        if not isinstance(values.get(name), str) or not values[name]:
            raise ViewError(f"the sign-in file '{path}' does not give {name}, a text, in its section [auth]")
    for name, value in values.items():
        if name not in (*_NEEDED, *_OPTIONAL):
            raise ViewError(f"the sign-in file '{path}' gives {name!r}, which is not known here")
        if name in _OPTIONAL and not isinstance(value, _OPTIONAL[name]):
            raise ViewError(f"the sign-in file '{path}': {name} has another type than {_OPTIONAL[name].__name__}")
    if 0 < len(values.get("cookie_secret", "")) < SHORTEST_SECRET:
        raise ViewError(f"the sign-in file '{path}': cookie_secret is shorter than {SHORTEST_SECRET} characters")
    metadata = urlsplit(values["server_metadata_url"])
    if metadata.scheme != "https" and not (metadata.scheme == "http" and metadata.hostname in LOOPBACK_NAMES):
        raise ViewError(f"the sign-in file '{path}': server_metadata_url does not begin with https://")
    users = values.pop("users", [])
    if not all(isinstance(user, str) and user for user in users):
        raise ViewError(f"the sign-in file '{path}': users holds something other than names and patterns")
    return SignIn(**values, users=tuple(users))


def check_installed() -> None:
    """Raise ViewError where a package that sign-in needs is not installed."""
    missing = [name for name in ("authlib", "httpx") if importlib.util.find_spec(name) is None]
    if missing:
        raise ViewError(f"sign-in needs {' and '.join(missing)}: pip install 'coin-retrieval[sign-in]'")
