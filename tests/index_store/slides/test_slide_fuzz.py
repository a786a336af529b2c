"""Damaged slides: an error or what is readable with a count of the rest, in bounded time, and nothing read elsewhere.

`COIN_FUZZ_SLIDES=500` tries more.
"""

from __future__ import annotations

import os
import shutil
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.pyramid import write_pyramid
from index_store import FieldChoice, ImageProblem, Slide, SlideProblem, choose_fields, decode_picture
from index_store.slides.field import DAMAGED
from tests.index_store.files.test_dicom_image import dicom
from tests.index_store.slides.smear import MPP, smear

pytestmark = pytest.mark.slow
COPIES = int(os.environ.get("COIN_FUZZ_SLIDES", "40"))
SHARED = Path(__file__).parents[3] / "../shared/data/slides"
LONGEST = 240.0
"""Seconds for one copy on a busy machine: far below what the limits of a slide's process allow in all."""


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Cut short, bytes changed, parts exchanged, zeroed, doubled, or tags of the directory at its end changed."""
    way = rng.integers(6)
    first, second = sorted(int(place) for place in rng.integers(8, len(data), 2))
    if way == 0:
        return data[:first]
    if way == 1:
        changed = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 200)):
            changed[place] = rng.integers(256)
        return bytes(changed)
    if way == 2:
        middle = (first + second) // 2
        return data[:first] + data[middle:second] + data[first:middle] + data[second:]
    if way == 3:
        return data[:first] + bytes(second - first) + data[second:]
    if way == 4:
        return data[:second] + data[first:]
    changed = bytearray(data)
    for place in rng.integers(max(len(data) - 2000, 8), len(data), rng.integers(1, 12)):
        changed[place] = rng.integers(256)
    return bytes(changed)


def levels_exchanged(data: bytes, rng: np.random.Generator) -> bytes:
    """A TIFF of which two directories have exchanged some of their tags: size, tiles, or where these lie."""
    directories: list[dict[int, int]] = []
    (position,) = struct.unpack_from("<I", data, 4)
    while position:
        (count,) = struct.unpack_from("<H", data, position)
        entries = [position + 2 + 12 * number for number in range(count)]
        directories.append({struct.unpack_from("<H", data, entry)[0]: entry for entry in entries})
        (position,) = struct.unpack_from("<I", data, entries[-1] + 12)
    first, second = (directories[number] for number in rng.choice(len(directories), 2, replace=False))
    changed = bytearray(data)
    both = sorted(set(first) & set(second))
    for tag in rng.choice(both, rng.integers(1, len(both) + 1), replace=False):
        one, other = first[tag], second[tag]
        changed[one : one + 12], changed[other : other + 12] = data[other : other + 12], data[one : one + 12]
    return bytes(changed)


def header_changed(data: bytes, rng: np.random.Generator) -> bytes:
    """A DICOM file with some bytes of its header changed, which chance seldom meets in a large file."""
    changed = bytearray(data)
    for place in rng.integers(132, min(len(data), 6_000), rng.integers(1, 12)):
        changed[place] = rng.integers(256)
    return bytes(changed)


def tried(path: Path) -> str:
    """What became of it: its error, or how many fields there are."""
    try:
        with Slide(path) as slide:
            chosen = choose_fields(slide, FieldChoice(most=3), mpp=slide.info.mpp or MPP)
            return f"{len(chosen.fields)} fields, {chosen.left_out.get(DAMAGED, 0)} places damaged"
    except SlideProblem as problem:
        assert str(problem).startswith((path.name, "The scale of"))
        assert str(path.parent) not in str(problem)
        return "refused"


def test_damaged_slides_end_in_an_error_or_in_what_is_readable(tmp_path: Path) -> None:
    pyramid = write_pyramid(tmp_path / "whole.tif", smear()[:768, :768], mpp=MPP)
    stack = tmp_path / "stack.tif"
    pages = [Image.fromarray(smear()[:384, :384])] * 3
    pages[0].save(stack, save_all=True, append_images=pages[1:], compression="tiff_lzw")
    sources = [pyramid, stack]
    found: dict[str, int] = {}
    for number in range(COPIES):
        rng = np.random.default_rng([5, number])
        path = tmp_path / "slide.tif"
        way = levels_exchanged if number % 4 == 3 else damaged
        path.write_bytes(way(sources[number // 4 % 2].read_bytes(), rng))
        started = time.monotonic()
        outcome = tried(path)
        assert time.monotonic() - started < LONGEST, number
        found[outcome] = found.get(outcome, 0) + 1
    assert len(found) >= 2, found
    assert found["refused"] < COPIES


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared slides are not here")
def test_damaged_dicom_files(tmp_path: Path) -> None:
    """Each file of the series in turn, so that levels are missing or wrong, or their tiles are damaged."""
    files = sorted((SHARED / "csf-mgg-dicom").iterdir(), key=lambda file: file.stat().st_size)[:-1]
    for number in range(max(3, COPIES // 10)):
        rng = np.random.default_rng([6, number])
        folder = tmp_path / f"series {number}"
        folder.mkdir()
        for file in files:
            shutil.copyfile(file, folder / file.name)
        victim = folder / files[number % len(files)].name
        way = header_changed if number % 2 else damaged
        victim.write_bytes(way(victim.read_bytes(), rng))
        tried(folder)


def test_damaged_single_dicom_images() -> None:
    found = set()
    for number in range(max(8, COPIES // 5)):
        rng = np.random.default_rng([7, number])
        way = header_changed if number % 2 else damaged
        try:
            found.add(str(decode_picture(way(dicom(jpeg=number % 4 > 1), rng)).image.mode))
        except ImageProblem as problem:
            found.add("refused")
            assert "Traceback" not in str(problem)
    assert found == {"RGB", "refused"}


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared slides are not here")
def test_a_real_slide_that_is_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "slide.svs"
    data = (SHARED / "csf-pap.svs").read_bytes()
    for share in (0.3, 0.9, 0.9999):
        path.write_bytes(data[: int(len(data) * share)])
        tried(path)
