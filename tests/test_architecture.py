"""The rules of the house, read from the source: who imports whom, what is never imported, what stands where."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "generation": set[str](),
    "index_store": set[str](),
    "retrieval": {"generation", "index_store"},
    "ui": {"generation", "index_store", "retrieval"},
}
ROOMS = sorted(MAY_IMPORT)
HEAVY = ["torch", "faiss", "diffusers", "transformers", "open_clip", "streamlit", "peft", "scipy", "pandas"]
PICKLING = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
TOP_LEVEL = {
    *ROOMS,
    "tests",
    "benchmarks",
    ".ci",
    ".gitignore",
    "pyproject.toml",
    "requirements.lock",
    "README.md",
    "Makefile",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "docs",
}


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def where(path: Path, node: ast.stmt | ast.expr) -> str:
    return f"{path.relative_to(ROOT)}:{node.lineno}"


def imports(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    """Every module named by an import, wherever it stands. Relative ones stay inside their room."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node, node.module or ""


def dotted(node: ast.expr) -> str:
    """`torch.load` for that expression; "" for one that is no plain name."""
    if isinstance(node, ast.Attribute) and (left := dotted(node.value)):
        return f"{left}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


@pytest.mark.parametrize("room", ROOMS)
def test_imports_run_downwards_only(room: str) -> None:
    allowed = MAY_IMPORT[room] | {room}
    strangers = {*ROOMS, "tests", "benchmarks"} - allowed
    found = [
        f"{where(path, node)} imports {name}"
        for path in sources(room)
        for node, name in imports(parse(path))
        if name.partition(".")[0] in strangers
    ]
    assert sources(room), f"the room {room} is empty"
    assert found == []


@pytest.mark.parametrize("room", ROOMS)
def test_no_relative_import_leaves_its_room(room: str) -> None:
    found = [
        where(path, node)
        for path in sources(room)
        for node in ast.walk(parse(path))
        if isinstance(node, ast.ImportFrom) and node.level >= len(path.relative_to(ROOT).parts)
    ]
    assert found == []


def test_importing_the_rooms_loads_nothing_heavy() -> None:
    program = f"import json, sys, {', '.join(ROOMS)}; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(json.loads(run.stdout)) & set(HEAVY) == set()


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_resolves(room: str) -> None:
    module = importlib.import_module(room)
    assert module.__all__
    assert len(set(module.__all__)) == len(module.__all__)
    assert [name for name in module.__all__ if getattr(module, name, None) is None] == []
    assert set(module.__all__) <= set(dir(module))
    with pytest.raises(AttributeError):
        module.no_such_name  # noqa: B018


def test_nothing_is_unpickled() -> None:
    found = []
    for path in sources(*ROOMS, "benchmarks"):
        tree = parse(path)
        found += [where(path, node) for node, name in imports(tree) if name.partition(".")[0] in PICKLING]
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            allows = any(
                keyword.arg == "allow_pickle"
                and not (isinstance(keyword.value, ast.Constant) and not keyword.value.value)
                for keyword in node.keywords
            )
            if allows or dotted(node.func) in {"torch.load", "torch.save", "pd.read_pickle"}:
                found.append(where(path, node))
    assert found == []


def test_no_text_is_shown_as_html() -> None:
    found = [
        where(path, node.value)
        for path in sources(*ROOMS)
        for node in ast.walk(parse(path))
        if isinstance(node, ast.keyword) and node.arg == "unsafe_allow_html"
    ]
    assert found == []


def test_the_top_level_stays_small() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    assert {path.partition("/")[0] for path in listed.stdout.splitlines()} - TOP_LEVEL == set()


def test_no_module_is_a_drawer_for_everything() -> None:
    names = {"utils", "util", "common", "core", "helpers", "misc"}
    assert [path for path in sources(*ROOMS) if names & {path.stem, path.parent.name}] == []
