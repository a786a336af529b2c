"""The public names of the package, and what importing it loads."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import index_store
from index_store import errors


def test_every_listed_name_is_there() -> None:
    assert index_store.__all__ == sorted(index_store.__all__)
    for name in index_store.__all__:
        listed = getattr(index_store, name)
        if inspect.isclass(listed) or inspect.isfunction(listed):  # and no constant, and no alias of a type
            assert listed.__name__ == name
    assert dir(index_store) == index_store.__all__
    with pytest.raises(AttributeError, match="No index_store attribute Nothing"):
        index_store.Nothing  # noqa: B018


def test_every_error_is_listed_drawn_and_of_one_tree() -> None:
    defined = {name: item for name, item in vars(errors).items() if inspect.isclass(item)}
    for name, item in defined.items():
        assert issubclass(item, errors.ArchiveError)
        assert name in index_store.__all__
        assert name in (errors.__doc__ or "")


def test_importing_the_room_is_light() -> None:
    code = (
        "import sys, index_store; from index_store import CaseFilter, read_manifest, Case, ArchiveError; CaseFilter();"
        "heavy = {'torch', 'faiss', 'sqlalchemy', 'numpy', 'PIL', 'openpyxl', 'streamlit'} & set(sys.modules);"
        "sys.exit(repr(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
