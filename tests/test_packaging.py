"""What a person installs: the wheel's content, the lock file, and how quickly `coin --help` answers."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("generation", "index_store", "retrieval", "ui")
STARTERS = ("generation/starter", "retrieval/starter")
SHIPPED = (*STARTERS, "ui/view")
MEGABYTE = 1_000_000


def shipped_files(folder: str) -> list[Path]:
    return [path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built offline by the backend that is installed, from a copy: setuptools writes beside the sources."""
    pytest.importorskip("setuptools.build_meta", reason="the build backend is not installed")
    source = tmp_path_factory.mktemp("source")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    program = "import sys, setuptools.build_meta as backend; print(backend.build_wheel(sys.argv[1]))"
    target = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-c", program, str(target)], cwd=source, capture_output=True, check=True)
    (built,) = target.glob("*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_holds_the_code_the_view_and_the_starter(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {path.relative_to(ROOT).as_posix() for folder in SHIPPED for path in shipped_files(folder)}
    expected |= {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for ending in (
            "py",
            "pyi",
            "toml",
            "jinja",
            "typed",
        )  # wordings, vocabulary and fusion rules are data of the package
        for path in (ROOT / package).rglob(f"*.{ending}")
    }
    training = {name for name in expected if "/training/starter/" in name}
    assert training, "how the starter was trained is in the checkout"
    assert (expected - training) - names == set()
    assert training & names == set()
    assert [name for name in names if name.endswith(".pyc") or name.startswith(("tests", "benchmarks"))] == []


@pytest.mark.slow
def test_the_wheel_holds_the_licences_of_code_and_weights(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    texts = {
        name.partition(".dist-info/licenses/")[2]: archive.read(name).decode()
        for name in archive.namelist()
        if ".dist-info/licenses/" in name
    }
    weights = {f"{folder}/LICENSE" for folder in STARTERS}
    viewer = "ui/view/viewer/assets/openseadragon.LICENSE.txt"
    assert set(texts) == {"LICENSE", "retrieval/starter/ATTRIBUTION.md", viewer, *weights}
    assert "OpenSeadragon contributors" in texts[viewer]
    assert all("Apache License" in text for name, text in texts.items() if name.endswith("LICENSE"))
    notices = texts["retrieval/starter/LICENSE"]
    assert "Copyright (c) 2017 shenggan" in notices and "Permission is hereby granted" in notices
    assert "CC BY 4.0" in notices and "Rezende" in notices and "Balci" in notices
    metadata = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    assert archive.read(metadata).decode().count("License-File: ") == len(texts)


@pytest.mark.slow
def test_the_wheel_runs_from_any_folder(wheel: Path, tmp_path: Path) -> None:
    """A wheel of pure Python is installed by unpacking it; the environment has the dependencies."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    program = "import ui; print(ui.__file__); from ui.cli import main; main()"
    run = subprocess.run(
        [sys.executable, "-c", program, "--help"],
        cwd=elsewhere,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.startswith(str(tmp_path / "installed"))
    assert "Usage:" in run.stdout


@pytest.mark.parametrize("folder", STARTERS)
def test_the_starter_is_there_as_safetensors(folder: str) -> None:
    suffixes = {path.suffix for path in shipped_files(folder)}
    assert ".safetensors" in suffixes
    assert not suffixes & {".bin", ".pt", ".pth", ".ckpt", ".pkl"}


def test_the_shipped_weights_take_at_most_60_megabytes() -> None:
    weights = [path for folder in STARTERS for path in shipped_files(folder) if path.suffix == ".safetensors"]
    assert sum(path.stat().st_size for path in weights) <= 60 * MEGABYTE


def test_the_lock_pins_exactly_and_names_no_index() -> None:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.lstrip().startswith("#")]
    assert [line for line in pins if not re.match(r"[a-z0-9._-]+==[\w.+!]+(\s*;[^#]+)?(\s*#.*)?$", line)] == []
    assert [line for line in lines if "://" in line or "/home" in line or "--" in line] == []


def test_the_lock_covers_every_dependency_of_the_project() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pinned = {normalise(name) for name in re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = {normalise(name) for name in [*project["dependencies"], *extras["cpu"], *extras["dev"]]}
    assert wanted - pinned == set()
    assert "faiss-cpu" in pinned
    assert [name for name in pinned if name.startswith("faiss-gpu")] == []  # two builds overwrite each other


def normalise(requirement: str) -> str:
    """The distribution's name as the lock spells it."""
    name = re.match(r"[\w.-]+", requirement)
    assert name is not None
    return re.sub(r"[._-]+", "-", name.group()).lower()
