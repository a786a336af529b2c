"""A generated image and a phantom are known for what they are by their files alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from generation.phantom import phantom_cases, write_phantoms
from tests.ui.conftest import coin
from ui.image_labels import PHANTOM, SYNTHETIC, image_label
from ui.pictures.sizes import png_bytes


@pytest.mark.slow
def test_files_of_this_project_are_recognised(environment: dict[str, str], tmp_path: Path) -> None:
    assert coin("generate", "--text", "Benign.", "--n-images", "1", "--out", tmp_path / "made").exit_code == 0
    (made,) = (tmp_path / "made").iterdir()
    assert image_label(made.read_bytes()) == SYNTHETIC
    write_phantoms(tmp_path, phantom_cases(1), size=32)
    (drawn,) = (tmp_path / "images").iterdir()
    assert image_label(drawn.read_bytes()) == PHANTOM


@pytest.mark.parametrize(
    "data", [b"", b"nothing", png_bytes(Image.new("RGB", (8, 8))), b"\x89PNG\r\n\x1a\n" + bytes(40)]
)
def test_other_files_carry_no_mark(data: bytes) -> None:
    assert image_label(data) == ""
