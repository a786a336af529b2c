"""Which candidate index fits an archive's size, and how long its lists must be for the recall that we state.

Up to `IndexSizes.exact_bytes` of half-precision rows the index is exact by proof. Beyond, its recall is measured on the
archive itself: for a sample of its images as queries, and for its own reports' vectors, which lie elsewhere than images
do and are the harder queries. For each of several depths (numbers of results) the candidate list is made so long, so
many inverted lists are read, and so many rows are ranked exactly, that the lower 95 % bound of recall at that depth is
.99. Of the settings that reach it, the one that reads least is taken.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_store.index.candidate_index import EXACT, LISTS, SCAN, TRAINING_ROWS, FastScan, InvertedLists, sample
from index_store.index.faiss_bindings import Rows
from index_store.index.refinement_codes import RefinementCodes
from index_store.index.rerank import rank_all
from index_store.index.vector_file import VectorRows
from index_store.vectors import Vectors

RECALL = 0.99
DEPTHS = (10, 20, 50, 100, 200, 500, 1000, 2500)
"""Numbers of results for which recall is measured. A search for more than the last reads all rows."""
QUERIES = 200
"""Queries of each kind. 2,000 neighbours: the bound lies about .002 below the mean."""
CONFIDENCE = 1.645
"""Standard errors between the mean and its lower 95 % bound."""
FEW_QUERIES = 40
"""So many are tried first. Where the longest list holds much less (`DOUBT`) of their neighbours than `RECALL`, the
others are not tried."""
DOUBT = 0.05
FEWEST = 64
"""Rows that a quantizer of 16 centres can be trained on at all."""
LONGEST = 32_768
"""Candidates fetched to measure recall."""
LENGTHS = tuple(round(10 * 1.25**step) for step in range(37))
"""List lengths tried, 10 to 30,815."""
KEPT = (1.25, 1.5, 2, 3, 5, 8, 14, 25, 50, 100)
"""Rows read in full, tried as multiples of the depth."""


@dataclass(frozen=True)
class IndexSizes:
    """Where one kind of index ends and the next begins: measured, see docs/search-speed.md."""

    exact_bytes: int = 200_000_000
    """Half-precision rows up to which every search reads all of them (195,000 of 512 dimensions: about 10 ms)."""
    scan_bytes: int = 32_000_000
    """Codes up to which every search reads all of them (500,000 of 512 dimensions: about 2 ms)."""

    def mode(self, count: int, dim: int) -> str:
        """The mode for `count` vectors."""
        if 2 * dim * count <= self.exact_bytes or count < FEWEST:
            return EXACT
        return SCAN if dim // 8 * count <= self.scan_bytes else LISTS


@dataclass(frozen=True)
class Setting:
    """How the candidate index is used, for up to `depth` results. The fields are stored with a saved index."""

    depth: int
    """The largest number of results."""
    length: int
    """Of the candidate list."""
    kept: int
    """How many candidates, the best by their refinement codes, are ranked exactly."""
    margin: float = 0.0
    """Inverted lists are read whose centre scores at most so much less than the best one."""


@dataclass(frozen=True)
class Tuning:
    """How the candidate index is used, and the recall that was measured. The fields are stored with a saved index."""

    rows: int
    """Number of rows when it was measured."""
    settings: tuple[Setting, ...]
    """One for each of `DEPTHS`."""
    recall: dict[str, float]
    """recall@10 by kind of query (`images`, `reports`)."""

    def setting(self, k: int) -> Setting:
        """For k results, at most the last of `DEPTHS`: that of the next depth.

        Nothing is interpolated: where more lists are read, the true neighbours have lower ranks.
        """
        return next(setting for setting in self.settings if k <= setting.depth)

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Tuning:
        """Raises `KeyError`, `TypeError` or `ValueError` where `stored` is not from `as_dict`."""
        recall = {str(kind): float(value) for kind, value in stored["recall"].items()}
        settings = tuple(
            Setting(int(entry["depth"]), int(entry["length"]), int(entry["kept"]), float(entry["margin"]))
            for entry in stored["settings"]
        )
        if tuple(setting.depth for setting in settings) != DEPTHS:
            raise ValueError("other depths")
        return cls(int(stored["rows"]), settings, recall)


@dataclass(frozen=True)
class Cost:
    """What a search reads, in bytes. Rows and refinement codes lie anywhere, so that theirs count four times."""

    dim: int
    scanned: float
    """Codes of the candidate index."""
    kept: int = 0
    """Rows read in full, 4 bytes a dimension."""
    length: int = 0
    """Candidates refined, half a byte a dimension."""

    @property
    def total(self) -> float:
        """In bytes."""
        return self.scanned + 16 * self.dim * self.kept + 2 * self.dim * self.length


@dataclass(frozen=True)
class _Trial:
    """A setting that reaches the recall, what it costs, and the recall by kind of query."""

    cost: float
    setting: Setting
    recall: dict[str, float]


def tune(rows: VectorRows, candidates: FastScan, codes: RefinementCodes, reports: Vectors) -> Tuning | None:
    """For each depth the setting that reads least and reaches the recall; None where `LONGEST` candidates do not.

    Args:
        reports: float32[n, dim], vectors of the archive's reports; may be none.
    """
    probes = _probes(rows, reports)
    queries = np.concatenate([probe.queries for probe in probes.values()])
    best: dict[int, _Trial] = {}
    for margin in candidates.margins(queries):
        scan = Cost(rows.dim, candidates.share(queries, margin) * len(rows) * rows.dim / 8)
        depths = [depth for depth in DEPTHS if depth not in best or scan.total < best[depth].cost]
        if not depths:
            break
        depths, ranks = _measure(probes, depths, rows, candidates, codes, margin)
        best |= {depth: trial for depth in depths if (trial := _cheapest(ranks, depth, margin, scan, best.get(depth)))}
    if len(best) < len(DEPTHS):
        return None
    return Tuning(len(rows), tuple(best[depth].setting for depth in DEPTHS), best[DEPTHS[0]].recall)


Ranks = tuple[NDArray[np.int64], NDArray[np.int64]]
"""For one query, the ranks of its true neighbours, nearest first: in the candidate list, and among the candidates by
their refinement codes. `LONGEST` where a neighbour is no candidate."""


@dataclass(frozen=True)
class _Probe:
    """Queries of one kind, and their true neighbours."""

    queries: Vectors
    own_rows: Rows
    """The row of each query itself, which does not count as a neighbour; -1 where it has none."""
    neighbours: list[Rows]
    """The rows that an exact search finds, nearest first."""

    @classmethod
    def search(cls, rows: VectorRows, queries: Vectors, own_rows: Rows) -> _Probe:
        """With the neighbours by an exact search."""
        rankings = rank_all(rows, queries, DEPTHS[-1] + 1, rows.table.alive)
        nearest = [rows.table.rows_in_order(np.array([i for i, _ in ranking], np.int64)) for ranking in rankings]
        neighbours = [found[found != own][: DEPTHS[-1]] for found, own in zip(nearest, own_rows, strict=True)]
        return cls(queries, own_rows, neighbours)

    def subset(self, most: int) -> _Probe:
        """At most so many of the queries, evenly spaced."""
        step = -(-len(self.queries) // most)
        return _Probe(self.queries[::step], self.own_rows[::step], self.neighbours[::step])

    def ranks(self, rows: VectorRows, candidates: FastScan, codes: RefinementCodes, margin: float) -> list[Ranks]:
        """The ranks of each query's neighbours in the longest candidate list."""
        _, lists = candidates.search(self.queries, min(LONGEST, candidates.count), margin)
        rank, refined_rank = np.full((2, len(rows) + 1), LONGEST)
        ranks: list[Ranks] = []
        for query, candidate_list, own, neighbours in zip(
            self.queries, lists, self.own_rows, self.neighbours, strict=True
        ):
            listed = candidate_list[(candidate_list >= 0) & (candidate_list != own)]
            listed = listed[rows.table.alive[listed]]
            rank[listed] = np.arange(len(listed))
            # Equal scores all count as the last of them. A shorter list holds fewer better ones, so that this is safe.
            scores = -codes.scores(query, listed)
            refined_rank[listed] = np.searchsorted(np.sort(scores), scores, side="right") - 1
            ranks.append((rank[neighbours], refined_rank[neighbours]))
            rank[listed] = refined_rank[listed] = LONGEST
        return ranks


