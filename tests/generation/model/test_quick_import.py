"""Importing without the compiler: the compiler is spared, and works when it is wanted after all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # processes that import the model libraries anew

ROOT = Path(__file__).parents[3]


def run(code: str, folder: Path = ROOT) -> str:
    """What a fresh process prints."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT)},
    ).stdout.strip()


def test_timm_comes_without_the_compiler_which_still_works_afterwards() -> None:
    code = """
import sys
from generation import quick_import
timm = quick_import("timm")
print([name for name in sys.modules if name.startswith(("torch._dynamo", "torch._inductor", "sympy"))])
import torch
network = timm.create_model("resnet10t", pretrained=False, num_classes=0).eval()
print(tuple(network(torch.zeros(1, 3, 32, 32)).shape))
doubled = torch.compile(lambda x: x * 2, backend="eager")
print(float(doubled(torch.ones(1))), "torch._dynamo" in sys.modules)
"""
    assert run(code).splitlines() == ["[]", "(1, 512)", "2.0 True"]


def test_a_library_that_needs_more_of_the_compiler_gets_it(tmp_path: Path) -> None:
    (tmp_path / "demanding.py").write_text("import torch._dynamo\nmark = torch._dynamo.optimize\n")
    code = """
import sys
sys.path.insert(0, ".")
from generation import quick_import
print(quick_import("demanding").mark.__module__)
"""
    assert run(code, tmp_path) == "torch._dynamo.eval_frame"


def test_what_it_can_do_without_counts_as_missing_only_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "modest.py").write_text("try:\n    import wave\nexcept ImportError:\n    wave = None\n")
    code = """
import sys
sys.path.insert(0, ".")
from generation import forget, quick_import
print(quick_import("modest", without=("wave",)).wave)
import wave
forget("modest")
print(quick_import("modest").wave is wave)
"""
    assert run(code, tmp_path).splitlines() == ["None", "True"]
