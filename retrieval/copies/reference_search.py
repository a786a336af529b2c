"""Which of many references a picture may copy, and whether it does.

picture ─┬─► hashes, 8 orientations ─► the nearest square of any reference ─┐
         ├─► keypoints ─► the references that share most of them ───────────┼─► keypoints agree? pixels correlate?
         └─► vector ─► the nearest reference (the caller's) ────────────────┘
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from retrieval.copies.fingerprint import FingerprintStore, Packed, packed, unpacked
from retrieval.copies.keypoint_index import KeypointIndex
from retrieval.copies.keypoints import Array, Keypoints, grey_picture, keypoints
from retrieval.copies.overlap import PIXELS, Overlap, shared_part
from retrieval.copies.picture_hash import Bits, orientation_hashes

if TYPE_CHECKING:
    import PIL.Image


@dataclass(frozen=True, eq=False)
class Searched:
    """What a picture is looked for by."""

    orientations: Bits
    """bool[8, 256]."""
    keypoints: Keypoints
    grey: Array
    """`grey_picture(image, PIXELS)`."""


def searched(image: PIL.Image.Image) -> Searched:
    """Of an RGB image."""
    return Searched(orientation_hashes(image), keypoints(image), grey_picture(image, PIXELS))


@dataclass(frozen=True)
class Match:
    """How near a picture is to a reference."""

    reference: int
    hash_distance: int
    """Bits that differ of 256, in the orientation and the square of the reference where fewest do."""
    part: Overlap | None


class ReferenceSearch:
    """The references `keys` of a store, which lie at `paths`."""

    def __init__(self, store: FingerprintStore, keys: Sequence[str], paths: Sequence[Path]) -> None:
        import faiss

        self._store, self._keys, self._paths = store, keys, paths
        windows = [store.windows(key) for key in keys]
        self._owner = np.repeat(np.arange(len(keys)), [len(each) for each in windows])
        bits = np.packbits(np.concatenate(windows), axis=1)
        self._hashes: Any = faiss.IndexBinaryFlat(bits.shape[1] * 8)
        self._hashes.add(bits)
        self._keypoints = KeypointIndex(store, keys)

    def match(self, pictures: Sequence[Searched], alike: Sequence[int], pool: Executor) -> list[Match]:
        """The reference that each picture copies, or the nearest by hash where it copies none.

        Args:
            alike: a reference for each picture that is looked at besides.
        """
        codes = np.packbits(np.concatenate([picture.orientations for picture in pictures]), axis=1)
        bits, rows = (found.reshape(len(pictures), -1) for found in self._hashes.search(codes, 1))
        way = bits.argmin(axis=1)
        nearest = self._owner[rows[np.arange(len(pictures)), way]].tolist()
        distances = bits.min(axis=1).tolist()
        proposed = self._keypoints.proposals([picture.keypoints for picture in pictures])
        tasks, chosen = [], []
        for picture, *others in zip(pictures, nearest, alike, proposed, strict=True):
            candidates = list(dict.fromkeys([others[0], others[1], *others[2]]))
            chosen.append(candidates)
            tasks.append(
                (
                    packed(picture.keypoints),
                    picture.grey,
                    [(self._store.packed(self._keys[row]), self._paths[row]) for row in candidates],
                )
            )
        matches = []
        for number, parts in enumerate(pool.map(_parts, tasks, chunksize=8)):
            copied = [
                (part.correlation, -position, part)
                for position, part in enumerate(parts)
                if part is not None and part.copied
            ]
            if copied:
                _, position, part = max(copied)
                reference = chosen[number][-position]
                matches.append(Match(reference, self.distance(pictures[number], reference), part))
            else:
                matches.append(Match(nearest[number], distances[number], parts[0]))
        return matches

    def distance(self, picture: Searched, reference: int) -> int:
        """Bits that differ of 256, in the orientation and the square of the reference where fewest do."""
        windows = self._store.windows(self._keys[reference])
        return int((picture.orientations[:, None] != windows).sum(axis=2).min())


def _parts(task: tuple[Packed, Array, list[tuple[Packed, Path]]]) -> list[Overlap | None]:
    """The part that a picture shares with each of its candidates."""
    kept, grey, references = task
    points = unpacked(kept)
    return [shared_part(points, grey, unpacked(known), partial(_grey, path)) for known, path in references]


@lru_cache(maxsize=128)
def _grey(path: Path) -> Array | None:
    from index_store import ImageProblem, decode_image

    try:
        return grey_picture(decode_image(path), PIXELS)
    except ImageProblem:
        return None