def _probes(rows: VectorRows, reports: Vectors) -> dict[str, _Probe]:
    """Samples of images and reports as queries, by kind; the same for the same archive."""
    alive = np.flatnonzero(rows.table.alive)
    rng = np.random.default_rng(len(alive))
    own_rows = np.sort(rng.choice(alive, min(QUERIES, len(alive)), replace=False))
    if len(reports) > QUERIES:
        reports = reports[rng.choice(len(reports), QUERIES, replace=False)]
    probes = {"images": _Probe.search(rows, rows.vectors(own_rows), own_rows)}
    if len(reports):
        probes["reports"] = _Probe.search(rows, reports, np.full(len(reports), -1))
    return probes


def _measure(
    probes: dict[str, _Probe],
    depths: list[int],
    rows: VectorRows,
    candidates: FastScan,
    codes: RefinementCodes,
    margin: float,
) -> tuple[list[int], dict[str, list[Ranks]]]:
    """The neighbours' ranks by kind of query, and the depths for which they can be good enough: a few queries say so
    first."""
    few = [probe.subset(FEW_QUERIES).ranks(rows, candidates, codes, margin) for probe in probes.values()]
    depths = [depth for depth in depths if all(_listed_share(ranks, depth) >= RECALL - DOUBT for ranks in few)]
    if not depths:
        return [], {}
    return depths, {kind: probe.ranks(rows, candidates, codes, margin) for kind, probe in probes.items()}


