"""What a picture is recognised by: perceptual hashes of its squares and keypoints, kept by content in shards.

A shard holds a batch of pictures in one safetensors file, 20 to 40 KB a picture. Hashes and counts are read when a
store is opened, keypoints where they are needed. Keypoints describe a picture closely enough to recognise it: the store
is as confidential as the pictures, and its folder is for its owner alone.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from generation.atomic_write import private_folder, write_atomic
from retrieval.copies.keypoints import DIMENSIONS, Array, Keypoints, keypoints
from retrieval.copies.picture_hash import HASH_BITS, Bits, window_hashes

if TYPE_CHECKING:
    import PIL.Image

Packed = tuple[Array, npt.NDArray[np.uint8]]
"""Places float32[n, 4] and descriptors uint8[n, 128]."""

logger = logging.getLogger(__name__)

KIND: Final = "windows 20, SIFT 192 160"
"""How fingerprints are made; another way must have another name."""
_STEPS: Final = 512
"""A number of a descriptor is kept in this fraction, as one byte."""


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """What one picture is recognised by."""

    windows: Bits
    """bool[n, 256] (`window_hashes`)."""
    keypoints: Keypoints


def fingerprint(image: PIL.Image.Image) -> Fingerprint:
    """Of an RGB image: some 20 to 40 ms of one core."""
    return Fingerprint(window_hashes(image), keypoints(image))


def packed(points: Keypoints) -> Packed:
    """Keypoints in a quarter of the memory."""
    small = np.clip(np.rint(points.descriptors * _STEPS), 0, 255)
    return points.places, small.astype(np.uint8)


def unpacked(kept: Packed) -> Keypoints:
    """The keypoints that `packed` got, but for rounding."""
    descriptors = kept[1].astype(np.float32)
    descriptors /= np.maximum(np.linalg.norm(descriptors, axis=1, keepdims=True), 1e-9)
    return Keypoints(kept[0], descriptors)


class FingerprintStore:
    """Fingerprints by key (64 hex digits). Without a folder they last as long as the process."""

    def __init__(self, folder: Path | None) -> None:
        """Read which fingerprints the folder holds. Raises `OSError`: it cannot be made or read."""
        self._folder = folder
        self._windows: dict[str, Bits] = {}
        self._at: dict[str, tuple[Path, int, int]] = {}
        self._held: dict[str, Packed] = {}
        if folder is not None:
            private_folder(folder)
            for path in sorted(folder.glob("*.safetensors")):
                self._open(path)

    def __contains__(self, key: str) -> bool:
        return key in self._windows

    def windows(self, key: str) -> Bits:
        """The hashes of a picture's windows, bool[n, 256]."""
        return self._windows[key]

    def packed(self, key: str) -> Packed:
        """The keypoints of a picture as they are kept."""
        return self._held[key] if key in self._held else self._read(key)

    def keypoints(self, key: str) -> Keypoints:
        """The keypoints of a picture."""
        return unpacked(self.packed(key))

    def count(self, key: str) -> int:
        """How many keypoints a picture has."""
        return len(self._held[key][0]) if key in self._held else self._at[key][2] - self._at[key][1]

    def put(self, keys: Sequence[str], made: Sequence[Fingerprint]) -> None:
        """Keep fingerprints, durably where there is a folder. Raises `OSError`."""
        small = [packed(each.keypoints) for each in made]
        self._windows.update((key, each.windows) for key, each in zip(keys, made, strict=True))
        if self._folder is None:
            self._held.update(zip(keys, small, strict=True))
            return
        from safetensors.numpy import save

        digits = np.array([list(bytes.fromhex(key)) for key in keys], dtype=np.uint8).reshape(-1, 32)
        path = self._folder / f"{hashlib.sha256(digits.tobytes()).hexdigest()[:32]}.safetensors"
        data = {
            "keys": digits,
            "windows": np.packbits(np.concatenate([each.windows for each in made]), axis=1),
            "window_counts": np.array([len(each.windows) for each in made], dtype=np.int32),
            "keypoint_counts": np.array([len(each.keypoints) for each in made], dtype=np.int32),
            "places": np.concatenate([places for places, _ in small]),
            "descriptors": np.concatenate([descriptors for _, descriptors in small]),
        }
        write_atomic(path, save(data))
        self._open(path)

    def _open(self, path: Path) -> None:
        from safetensors import SafetensorError

        try:
            shard = _shard(path)
            digits, windows, counts, sizes = (
                shard.get_tensor(name) for name in ("keys", "windows", "window_counts", "keypoint_counts")
            )
            shape = shard.get_slice("descriptors").get_shape()
            if (
                not len(digits) == len(counts) == len(sizes)
                or shape != [int(sizes.sum()), DIMENSIONS]
                or windows.shape != (int(counts.sum()), HASH_BITS // 8)
            ):
                raise ValueError(f"descriptors {shape}")
        except (SafetensorError, KeyError, ValueError) as error:
            logger.warning("Passed over the damaged file %s: %s", path.name, error)
            return
        bits = np.unpackbits(windows, axis=1).astype(bool)
        end, last = 0, 0
        for row, count, size in zip(digits, counts.tolist(), sizes.tolist(), strict=True):
            key = bytes(row).hex()
            self._windows[key] = bits[end : end + count]
            self._at[key] = (path, last, last + size)
            end, last = end + count, last + size

    def _read(self, key: str) -> Packed:
        path, start, end = self._at[key]
        shard = _shard(path)
        places, descriptors = (shard.get_slice(name)[start:end] for name in ("places", "descriptors"))
        return places, descriptors


def _shard(path: Path) -> Any:
    """A shard by memory map. One that was written anew is opened anew: reading a map of a cut file ends the process."""
    stat = path.stat()
    return _mapped(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _mapped(path: Path, size: int, changed: int) -> Any:
    from safetensors import safe_open

    return safe_open(path, framework="numpy")
