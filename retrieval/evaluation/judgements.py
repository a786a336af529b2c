"""Results judged by a reader: how well a search ranks what was ticked relevant before what was not.

A reader judges few of the cases that a search ranks, so the ranking is condensed to the judged ones (Sakai, SIGIR
2007): what nobody judged counts neither way. A judged case that the search does not return stands last, not relevant
ones first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from retrieval.arrays import Bools
from retrieval.errors import EvaluationError, QueryError
from retrieval.notice import RESEARCH_USE
from retrieval.search.query import Query, query_from_dict, query_to_dict
from retrieval.statistics.estimate import FEWEST_CLUSTERS, Estimate, bootstrap_mean
from retrieval.statistics.metrics import ndcg, precision

if TYPE_CHECKING:
    from index_store import Archive
    from retrieval.search.case_search import CaseSearch

VERSION: Final = 1
DEPTH: Final = 500
"""Results that are looked at."""
P_AT: Final = (1, 5)
NDCG_AT: Final = 10


@dataclass(frozen=True)
class JudgedQuery:
    """A query, and whether each judged case is relevant to it."""

    query: Query
    relevant: Mapping[str, bool]
    """By the case's key."""


@dataclass(frozen=True)
class JudgementResult:
    """What the judgements say of a search."""

    queries: int
    """Those that count: of which at least one judged case is relevant, and is in the archive."""
    left_out: int
    """Of which none is."""
    judged: int
    """Cases judged, over the queries that count."""
    removed: tuple[str, ...]
    """Judged cases that the archive does not have any more."""
    scores: Mapping[str, Estimate]
    """By metric; intervals by resampled queries, from six on."""


def judgements_text(archive: str, judged: Sequence[JudgedQuery]) -> str:
    """Judgements as JSON, which `read_judgements` reads. The queries are whole: texts and pictures are in it."""
    rows = [{"query": query_to_dict(each.query), "relevant": dict(each.relevant)} for each in judged]
    document = {"notice": RESEARCH_USE, "version": VERSION, "archive": archive, "judgements": rows}
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def read_judgements(data: bytes, archive: str) -> tuple[JudgedQuery, ...]:
    """The judgements of a JSON file, those of one query joined. Raises EvaluationError where it has none, or those of
    another archive."""
    try:
        document = json.loads(data)
        if document["version"] != VERSION:
            raise EvaluationError(f"These judgements are of version {document['version']}: {VERSION} is read here.")
        if document["archive"] != archive:
            raise EvaluationError("These judgements are of another archive: its keys mean nothing here.")
        joined: dict[str, JudgedQuery] = {}
        for row in document["judgements"]:
            query, relevant = query_from_dict(row["query"]), row["relevant"]
            if not all(isinstance(value, bool) for value in relevant.values()):
                raise TypeError("a judgement is neither true nor false")
            name = json.dumps(row["query"], sort_keys=True)
            known = joined[name].relevant if name in joined else {}
            joined[name] = JudgedQuery(query, {**known, **relevant})
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, QueryError) as error:
        raise EvaluationError(f"This is no file of judgements ({error}): export one from a review.") from error
    if not joined:
        raise EvaluationError("The file has no judgement: tick cases in a review, then export it.")
    return tuple(joined.values())


def evaluate_judgements(
    search: CaseSearch, archive: Archive, judged: Sequence[JudgedQuery], *, seed: int = 0
) -> JudgementResult:
    """P@k and nDCG of the search on the judged cases; each query is run once.

    Raises:
        EvaluationError: no query has a relevant case that is in the archive.
        QueryError: a query cannot be answered.
    """
    keys = dict.fromkeys(key for each in judged for key in each.relevant)
    known = dict(_patients(archive, keys))
    rows = []
    for each in judged:
        relevant = {key: value for key, value in each.relevant.items() if key in known}
        if any(relevant.values()):
            rows.append(_ranked(search, each.query, relevant, known))
    if not rows:
        raise EvaluationError("No query has a relevant case that is in the archive: nothing can be measured.")
    table = np.zeros((len(rows), max(NDCG_AT, *P_AT, *map(len, rows))), bool)
    for number, row in enumerate(rows):
        table[number, : len(row)] = row
    values = {f"P@{k}": precision(table, k) for k in P_AT} | {
        f"nDCG@{NDCG_AT}": ndcg(table.astype(np.float64), NDCG_AT)
    }
    return JudgementResult(
        queries=len(rows),
        left_out=len(judged) - len(rows),
        judged=sum(map(len, rows)),
        removed=tuple(key for key in keys if key not in known),
        scores={
            name: bootstrap_mean(column, seed=seed)
            if len(rows) >= FEWEST_CLUSTERS
            else Estimate(float(column.mean()), -np.inf, np.inf)
            for name, column in values.items()
        },
    )


def _patients(archive: Archive, keys: Mapping[str, None]) -> Iterator[tuple[str, str]]:
    """The patient of each case that is there: results have one case a patient."""
    from index_store import CaseNotFoundError

    for key in keys:
        try:
            yield key, archive.case(key).patient
        except CaseNotFoundError:
            continue


def _ranked(search: CaseSearch, query: Query, relevant: Mapping[str, bool], patients: Mapping[str, str]) -> Bools:
    """bool[n]: whether each judged case is relevant, in the search's order."""
    # Marks are part of the query that was judged; its own k is not.
    result = search.run(replace(query, k=max(query.k, DEPTH)))
    ranks = {ranked.case.patient: ranked.rank for ranked in result.cases}
    last = len(ranks) + 1
    order = sorted(relevant, key=lambda key: (ranks.get(patients[key], last), relevant[key]))
    return np.array([relevant[key] for key in order], bool)
