"""Vectors that are expensive to compute, kept by key, so that interrupted work resumes where it stopped."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from generation.atomic_write import private_folder, write_atomic
from retrieval.arrays import Vectors
from retrieval.errors import EvaluationError

logger = logging.getLogger(__name__)

_ENDING: Final = ".safetensors"


def embedding_key(inputs: Mapping[str, object]) -> str:
    """SHA-256, in hex, of everything that decides a vector; the order of `inputs` does not matter."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


class EmbeddingCache:
    """Vectors float32[d] by key (64 hex digits), one safetensors file for each batch.

    A file appears whole or not at all, under a name that follows from its keys: a killed process leaves nothing half
    done, and two processes may share a folder. Without a folder the cache lasts as long as the process.
    """

    def __init__(self, folder: Path | None, dim: int) -> None:
        """Read what the folder holds; None: the cache is in memory alone.

        Raises:
            EvaluationError: the folder cannot be made or read.
        """
        self._folder = folder
        self._dim = dim
        self._vectors: dict[str, Vectors] = {}
        if folder is not None:
            try:
                private_folder(folder)
                for path in sorted(folder.glob(f"*{_ENDING}")):
                    self._read(path)
            except OSError as error:
                raise _unusable(folder, error) from error

    def __contains__(self, key: str) -> bool:
        return key in self._vectors

    def __len__(self) -> int:
        return len(self._vectors)

    def take(self, keys: Sequence[str]) -> Vectors:
        """The vectors of these keys, float32[n, d].

        Raises:
            KeyError: one is not cached.
        """
        rows = [self._vectors[key] for key in keys]
        return np.stack(rows) if rows else np.empty((0, self._dim), dtype=np.float32)

    def put(self, keys: Sequence[str], vectors: Vectors) -> None:
        """Keep vectors float32[n, d], durably where there is a folder.

        Raises:
            EvaluationError: the folder cannot be written.
        """
        if self._folder is not None and len(keys):
            from safetensors.numpy import save

            digits = np.array([list(bytes.fromhex(key)) for key in keys], dtype=np.uint8)
            name = hashlib.sha256(digits.tobytes()).hexdigest()[:32]
            try:
                data = save({"keys": digits, "vectors": np.ascontiguousarray(vectors)})
                write_atomic(self._folder / f"{name}{_ENDING}", data)
            except OSError as error:
                raise _unusable(self._folder, error) from error
        self._vectors.update(zip(keys, vectors, strict=True))

    def _read(self, path: Path) -> None:
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            tensors = load(path.read_bytes())
            keys, vectors = tensors["keys"], tensors["vectors"]
            if keys.shape != (len(vectors), 32) or vectors.shape[1:] != (self._dim,) or vectors.dtype != np.float32:
                raise ValueError(f"keys {keys.shape}, vectors {vectors.shape}")
        except (SafetensorError, KeyError, ValueError) as error:
            logger.warning("Passed over the damaged file %s: %s", path.name, error)
            return
        self._vectors.update(zip((bytes(row).hex() for row in keys), vectors, strict=True))


def _unusable(folder: Path, error: OSError) -> EvaluationError:
    return EvaluationError(
        f"The work folder {folder} cannot be used ({error.strerror}): make room or name another with --work."
    )
