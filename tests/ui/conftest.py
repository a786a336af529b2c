"""A small archive of phantoms with tiny real models: what the command line and the view are tried on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from click.testing import CliRunner, Result
from streamlit.components.v2 import manifest_scanner

from generation.phantom import Phantom, phantom_cases, write_phantoms
from retrieval import ReaderStudy
from tests.clip_model import tiny_clip
from tests.few_steps import few_steps
from tests.models import tiny_lora, tiny_sdxl
from tests.small_slides import small_slide
from tests.ui.served_view import CHROMIUM
from ui.cli import cli
from ui.settings import SETTINGS

CASES = 24


def coin(*arguments: str | Path, stdin: str | bytes | None = None) -> Result:
    """Run `coin` in this process; a traceback, had there been one, fails the test."""
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments], input=stdin, prog_name="coin")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


@pytest.fixture(scope="module", autouse=True)
def quick_sampling() -> Iterator[None]:
    """Images take few steps: what is tested here is what is done with them. (`full_sampling` takes that back.)"""
    with few_steps():
        yield


@pytest.fixture(scope="session", autouse=True)
def components_looked_up_once() -> Iterator[None]:
    """Streamlit reads the metadata of every installed package whenever a page is opened for a test: once is enough."""
    found = manifest_scanner.scan_component_manifests()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", lambda *args, **kwargs: found)
        yield


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Settings, as environment variables, that name tiny models and a cache of their own."""
    folder = tmp_path_factory.mktemp("models")
    base = tiny_sdxl(folder / "base")
    return {
        "COIN_BASE": str(base),
        "COIN_LORA": str(tiny_lora(folder / "lora", base)),
        "COIN_ENCODER": str(tiny_clip(folder / "clip")),
        "COIN_DEVICE": "cpu",
        "COIN_CACHE": str(folder / "cache"),
        "COIN_QUERIES": str(folder / "queries"),
        "COIN_N_IMAGES": "2",
    }


@pytest.fixture(scope="session")
def phantoms() -> list[Phantom]:
    return phantom_cases(CASES)


@pytest.fixture(scope="session")
def manifest(phantoms: list[Phantom], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(tmp_path_factory.mktemp("phantoms"), phantoms, size=64)


@pytest.fixture(scope="session")
def archive(models: dict[str, str], manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of all the phantoms. Shared: tests that change one make their own."""
    folder = tmp_path_factory.mktemp("archive") / "phantoms"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in models.items():
            patch.setenv(name, value)
        assert coin("init", "--archive", folder).exit_code == 0
        added = coin("add", manifest, "--archive", folder)
        assert added.exit_code == 0, added.output
    return folder


@pytest.fixture(scope="session")
def slide_and_archive(models: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the slide alpha.svs, and an archive of four of its fields, of the case case-1. Shared."""
    folder = tmp_path_factory.mktemp("slide")
    small_slide(folder / "alpha.svs")
    (folder / "list.csv").write_text("image,case,report\nalpha.svs,case-1,Smear.\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in models.items():
            patch.setenv(name, value)
        assert coin("init", "--archive", folder / "archive").exit_code == 0
        added = coin("add", folder / "list.csv", "--archive", folder / "archive", "--fields", "4")
        assert added.exit_code == 0, added.output
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """A headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield chromium
        chromium.close()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the developer's own shell reaches a test."""
    for setting in SETTINGS:
        monkeypatch.delenv(setting.env, raising=False)


@pytest.fixture
def environment(
    clean_environment: None, models: dict[str, str], archive: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """The tiny models and the shared archive, set as a user would set them."""
    settings = {**models, "COIN_ARCHIVE": str(archive)}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return settings


@pytest.fixture(scope="session")
def prepared_study(
    models: dict[str, str], archive: Path, phantoms: list[Phantom], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """What `study` copies: four commands make it."""
    from tests.ui.reading_parts import run_reading_new  # which uses `coin` of this module

    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch, few_steps():
        settings = {**models, "COIN_ARCHIVE": str(archive), "COIN_READINGS": str(folder / "readings")}
        for name, value in settings.items():
            patch.setenv(name, value)
        return run_reading_new(folder, phantoms)


@pytest.fixture
def study(
    environment: dict[str, str], prepared_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ReaderStudy]:
    """A blinded reading, in the folder that the view looks into."""
    monkeypatch.setenv("COIN_READINGS", str(tmp_path / "readings"))
    study = ReaderStudy(Path(shutil.copytree(prepared_study, tmp_path / "readings" / prepared_study.name)))
    yield study
    study.close()
    st.cache_resource.clear()
    st.cache_data.clear()
