"""Files that are damaged where a decoder gives a picture all the same: found where the file can tell."""

from __future__ import annotations

import io
import random
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from index_store import ImageProblem, decode_picture
from index_store.files.source_file import content_hash
from tests.index_store.archive_builders import encoded
from tests.index_store.files.hostile_pictures import smear

FIELD = Image.fromarray(smear(3, (320, 240)))
FLAT = Image.new("RGB", (320, 240), "white")
ENCODINGS: dict[str, dict[str, object]] = {
    "plain": {},
    "fine": {"quality": 98, "subsampling": 0},
    "optimised": {"optimize": True},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 2},
    "many restarts": {"restart_marker_blocks": 1},
    "progressive restarts": {"restart_marker_blocks": 5, "progressive": True},
}


@cache
def jpeg(name: str) -> bytes:
    return encoded(FIELD, "JPEG", **{"quality": 90, **ENCODINGS[name]})


def refused(data: bytes) -> str:
    """Why; empty where it is read."""
    try:
        decode_picture(data)
    except ImageProblem as problem:
        return str(problem)
    return ""


@pytest.mark.parametrize("name", ENCODINGS)
def test_whole_pictures_are_read_whatever_stands_at_their_end(name: str) -> None:
    for image in (FIELD, FIELD.convert("L"), FIELD.convert("CMYK"), FLAT, FIELD.crop((0, 0, 317, 11))):
        data = encoded(image, "JPEG", **ENCODINGS[name])
        for filled in (b"", bytes(3), bytes(900), b"\xff" * 900):
            assert refused(data[:-2] + filled + data[-2:] + bytes(50)) == "", (image, filled[:1])


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_a_jpeg_that_is_cut_short_and_closed_is_refused(name: str, share: float) -> None:
    data = jpeg(name)
    for first in {data.index(b"\xff\xda"), data.rindex(b"\xff\xda")}:  # in the last scan of a progressive one, too
        start = first + 14
        there = start + int(share * (len(data) - start))
        assert "cut short" in refused(data[:there] + b"\xff\xd9")
        assert "cut short" in refused(data[:there])


@pytest.mark.parametrize("name", ["progressive", "progressive restarts"])
def test_a_progressive_jpeg_without_its_last_scans_is_refused(name: str) -> None:
    data = jpeg(name)
    last = data.rindex(b"\xff\xda")
    assert "scans are missing" in refused(data[:last] + b"\xff\xd9")


@pytest.mark.parametrize("name", ["restarts", "many restarts", "progressive restarts"])
def test_a_jpeg_that_lost_restarts_is_refused(name: str) -> None:
    data = jpeg(name)
    for kind in b"\xd1\xd4":
        marker = bytes((0xFF, kind))
        assert "restart markers are missing" in refused(data.replace(marker, b"\x55\x55", 1)), kind
        at = data.index(marker)  # a stretch between two restarts is gone
        assert refused(data[:at] + data[data.index(b"\xff", at + 2) :]) != "", kind


def test_grey_blocks_between_two_restarts_are_found() -> None:
    """A stretch that was emptied, its markers left as they were."""
    data = jpeg("restarts")
    first, second = data.index(b"\xff\xd2") + 2, data.index(b"\xff\xd3")
    assert "end before their last block" in refused(data[: first + 20] + data[second:])
    assert "go on after their last block" in refused(data[:second] + data[first:])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "share"), [("plain", 0.5), ("fine", 0.9), ("restarts", 0.5), ("many restarts", 0.9)])
def test_visible_damage_in_the_middle_of_a_jpeg_is_found(name: str, share: float) -> None:
    """Not all of it: codes of many short steps fall into step again at once."""
    data, good = jpeg(name), np.asarray(decode_picture(jpeg(name)).image).astype(int)
    start, chance = data.index(b"\xff\xda") + 14, random.Random(4)
    visible = found = 0
    for _ in range(60):
        damaged = bytearray(data)
        at = chance.randrange(start, len(data) - 40)
        damaged[at : at + 16] = chance.randbytes(16)
        try:
            seen = np.asarray(Image.open(io.BytesIO(damaged)).convert("RGB")).astype(int)
        except OSError:  # the decoder says so
            continue
        if (abs(seen - good).max(axis=2) > 24).mean() > 0.001:
            visible += 1
            found += bool(refused(bytes(damaged)))
    assert visible > 30
    assert found > share * visible


@pytest.mark.parametrize("name", ["progressive", "progressive restarts"])
def test_overwritten_bytes_in_any_scan_of_a_progressive_jpeg_are_found(name: str) -> None:
    data, chance, tried, found = jpeg(name), random.Random(4), 0, 0
    for scan in re.finditer(rb"\xff\xda", data):
        end = data.index(b"\xff", scan.end() + 40)  # of the scan or of a stretch within it
        for at in (scan.end() + 12, max(scan.end() + 12, end - 20)):
            tried += 1
            found += bool(refused(data[:at] + chance.randbytes(8) + data[at + 8 :]))
    assert found > 0.7 * tried > 0


@pytest.mark.parametrize("share", [0.3, 0.98, 0.999])
def test_a_png_whose_end_is_missing_is_refused(share: float) -> None:
    data = encoded(FIELD, "PNG")
    there = int(share * len(data))
    assert "damaged" in refused(data[:there] + bytes(len(data) - there))
    assert "cut short" in refused(data[:there])
    assert "without an end" in refused(data[:-12])


def test_what_an_archive_stored_before_is_shown_as_it_is(tmp_path: Path) -> None:
    data = jpeg("plain")
    damaged = data[: len(data) // 2] + b"\xff\xd9"
    (tmp_path / "a.jpg").write_bytes(damaged)
    assert decode_picture(tmp_path / "a.jpg", expected=content_hash(damaged)).image.size == FIELD.size


def test_a_jpeg_of_four_colours_says_which_or_is_refused() -> None:
    data = encoded(FIELD.convert("CMYK"), "JPEG")
    at = data.index(b"\xff\xee")
    without = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4]) :]
    assert "four colours" in refused(without)
    assert refused(data) == ""
