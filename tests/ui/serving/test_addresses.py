"""Names and origins of the view, and public addresses that are none."""

from __future__ import annotations

import pytest

from ui.errors import ViewError
from ui.serving.addresses import Addresses


def test_without_a_public_address_the_loopback_alone_is_ours() -> None:
    here = Addresses.of(8501, None)
    assert (here.url, here.names) == ("http://127.0.0.1:8501", ("127.0.0.1", "localhost"))
    assert here.origins == ("http://127.0.0.1:8501", "http://localhost:8501")
    assert here == Addresses.of(8501, "")


@pytest.mark.parametrize(
    ("given", "origin", "path", "name"),
    [
        ("https://cases.example", "https://cases.example", "", "cases.example"),
        ("https://Cases.Example:443/", "https://cases.example", "", "cases.example"),
        ("http://cases.example:8080/a/b/", "http://cases.example:8080", "/a/b", "cases.example"),
        ("https://bücher.example", "https://xn--bcher-kva.example", "", "xn--bcher-kva.example"),
        ("https://10.1.2.3", "https://10.1.2.3", "", "10.1.2.3"),
    ],
)
def test_a_public_address_is_written_as_browsers_write_it(given: str, origin: str, path: str, name: str) -> None:
    there = Addresses.of(8501, given)
    assert (there.public_origin, there.url, there.public_name) == (origin, origin + path, name)
    assert there.names == ("127.0.0.1", "localhost", name)
    assert there.local_url == "http://127.0.0.1:8501" + path


@pytest.mark.parametrize(
    "given",
    [
        *("cases.example", "ftp://cases.example", "https://", "https:///path", "https://a:b@cases.example"),
        *("javascript:1", "https://cases.example:x", "https://cases.example?q", "https://cases.example#f"),
        *("https://*.example", "https://a b", "https://cases.example/a b", "https://cases.example/../x"),
        *("https://cases.example//x", "https://.", "https://[::1]", "https://cases.example/a;b"),
        *("https://cases..example", "https://cases.example\r\nX: y"),
    ],
)
def test_what_is_no_address_is_refused_by_name(given: str) -> None:
    with pytest.raises(ViewError, match="--public-url"):
        Addresses.of(8501, given)


OURS = ("127.0.0.1:8501", "LOCALHOST", "localhost.:9", "localhost:9000", "cases.example", "cases.example:8443")
STRANGE = (
    *("evil.example", "127.0.0.1.evil.example", "", "localhost:x", "localhost:123456", "a@localhost", "[::1]:8501"),
    *("localhost/x", "0.0.0.0:8501", "127.1", "localhost..", "xlocalhost", "sub.cases.example", "localhost "),
    *("localhost, evil.example", "localhost:8501:8501", "ſocalhost", "localhost\n"),
)


def test_names_in_the_header_host() -> None:
    there = Addresses.of(8501, "https://cases.example")
    assert [host for host in OURS if not there.name_in(host)] == []
    assert [host for host in STRANGE if there.name_in(host)] == []


@pytest.mark.parametrize(
    ("origin", "host", "ours"),
    [
        ("http://127.0.0.1:8501", "127.0.0.1:8501", True),
        ("http://localhost:8501", "localhost:8501", True),
        ("http://localhost:9000", "localhost:9000", True),  # a tunnel
        ("http://localhost:9000", "localhost:8501", False),  # another local page
        ("http://127.0.0.1:8501", "localhost:8501", False),
        ("https://127.0.0.1:8501", "127.0.0.1:8501", False),
        ("http://localhost", "localhost:8501", False),
        ("https://cases.example", "cases.example", True),
        ("https://cases.example", "127.0.0.1:8501", True),  # a proxy that does not pass the name on
        ("http://cases.example", "cases.example", False),
        ("https://cases.example:8443", "cases.example:8443", False),
        ("https://evil.example", "evil.example", False),
        ("null", "127.0.0.1:8501", False),
        ("", "127.0.0.1:8501", False),
    ],
)
def test_origins_of_our_own_pages(origin: str, host: str, ours: bool) -> None:
    assert Addresses.of(8501, "https://cases.example").is_own_origin(origin, host) == ours
