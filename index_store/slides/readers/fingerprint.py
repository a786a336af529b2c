"""A slide's fingerprint: of the bytes of its files, and not of their paths or names.

Files of up to `WHOLE` bytes are hashed whole; of larger ones their length and `SAMPLES` evenly spaced blocks, the first
and the last included, so that a slide of many gigabytes takes a second.

It guarantees: the same files have the same fingerprint wherever they lie, and two slides with different fingerprints
differ. Slides of small files with the same fingerprint are the same. Large ones are of the same length and equal in
every sampled block: two scans differ there, because compressed pictures shift all that follows; a copy changed on
purpose between two blocks need not. Bytes of labels are hashed with the rest, never decoded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

WHOLE: Final = 64 * 1024**2
SAMPLES: Final = 64
BLOCK: Final = 256 * 1024


def fingerprint(files: Iterable[Path]) -> str:
    """SHA-256, as hexadecimal digits, over the digests of the slide's files in the order of the digests."""
    whole = hashlib.sha256(b"slide 1")
    for digest in sorted(_digest(path) for path in files):
        whole.update(digest)
    return whole.hexdigest()


def _digest(path: Path) -> bytes:
    with path.open("rb") as handle:
        length = handle.seek(0, 2)
        found = hashlib.sha256(f"{length};".encode())
        if length <= WHOLE:
            starts, block = list(range(0, length, BLOCK)), BLOCK
        else:
            starts, block = [(length - BLOCK) * number // (SAMPLES - 1) for number in range(SAMPLES)], BLOCK
        for start in starts:
            handle.seek(start)
            found.update(handle.read(block))
    return found.digest()
