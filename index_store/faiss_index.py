"""The vector index within the process: FAISS, exact.

`IndexFlatIP` under image ids. At the sizes one machine holds, exact search with a selector is exact under every filter
and gets faster as the filter narrows, where graphs and inverted lists lose recall.
"""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np

from .errors import ArchiveError, IndexDriftError
from .vector_index import Ids, Selection, Vectors

EXTRA = 16
"""How many more than k are fetched, to see whether the k-th is tied with what comes after it."""
TIE = 1e-5
"""Scores closer than this may be equal: FAISS's float32 sums differ by about 1e-7 between code paths."""


class FaissIndex:
    """A `VectorIndex`; see there for what the methods promise."""

    def __init__(self, dim: int) -> None:
        faiss = _faiss()
        self._index: Any = faiss.IndexIDMap2(faiss.IndexFlatIP(dim))

    @classmethod
    def read(cls, file: BinaryIO) -> FaissIndex:
        """What `write` wrote.

        Raises:
            RuntimeError: FAISS cannot make sense of it. It checks little: compare a checksum first.
        """
        faiss = _faiss()
        index = cls.__new__(cls)
        index._index = faiss.read_index(faiss.PyCallbackIOReader(file.read))
        if not isinstance(index._index, faiss.IndexIDMap2):
            raise RuntimeError(f"holds a {type(index._index).__name__}")
        return index

    def write(self, file: BinaryIO) -> None:
        """Write the index. Through Python, because FAISS's own writer passes over a full disk in silence."""
        faiss = _faiss()
        faiss.write_index(self._index, faiss.PyCallbackIOWriter(file.write))

    @property
    def dim(self) -> int:
        return int(self._index.d)

    @property
    def count(self) -> int:
        return int(self._index.ntotal)

    def add(self, ids: Ids, vectors: Vectors) -> None:
        self._index.add_with_ids(vectors, ids)

    def remove(self, ids: Ids) -> None:
        faiss = _faiss()
        self._index.remove_ids(faiss.IDSelectorBatch(ids))

    def search(self, queries: Vectors, k: int, *, selection: Selection | None = None) -> list[list[tuple[int, float]]]:
        mask = None if selection is None else _Mask(selection)
        fetch = min(k + EXTRA, self.count)
        while True:
            scores, ids = self._search(queries, fetch, mask)
            if fetch == self.count or not _tied_beyond(scores, ids, k):
                break
            fetch = min(4 * fetch, self.count)
        if mask is not None and not mask.permits(ids[ids >= 0]).all():
            # Several FAISS indexes are known to pass over a selector in silence.
            raise IndexDriftError("The vector index returned images that the filter excludes. Report this.")
        return [self._rank(query, found[found >= 0], k) for query, found in zip(queries, ids, strict=True)]

    def _search(self, queries: Vectors, fetch: int, mask: _Mask | None) -> tuple[Vectors, Ids]:
        faiss = _faiss()
        if fetch == 0:
            return np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
        # Parameters are made for each search: sharing them between threads is not safe.
        parameters = None if mask is None else faiss.SearchParameters(sel=mask.selector())
        scores, ids = self._index.search(queries, fetch, params=parameters)
        return scores, ids

    def _rank(self, query: Vectors, ids: Ids, k: int) -> list[tuple[int, float]]:
        """The k best of `ids`, scored again in float64 one row at a time: the same image then gets the same score
        whatever else is searched, and equal vectors are equal, so that ties can be ordered by id."""
        if ids.size == 0:
            return []
        vectors = self._index.reconstruct_batch(ids).astype(np.float64)
        scores = (vectors * query.astype(np.float64)).sum(axis=1)
        order = np.lexsort((ids, -scores))[:k]
        return [(int(ids[i]), float(scores[i])) for i in order]


class _Mask:
    """A selection as a bitmap over the ids up to the largest one named."""

    def __init__(self, selection: Selection) -> None:
        self._named = np.zeros(int(selection.ids.max(initial=-1)) + 1, dtype=bool)
        self._named[selection.ids] = True
        self._excluding = selection.excluding
        self._bits = np.packbits(self._named, bitorder="little")

    def selector(self) -> Any:
        """A selector of its own for each search. FAISS does not copy the bits: the mask must outlive it."""
        faiss = _faiss()
        named = faiss.IDSelectorBitmap(self._bits)
        return faiss.IDSelectorNot(named) if self._excluding else named

    def permits(self, ids: Ids) -> np.ndarray:
        known = ids < len(self._named)
        named = np.zeros(ids.shape, dtype=bool)
        named[known] = self._named[ids[known]]
        return ~named if self._excluding else named


def _faiss() -> Any:
    """The module, as `Any`: its type stubs lack what its Python layer adds."""
    try:
        import faiss
    except ImportError as error:
        raise ArchiveError(
            "FAISS is not installed. Install exactly one build of it: the extra `cpu` or the extra `gpu`."
        ) from error
    return faiss


def _tied_beyond(scores: Vectors, ids: Ids, k: int) -> bool:
    """Whether, for any query, an image that was not fetched could be as good as the k-th."""
    full = ids[:, -1] >= 0
    return bool((full & (scores[:, k - 1] - scores[:, -1] <= TIE)).any())
