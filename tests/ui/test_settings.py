"""Settings: read from the environment, handed on, and the same in the program and in the documentation."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from ui.errors import SettingError
from ui.settings import SETTINGS, Settings


def test_defaults_are_accepted_by_their_own_rules() -> None:
    for setting in SETTINGS:
        if setting.default is not None:
            assert setting.parse(str(setting.default)) == setting.default


def test_every_setting_says_what_it_does() -> None:
    assert [setting.name for setting in SETTINGS] == [field.name for field in fields(Settings)]
    for setting in SETTINGS:
        assert setting.help
        assert setting.default is not None or setting.default_text, f"{setting.name} does not say its default"


def test_from_env_reads_numbers_and_text_and_ignores_empty_ones() -> None:
    read = Settings.from_env({"COIN_K": "3", "COIN_ARCHIVE": "a folder", "COIN_PRESET": "", "OTHER": "x"})
    assert read == Settings(k=3, archive="a folder")


@pytest.mark.parametrize(
    ("name", "value"), [("k", "many"), ("k", "0"), ("device", "tpu"), ("port", "70000"), ("preset", "best")]
)
def test_a_value_that_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=f"COIN_{name.upper()}='{value}'"):
        Settings.from_env({f"COIN_{name.upper()}": value})


def test_to_env_round_trips() -> None:
    settings = Settings(archive="x", base="b", k=7, preset="reference", cache_mb=5)
    assert Settings.from_env(settings.to_env()) == settings


def test_the_cache_follows_the_xdg_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "elsewhere")
    assert Settings().cache_folder == Path("elsewhere/coin/generated")
    assert Settings(cache="mine").cache_folder == Path("mine")
