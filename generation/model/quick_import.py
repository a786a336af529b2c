"""Importing the model libraries without PyTorch's compiler, which only compiled generation uses: half of the time.

torchvision, timm and diffusers import the compiler (`torch._dynamo`, and sympy and the inductor behind it) to mark some
functions and classes for it. While they are imported, a light stand-in takes its place; afterwards it imports as ever.
Where a later version needs more of it, the ordinary import follows.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

_COMPILER = "torch._dynamo"
_WITHIN = f"{_COMPILER}."
_LOCK = threading.Lock()


def quick_import(name: str, *, without: tuple[str, ...] = ()) -> Any:
    """The module of this name, imported without the compiler where neither is there yet.

    Args:
        without: modules that the import can do without; they count as not installed meanwhile.
    """
    with _LOCK:
        if name in sys.modules:
            return sys.modules[name]
        import torch  # noqa: F401  # cannot be imported twice, and is never forgotten below

        before = set(sys.modules)
        try:
            with _stand_ins(without):
                return importlib.import_module(name)
        except (ImportError, AttributeError):  # a version that needs more of what was replaced
            for module in set(sys.modules) - before:
                sys.modules.pop(module, None)
            return importlib.import_module(name)


def forget(package: str) -> None:
    """Let a package be imported anew. What was made of its classes keeps working."""
    with _LOCK:
        for module in [key for key in sys.modules if key == package or key.startswith(f"{package}.")]:
            del sys.modules[module]


@contextlib.contextmanager
def _stand_ins(without: tuple[str, ...]) -> Iterator[None]:
    import torch

    replaced: dict[str, ModuleType | None] = {}
    if _COMPILER not in sys.modules:
        compiler, tools = ModuleType(_COMPILER), ModuleType(f"{_COMPILER}.utils")
        for mark in ("disable", "allow_in_graph", "assume_constant_result", "forbid_in_graph"):
            setattr(compiler, mark, _unchanged)
        compiler.utils = tools  # type: ignore[attr-defined]
        compiler.__path__ = [str(Path(torch.__file__).parent / "_dynamo")]  # its light modules are its own
        tools.is_compile_supported = lambda _device: False  # type: ignore[attr-defined]
        replaced = {_COMPILER: compiler, tools.__name__: tools}
    replaced |= {name: None for name in without if name not in sys.modules}  # None: its import fails at once
    sys.modules.update(replaced)  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in [*replaced, *(name for name in sys.modules if _COMPILER in replaced and name.startswith(_WITHIN))]:
            sys.modules.pop(name, None)


def _unchanged(function: Callable[..., Any] | None = None, *_: Any, **__: Any) -> Any:
    """A mark for the compiler, as a decorator with or without arguments."""
    return (lambda decorated: decorated) if function is None else function
