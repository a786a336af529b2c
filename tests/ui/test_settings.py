"""Settings: read from the environment, handed on, and the same in the program and in the documentation."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from ui.errors import SettingError
from ui.settings import SETTINGS, Settings, settings_table


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


def test_the_ends_of_a_range_are_in_it_and_nothing_beyond() -> None:
    for setting in SETTINGS:
        if not setting.is_number:
            continue
        for end, beyond in ((setting.minimum, -1), (setting.maximum, 1)):
            assert end is not None
            assert setting.parse(str(end)) == end
            with pytest.raises(SettingError, match=f"is not between {setting.minimum} and {setting.maximum}"):
                setting.parse(str(end + beyond))
        with pytest.raises(SettingError):
            setting.parse("nan")


def test_the_numbers_are_these() -> None:
    numbers = {s.name: (s.default, s.minimum, s.maximum, s.decimal) for s in SETTINGS if s.is_number}
    assert numbers == {
        "guidance": (None, 0, 50, True),
        "n_images": (4, 1, 64, False),
        "seed": (0, 0, 4294967295, False),
        "k": (10, 1, 1000, False),
        "cache_mb": (2048, 1, 1048576, False),
        "audit_days": (0, 0, 36500, False),
        "port": (8501, 1, 65535, False),
        "max_upload_mb": (50, 1, 1024, False),
    }


def test_options_and_variables_follow_the_name() -> None:
    shown = {setting.name: (setting.option, setting.env) for setting in SETTINGS}
    assert shown["k"] == ("-k", "COIN_K")
    assert shown["cache_mb"] == ("--cache-mb", "COIN_CACHE_MB")
    assert "| `--cache-mb` | `COIN_CACHE_MB` | `2048` | size limit of that folder, in MiB |" in settings_table()
    assert "(auto, cpu, cuda, mps)" in settings_table()


def test_folders_of_data_follow_the_xdg_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "elsewhere")
    assert Settings().queries_folder == Path("elsewhere/coin/queries")
    assert Settings().readings_folder == Path("elsewhere/coin/readings")
    assert (Settings(queries="q").queries_folder, Settings(readings="r").readings_folder) == (Path("q"), Path("r"))
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "home")
    assert Settings().queries_folder == Path("home/.local/share/coin/queries")
    assert Settings(cache="c/generated").work_folder == Path("c/evaluation")


def test_to_env_round_trips() -> None:
    settings = Settings(archive="x", base="b", k=7, preset="reference", cache_mb=5, audit_days=0, guidance=0.0)
    assert settings.to_env()["COIN_GUIDANCE"] == "0.0"
    assert "COIN_LORA" not in settings.to_env(), "what has no value has no variable"
    assert Settings.from_env(settings.to_env()) == settings


def test_the_cache_follows_the_xdg_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "elsewhere")
    assert Settings().cache_folder == Path("elsewhere/coin/generated")
    assert Settings(cache="mine").cache_folder == Path("mine")