def _listed_share(ranks: list[Ranks], depth: int) -> float:
    """Which share of the `depth` nearest neighbours is in the longest list, on average."""
    return float(np.mean([(rank[:depth] < LONGEST).mean() for rank, _ in ranks if rank.size]))


def _cheapest(
    ranks: dict[str, list[Ranks]], depth: int, margin: float, scan: Cost, best: _Trial | None
) -> _Trial | None:
    """The cheapest setting at this depth and margin that reaches the recall, if it is cheaper than `best`; else
    `best`."""
    for kept in (round(factor * depth) for factor in KEPT):
        cost = replace(scan, kept=kept)
        if best is not None and cost.total >= best.cost:
            break
        shortest = _shortest_list(ranks, depth, kept)
        if shortest is not None:
            length, recall = shortest
            total = replace(cost, length=length).total
            if best is None or total < best.cost:
                best = _Trial(total, Setting(depth, length, kept, margin), recall)
    return best


def _shortest_list(ranks: dict[str, list[Ranks]], depth: int, kept: int) -> tuple[int, dict[str, float]] | None:
    """The shortest list whose recall at `depth`, with `kept` of its rows read, has its lower bound at `RECALL` for
    every kind of query, and the mean recall of each kind; None where there is none."""
    means, enough = {}, np.array(LENGTHS) >= kept
    for kind, of_queries in ranks.items():
        # The list length that each neighbour needs, and from it each query's recall at every length.
        needed = [np.where(refined[:depth] < kept, rank[:depth], LONGEST) for rank, refined in of_queries if rank.size]
        recalls = np.array([np.searchsorted(np.sort(lengths), LENGTHS) / len(lengths) for lengths in needed])
        means[kind] = recalls.mean(axis=0)
        enough &= means[kind] - CONFIDENCE * recalls.std(axis=0) / len(recalls) ** 0.5 >= RECALL
    if not enough.any():
        return None
    first = int(np.argmax(enough))
    return LENGTHS[first], {kind: round(float(mean[first]), 4) for kind, mean in means.items()}


def build(mode: str, rows: VectorRows) -> tuple[FastScan, RefinementCodes]:
    """A trained and filled candidate index of a mode that is not exact, and refinement codes for its candidates."""
    codes = RefinementCodes.train(sample(rows, TRAINING_ROWS))
    for _, block in rows.blocks():
        codes.add(block)
    return InvertedLists.build(rows) if mode == LISTS else FastScan.build(rows), codes
