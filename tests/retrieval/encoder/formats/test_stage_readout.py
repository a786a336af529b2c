"""The read-out of an image tower's stages: of the starter, which has one, and of copies that were damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from generation.phantom import phantom_cases
from retrieval import Encoder
from retrieval.encoder.formats.stage_readout import READOUT
from retrieval.encoder.importing.import_encoder import import_encoder
from retrieval.encoder.model_files import STARTER, find_clip
from retrieval.errors import EncoderLoadError
from retrieval.training.starter.stage_directions import SHARE, write_stage_readout


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    return [phantom.render(96) for phantom in phantom_cases(6, seed=5)]


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(STARTER, tmp_path / "clip"))


@pytest.mark.slow
def test_a_similarity_is_that_of_the_last_layer_and_of_the_stages(copied: Path, images: list[Image.Image]) -> None:
    both = Encoder()
    rows = both.encode_images(images)
    (copied / READOUT).unlink()
    own = Encoder(copied).encode_images(images)
    stages = rows[:, own.shape[1] :] / SHARE**0.5
    assert rows.shape[1] == both.dim > Encoder(copied).dim == own.shape[1]
    np.testing.assert_allclose(np.linalg.norm(stages, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(rows @ rows.T, (1 - SHARE) * own @ own.T + SHARE * stages @ stages.T, atol=1e-5)


@pytest.mark.slow
def test_texts_order_images_as_the_last_layer_alone_does(copied: Path, images: list[Image.Image]) -> None:
    texts = [
        "Negative for intraepithelial lesion or malignancy.",
        "High-grade urothelial carcinoma.",
        "Adenocarcinoma.",
    ]
    joined = Encoder().encode_texts(texts) @ Encoder().encode_images(images).T
    (copied / READOUT).unlink()
    own = Encoder(copied).encode_texts(texts) @ Encoder(copied).encode_images(images).T
    np.testing.assert_allclose(joined, own * (1 - SHARE) ** 0.5, atol=1e-5)


def test_the_read_out_is_part_of_the_fingerprint_and_goes_where_the_model_goes(copied: Path, tmp_path: Path) -> None:
    with_it = find_clip(copied).fingerprint
    assert with_it == find_clip(None).fingerprint
    assert import_encoder(copied, tmp_path / "imported").files.fingerprint == with_it
    (copied / READOUT).unlink()
    assert find_clip(copied).fingerprint != with_it


def test_the_projection_keeps_what_tells_images_apart(copied: Path, images: list[Image.Image]) -> None:
    """With as many directions as images nothing of their similarities is lost."""
    pixels = np.stack([np.asarray(image) for image in images])
    write_stage_readout(copied, [pixels], share=0.5)
    assert find_clip(copied).dim == 192 + len(images)
    projection = load_file(copied / READOUT)["projection"].float()
    np.testing.assert_allclose(projection.T @ projection, np.eye(len(images)), atol=2e-3)


@pytest.mark.parametrize(
    ("tensors", "described", "said"),
    [
        ({"other": torch.zeros(992, 4)}, {"stages": "1 2 3 4", "share": "0.5"}, "is no read-out of stages"),
        ({"projection": torch.zeros(992, 4)}, {"stages": "1 2 3 4"}, "is no read-out of stages"),
        ({"projection": torch.zeros(992)}, {"stages": "1 2 3 4", "share": "0.5"}, "is no read-out of stages"),
        ({"projection": torch.zeros(992, 4)}, None, "is no read-out of stages"),
        ({"projection": torch.zeros(992, 4)}, {"stages": "", "share": "0.5"}, "names no stages"),
        ({"projection": torch.zeros(992, 4)}, {"stages": "1 2 3 4", "share": "1.5"}, "a share of 1.5"),
        ({"projection": torch.zeros(990, 4)}, {"stages": "1 2 3 4", "share": "0.5"}, "belongs to another model"),
        ({"projection": torch.zeros(992, 4)}, {"stages": "1 2 3 9", "share": "0.5"}, "belongs to another model"),
        ({"projection": torch.zeros(992, 4)}, {"stages": "-1 2 3 4", "share": "0.5"}, "names no stages"),
    ],
)
def test_a_read_out_that_does_not_fit_is_refused(
    copied: Path, tensors: dict[str, torch.Tensor], described: dict[str, str] | None, said: str
) -> None:
    save_file(tensors, copied / READOUT, described)
    with pytest.raises(EncoderLoadError, match=said):
        Encoder(copied).load()


def test_a_read_out_cut_short_is_refused(copied: Path) -> None:
    (copied / READOUT).write_bytes((copied / READOUT).read_bytes()[:-10])
    with pytest.raises(EncoderLoadError, match="not a whole safetensors file"):
        Encoder(copied)
