"""FAISS, imported where it is used, and the few things that its Python layer does not offer.

These work on FAISS's own memory, by SWIG pointers, and nothing outside this module does:

- the codes of removed rows are zeroed in place, since a removed image must leave nothing in memory or in a saved file.
  FAISS's `remove_ids` is no substitute: it moves the other rows of a flat index, and what FAISS 1.15 adds to an
  inverted list afterwards gets wrong codes (627 of 1,000 in a trial);
- each query reads inverted lists of its own choice, which FAISS's Python function for it does not take parameters for;
- inner products with some rows of a mapped file are computed without copying the rows;
- an index scans half-precision rows in a mapped file. FAISS's own reader maps files, too, but only with its header, to
  which no row can be added.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from index_store.errors import ArchiveError
from index_store.vectors import Vectors

Rows = NDArray[np.int64]
"""int64[n]: row numbers, in the order of addition."""
Halves = NDArray[np.float16]
SHARED_ROWS = 16_384
"""Rows from which on the inner products of one query are shared out among threads."""


def load_faiss() -> Any:
    """The module, as `Any`: its type stubs lack what its Python layer adds.

    Raises:
        ArchiveError: it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise ArchiveError(
            "FAISS is not installed. Install exactly one build of it: the extra `cpu` or the extra `gpu`."
        ) from error
    return faiss


def inner_products(query: Vectors, block: Vectors, rows: Rows) -> Vectors:
    """`block[rows] @ query` without a copy of the rows: float32[len(rows)].

    Args:
        query: float32[d].
        block: float32[n, d], contiguous.
    """
    faiss = load_faiss()
    products = np.empty(len(rows), np.float32)
    rows = np.ascontiguousarray(rows, np.int64)

    def compute(start: int, stop: int) -> None:
        faiss.fvec_inner_products_by_idx(
            *(faiss.swig_ptr(array) for array in (products[start:stop], query, block, rows[start:stop])),
            *(block.shape[1], 1, stop - start),
        )

    threads = faiss.omp_get_max_threads() if len(rows) >= SHARED_ROWS else 1
    if threads == 1:
        compute(0, len(rows))
    else:
        edges = np.linspace(0, len(rows), threads + 1).astype(int).tolist()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(compute, edges[:-1], edges[1:]))
    return products


def half_index(dim: int) -> Any:
    """An `IndexScalarQuantizer` of half precision, without rows."""
    faiss = load_faiss()
    return faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)


def half_view(halves: Halves) -> Any:
    """An index of these rows, float16[n, d], contiguous, read where they are; FAISS before 1.11 can only copy them.
    Nothing can be added to it."""
    index = half_index(halves.shape[1])
    codes = index.codes
    if not is_viewable(codes):
        index.add_sa_codes(halves.view(np.uint8))
    elif len(halves):
        data = load_faiss().swig_ptr(halves.view(np.uint8))
        codes.is_owned = False
        codes.view_data = codes.c_ptr = data
        codes.view_size = codes.c_size = halves.nbytes
        index.ntotal = len(halves)
        index.referenced_objects = [halves]  # for as long as the index lives
    return index


def is_viewable(codes: Any) -> bool:
    """Whether the codes of an index may lie in memory that FAISS does not own."""
    return hasattr(codes, "view_data")


def half_codes(index: Any) -> Halves:
    """The rows that such an index holds: float16[n, d], a view that lives as long as the index."""
    if not index.ntotal:
        return np.empty((0, index.d), np.float16)
    codes: Halves = load_faiss().rev_swig_ptr(index.codes.data(), index.codes.size()).view(np.float16)
    return codes.reshape(-1, index.d)


def zero_fast_scan_codes(index: Any, rows: Rows) -> None:
    """Zero the codes of these rows, int64[m], of an `IndexPQFastScan`, which interleaves 32 rows in a block."""
    faiss = load_faiss()
    packer = index.get_CodePacker()
    blocks = faiss.rev_swig_ptr(index.codes.get(), index.codes.size()).reshape(-1, packer.block_size)
    zeros = np.zeros(packer.code_size, np.uint8)
    for row in rows.tolist():
        packer.pack_1(zeros, row, blocks)


