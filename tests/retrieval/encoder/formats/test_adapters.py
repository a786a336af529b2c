"""Encoders of packages of their own: the example of docs/models.md, installed and used as it stands."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from retrieval import Encoder, EncoderLoadError
from tests.retrieval.conftest import speckled
from tests.retrieval.encoder import published

PAGE = Path(__file__).parents[4] / "docs" / "models.md"


def install(folder: Path, name: str, code: str) -> None:
    """A package with an entry point, as an installer would leave it."""
    (folder / f"{name}_package.py").write_text(code)
    information = folder / f"{name}-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (information / "entry_points.txt").write_text(f"[coin.encoders]\n{name} = {name}_package:Adapter\n")


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1
    install(tmp_path, "mynet", blocks[0])
    monkeypatch.syspath_prepend(tmp_path)
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 4), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    published.write_safetensors(tmp_path / "weights.safetensors", network)
    return tmp_path / "weights.safetensors"


def test_the_documented_example_encodes_images(weights: Path) -> None:
    encoder = Encoder(f"mynet:{weights}", device="cpu")
    assert (encoder.dim, encoder.reads_images, encoder.reads_texts, encoder.name) == (
        8,
        True,
        False,
        "mynet:weights.safetensors",
    )
    rows = encoder.encode_images([speckled(1), speckled(2)])
    assert rows.shape == (2, 8)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-6)
    with pytest.raises(EncoderLoadError, match="reads images only"):
        encoder.encode_texts(["benign"])


def test_the_fingerprint_follows_the_files_and_not_their_place(weights: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "other-name.safetensors"
    moved.parent.mkdir()
    moved.write_bytes(weights.read_bytes())
    assert Encoder(f"mynet:{weights}").fingerprint == Encoder(f"mynet:{moved}").fingerprint
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    moved.write_bytes(data)
    assert Encoder(f"mynet:{weights}").fingerprint != Encoder(f"mynet:{moved}").fingerprint


def test_an_adapter_that_lacks_something_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "half", "class Adapter:\n    dim = 3\n    def __init__(self, argument): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        EncoderLoadError, match=r"adapter 'half' .* lacks version, files, image_size, reads_texts, load"
    ):
        Encoder("half:x")
    with pytest.raises(EncoderLoadError, match="There is no encoder folder"):
        Encoder("nobody:x")
    sys.modules.pop("half_package", None)
