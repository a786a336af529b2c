"""The names under which the view answers, and the origins of its own pages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from ui.errors import ViewError

ADDRESS: Final = "127.0.0.1"
LOOPBACK_NAMES: Final = (ADDRESS, "localhost")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
# RFC 9110 §7.2, without user, IPv6 literals and percent encoding: none of the view's names has them.
_HOST: Final = re.compile(r"([a-z0-9_-]+(?:\.[a-z0-9_-]+)*)\.?(?::\d{1,5})?", re.ASCII)
_PATH: Final = re.compile(r"(?:/[A-Za-z0-9._~-]+)*/?", re.ASCII)


@dataclass(frozen=True)
class Addresses:
    """Where the view is: on a port of 127.0.0.1, and, where a proxy stands before it, at a public address.

    `public_origin` is scheme, name and port as a browser writes them in the header Origin; `path` is the public
    address's path without slashes around it. Both are empty without a public address.
    """

    port: int
    public_origin: str = ""
    path: str = ""

    @classmethod
    def of(cls, port: int, public_url: str | None) -> Addresses:
        """Those of a port and of the setting `public_url`. Raises ViewError where that is no address of a page."""
        if not public_url:
            return cls(port)
        try:
            url = urlsplit(public_url)
            name = (url.hostname or "").encode("idna").decode("ascii").lower()
            number = url.port
        except ValueError:  # a port that is none, a name that cannot be one
            raise _no_address(public_url) from None
        plain = url.scheme in _DEFAULT_PORTS and not (url.username or url.password or url.query or url.fragment)
        parts = url.path.split("/")
        if not (plain and _HOST.fullmatch(name) and _PATH.fullmatch(url.path)) or {".", ".."} & set(parts):
            raise _no_address(public_url)
        port_text = "" if number in (None, _DEFAULT_PORTS[url.scheme]) else f":{number}"
        return cls(port, f"{url.scheme}://{name.rstrip('.')}{port_text}", url.path.strip("/"))

    @property
    def local_url(self) -> str:
        """The view's address on this machine, for people."""
        return f"http://{ADDRESS}:{self.port}{self._suffix}"

    @property
    def url(self) -> str:
        """The address that users open."""
        return f"{self.public_origin}{self._suffix}" if self.public_origin else self.local_url

    @property
    def public_name(self) -> str:
        """The public host name; empty without a public address."""
        return urlsplit(self.public_origin).hostname or ""

    @property
    def names(self) -> tuple[str, ...]:
        """The host names that are answered."""
        return (*LOOPBACK_NAMES, self.public_name) if self.public_name else LOOPBACK_NAMES

    @property
    def origins(self) -> tuple[str, ...]:
        """The origins of the view's own pages, as far as they are known before a request."""
        local = tuple(f"http://{name}:{self.port}" for name in LOOPBACK_NAMES)
        return (*local, self.public_origin) if self.public_origin else local

    def name_in(self, host: str) -> str:
        """The host name of a header Host (with any port: a tunnel may have another); empty where it is not ours."""
        match = _HOST.fullmatch(host.lower())
        return match[1] if match is not None and match[1] in self.names else ""

    def is_own_origin(self, origin: str, host: str) -> bool:
        """Whether a header Origin is that of the page which a request with this header Host belongs to."""
        if self.public_origin and origin == self.public_origin:
            return True
        # On the loopback a browser puts the page's own name and port into both: another local port differs here.
        return self.name_in(host) in LOOPBACK_NAMES and origin == f"http://{host.lower()}"

    @property
    def _suffix(self) -> str:
        return f"/{self.path}" if self.path else ""


def _no_address(public_url: str) -> ViewError:
    return ViewError(
        f"{public_url!r} is not an address of the view: --public-url (COIN_PUBLIC_URL) takes https://name or "
        "https://name/path, as users type it"
    )
