"""Searching an archive of synthetic vectors, against FAISS by itself, numpy and graph indexes on the same vectors.

    OMP_NUM_THREADS=1 python -m benchmarks.search [--sizes 10000 100000 1000000] [--graphs-up-to 10000]
    python -m benchmarks.search --sizes 1000 --queries 5 --graphs-up-to 0    # seconds, to see that it runs

Every line is of the same queries: 10 neighbours, without a filter, with the query's patient excluded, and under filters
that permit 10 %, 1 % and 0.1 % of the images. `archive` is the whole `Archive.search`: records, filter, index, check;
`archive, first` is the same over rows that no search of this process has read before, whose checksums are compared.
`index` is our index without the records; `faiss` is FAISS by itself over the same codes with its own refinement
(`IndexRefineFlat`), with as many candidates from as many inverted lists as ours reads on average, or, where the index
is exact, the same float16 scan. Latencies are in milliseconds for one query at a time: p50 and p95 of wall time, and
p50 of the processor time of the calling thread, which is the better figure on a busy machine. Run with one thread, the
two are comparable for all lines.

hnswlib and usearch come with the extra `benchmark`; without them their lines are left out. `--autofaiss` names the
interpreter of an environment with autofaiss, which builds the index that clip-retrieval would.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bulk_archive import FINGERPRINT, SHARES, build_archive
from benchmarks.machine import describe_machine
from benchmarks.search_contestants import K, Search, by_clip_retrieval, by_faiss, by_graphs, by_numpy
from benchmarks.synthetic_vectors import SyntheticVectors
from index_store import Archive, CaseFilter
from index_store.index.faiss_bindings import load_faiss
from index_store.index.faiss_index import FaissIndex

BATCH = 64
LONG = 5.0
"""Seconds after which no further query of a line is timed."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    load_faiss().omp_set_num_threads(options.threads)
    print(describe_machine())
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for size in options.sizes:
            graphs = size <= options.graphs_up_to
            for line in measure(
                Path(folder) / str(size), size, count=options.queries, graphs=graphs, autofaiss=options.autofaiss
            ):
                print(json.dumps(line), flush=True)
    return 0


def measure(
    folder: Path, size: int, *, count: int, graphs: bool, autofaiss: Path | None = None
) -> Iterator[dict[str, object]]:
    """Build an archive of `size` vectors in `folder` and measure it; a line of figures at a time."""
    synthetic = SyntheticVectors(size)
    vectors, queries, texts = synthetic.array(), synthetic.queries(count), synthetic.text_queries(count)
    started = time.perf_counter()
    build_archive(folder, synthetic, vectors)
    records = time.perf_counter() - started

    started = time.perf_counter()
    with Archive.open(folder) as archive:
        archive.search(queries[:1], K, fingerprint=FINGERPRINT)
    built = time.perf_counter() - started
    started = time.perf_counter()
    archive = Archive.open(folder)
    opened = time.perf_counter() - started
    archive.search(queries[:1], K, fingerprint=FINGERPRINT)
    first = time.perf_counter() - started
    status = archive.status().index
    assert status is not None
    files = {path.suffix: path.stat().st_size for path in (folder / "index").iterdir()}
    yield {
        "size": size,
        "mode": status.mode,
        "stated recall": dict(status.recall),
        "records inserted, s": round(records, 1),
        "index built from records, s": round(built, 1),
        "open, s": round(opened, 3),
        "open and first answer, s": round(first, 3),
        "memory, B a vector": round(status.memory_bytes / size),
        "mapped and saved files, B a vector": {suffix: round(n / size) for suffix, n in files.items()},
    }
    (followed,) = archive._index._indexes.values()
    index = followed.index
    assert isinstance(index, FaissIndex)
    others = {
        "numpy": by_numpy(vectors),
        **by_faiss(index, vectors, queries),
        **(by_graphs(vectors) if graphs else {}),
        **(by_clip_retrieval(vectors, autofaiss) if autofaiss else {}),
    }
    for name, where in _filters():
        permitted = _permitted(archive, where, size)
        relevant = _exact(vectors, queries, permitted)
        with archive._reader() as reader:
            selection, _ = archive._index.filters.selection(reader, where, archive.revision)
        ours: dict[str, Search] = {
            "archive": lambda q, where=where: _hits(archive.search(q, K, where=where, fingerprint=FINGERPRINT)),
            "index": lambda q, chosen=selection: [
                [i for i, _ in hits] for hits in index.search(q, K, selection=chosen)
            ],
        }
        if where is not None:
            yield {
                "size": size,
                "filter": name,
                "permitted": len(permitted),
                "cold, ms": _cold(archive, where, queries),
            }
        if where is None:
            yield {"size": size, "filter": name, "by": "archive, first", **_timed(ours["archive"], queries, relevant)}
        for by, search in ours.items():
            yield {"size": size, "filter": name, "by": by, **_timed(search, queries, relevant)}
        for by, make in others.items():
            search = make(None if where is None else permitted, selection)
            if search is not None:
                yield {"size": size, "filter": name, "by": by, **_timed(search, queries, relevant)}
        if where is None:
            results = _hits(archive.search(texts, K, fingerprint=FINGERPRINT))
            yield {"size": size, "text queries, recall": _recall(results, _exact(vectors, texts, permitted))}
    archive.close()


