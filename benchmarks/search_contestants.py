"""The contestants of `benchmarks.search`: numpy, FAISS by itself, graphs, and the index that clip-retrieval builds."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from index_store.index.candidate_index import InvertedLists
from index_store.index.faiss_bindings import half_index, load_faiss
from index_store.index.faiss_index import FaissIndex
from index_store.index.half_precision import HalfPrecision
from index_store.vectors import Selection

K = 10
Search = Callable[[np.ndarray], list[list[int]]]
"""From unit rows to the ids (row + 1) of the K best of each."""
Make = Callable[[np.ndarray | None, Selection | None], Search | None]
"""From the permitted rows and the selection to a search; None where it cannot filter."""


def by_numpy(vectors: np.ndarray) -> Make:
    def make(permitted: np.ndarray | None, _: Selection | None) -> Search:
        gathered = permitted is not None and 2 * len(permitted) <= len(vectors)
        barred = None if permitted is None or gathered else np.setdiff1d(np.arange(len(vectors)), permitted)

        def search(queries: np.ndarray) -> list[list[int]]:
            chosen = vectors[permitted] if gathered else vectors
            results = []
            for query in queries:  # a batch at once would hold queries × vectors scores
                scores = chosen @ query
                if barred is not None:
                    scores[barred] = -np.inf
                best = np.argpartition(-scores, K)[:K] if len(scores) > K else np.arange(len(scores))
                best = best[np.argsort(-scores[best])]
                results.append(((permitted[best] if gathered else best) + 1).tolist())
            return results

        return search

    return make


def by_faiss(index: FaissIndex, vectors: np.ndarray, queries: np.ndarray) -> dict[str, Make]:
    """FAISS by itself: over our codes with its own refinement, and flat."""
    faiss = load_faiss()
    searcher = index.searcher
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    if isinstance(searcher.candidates, HalfPrecision):  # whose rows lie partly in a mapped file
        codes = half_index(vectors.shape[1])
        codes.add(vectors)
    else:
        codes = searcher.candidates.index  # type: ignore[attr-defined]  # FAISS's own
    raw = codes
    if searcher.tuning is not None:
        setting = searcher.tuning.setting(K)
        if isinstance(searcher.candidates, InvertedLists):
            lists = searcher.candidates.share(queries, setting.margin) * searcher.candidates.lists
            codes.nprobe = round(lists)
        raw = faiss.IndexRefineFlat(codes, faiss.swig_ptr(vectors))
        raw.k_factor = setting.length / K

    def filtered(permitted: np.ndarray | None, _: Selection | None) -> Search | None:
        parameters = None
        if permitted is not None:
            named = np.zeros(len(vectors), bool)
            named[permitted] = True
            bits = np.packbits(named, bitorder="little")
            parameters = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))
            parameters.bits = bits  # FAISS does not copy them
        return lambda q: (flat.search(q, K, params=parameters)[1] + 1).tolist()

    def unfiltered(permitted: np.ndarray | None, _: Selection | None) -> Search | None:
        return None if permitted is not None else lambda q: (raw.search(q, K)[1] + 1).tolist()

    return {"faiss": unfiltered, "faiss, flat float32": filtered}


def by_graphs(vectors: np.ndarray) -> dict[str, Make]:
    graphs: dict[str, Make] = {}
    try:
        import hnswlib
    except ImportError:
        print("hnswlib is not installed (extra `benchmark`)", file=sys.stderr)
    else:
        graph = hnswlib.Index("ip", vectors.shape[1])
        graph.init_index(len(vectors), M=32, ef_construction=200)
        graph.set_num_threads(1)
        started = time.perf_counter()
        graph.add_items(vectors, np.arange(len(vectors)))
        graph.set_ef(256)
        print(f"hnswlib built in {time.perf_counter() - started:.1f} s", file=sys.stderr)

        def by_hnswlib(permitted: np.ndarray | None, _: Selection | None) -> Search:
            named = None if permitted is None else set(permitted.tolist())
            keep = None if named is None else named.__contains__

            def search(queries: np.ndarray) -> list[list[int]]:
                try:
                    return (graph.knn_query(queries, K, filter=keep)[0].astype(np.int64) + 1).tolist()
                except RuntimeError:  # fewer than k were met under the filter
                    return [[] for _ in queries]

            return search

        graphs["hnswlib M=32 ef=256"] = by_hnswlib
    try:
        from usearch.index import Index
    except ImportError:
        print("usearch is not installed (extra `benchmark`)", file=sys.stderr)
    else:
        other = Index(ndim=vectors.shape[1], metric="ip", dtype="f16", connectivity=32, expansion_search=256)
        started = time.perf_counter()
        other.add(np.arange(len(vectors)), vectors, threads=1)
        print(f"usearch built in {time.perf_counter() - started:.1f} s", file=sys.stderr)

        def by_usearch(permitted: np.ndarray | None, _: Selection | None) -> Search | None:
            if permitted is not None:  # its Python interface takes no filter
                return None
            return lambda q: [(other.search(query, K, threads=1).keys.astype(np.int64) + 1).tolist() for query in q]

        graphs["usearch f16 M=32 ef=256"] = by_usearch
    return graphs


_AUTOFAISS = """
import sys
from autofaiss import build_index
build_index(sys.argv[1], index_path=sys.argv[2], index_infos_path=sys.argv[3], metric_type="ip",
            max_index_memory_usage="4G", current_memory_available="16G", nb_cores=1, verbose=40)
"""


def by_clip_retrieval(vectors: np.ndarray, python: Path) -> dict[str, Make]:
    """The index that clip-retrieval builds: autofaiss with the limits that its `clip_index.py` sets, by an interpreter
    that has it (it wants numpy 1, which we do not run with), searched here by the FAISS of all other lines."""
    faiss = load_faiss()
    with tempfile.TemporaryDirectory() as folder:
        embeddings, built = Path(folder) / "embeddings", Path(folder) / "image.index"
        embeddings.mkdir()
        np.save(embeddings / "0.npy", vectors)
        started = time.perf_counter()
        command = [str(python), "-c", _AUTOFAISS, str(embeddings), str(built), str(Path(folder) / "image.json")]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"autofaiss failed: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
            return {}
        print(f"autofaiss built in {time.perf_counter() - started:.1f} s", file=sys.stderr)
        index = faiss.read_index(str(built))

    def make(permitted: np.ndarray | None, _: Selection | None) -> Search | None:
        if permitted is not None:  # its back-end filters what was found
            return None
        return lambda q: (index.search(q, K)[1] + 1).tolist()

    return {f"clip-retrieval ({type(faiss.downcast_index(index)).__name__})": make}
