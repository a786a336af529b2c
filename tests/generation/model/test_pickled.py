"""Pickled weights, read in a process of their own."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import subprocess
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from generation import PickledLimits, UnsafeWeightsError, WeightsError, as_safetensors, convert_pickled, read_pickled
from generation.model.pickled import _result
from generation.model.pickled_child import convert
from tests.full_disk import full_disk
from tests.pickled_here import pickled_here

ROW = torch.arange(6.0)
TENSORS = {
    "half": ROW.half().reshape(2, 3),
    "brain": ROW.bfloat16(),
    "turned": ROW.reshape(2, 3).T,
    "part": ROW[2:4],
    "number": torch.tensor(3),
    "empty": torch.zeros(0, 4),
    "small": ROW.to(torch.float8_e4m3fn),
}


def written(content: object, tmp_path: Path, **options: bool) -> tuple[dict[str, torch.Tensor], list[str]]:
    """What the child makes of it, without the cost of a process."""
    torch.save(content, tmp_path / "weights.bin", **options)
    left_out = convert(tmp_path / "weights.bin", tmp_path / "weights.safetensors")
    return load_file(tmp_path / "weights.safetensors"), left_out


@pytest.mark.slow
def test_every_tensor_arrives_as_it_was(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "weights.bin")
    read = read_pickled(tmp_path / "weights.bin")
    assert read.left_out == ()
    assert read.tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert (read.tensors[name].dtype, read.tensors[name].shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(read.tensors[name].float(), tensor.float())


def test_what_is_safetensors_already_stays(tmp_path: Path) -> None:
    with as_safetensors(tmp_path / "a.safetensors") as (path, left_out):
        assert (path, left_out) == (tmp_path / "a.safetensors", ())


@pytest.mark.slow
def test_a_converted_file_is_gone_afterwards(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "weights.bin")
    with as_safetensors(tmp_path / "weights.bin", tmp_path) as (path, _):
        assert torch.equal(load_file(path)["turned"], TENSORS["turned"])
    assert not path.exists()


@pytest.mark.parametrize("old", [False, True])
def test_the_wrapping_of_a_training_is_taken_off_and_named(old: bool, tmp_path: Path) -> None:
    """Both formats of PyTorch: zip, and what it wrote before version 1.6."""
    content = {"epoch": 3, "state_dict": {"a.weight": ROW, "nested": {"b": ROW}, "word": "x"}, "optimizer": {"m": ROW}}
    tensors, left_out = written(content, tmp_path, _use_new_zipfile_serialization=not old)
    assert sorted(tensors) == ["a.weight", "nested.b"]
    assert left_out == ["epoch", "optimizer", "word"]


@pytest.mark.parametrize(
    ("content", "left_out"),
    [
        ({"model": {"a": -ROW}, "model_ema": {"a": ROW}}, ["model (its moving average, model_ema, was taken)"]),
        ({"model": {"a": -ROW}, "ema": {"module": {"a": ROW}}}, ["model (its moving average, ema, was taken)"]),
        ({"model": {"a": ROW}, "ema": {"decay": 0.99}}, ["ema"]),
        ({"model": "vit_tiny", "state_dict": {"a": ROW}}, ["model"]),
        ({"model": {"a": ROW}, "args": argparse.Namespace(lr=0.1)}, ["args"]),
    ],
)
def test_of_several_sets_the_one_that_a_training_evaluates_is_taken(
    content: object, left_out: list[str], tmp_path: Path
) -> None:
    tensors, others = written(content, tmp_path)
    assert torch.equal(tensors["a"], ROW) and tensors.keys() == {"a"}
    assert others == left_out


def test_the_same_tensors_give_the_same_bytes(tmp_path: Path) -> None:
    made = []
    for names in (list(TENSORS), reversed(TENSORS)):
        written({name: TENSORS[name] for name in names}, tmp_path)
        made.append((tmp_path / "weights.safetensors").read_bytes())
    assert made[0] == made[1]


class Malicious:
    """Runs a command when it is unpickled by an ordinary reader."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("reader", [pickled_here, pytest.param(nullcontext, marks=pytest.mark.slow, id="process")])
def test_code_in_a_pickle_is_refused_and_does_not_run(
    reader: Callable[[], AbstractContextManager[None]], tmp_path: Path
) -> None:
    mark = tmp_path / "it-ran"
    torch.save({"weight": ROW, "more": Malicious(mark)}, tmp_path / "zip.bin")
    with reader(), pytest.raises(UnsafeWeightsError, match=r"other things than tensors .*\(posix\.system\).*refused"):
        convert_pickled(tmp_path / "zip.bin", tmp_path / "out.safetensors")
    (tmp_path / "plain.bin").write_bytes(pickle.dumps({"more": Malicious(mark)}, protocol=2))
    with pytest.raises(pickle.UnpicklingError):
        convert(tmp_path / "plain.bin", tmp_path / "out.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain.bin", "zip.bin"]


