"""Bad input as a user of `coin` meets it: one clear message on stderr, the right exit code, nothing half-done."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image

from generation.phantom import phantom_cases, write_phantoms
from tests.clip_model import tiny_clip
from tests.models import tiny_sdxl
from tests.ui.conftest import CASES, coin
from ui.errors import user_message

ROOT = Path(__file__).parents[2]
REPORT = ("search", "--text", "Clue cells.")


def refused(result: Result, *parts: str) -> str:
    """`result` is an error of the user's: exit code 1, nothing on stdout, one message that holds `parts`."""
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    for part in parts:
        assert part in result.stderr
    return result.stderr


@pytest.fixture
def own_archive(environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the archive that a test may spoil, set as the archive in force."""
    folder = Path(shutil.copytree(environment["COIN_ARCHIVE"], tmp_path / "archive"))
    monkeypatch.setenv("COIN_ARCHIVE", str(folder))
    return folder


def count(what: str = "images") -> int:
    number: int = json.loads(coin("status", "--json").stdout)[what]
    return number


# Images


def spoilt_images(folder: Path) -> dict[str, Path]:
    folder.mkdir()
    whole = folder / "whole.png"
    Image.effect_noise((64, 64), 60).convert("RGB").save(whole)
    data = whole.read_bytes()
    contents = {
        "corrupt.png": data[:200] + bytes(100) + data[300:],
        "truncated.png": data[: len(data) // 2],
        "empty.png": b"",
        "disguised.png": b"<html><script>alert(1)</script></html>",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    huge = folder / "huge.png"
    Image.new("1", (20_000, 10_000)).save(huge)
    return {**{name: folder / name for name in contents}, "huge.png": huge}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["corrupt.png", "truncated.png", "empty.png", "disguised.png", "huge.png"])
def test_search_by_an_image_that_is_none(environment: dict[str, str], tmp_path: Path, name: str) -> None:
    refused(coin("search", "--image", spoilt_images(tmp_path / "bad")[name]), name)


def test_search_by_an_absent_image_and_by_a_folder(environment: dict[str, str], tmp_path: Path) -> None:
    refused(coin("search", "--image", tmp_path / "nobody.png"), "nobody.png")
    refused(coin("search", "--image", tmp_path), tmp_path.name)


def test_add_names_every_bad_image_and_adds_the_rest(own_archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bad"
    names = [*spoilt_images(folder), "absent.png", "../outside.png"]
    shutil.copy(folder / "whole.png", tmp_path / "outside.png")
    rows = ["image,report", *(f"{name},A report" for name in names), "whole.png,The good one", "whole.png,Once more"]
    (folder / "list.csv").write_text("\n".join(rows), encoding="utf-8-sig")
    result = coin("add", folder / "list.csv")
    assert result.exit_code == 0, result.output
    assert "added 1 images" in result.stdout
    assert count() == CASES + 1
    told = [said for said in result.stdout.splitlines() if said.startswith("  skipped ")]
    assert len(told) == len(names) + 1  # and the good one's repetition
    for line, name in enumerate(names, start=2):
        assert any(f"line {line}: " in said for said in told), f"{name} was skipped unsaid:\n{result.stdout}"
    again = coin("add", folder / "list.csv")
    assert "added 0 images" in again.stdout
    assert count() == CASES + 1


def test_add_of_nothing_but_bad_rows_fails(own_archive: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("image,report\nabsent.png,A report\n", encoding="utf-8")
    result = coin("add", tmp_path / "list.csv")
    assert result.exit_code == 1
    assert "line 2: " in result.stdout


# Manifests


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "list.csv"),
        (b"picture,words\na.png,b\n", "image"),
        (b"image\na.png\n", "report"),
        (bytes(range(256)) * 4, "list.csv"),
    ],
    ids=["empty", "no image column", "no report column", "binary"],
)
def test_a_manifest_that_cannot_be_read(own_archive: Path, tmp_path: Path, content: bytes, part: str) -> None:
    (tmp_path / "list.csv").write_bytes(content)
    refused(coin("add", tmp_path / "list.csv"), part)
    assert count() == CASES


def test_an_absent_manifest_and_one_of_an_unknown_kind(own_archive: Path, tmp_path: Path) -> None:
    refused(coin("add", tmp_path / "nobody.csv"), "nobody.csv")
    (tmp_path / "list.docx").write_bytes(b"PK\x03\x04")
    refused(coin("add", tmp_path / "list.docx"), "list.docx")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoding", "separator"), [("utf-8-sig", ","), ("utf-8", ";"), ("utf-16", "\t"), ("cp1252", ";")]
)
def test_manifests_of_other_programs(own_archive: Path, tmp_path: Path, encoding: str, separator: str) -> None:
    Image.effect_noise((64, 64), 60).convert("RGB").save(tmp_path / "a.png")
    rows = [("image", "report", "case"), ("a.png", "Zellen mit großen Kernen", "fremd")]
    (tmp_path / "list.csv").write_bytes("\r\n".join(separator.join(row) for row in rows).encode(encoding))
    assert "added 1 images" in coin("add", tmp_path / "list.csv").stdout
    assert "Zellen mit großen Kernen" in coin("show", "fremd").stdout


# Reports


@pytest.mark.parametrize("report", ["", "   \n", "…"])
def test_an_empty_report(environment: dict[str, str], report: str) -> None:
    refused(coin("search", "--text", report), "report")
    refused(coin("generate", "--text", report), "report")


@pytest.mark.slow
def test_a_report_of_20000_letters(environment: dict[str, str]) -> None:
    report = "The smear shows atypical cells. " * 624 + "Diagnosis: small cell carcinoma."
    assert len(report) == 20_000
    result = coin("search", "--text", report, "-k", "2")
    assert result.exit_code == 0, result.output
    assert "small cell carcinoma" in result.stdout.split("left out of the prompt")[0].split("prompt (")[1]


def test_a_report_file_that_is_no_text(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "report.txt").write_bytes(b"\xff\xfe\x00junk")
    refused(coin("search", "--text-file", tmp_path / "report.txt"), "report.txt", "UTF-8")
    (tmp_path / "zeros.txt").write_bytes(bytes(10))
    refused(coin("search", "--text-file", tmp_path / "zeros.txt"), "not a text file")
    (tmp_path / "long.txt").write_bytes(b"a" * (1 << 20) + b"a")
    refused(coin("search", "--text-file", tmp_path / "long.txt"), "larger than 1 MiB")
    refused(coin("search", "--text-file", tmp_path / "nobody.txt"), "nobody.txt")


# Usage


@pytest.mark.parametrize(
    "arguments",
    [
        ("search",),
        ("search", "--text", "a", "--text-file", "b"),
        ("search", "--image", "a", "--case", "b"),
        ("search", "--text", "a", "--channel", "magic"),
        ("search", "--text", "a", "--weight", "magic=1"),
        ("search", "--text", "a", "--include-own-patient"),
        ("search", "--text", "a", "-k", "0"),
        ("search", "--text", "a", "--device", "tpu"),
        ("generate",),
        ("generate", "--text", "a", "--text-file", "b"),
        ("generate", "--text", "a", "--n-images", "none"),
        ("show",),
        ("remove",),
        ("nonsense",),
    ],
    ids=" ".join,
)
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    result = coin(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Usage: coin" in result.stderr


def test_a_variable_that_cannot_be_used(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COIN_K", "many")
    result = coin("search", "--text", "a")
    assert result.exit_code == 2
    assert "many" in result.stderr
    unused = coin("status")
    assert (unused.exit_code, unused.stdout) == (2, "")
    assert "COIN_K" in unused.stderr


# Archives


@pytest.mark.parametrize("command", [("status",), ("show", "x"), REPORT, ("ui", "--no-browser")], ids=" ".join)
def test_no_archive(command: tuple[str, ...], models: dict[str, str], tmp_path: Path) -> None:
    refused(coin(*command, "--archive", tmp_path / "none"), "coin init", str(tmp_path / "none"))


def test_a_folder_that_is_no_archive(environment: dict[str, str], tmp_path: Path) -> None:
    refused(coin("status", "--archive", tmp_path), tmp_path.name)


def test_init_never_touches_what_is_there(environment: dict[str, str]) -> None:
    refused(coin("init"), environment["COIN_ARCHIVE"])
    assert count() == CASES


def test_an_unknown_case_is_reported_with_near_names(environment: dict[str, str]) -> None:
    key = phantom_cases(1)[0].key
    refused(coin("show", key[:-1] + "x"), key)
    refused(coin("search", "--case", key + "x"), key)


def test_an_archive_of_a_newer_version(own_archive: Path) -> None:
    with sqlite3.connect(own_archive / "archive.sqlite") as database:
        database.execute("UPDATE schema_version SET version = version + 1000")
    database.close()
    for command in (("status",), REPORT, ("remove", "x", "--yes"), ("ui", "--no-browser")):
        refused(coin(*command), "newer")


def test_two_writers(own_archive: Path, manifest: Path) -> None:
    from index_store import Archive

    with Archive.open(own_archive) as archive, archive.writer():
        refused(coin("add", manifest), "writ")
        assert count() == CASES
    assert coin("add", manifest).exit_code == 0


# Models


def test_another_encoder(own_archive: Path, manifest: Path, tmp_path: Path) -> None:
    other = tiny_clip(tmp_path / "other", seed=1)
    for command in (REPORT, ("search", "--case", phantom_cases(1)[0].key), ("add", manifest)):
        refused(coin(*command, "--encoder", other), "archive was embedded", "other")
    assert count() == CASES


@pytest.mark.parametrize("option", ["--base", "--lora", "--encoder"])
def test_weights_that_are_missing(environment: dict[str, str], tmp_path: Path, option: str) -> None:
    refused(coin(*REPORT, option, tmp_path / "nowhere"), "nowhere")


def test_weights_that_are_no_safetensors(environment: dict[str, str], tmp_path: Path) -> None:
    pickled = tmp_path / "pytorch_lora_weights.bin"
    pickled.write_bytes(b"\x80\x04.")
    refused(coin(*REPORT, "--lora", pickled), "pytorch_lora_weights.bin")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"not a safetensors header at all")
    refused(coin(*REPORT, "--lora", broken), "broken.safetensors")
    encoder = Path(shutil.copytree(environment["COIN_ENCODER"], tmp_path / "clip"))
    (encoder / "open_clip_model.safetensors").write_bytes(b"not a safetensors header at all")
    refused(coin("search", "--case", phantom_cases(1)[0].key, "--encoder", encoder), "clip")


def test_a_lora_of_another_base(environment: dict[str, str], tmp_path: Path) -> None:
    other = tiny_sdxl(tmp_path / "other", width=32)
    refused(coin(*REPORT, "--base", other, "--lora", environment["COIN_LORA"]), "LoRA")


def test_cuda_where_there_is_none(environment: dict[str, str]) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    refused(coin(*REPORT, "--device", "cuda"), "cuda")
    refused(coin("generate", "--text", "Benign.", "--device", "cuda"), "cuda")


# The machine


def coin_process(
    *arguments: str | Path, preexec: Callable[[], None] | None = None, **options: object
) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ui", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=preexec
    )


@pytest.mark.slow
def test_a_full_disk(environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real refusal of the system: no file of the process may grow beyond what the empty archive takes."""
    folder, total = tmp_path / "archive", 24  # the rows of so many outgrow the limit as well
    monkeypatch.setenv("COIN_ARCHIVE", str(folder))
    assert coin("init").exit_code == 0
    manifest = write_phantoms(tmp_path / "phantoms", phantom_cases(total), size=128)
    limit = max(file.stat().st_size for file in folder.rglob("*"))

    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    with coin_process("add", manifest, preexec=no_room) as process:
        _, err = process.communicate(timeout=600)
    assert process.returncode == 1, err
    assert "Traceback" not in err
    assert "Error: " in err
    assert count() < total
    assert coin("add", manifest).exit_code == 0
    assert count() == total


@pytest.mark.slow
def test_a_full_device_behind_stdout(environment: dict[str, str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with open(os.devnull) as nothing, open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-m", "ui", "status"], cwd=ROOT, stdin=nothing, stdout=full, stderr=subprocess.PIPE
        )
    assert done.returncode == 1
    assert b"disk is full" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.slow
def test_killed_in_the_middle_of_add(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing lost, nothing half-done, and the next `add` finishes."""
    folder, total = tmp_path / "archive", 300
    monkeypatch.setenv("COIN_ARCHIVE", str(folder))
    assert coin("init").exit_code == 0
    manifest = write_phantoms(tmp_path / "phantoms", phantom_cases(total), size=32)
    with coin_process("add", manifest, "--batch-size", "8") as process:
        while process.poll() is None and not any((folder / "images").rglob("*.*")):
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=0.02)
        process.kill()
        process.communicate(timeout=600)
    before = count()
    assert before < total, "the process was killed too late to show anything"
    status = json.loads(coin("status", "--json").stdout)
    assert list(status["embeddings"].values()) in ([before], [])
    finished = json.loads(coin("add", manifest, "--json").stdout)
    assert finished["unchanged"] == before
    assert finished["added"] == total - before
    assert count() == total
    assert coin("search", "--case", phantom_cases(total)[-1].key).exit_code == 0


@pytest.mark.parametrize(
    "arguments", [["show", "\udcff"], ["show", "a\0b"], ["remove", "--yes", "\udcff"], ["search", "--case", "\udcff"]]
)
def test_a_key_that_no_record_can_hold_is_no_case(environment: dict[str, str], arguments: list[str]) -> None:
    """What the shell passes on for $'\\xff'."""
    asked = coin(*arguments)
    assert asked.exit_code == 1
    assert "There is no case" in asked.stderr
    assert "defect" not in asked.stderr


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--text", "--site", "--exclude-patient"])
def test_a_value_that_is_no_text_is_named(environment: dict[str, str], option: str) -> None:
    query = [] if option == "--text" else ["--text", "Clue cells."]
    asked = coin("search", *query, option, "\udcff")
    assert asked.exit_code in (0, 1)
    assert "defect" not in asked.stderr


@pytest.mark.parametrize(
    "arguments",
    [["search", "--image", "a\0b.png"], ["add", "a\0b.csv"], ["backup", "a\0b"], ["init", "--archive", "a\0b"]],
)
def test_a_files_name_with_nul(environment: dict[str, str], arguments: list[str]) -> None:
    refused(coin(*arguments), "NUL character")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_in_the_place_of_weights(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "dinov2"}')
    os.mkfifo(tmp_path / "model" / "model.safetensors")
    result = coin("encoder", "import", str(tmp_path / "model"), str(tmp_path / "out"))
    refused(result, "model.safetensors` is a named pipe: give a plain file")


def test_a_full_disk_under_a_copy_names_what_could_not_be_written() -> None:
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "source", None, "target")  # as shutil raises it
    assert str(user_message(error)).startswith("the disk is full (target)")
