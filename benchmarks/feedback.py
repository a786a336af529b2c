"""Whether ticked cases make a better query: relevance feedback on an archive's own cases.

    python -m benchmarks.feedback [--archive demo/archive]

Without an archive, on phantoms.

Each sampled case queries by its image or its report (words only, no generated images), its patient left out. The
first five are ticked by their labels: relevant where site and category are the query's. Then the query is made again
with the relevant ones as "more like" and the others as "less like". Compared is what comes after the ticked cases (the
residual ranking): how many of the next ten are relevant, of as many as could be. Only queries of which some ticked case
is relevant, some is not, and something relevant is left can show a difference.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from generation import PROFILES, phantom_cases, write_phantoms
from index_store import Archive, Case, CaseFilter
from retrieval import CaseSearch, Encoder, Query, SearchResult, add_manifest

TICKED = 5
NEXT = 10
DEPTH = 100


def main() -> None:
    """Print the residual P@10 without and with feedback, and the paired difference with its interval."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archive", help="of cases with categories")
    parser.add_argument("--per-class", type=int, default=12, help="phantoms of each class, without --archive")
    parser.add_argument("--queries", type=int, default=150)
    options = parser.parse_args()
    if options.archive is not None:
        compare(Path(options.archive), options.queries)
        return
    with tempfile.TemporaryDirectory() as folder:
        manifest = write_phantoms(Path(folder), phantom_cases(len(PROFILES) * options.per_class))
        with Archive.create(Path(folder) / "archive") as archive:
            add_manifest(archive, manifest, Encoder())
        compare(Path(folder) / "archive", options.queries)


def compare(path: Path, queries: int) -> None:
    """Measure on an archive, by image and by report."""
    with Archive.open(path, read_only=True) as archive:
        search = CaseSearch(archive, Encoder())
        cases = [case for case in archive.cases() if case.category]
        sample = np.random.default_rng(0).permutation(len(cases))[:queries]
        for kind in ("image", "report"):
            rows = [row for n in sample if (row := measured(search, cases, cases[n], kind)) is not None]
            report(kind, np.array(rows), len(sample))


def measured(search: CaseSearch, cases: list[Case], case: Case, kind: str) -> tuple[float, float] | None:
    """Residual P@10 of one query without and with feedback; None where feedback has nothing to add."""
    where = CaseFilter(exclude_patients=(case.patient,))
    query = Query(case=case.key, k=DEPTH) if kind == "image" else Query(text=case.report, k=DEPTH, where=where)
    first = search.run(query, generate=False)
    ticked = first.cases[:TICKED]
    liked = [ranked.case.key for ranked in ticked if relevant(ranked.case, case)]
    left = sum(relevant(other, case) and other.patient != case.patient for other in cases) - len(liked)
    if not liked or len(liked) == TICKED or not left:
        return None
    disliked = tuple(ranked.case.key for ranked in ticked if ranked.case.key not in liked)
    again = search.run(replace(query, more=tuple(liked), less=disliked), generate=False)
    seen = {ranked.case.patient for ranked in ticked}
    return share(first, case, seen, left), share(again, case, seen, left)


def share(result: SearchResult, case: Case, seen: set[str], left: int) -> float:
    """The relevant ones among the next, of as many as there could be."""
    rest = [ranked.case for ranked in result.cases if ranked.case.patient not in seen][:NEXT]
    return sum(relevant(other, case) for other in rest) / min(NEXT, left)


def relevant(other: Case, case: Case) -> bool:
    """By the labels of the archive."""
    return (other.site, other.system, other.category) == (case.site, case.system, case.category)


def report(kind: str, rows: np.ndarray, sampled: int) -> None:
    """Print a line for one kind of query."""
    if not len(rows):
        print(f"by {kind}: no query of {sampled} can show a difference")
        return
    difference = rows[:, 1] - rows[:, 0]
    draws = np.random.default_rng(0).integers(len(rows), size=(2000, len(rows)))
    low, high = np.percentile(difference[draws].mean(axis=1), [2.5, 97.5])
    print(
        f"by {kind}: {len(rows)} of {sampled} queries; without {rows[:, 0].mean():.3f}, with {rows[:, 1].mean():.3f}, "
        f"difference {difference.mean():+.3f} [{low:+.3f}, {high:+.3f}]"
    )


if __name__ == "__main__":
    sys.exit(main())