@pytest.mark.slow
def test_a_small_file_cannot_take_all_memory_or_disk(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1).expand(1 << 32)}, tmp_path / "bomb.bin")  # 16 GiB if laid out
    with pytest.raises(WeightsError, match="far more memory than its size"):
        convert_pickled(tmp_path / "bomb.bin", tmp_path / "out.safetensors")
    many = {f"w{i}": torch.zeros(1).expand(1 << 24) for i in range(4)}  # 64 MiB each
    torch.save(many, tmp_path / "many.bin")
    with pytest.raises(WeightsError, match=r"grows to more than twice its size"):
        convert_pickled(tmp_path / "many.bin", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_a_compressed_archive_is_refused(tmp_path: Path) -> None:
    """Mapped into memory, its compressed bytes would be taken for the numbers."""
    torch.save({"weight": torch.arange(1000.0)}, tmp_path / "plain.bin")
    with (
        zipfile.ZipFile(tmp_path / "plain.bin") as plain,
        zipfile.ZipFile(tmp_path / "a.bin", "w", zipfile.ZIP_DEFLATED) as compressed,
    ):
        for name in plain.namelist():
            compressed.writestr(name, plain.read(name))
    with pytest.raises(ValueError, match="it is a compressed archive"):
        convert(tmp_path / "a.bin", tmp_path / "a.safetensors")


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    torch.save({"weight": ROW}, tmp_path / "weights.bin")
    with pickled_here(), full_disk(), pytest.raises(WeightsError, match=r"could not be written .*the disk is full"):
        convert_pickled(tmp_path / "weights.bin", tmp_path / "out.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["weights.bin"]


def test_limits_grow_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(1000))
    commands = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 1, b"", b"")

    monkeypatch.setattr(subprocess, "run", run)
    for limits in (None, PickledLimits(memory=5000, seconds=7)):
        with pytest.raises(WeightsError):
            convert_pickled(tmp_path / "weights.bin", tmp_path / "out.safetensors", limits=limits)
    twice, half_an_hour, largest = 2000, 1800, 2000 + 64 * 1024 * 1024
    assert [command[-3:] for command in commands] == [
        [str(twice + 1024**3), str(half_an_hour), str(largest)],
        ["5000", "7", str(largest)],
    ]


def test_time_is_limited(tmp_path: Path) -> None:
    torch.save({"weight": ROW}, tmp_path / "slow.bin")
    with pytest.raises(WeightsError, match="not read within 0 seconds"):
        convert_pickled(tmp_path / "slow.bin", tmp_path / "out.safetensors", limits=PickledLimits(seconds=0))


@pytest.mark.slow
def test_what_is_no_pickle_is_named(tmp_path: Path) -> None:
    (tmp_path / "weights.ckpt").write_bytes(b"PK\x03\x04")
    with pytest.raises(WeightsError, match=r"weights\.ckpt cannot be read as pickled weights.*anew"):
        read_pickled(tmp_path / "weights.ckpt")


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [ROW]])
def test_a_file_without_weights_is_named(content: object, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"it holds (no tensor|a list)"):
        written(content, tmp_path)


@pytest.mark.parametrize(
    ("reason", "kind", "words"),
    [
        ("Unsupported global: GLOBAL builtins.getattr was not", UnsafeWeightsError, r"\(builtins\.getattr\)"),
        ("Cannot use weights_only=True with TorchScript archives", UnsafeWeightsError, "a program"),
        ("advice\n\tWeightsUnpickler error: \n\nUnsupported operand 149", WeightsError, r"\(Unsupported operand 149\)"),
    ],
)
def test_pytorchs_refusals_become_sentences(reason: str, kind: type[Exception], words: str, tmp_path: Path) -> None:
    run = subprocess.CompletedProcess([], 0, stdout=json.dumps({"error": [reason]}).encode())
    with pytest.raises(kind, match=words):
        _result(run, tmp_path / "weights.bin")


@pytest.mark.parametrize("stdout", [b"", b"{}"])
def test_a_process_that_was_ended_is_named(stdout: bytes, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="ended with status -9"):
        _result(subprocess.CompletedProcess([], -9, stdout=stdout), tmp_path / "weights.bin")
