"""Leave-one-patient-out: every case of an archive asks for the others, without its own patient.

This is the field's protocol (Kalra et al., Yottixel, 2020; Lahr et al., 2024). What comes back is judged by
whether it is of the query's category, and a category means something only within its site and reporting system.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np

from retrieval.arrays import Ints
from retrieval.encoder.encoder import Progress
from retrieval.errors import EvaluationError
from retrieval.evaluation.batched_rankings import Block, Rankings
from retrieval.evaluation.dataset import LabelledCases
from retrieval.evaluation.identical_reports import ReportFamilies, family_numbers
from retrieval.evaluation.per_query_scores import Found
from retrieval.evaluation.relevance import Truth
from retrieval.evaluation.results import FamilyResult
from retrieval.evaluation.scorers import Channel, Family, Fusion
from retrieval.evaluation.tables import Tables
from retrieval.evaluation.tasks import Gain, questions_for, same_category

THREADS: Final = 2
"""Blocks that are ranked at the same time; each takes some 300 MB at 30,000 images."""


def evaluate_families(
    cases: LabelledCases,
    channels: Sequence[Channel],
    families: Sequence[Family],
    *,
    fusions: Sequence[Fusion] = (),
    seed: int = 0,
    gain: Gain = same_category,
    family_of: Ints | None = None,
    progress: Progress | None = None,
) -> tuple[FamilyResult, ...]:
    """Put every question to every row of every family, and to chance.

    Args:
        fusions: rows that join others; those may be fusions themselves.
        seed: of the resampled patients, and of the random orders behind a vote's chance.
        gain: graded relevance for nDCG.
        family_of: int[cases], which reports say the same, -1 for none; by default `report_text.report_family`.
        progress: counts queries.

    With n cases, m images of d dimensions and p patients: time O(n m d + n p log p) for each channel, and
    O(n p log p) for each fusion; memory O(m d) beside one block of queries. Raises EvaluationError where a family has
    a question that none of its cases can be asked.
    """
    truths = [Truth(question, cases) for question in questions_for(cases, gain)]
    for family in families:
        require_answerable(family, truths)
    same = ReportFamilies(family_numbers(cases.reports) if family_of is None else family_of, cases)
    rankings = Rankings(cases, {channel.name: channel for channel in channels}, {row.name: row for row in fusions})
    found = _found(rankings, families, truths, same, progress)
    tables = Tables(cases, truths, same, seed)
    return tuple(tables.of(family, found) for family in families)


def require_answerable(family: Family, truths: Sequence[Truth]) -> None:
    """Raises EvaluationError where one of the questions has no answer for any case of the family."""
    if not all(len(truth.answerable(family.asking)) for truth in truths):
        raise EvaluationError(
            f"None of the {len(family.asking)} cases asked with ({family.name}) shares its category with another "
            "patient: ask with more of them (a larger --sample or --generate)."
        )


def _found(
    rankings: Rankings,
    families: Sequence[Family],
    truths: Sequence[Truth],
    same: ReportFamilies,
    progress: Progress | None,
) -> Mapping[str, Found]:
    pools = {truth.question.pool_of.tobytes(): truth.question.pool_of for truth in truths}
    widest = truths[0].question.pool_of
    by_report = {row for family in families if family.by_report for row in family.rows}
    found = {row: Found(len(rankings.cases.keys)) for family in families for row in family.rows}
    total = len(np.unique(np.concatenate([family.asking for family in families])))

    def measure(block: Block) -> int:
        scores = rankings.scores(block)
        for key, pool_of in pools.items():
            for row, places in rankings.places(block, scores, pool_of).items():
                for truth in truths:
                    if truth.question.pool_of.tobytes() == key:
                        found[row].put_answers(truth, block.queries, places.leads)
                if pool_of is widest:
                    found[row].put_heads(block.queries, places)
                    if row in by_report:
                        found[row].put_same_report(same, block.queries, places.leads)
        return len(block.queries)

    done = 0
    with ThreadPoolExecutor(THREADS) as threads:  # sorting and products let go of the interpreter
        waiting = [threads.submit(measure, block) for block in rankings.blocks(families, list(pools.values()))]
        try:
            for finished in waiting:
                done += finished.result()
                if progress is not None:
                    progress(done, total)
        finally:
            threads.shutdown(cancel_futures=True)
    return found
