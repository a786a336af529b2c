"""What a training keeps of its images lies in the user's cache, and is deleted without anything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from generation import clear_work, work_folder


def test_each_model_has_a_work_folder_outside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    one, other = work_folder(tmp_path / "a" / "lora"), work_folder(tmp_path / "b" / "lora")
    assert one != other
    assert one.parent == tmp_path / "cache" / "coin" / "training"
    monkeypatch.chdir(tmp_path / "..")
    assert work_folder(Path(tmp_path.name) / "a" / "lora") == one


def test_only_what_a_training_wrote_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = tmp_path / "lora"
    kept = work_folder(out)
    for place in (kept, out / "work"):
        (place / "0123456789abcdef" / "latents").mkdir(parents=True)
        (place / "0123456789abcdef" / "latents" / "a.safetensors").write_bytes(b"12345")
        (place / "pixels-0123456789abcdef.npy").write_bytes(b"123")
    (out / "pytorch_lora_weights.safetensors").write_bytes(b"weights")
    (kept / "notes.txt").write_text("mine")
    assert clear_work(out) == (kept, 16)
    assert [path.name for path in out.iterdir()] == ["pytorch_lora_weights.safetensors"]
    assert [path.name for path in kept.iterdir()] == ["notes.txt"]
    assert clear_work(out) == (kept, 0)
    assert clear_work(out, tmp_path / "elsewhere") == (tmp_path / "elsewhere", 0)
