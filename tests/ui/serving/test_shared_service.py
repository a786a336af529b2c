"""What `coin ui` loads in the background, and what the page says of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st

from tests.ui.view.pages import opened
from ui.serving.shared_service import Loading, shared_loading, shared_service
from ui.settings import Settings


@pytest.fixture
def loading(environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loading]:
    """The loading of a view whose models nobody has used."""
    monkeypatch.setenv("COIN_CACHE", str(tmp_path / "cache"))
    yield shared_loading(Settings.from_env())
    shared_service(Settings.from_env()).close()
    st.cache_resource.clear()
    st.cache_data.clear()


def states(loading: Loading) -> list[str]:
    return [part.state for part in loading.parts]


@pytest.mark.slow
def test_the_page_says_what_loads_and_can_be_used_meanwhile(loading: Loading) -> None:
    assert not any("generator" in caption.value for caption in opened().caption), "nothing was begun"
    service = shared_service(Settings.from_env())
    with service.generator._lock:
        loading.start()
        app = opened()
        said = [caption.value for caption in app.caption]
        assert sum(caption.endswith(("waits", "loads", "is ready")) for caption in said) == 3
        assert app.multiselect(key="filter_Site").options, "filters are there"
        assert loading.is_under_way
    loading.wait()
    assert states(loading) == ["is ready"] * 3
    assert not any("generator" in caption.value for caption in app.run().caption)


def test_what_cannot_be_loaded_is_said_and_the_rest_is_loaded(
    loading: Loading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COIN_BASE", str(tmp_path / "not there"))
    failing = shared_loading(Settings.from_env())
    failing.start()
    failing.wait()
    assert states(failing) == ["is ready", "is ready", "is not ready"]
    (said,) = [caption.value for caption in opened().caption if "is not ready" in caption.value]
    assert "not there" in said.replace("\\", "")
    shared_service(Settings.from_env()).close()
