"""The file that names the provider, who may enter, and the name for the audit log."""

from __future__ import annotations

import importlib.util
import secrets
from pathlib import Path

import pytest
from streamlit.auth_util import set_cookie_with_chunks
from streamlit.web.server.starlette.starlette_app_utils import create_signed_value
from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME

from tests.ui.conftest import coin
from ui.errors import ViewError
from ui.serving.addresses import Addresses
from ui.serving.server import admission
from ui.serving.sign_in import read_sign_in, user_name, user_of_cookies

GOOD = 'client_id = "coin"\nclient_secret = "s3cret"\nserver_metadata_url = "https://login.example/x"\n'


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "sign-in.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_what_streamlit_is_given(tmp_path: Path) -> None:
    sign_in = read_sign_in(written(tmp_path, f'[auth]\n{GOOD}redirect_uri = "elsewhere"\n'))
    made = sign_in.secrets(Addresses.of(8501, "https://cases.example/a"))
    assert made["redirect_uri"] == "https://cases.example/a/oauth2callback"
    assert len(made["cookie_secret"]) == 64
    assert made["cookie_secret"] != sign_in.secrets(Addresses.of(8501, None))["cookie_secret"]
    assert sign_in.secrets(Addresses.of(8501, None))["redirect_uri"] == "http://127.0.0.1:8501/oauth2callback"
    assert "s3cret" not in repr(sign_in)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", r"no section \[auth\]"),
        ("auth = 1", r"no section \[auth\]"),
        ("[auth]\nclient_id = 's3cret", "is not TOML"),
        ("[auth]\nclient_id = 'coin'", "client_secret"),
        (f"[auth]\n{GOOD}cookie_secret = 's3cret'", "shorter than 32"),
        (f"[auth]\n{GOOD}cookie_secret = 5", "another type"),
        (f"[auth]\n{GOOD}users = 'a@b'", "another type"),
        (f"[auth]\n{GOOD}users = [1]", "users holds"),
        (f"[auth]\n{GOOD}user = ['a@b']", "'user', which is not known"),
        (f"[auth]\n{GOOD.replace('https', 'http')}", "https://"),
    ],
)
def test_a_file_that_cannot_be_used_says_why_and_shows_no_secret(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ViewError, match=reason) as refused:
        read_sign_in(written(tmp_path, text))
    assert "s3cret" not in str(refused.value)


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ViewError, match="chmod 600"):
        read_sign_in(written(tmp_path, f"[auth]\n{GOOD}", 0o644))
    with pytest.raises(ViewError, match="cannot be read"):
        read_sign_in(tmp_path / "absent.toml")
    assert read_sign_in(written(tmp_path, f"[auth]\n{GOOD}", 0o640)).client_id == "coin", "a service's group may"


def test_who_may_enter(tmp_path: Path) -> None:
    users = 'users = ["*@hospital.example", "Eve@Elsewhere.example"]'
    some = read_sign_in(written(tmp_path, f"[auth]\n{GOOD}{users}"))
    assert some.admits("ada@hospital.example")
    assert some.admits("eve@elsewhere.example")
    assert not some.admits("bob@elsewhere.example")
    assert not some.admits("ada@hospital.example.evil.example")
    anybody = read_sign_in(written(tmp_path, f"[auth]\n{GOOD}"))
    assert anybody.admits("bob")
    assert not anybody.admits("")
    assert not read_sign_in(written(tmp_path, f"[auth]\n{GOOD}users = []")).admits("")


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({}, ""),
        ({"email": "a@b", "sub": "1"}, ""),
        ({"is_logged_in": False, "email": "a@b"}, ""),
        ({"is_logged_in": True, "email": "a@b", "name": "A", "sub": "1"}, "a@b"),
        ({"is_logged_in": True, "email": "a@b", "email_verified": True, "sub": "1"}, "a@b"),
        ({"is_logged_in": True, "email": "a@b", "email_verified": False, "name": "A", "sub": "1"}, "1"),
        ({"is_logged_in": True, "name": "A", "sub": "1"}, "A"),
        ({"is_logged_in": True, "sub": "1"}, "1"),
        ({"is_logged_in": True, "email": "a@b", "email_verified": False}, ""),
    ],
)
def test_the_name_for_the_audit_log(claims: dict[str, object], name: str) -> None:
    assert user_name(claims) == name


def test_the_command_refuses_before_it_serves(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, f"[auth]\n{GOOD}")
    both = coin("ui", "--sign-in", file, "--user-header", "X-User")
    assert (both.exit_code, "choose one" in both.stderr) == (1, True)
    assert "no section" in coin("ui", "--sign-in", written(tmp_path, "")).stderr
    assert "--public-url" in coin("ui", "--public-url", "cases.example").stderr
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "coin-retrieval[sign-in]" in coin("ui", "--sign-in", file).stderr


def cookies_of(claims: dict[str, object], secret: str) -> str:
    """The header Cookie that a browser sends after Streamlit signed somebody in with these claims."""
    kept: dict[str, str] = {}
    set_cookie_with_chunks(
        lambda name, value: kept.update({name: create_signed_value(secret, name, value).decode()}),
        lambda name, value: create_signed_value(secret, name, value),
        USER_COOKIE_NAME,
        claims,
        cookie_attr_size=100,
    )
    return "; ".join(f"{name}={value}" for name, value in {"other": "1", **kept}.items())


@pytest.mark.parametrize("more", [{}, {"groups": [secrets.token_hex(16) for _ in range(200)]}])
def test_who_signed_in_is_read_from_cookies_that_are_signed(more: dict[str, object]) -> None:
    """A user in many groups has a cookie of several parts."""
    secret = "0123456789abcdef" * 2
    header = cookies_of({"is_logged_in": True, "email": "ada@hospital.example", **more}, secret)
    assert (header.count("_streamlit_user") > 1) == bool(more)
    assert user_of_cookies(header, secret) == "ada@hospital.example"
    assert user_of_cookies(header, secret[::-1]) == ""
    assert user_of_cookies(header[:-2], secret) == ""
    assert user_of_cookies(header.replace("_streamlit_user=", "_streamlit_user=x"), secret) == ""
    assert user_of_cookies(cookies_of({"is_logged_in": False, "email": "a@b"}, secret), secret) == ""
    for nothing in ("", "other=1", "_streamlit_user=", "_streamlit_user=x.y.z", ";;=;"):
        assert user_of_cookies(nothing, secret) == ""


def test_what_the_guard_asks_follows_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, f'[auth]\n{GOOD}users = ["ada@*"]')
    given = read_sign_in(file).secrets(Addresses.of(8501, None))
    ask = admission(str(file), given)
    assert ask is not None
    ada, eve = (
        cookies_of({"is_logged_in": True, "email": f"{name}@b"}, given["cookie_secret"]) for name in ("ada", "eve")
    )
    assert (ask(ada), ask(eve), ask("")) == (True, False, False)
    written(tmp_path, f'[auth]\n{GOOD}users = ["eve@*"]')
    assert (ask(ada), ask(eve)) == (False, True)
    file.unlink()
    assert not ask(eve), "without the file nobody enters"
    assert admission(None, None) is None
