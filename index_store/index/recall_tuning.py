"""Which kind of shortlist an archive's size asks for, and how long the list must be for the recall that we state.

Up to `EXACT_BYTES` of half-precision rows the index is exact by proof. Beyond, its recall is measured on the archive
itself: for images of it that search for the others, and for its own reports' vectors, which lie elsewhere than images
do and are the harder queries. For each of several numbers of answers the list is made so long, so many inverted lists
are read, and so many rows kept for the exact comparison, that the lower 95 % bound of recall at that depth is .99.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_store.index.candidate_index import EXACT, LISTS, SCAN, TRAINING_ROWS, FastScan, InvertedLists, sample
from index_store.index.refinement_codes import FineCodes
from index_store.index.rerank import over_all
from index_store.index.vector_file import Rows, VectorRows
from index_store.vectors import Vectors

RECALL = 0.99
DEPTHS = (10, 20, 50, 100, 200, 500, 1000, 2500)
"""Numbers of answers for which recall is measured. Who asks for more than the last has all rows read."""
QUERIES = 200
"""Of each kind. 2,000 neighbours: the bound lies about .002 below the mean."""
CONFIDENCE = 1.645
SOME = 40
"""So many are asked first: where they find much less (`DOUBT`) by the longest list, the others are not asked."""
DOUBT = 0.05
FEWEST = 64
"""Rows that a quantizer of 16 centres can be trained on at all."""
LONGEST = 32_768
LENGTHS = tuple(round(10 * 1.25**step) for step in range(37))
"""Lengths tried, 10 to 30,815."""
KEPT = (1.25, 1.5, 2, 3, 5, 8, 14, 25, 50, 100)
"""Rows read in full, tried as multiples of the number of answers."""


@dataclass(frozen=True)
class IndexSizes:
    """Where one kind of index ends and the next begins: measured, see docs/search-speed.md."""

    exact_bytes: int = 200_000_000
    """Half-precision rows up to which every search reads all of them (195,000 of 512 dimensions: about 10 ms)."""
    scan_bytes: int = 32_000_000
    """Codes up to which every search reads all of them (500,000 of 512 dimensions: about 2 ms)."""

    def mode(self, count: int, dim: int) -> str:
        if 2 * dim * count <= self.exact_bytes or count < FEWEST:
            return EXACT
        return SCAN if dim // 8 * count <= self.scan_bytes else LISTS


@dataclass(frozen=True)
class Setting:
    """How a shortlist is used, for up to so many answers."""

    depth: int
    """The most answers that it is for."""
    length: int
    """Of the list."""
    kept: int
    """How many of them, the best by their fine codes, are read."""
    margin: float = 0.0
    """Inverted lists are read whose centre scores at most so much less than the best one."""


@dataclass(frozen=True)
class Tuning:
    """How a shortlist is used, and the recall that was measured that way."""

    rows: int
    """There were when it was measured."""
    settings: tuple[Setting, ...]
    """One for each of `DEPTHS`."""
    recall: dict[str, float]
    """recall@10 by kind of query (`images`, `reports`)."""

    def setting(self, k: int) -> Setting:
        """For k answers, at most the last of `DEPTHS`: that of the next depth, since it is measured there only.

        Nothing is interpolated: of more lists the true neighbours stand further down.
        """
        return next(setting for setting in self.settings if k <= setting.depth)

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Tuning:
        """Raises `KeyError`, `TypeError` or `ValueError` where `stored` is not from `as_dict`."""
        recall = {str(kind): float(value) for kind, value in stored["recall"].items()}
        settings = tuple(
            Setting(int(one["depth"]), int(one["length"]), int(one["kept"]), float(one["margin"]))
            for one in stored["settings"]
        )
        if tuple(setting.depth for setting in settings) != DEPTHS:
            raise ValueError("other depths")
        return cls(int(stored["rows"]), settings, recall)


def tuned(rows: VectorRows, shortlist: FastScan, fine: FineCodes, reports: Vectors) -> Tuning | None:
    """For each depth what reads least and reaches the recall, and what is reached; None where `LONGEST` does not.

    Args:
        reports: float32[n, dim], vectors of the archive's reports; may be none.
    """
    there = np.flatnonzero(rows.alive)
    rng = np.random.default_rng(len(there))
    own = np.sort(rng.choice(there, min(QUERIES, len(there)), replace=False))
    if len(reports) > QUERIES:
        reports = reports[rng.choice(len(reports), QUERIES, replace=False)]
    kinds = {"images": _Probe.of(rows, rows.vectors(own), own)}
    if len(reports):
        kinds["reports"] = _Probe.of(rows, reports, np.full(len(reports), -1))
    asked = np.concatenate([probe.queries for probe in kinds.values()])
    some = {kind: probe.some(SOME) for kind, probe in kinds.items()}
    best: dict[int, tuple[float, Setting, dict[str, float]]] = {}
    for margin in shortlist.margins(asked):
        # Bytes that a search reads; those that lie anywhere are four times as dear.
        codes = shortlist.share(asked, margin) * len(rows) * rows.dim / 8
        depths = [depth for depth in DEPTHS if depth not in best or codes < best[depth][0]]
        if not depths:
            break
        few = {kind: probe.places(rows, shortlist, fine, margin) for kind, probe in some.items()}
        depths = [depth for depth in depths if all(_listed(found, depth) >= RECALL - DOUBT for found in few.values())]
        if not depths:
            continue
        places = {kind: probe.places(rows, shortlist, fine, margin) for kind, probe in kinds.items()}
        for depth in depths:
            for factor in KEPT:
                kept = round(factor * depth)
                dear = codes + 16 * rows.dim * kept
                if depth in best and dear >= best[depth][0]:
                    break
                found = _shortest(places, depth, kept)
                if found is not None:
                    length, reached = found
                    read = dear + 2 * rows.dim * length
                    if depth not in best or read < best[depth][0]:
                        best[depth] = read, Setting(depth, length, kept, margin), reached
    if len(best) < len(DEPTHS):
        return None
    return Tuning(len(rows), tuple(best[depth][1] for depth in DEPTHS), best[DEPTHS[0]][2])


Places = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class _Probe:
    """Queries of one kind, and the rows that an exact search finds."""

    queries: Vectors
    own: Rows
    """The query's own row, which it must not count as found; -1 where it has none."""
    truth: list[Rows]

    @classmethod
    def of(cls, rows: VectorRows, queries: Vectors, own: Rows) -> _Probe:
        rankings = over_all(rows, queries, DEPTHS[-1] + 1, rows.alive)
        truth = [rows.rows_in_order(np.array([i for i, _ in ranking], np.int64)) for ranking in rankings]
        return cls(queries, own, [t[t != mine][: DEPTHS[-1]] for t, mine in zip(truth, own, strict=True)])

    def some(self, most: int) -> _Probe:
        """At most so many of the queries, evenly drawn."""
        step = -(-len(self.queries) // most)
        return _Probe(self.queries[::step], self.own[::step], self.truth[::step])

    def places(self, rows: VectorRows, shortlist: FastScan, fine: FineCodes, margin: float) -> list[Places]:
        """Of each query where its true neighbours stand, in their order: on the shortlist, and among all on it by their
        fine codes; `LONGEST` where they do not."""
        _, lists = shortlist.find(self.queries, min(LONGEST, shortlist.count), margin)
        place, fine_place = np.full((2, len(rows) + 1), LONGEST)
        found: list[Places] = []
        for query, listed, mine, truth in zip(self.queries, lists, self.own, self.truth, strict=True):
            useful = listed[(listed >= 0) & (listed != mine)]
            useful = useful[rows.alive[useful]]
            place[useful] = np.arange(len(useful))
            # Equal scores all count as the last of them. A shorter list holds fewer better ones, so that this is safe.
            scores = -fine.scores(query, useful)
            fine_place[useful] = np.searchsorted(np.sort(scores), scores, side="right") - 1
            found.append((place[truth], fine_place[truth]))
            place[useful] = fine_place[useful] = LONGEST
        return found


def _listed(found: list[Places], depth: int) -> float:
    """Which part of the `depth` true neighbours is on the longest list, on average."""
    return float(np.mean([(own[:depth] < LONGEST).mean() for own, _ in found if own.size]))


def _shortest(places: dict[str, list[Places]], depth: int, kept: int) -> tuple[int, dict[str, float]] | None:
    """The shortest list whose recall@depth, with `kept` of its rows read, has its lower bound at `RECALL` for every
    kind of query, and the mean of each; None where there is none. `places` are `_Probe.places` by kind."""
    means, enough = {}, np.array(LENGTHS) >= kept
    for kind, found in places.items():
        # How much of each query's neighbours is found by way of lists of each length.
        lengths = [np.where(fine[:depth] < kept, own[:depth], LONGEST) for own, fine in found if own.size]
        shares = np.array([np.searchsorted(np.sort(needed), LENGTHS) / len(needed) for needed in lengths])
        means[kind] = shares.mean(axis=0)
        enough &= means[kind] - CONFIDENCE * shares.std(axis=0) / len(shares) ** 0.5 >= RECALL
    if not enough.any():
        return None
    first = int(np.argmax(enough))
    return LENGTHS[first], {kind: round(float(mean[first]), 4) for kind, mean in means.items()}


def build(mode: str, rows: VectorRows) -> tuple[FastScan, FineCodes]:
    """A trained and filled shortlist of the modes that are not exact, and the fine codes for it."""
    fine = FineCodes.trained(sample(rows, TRAINING_ROWS))
    for _, block in rows.blocks():
        fine.add(block)
    return InvertedLists.of(rows) if mode == LISTS else FastScan.of(rows), fine
