"""Which kind of shortlist an archive's size asks for, and how long the list must be for the recall that we state.

Up to `EXACT_BYTES` of half-precision rows the index is exact by proof. Beyond, its recall is measured on the archive
itself: for images of it that search for the others, and for its own reports' vectors, which lie elsewhere than images
do and are the harder queries. The list is made longer until the lower 95 % bound of recall@10, @100 and @1000 is .99.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .exact_ranking import over_all
from .shortlist import EXACT, LISTS, SCAN, FastScan, InvertedLists
from .vector_index import Vectors
from .vector_rows import Rows, VectorRows

RECALL = 0.99
DEPTHS = (10, 100, 1000)
"""Answers for which recall is measured. Who asks for more than the last has all rows read."""
QUERIES = 200
"""Of each kind. 2,000 neighbours: the bound lies about .002 below the mean."""
CONFIDENCE = 1.645
FEWEST = 64
"""Rows that a quantizer of 16 centres can be trained on at all."""
LONGEST = 16_384
LENGTHS = tuple(round(10 * 1.25**step) for step in range(34))
"""Lengths tried, 10 to 15,777."""


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
class Tuning:
    """How a shortlist is used, and the recall that was measured that way."""

    rows: int
    """There were when it was measured."""
    lengths: tuple[int, ...]
    """Of the list, for each of `DEPTHS` answers."""
    recall: dict[str, float]
    """recall@10 by kind of query (`images`, `reports`)."""
    probes: int = 0
    """Inverted lists read; 0 without them."""

    def length(self, k: int) -> int:
        """Of the list for k answers, at most the last of `DEPTHS`."""
        return round(np.interp(k, DEPTHS, self.lengths))

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Tuning:
        """Raises `KeyError`, `TypeError` or `ValueError` where `stored` is not from `as_dict`."""
        recall = {str(kind): float(value) for kind, value in stored["recall"].items()}
        lengths = tuple(int(length) for length in stored["lengths"])
        if len(lengths) != len(DEPTHS):
            raise ValueError("other depths")
        return cls(int(stored["rows"]), lengths, recall, int(stored["probes"]))


def tuned(rows: VectorRows, shortlist: FastScan, reports: Vectors) -> Tuning | None:
    """The shortest lists that reach the recall, and what they reach; None where `LONGEST` does not.

    Changes nothing: the probes it names are for `FastScan.probing`.

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
    best: tuple[float, Tuning] | None = None
    for probes in _probes(shortlist):
        found = _measured(rows, shortlist.probing(probes), kinds, probes)
        # What a search reads: codes, and the rows on the list (those anywhere, and so four times as dear).
        share = probes / shortlist.lists if isinstance(shortlist, InvertedLists) else 1.0
        if found is not None:
            read = share * len(rows) * rows.dim / 8 + 16 * rows.dim * found.lengths[0]
            best = min(best or (read, found), (read, found), key=lambda one: one[0])
    return best[1] if best else None


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

    def positions(self, rows: VectorRows, shortlist: FastScan) -> list[Rows]:
        """Where on the shortlist each true neighbour stands; `LONGEST` where it does not."""
        _, lists = shortlist.find(self.queries, min(LONGEST, shortlist.count))
        place = np.full(len(rows) + 1, LONGEST)
        positions = []
        for listed, mine, truth in zip(lists, self.own, self.truth, strict=True):
            useful = listed[(listed >= 0) & (listed != mine)]
            useful = useful[rows.alive[useful]]
            place[useful] = np.arange(len(useful))
            positions.append(place[truth])
            place[useful] = LONGEST
        return positions


def _measured(rows: VectorRows, shortlist: FastScan, kinds: dict[str, _Probe], probes: int) -> Tuning | None:
    positions = {kind: probe.positions(rows, shortlist) for kind, probe in kinds.items()}

    def recalls(k: int, length: int) -> dict[str, tuple[float, float]]:
        """Mean and lower bound by kind."""
        found = {}
        for kind, places in positions.items():
            shares = np.array([(place[:k] < length).mean() for place in places if place.size])
            mean = float(shares.mean()) if shares.size else 1.0
            found[kind] = mean, mean - CONFIDENCE * float(shares.std()) / max(1, shares.size) ** 0.5
        return found

    lengths = []
    for k in DEPTHS:
        enough = (n for n in LENGTHS if n >= k and all(low >= RECALL for _, low in recalls(k, n).values()))
        length = next(enough, None)
        if length is None:
            return None
        lengths.append(length)
    stated = {kind: round(mean, 4) for kind, (mean, _) in recalls(DEPTHS[0], lengths[0]).items()}
    return Tuning(len(rows), tuple(lengths), stated, probes)


def _probes(shortlist: FastScan) -> list[int]:
    if not isinstance(shortlist, InvertedLists):
        return [0]
    return [p for p in (4, 8, 16, 32, 64, 128, 256, 512, 1024) if p <= shortlist.lists]


def build(mode: str, rows: VectorRows) -> FastScan:
    """A trained and filled shortlist of the modes that are not exact."""
    return InvertedLists.of(rows) if mode == LISTS else FastScan.of(rows)
