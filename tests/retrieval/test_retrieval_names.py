"""The room's public names, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import retrieval

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", retrieval.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(retrieval, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="attribute Index"):
        retrieval.Index  # noqa: B018


@pytest.mark.slow
def test_importing_all_of_it_brings_no_heavy_library() -> None:
    script = (
        "import sys, retrieval\n"
        "for name in retrieval.__all__: getattr(retrieval, name)\n"
        "heavy = {'torch', 'open_clip', 'faiss', 'diffusers', 'transformers', 'sqlalchemy', 'streamlit'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
