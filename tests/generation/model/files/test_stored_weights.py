from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from generation import WeightsError
from generation.model.files import stored_weights
from generation.model.files.stored_weights import NewTensor, StoredWeights, write_weights

TENSORS = {
    "b.half": torch.randn(5, 7).half(),
    "a.half": torch.randn(3).half(),
    "brain": torch.randn(2, 3, 4).bfloat16(),
    "full": torch.randn(4, 4),
    "number": torch.tensor(2.5),
    "empty": torch.zeros(0, 3),
    "small": torch.randn(6).to(torch.float8_e4m3fn),
    "whole": torch.arange(4),
}


def test_what_is_written_is_read_by_safetensors(tmp_path: Path) -> None:
    new = {
        name: NewTensor(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), lambda tensor=tensor: tensor)
        for name, tensor in reversed(TENSORS.items())
    }
    write_weights(tmp_path / "ours", new)
    read = load_file(tmp_path / "ours")
    assert read.keys() == TENSORS.keys()
    assert all(torch.equal(read[name].float(), tensor.float()) for name, tensor in TENSORS.items())
    write_weights(tmp_path / "again", dict(reversed(new.items())))
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "again").read_bytes()


@pytest.mark.parametrize("piece", [8, 24, 1 << 23])
def test_tensors_are_read_in_another_number_format_piece_by_piece(
    piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_weights, "_PIECE", piece)
    save_file(TENSORS, tmp_path / "some.safetensors")
    stored = StoredWeights([tmp_path / "some.safetensors"])
    assert stored.shapes == {name: tuple(tensor.shape) for name, tensor in TENSORS.items()}
    for name, tensor in TENSORS.items():
        assert stored.dtype(name) == str(tensor.dtype).removeprefix("torch.")
        assert torch.equal(stored.read(name).float(), tensor.float())
        for dtype in (torch.float32, torch.bfloat16):
            assert torch.equal(stored.read(name, dtype), tensor.to(dtype))
    assert "full" in stored and "missing" not in stored


def test_a_file_that_became_shorter_is_named(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "some.safetensors")
    stored = StoredWeights([tmp_path / "some.safetensors"])
    content = (tmp_path / "some.safetensors").read_bytes()
    (tmp_path / "some.safetensors").write_bytes(content[:-40])
    with pytest.raises(OSError, match="became shorter"):
        for name in TENSORS:
            stored.read(name)


def test_a_number_format_that_is_not_known_is_named(tmp_path: Path) -> None:
    save_file({"odd": torch.zeros(2, dtype=torch.complex64)}, tmp_path / "some.safetensors")
    with pytest.raises(WeightsError, match=r"holds odd in the number format C64, which is not read"):
        StoredWeights([tmp_path / "some.safetensors"])