def _filters() -> Iterator[tuple[str, CaseFilter | None]]:
    yield "none", None
    yield "query's patient out", CaseFilter(exclude_patients=("patient-7",))
    for name, share in SHARES.items():
        yield f"{100 / share:g} %", CaseFilter(categories=(name,))


def _timed(search: Search, queries: np.ndarray, relevant: list[set[int]]) -> dict[str, object]:
    wall, cpu, results = [], [], []
    search(queries[:1])
    for query in queries:
        started, busy = time.perf_counter(), time.thread_time()
        results += search(query[None])
        cpu.append(time.thread_time() - busy)
        wall.append(time.perf_counter() - started)
        if sum(wall) > LONG:
            break
    together = queries[: BATCH if BATCH * float(np.median(wall)) < LONG else 1]
    started = time.perf_counter()
    search(together)
    batch = (time.perf_counter() - started) / len(together)
    return {
        "p50, ms": round(1e3 * float(np.median(wall)), 3),
        "p95, ms": round(1e3 * float(np.percentile(wall, 95)), 3),
        "cpu p50, ms": round(1e3 * float(np.median(cpu)), 3),
        "in a batch of 64, ms for each query": round(1e3 * batch, 3),
        "recall": _recall(results, relevant),
    }


def _cold(archive: Archive, where: CaseFilter, queries: np.ndarray) -> float:
    """The first search by a filter, before the images that it permits are known, in ms."""
    archive._index.filters.clear()
    started = time.perf_counter()
    archive.search(queries[:1], K, where=where, fingerprint=FINGERPRINT)
    return round(1e3 * (time.perf_counter() - started), 1)


def _recall(results: list[list[int]], relevant: list[set[int]]) -> float:
    pairs = zip(results, relevant, strict=False)
    return round(float(np.mean([len(best & set(ids)) / len(best) for ids, best in pairs if best])), 4)


def _hits(results: list[list[Any]]) -> list[list[int]]:
    return [[hit.image_id for hit in hits] for hits in results]


def _permitted(archive: Archive, where: CaseFilter | None, size: int) -> np.ndarray:
    """Rows (image id - 1) that a filter permits, ascending."""
    if where is None:
        return np.arange(size)
    with archive._reader() as reader:
        return np.sort(reader.included(where)) - 1


def _exact(vectors: np.ndarray, queries: np.ndarray, permitted: np.ndarray) -> list[set[int]]:
    """Ids of the K best by one float32 product each."""
    best = [(-np.inf * np.ones((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64))]
    for start in range(0, len(permitted), 50_000):
        rows = permitted[start : start + 50_000]
        best.append((queries @ vectors[rows].T, np.broadcast_to(rows, (len(queries), len(rows)))))
        scores, ids = (np.concatenate(parts, axis=1) for parts in zip(*best, strict=True))
        order = np.argsort(-scores, axis=1)[:, :K]
        best = [(np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1))]
    return [set((row + 1).tolist()) for row in best[0][1]]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--queries", type=int, default=100, help="timed one by one")
    parser.add_argument("--graphs-up-to", type=int, default=10_000, help="building graphs takes minutes from 1e5 on")
    parser.add_argument("--autofaiss", type=Path, help="a Python interpreter with autofaiss: clip-retrieval's index")
    parser.add_argument("--threads", type=int, default=1, help="of FAISS; numpy follows OMP_NUM_THREADS")
    parser.add_argument("--folder", type=Path, help="where the temporary archives are made")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
