"""Every public name says what it is, and every function with arrays says their shapes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("generation", "index_store", "retrieval", "ui")
ARRAYS = re.compile(r"\b(Vectors|Floats|Ints|Bools|Ids|NDArray|Tensor)\b")
SHAPE = re.compile(r"\[[^\]]*\]|\bshapes?\b|\bscalar\b|\b0-d\b")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def definitions() -> tuple[tuple[Path, ast.ClassDef | None, Function | ast.ClassDef], ...]:
    """The public classes, functions and methods, each with its class."""
    return tuple(_definitions())


def _definitions() -> Iterator[tuple[Path, ast.ClassDef | None, Function | ast.ClassDef]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if not isinstance(node, Function | ast.ClassDef) or node.name.startswith("_"):
                    continue
                yield path, None, node
                if isinstance(node, ast.ClassDef):
                    methods = (inner for inner in node.body if isinstance(inner, Function))
                    yield from ((path, node, method) for method in methods if not method.name.startswith("_"))


def documented_methods() -> dict[str, set[str]]:
    """By class, the methods with a docstring: an override may rely on its base's."""
    found: dict[str, set[str]] = {}
    for _, owner, node in definitions():
        if owner is not None and ast.get_docstring(node):
            found.setdefault(owner.name, set()).add(node.name)
    return found


def test_every_public_name_has_a_docstring() -> None:
    inherited = documented_methods()

    def is_documented(owner: ast.ClassDef | None, node: Function | ast.ClassDef) -> bool:
        bases = [] if owner is None else [ast.unparse(base).partition("[")[0] for base in owner.bases]
        decorators = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
        return (
            ast.get_docstring(node) is not None
            or any(node.name in inherited.get(base, set()) for base in bases)
            or bool(decorators & {"overload", "setter"})
        )

    missing = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path, owner, node in definitions()
        if not is_documented(owner, node)
    ]
    assert missing == []


def test_functions_with_arrays_give_shapes() -> None:
    """As `float32[n, d]`; that a value is a single number counts."""

    def has_arrays(node: Function) -> bool:
        arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        annotations = [argument.annotation for argument in arguments] + [node.returns]
        return any(ARRAYS.search(ast.unparse(annotation)) for annotation in annotations if annotation is not None)

    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path, _, node in definitions()
        if isinstance(node, Function) and has_arrays(node)
        if (docstring := ast.get_docstring(node)) and not SHAPE.search(docstring)
    ]
    assert silent == []