def zero_list_codes(index: Any, rows: Rows, vectors: Vectors) -> None:
    """Zero the codes of these rows of an `IndexIVFPQFastScan`: blocks as above, in the list of the nearest centre.

    Args:
        vectors: float32[len(rows), d], what the rows were added with: they name the lists. A row that is not in the
            list of its vector is left as it is.
    """
    if len(rows) == 0:
        return
    faiss = load_faiss()
    lists, packer = index.invlists, index.get_CodePacker()
    zeros = np.zeros(packer.code_size, np.uint8)
    _, nearest = index.quantizer.search(vectors, 1)
    for row, list_number in zip(rows.tolist(), nearest[:, 0].tolist(), strict=True):
        size = lists.list_size(list_number)
        ids = faiss.rev_swig_ptr(lists.get_ids(list_number), size) if size else np.empty(0, np.int64)
        positions = np.flatnonzero(ids == row)
        if positions.size:
            block_count = -(-size // packer.nvec)
            codes = faiss.rev_swig_ptr(lists.get_codes(list_number), block_count * packer.block_size)
            packer.pack_1(zeros, int(positions[0]), codes.reshape(block_count, packer.block_size))


def list_centres(index: Any) -> Vectors:
    """The centres of an inverted-list index: float32[lists, d], a view that lives as long as the index."""
    faiss = load_faiss()
    flat = faiss.downcast_index(index.quantizer)
    centres: Vectors = faiss.rev_swig_ptr(flat.get_xb(), flat.ntotal * flat.d).reshape(-1, flat.d)
    return centres


def list_entries(index: Any) -> int:
    """Rows in all inverted lists of an index."""
    lists = load_faiss().downcast_InvertedLists(index.invlists)
    return sum(lists.list_size(number) for number in range(index.nlist))


def search_lists(index: Any, queries: Vectors, lists: list[Rows], fetch: int) -> tuple[Vectors, Rows]:
    """The `fetch` best rows of the inverted lists that are named for each query.

    Args:
        queries: float32[n, d].
        lists: for each query the numbers of its lists.

    Returns:
        Scores float32[n, fetch] and rows int64[n, fetch], -1 where there are fewer.
    """
    faiss = load_faiss()
    named = np.full((len(queries), max(map(len, lists))), -1, np.int64)  # -1: no list
    for row, numbers in zip(named, lists, strict=True):
        row[: len(numbers)] = numbers
    scores = np.empty((len(queries), fetch), np.float32)
    rows = np.empty((len(queries), fetch), np.int64)
    centre_scores = np.zeros(named.shape, np.float32)  # not used by codes that are not residuals
    # Parameters are made for each search: sharing them between threads is not safe.
    parameters = faiss.IVFSearchParameters(nprobe=named.shape[1])
    queries = np.ascontiguousarray(queries, np.float32)
    arrays = (faiss.swig_ptr(array) for array in (named, centre_scores, scores, rows))
    index.search_preassigned_c(len(queries), faiss.swig_ptr(queries), fetch, *arrays, False, parameters)
    return scores, rows


def write_index(index: Any, file: BinaryIO) -> None:
    """Write an index through Python, because FAISS's own writer ignores a full disk."""
    faiss = load_faiss()
    faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))


def read_index(file: BinaryIO, kind: str) -> Any:
    """An index of the class `kind` that `write_index` wrote.

    Raises:
        RuntimeError: FAISS cannot read it, or it is of another class. Compare a checksum first.
    """
    faiss = load_faiss()
    index = faiss.read_index(faiss.PyCallbackIOReader(file.read))
    if type(index).__name__ != kind:
        raise RuntimeError(f"holds a {type(index).__name__}")
    return index
