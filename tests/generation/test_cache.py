from __future__ import annotations

import dataclasses
import logging
import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from generation import GenerationCache
from generation.atomic_write import ABANDONED_AFTER
from generation.cache import cache_key
from tests.full_disk import full_disk
from tests.generation.test_provenance import PROVENANCE


def key(number: int) -> str:
    return cache_key({"seed": number})


def speckled(seed: int, size: int = 24) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8))


def fill(folder: Path, first: int, count: int, max_bytes: int) -> None:
    cache = GenerationCache(folder, max_bytes=max_bytes)
    for number in range(first, first + count):
        cache.put(key(number), speckled(number), PROVENANCE)
        cache.get(key(first))


def test_what_is_put_is_got_with_its_provenance(tmp_path: Path) -> None:
    cache = GenerationCache(tmp_path / "not" / "yet" / "there")
    assert cache.get(key(1)) is None
    path = cache.put(key(1), speckled(1), PROVENANCE)
    assert path == cache.path(key(1))
    stored = cache.get(key(1))
    assert stored is not None
    assert stored[0].tobytes() == speckled(1).tobytes()
    assert stored[1] == PROVENANCE


def test_the_key_depends_on_every_input_and_not_on_their_order() -> None:
    assert cache_key({"a": 1, "b": 2}) == cache_key({"b": 2, "a": 1})
    assert len({cache_key({"a": 1, "b": 2}), cache_key({"a": 2, "b": 1}), cache_key({"a": 1})}) == 3


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    one = GenerationCache(tmp_path).put(key(0), speckled(0), PROVENANCE).stat().st_size
    cache = GenerationCache(tmp_path, max_bytes=int(3.5 * one))
    for number in (1, 2):
        cache.put(key(number), speckled(number), PROVENANCE)
    for age, number in enumerate((2, 1, 0)):
        os.utime(cache.path(key(number)), ns=(age * 10**9, age * 10**9))
    assert cache.get(key(2)) is not None  # used again: now the youngest
    cache.put(key(3), speckled(3), PROVENANCE)
    assert [number for number in range(4) if cache.path(key(number)).exists()] == [0, 2, 3]


def test_files_that_fill_the_limit_exactly_stay(tmp_path: Path) -> None:
    sizes = [GenerationCache(tmp_path).put(key(i), speckled(i), PROVENANCE).stat().st_size for i in range(2)]
    last = GenerationCache(tmp_path / "other").put(key(2), speckled(2), PROVENANCE).stat().st_size
    GenerationCache(tmp_path, max_bytes=sum(sizes) + last).put(key(2), speckled(2), PROVENANCE)
    assert all(GenerationCache(tmp_path).path(key(i)).exists() for i in range(3))


def test_the_entry_just_written_stays_whatever_the_limit(tmp_path: Path) -> None:
    cache = GenerationCache(tmp_path, max_bytes=1)
    cache.put(key(1), speckled(1), PROVENANCE)
    cache.put(key(2), speckled(2), PROVENANCE)
    assert [path.name for path in tmp_path.iterdir()] == [cache.path(key(2)).name]


def test_other_files_in_the_folder_are_not_touched(tmp_path: Path) -> None:
    others = [tmp_path / "holiday.png", tmp_path / f"holiday.png.{'0' * 32}.tmp", tmp_path / f"{key(9)}.png.tmp"]
    for path in others:
        path.write_bytes(b"x" * 10_000)
        os.utime(path, (0, 0))
    GenerationCache(tmp_path, max_bytes=1).put(key(1), speckled(1), PROVENANCE)
    assert all(path.exists() for path in others)


def test_an_unfinished_file_is_deleted_only_when_no_process_can_still_be_writing_it(tmp_path: Path) -> None:
    """Another process would fail if its unfinished file were deleted; what a killed one left is old."""
    cache = GenerationCache(tmp_path, max_bytes=1)
    unfinished = tmp_path / f"{key(9)}.png.{'0' * 32}.tmp"
    now = time.time()
    for age, spared in ((0, True), (ABANDONED_AFTER - 60, True), (ABANDONED_AFTER + 60, False)):
        unfinished.write_bytes(b"x" * 10_000)
        os.utime(unfinished, (now - age, now - age))
        cache.put(key(1), speckled(1), PROVENANCE)
        assert unfinished.exists() == spared, age


def test_what_others_are_writing_does_not_count_towards_the_limit(tmp_path: Path) -> None:
    cache = GenerationCache(tmp_path, max_bytes=5_000)
    cache.put(key(1), speckled(1), PROVENANCE)
    (tmp_path / f"{key(9)}.png.{'0' * 32}.tmp").write_bytes(b"x" * 10_000)
    cache.put(key(2), speckled(2, size=4), PROVENANCE)
    assert cache.get(key(1)) is not None


def test_a_flipped_bit_anywhere_is_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = GenerationCache(tmp_path)
    content = bytearray(cache.put(key(1), speckled(1, size=4), PROVENANCE).read_bytes())
    discarded = 0
    for position in range(len(content)):
        flipped = content.copy()
        flipped[position] ^= 0x10
        cache.path(key(1)).write_bytes(flipped)
        stored = cache.get(key(1))
        if stored is None:
            discarded += 1
            assert not cache.path(key(1)).exists()
        else:  # the last chunk's checksum holds nothing
            assert (stored[0].tobytes(), stored[1]) == (speckled(1, size=4).tobytes(), PROVENANCE)
    assert discarded >= len(content) - 12
    assert "Discarded the damaged cache entry" in caplog.text
    assert PROVENANCE.prompt not in caplog.text


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"GIF89a not really"])
def test_a_truncated_or_foreign_entry_is_discarded(content: bytes, tmp_path: Path) -> None:
    cache = GenerationCache(tmp_path)
    cache.path(key(1)).write_bytes(content)
    assert cache.get(key(1)) is None
    assert list(tmp_path.iterdir()) == []


def test_an_image_without_provenance_is_not_taken_for_ours(tmp_path: Path) -> None:
    cache = GenerationCache(tmp_path)
    speckled(1).save(cache.path(key(1)))
    assert cache.get(key(1)) is None


def test_an_entry_that_cannot_be_opened_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = GenerationCache(tmp_path)
    cache.path(key(1)).mkdir()  # opening a folder fails as a failing disk does: with an error number
    with caplog.at_level(logging.WARNING):
        assert cache.get(key(1)) is None
    assert cache.path(key(1)).exists()
    assert "Cannot read the cache entry" in caplog.text


def test_a_full_disk_is_an_error_and_leaves_the_cache_whole(tmp_path: Path) -> None:
    cache = GenerationCache(tmp_path)
    cache.put(key(1), speckled(1), PROVENANCE)
    with full_disk(), pytest.raises(OSError):
        cache.put(key(2), speckled(2), dataclasses.replace(PROVENANCE, seed=8))
    assert cache.get(key(2)) is None
    assert cache.get(key(1)) is not None


@pytest.mark.slow
def test_two_processes_share_one_folder(tmp_path: Path) -> None:
    one = GenerationCache(tmp_path).put(key(0), speckled(0), PROVENANCE).stat().st_size
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=fill, args=(tmp_path, 100 * w, 40, 6 * one)) for w in (1, 2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    entries = list(tmp_path.iterdir())
    assert 0 < len(entries) <= 7  # the limit, and the other process's last entry
    cache = GenerationCache(tmp_path)
    assert all(cache.get(entry.stem) is not None for entry in entries)
