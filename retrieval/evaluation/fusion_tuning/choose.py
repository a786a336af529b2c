"""Tuning of fusion weights: chosen on one half of an archive's patients, measured on the other (hold-out).

Every rule of a small grid (both methods, weights 0, 0.5, 1 and 2) ranks for the queries of the tuning half; all
patients are candidates. A rule has so few weights that it hardly overfits, but the best of many is always a little
lucky: its figures come from the held-out half, which took no part in the choice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

import numpy as np

from retrieval.arrays import Bools, Floats, Ints
from retrieval.errors import EvaluationError
from retrieval.evaluation.batched_rankings import Block, Rankings
from retrieval.evaluation.dataset import LabelledCases
from retrieval.evaluation.experiment import BY_PICTURE, QueryType
from retrieval.evaluation.fusion_tuning.choice import FusionChoice
from retrieval.evaluation.fusion_tuning.select import Halves, chosen_rule, rule_grid
from retrieval.evaluation.material import ProgressFactory, gather, no_progress
from retrieval.evaluation.relevance import DEPTH, Relevance
from retrieval.evaluation.tasks import tasks_for
from retrieval.search.batch import BatchRanking, first_of, ranking_of
from retrieval.search.channels.own_runs import Fusion
from retrieval.search.fusion import FusionRule, Method, fuse
from retrieval.statistics.metrics import precision

if TYPE_CHECKING:
    from pathlib import Path

    from index_store import Archive
    from retrieval.encoder.encoder import Encoder
    from retrieval.generated.batch_generation import GenerationPlan


def choose_fusion(
    archive: Archive,
    *,
    rules: Mapping[str, FusionRule],
    encoder: Encoder | None = None,
    text_encoder: Encoder | None = None,
    generation: GenerationPlan | None = None,
    sample: int | None = None,
    seed: int = 0,
    histogram: bool | None = False,
    work: Path | None = None,
    progress: ProgressFactory = no_progress,
) -> tuple[FusionChoice, ...]:
    """Choose the rules "image" (whether colours join), "report", "text" and "text and image", in this order, as far as
    the archive has their channels.

    The criterion is P@10 of site, system and category among all cases, the mean over categories. Of the rules that the
    best does not significantly surpass (the 95 % interval of the paired difference, resampled by patient, holds 0) the
    simplest is taken: without what answers only on request, then equal weights by ranks, then by scores, then other
    weights by ranks. From it, channels are left out that it is better without, on the same half: they earn nothing on
    this archive, and weigh 0. Which half a patient belongs to follows from its first case's key and the seed. Arguments
    otherwise as of `evaluate_archive`.

    Raises EvaluationError where there is nothing to fuse, or where a half has no query with a relevant candidate.
    """
    material = gather(
        archive,
        encoder=encoder,
        text_encoder=text_encoder,
        generation=generation,
        sample=sample,
        seed=seed,
        histogram=histogram,
        rules=rules,
        work=work,
        progress=progress,
    )
    cases = material.cases
    fusions = {fusion.name: fusion for fusion in material.experiment.fusions}
    names = {run: fusion.rule_name for run, fusion in fusions.items() if fusion.rule_name and len(fusion.of) > 1}
    if not names:
        raise EvaluationError(
            "There is nothing to fuse: the archive has no reports, or none with a vector that another patient shares."
        )
    relevance = next(Relevance(task, cases) for task in tasks_for(cases) if task.name.startswith("category"))
    by_image, *by_report = (relevance.answerable(each.queries) for each in material.experiment.query_types)
    halves = {
        run: _halves(relevance, cases, by_image if name == BY_PICTURE else by_report[0], seed)
        for run, name in names.items()
    }
    choices = []
    with progress("Comparing", unit="rules × queries") as count:
        grids = {run: list(rule_grid(tuple(fusions[run].of))) for run in names}
        total, done = sum(len(grid) * len(halves[run].queries) for run, grid in grids.items()), 0
        for run, name in names.items():
            fusion, grid, queries = fusions[run], grids[run], halves[run].queries
            experiment = replace(material.experiment, fusions=tuple(fusions.values()))
            precisions = np.zeros((len(grid), len(queries)))
            for at, rule, values in _precisions(Rankings(cases, experiment), fusion, relevance, queries, grid):
                precisions[rule, at] = values
                done += len(at)
                count(done, total)
            choice = chosen_rule(name, tuple(fusion.of), grid, precisions, halves[run], rules[name])
            choices.append(replace(choice, rule=replace(choice.rule, encoders=material.fingerprints)))
            fusions[run] = replace(fusion, rule=choice.rule)  # later ones fuse it as chosen
    return tuple(choices)


def _halves(relevance: Relevance, cases: LabelledCases, queries: Ints, seed: int) -> Halves:
    tuning = tuning_half(cases, seed)[cases.patient_of[queries]]
    if tuning.all() or not tuning.any():
        raise EvaluationError("All queries are of one half of the patients: query with more of them.")
    return Halves(relevance, cases, queries, tuning, seed)


def _precisions(
    rankings: Rankings, fusion: Fusion, relevance: Relevance, queries: Ints, grid: Sequence[FusionRule]
) -> Iterator[tuple[Ints, int, Floats]]:
    """P@10 by each rule: positions in `queries` int[b], the rule's number in the grid, and float[b]."""
    task, case_of = relevance.task, rankings.cases.case_of
    query_type = QueryType(fusion.name, "", queries, tuple(fusion.of.values()))
    for block in rankings.blocks([query_type], [task.candidates_of]):
        at = np.searchsorted(queries, block.queries)
        wanted = task.class_of[block.queries][:, None]
        for number, ranking in _ranked(rankings, fusion, block, task.candidates_of, grid):
            yield at, number, precision(task.class_of[case_of[ranking.ranked_images[:, :DEPTH]]] == wanted, DEPTH)


def _ranked(
    rankings: Rankings, fusion: Fusion, block: Block, candidates_of: Ints, grid: Sequence[FusionRule]
) -> Iterator[tuple[int, BatchRanking]]:
    """The block ranked by each rule of the grid, by its number. Channels are ranked, or normalised, once a method."""
    scores = rankings.scores(block)
    own = rankings.cases.patient_of[block.queries]
    candidates = rankings.candidates(candidates_of, int(candidates_of[block.queries[0]]), by_case=True)
    by_run = {} if fusion.by_case else rankings.ranked(block, scores, candidates_of)
    channels = {name: by_run[run] for name, run in fusion.of.items()} if by_run else {}
    first = rankings.first(fusion, block) if fusion.by_case else np.zeros((0, 0), dtype=bool)
    for method in get_args(Method):
        equal = FusionRule(method, dict.fromkeys(fusion.of, 1.0))
        if fusion.by_case:
            ways = {name: scores[run] for name, run in fusion.of.items()}
            fused = candidates.fused_reports(equal, ways, own, first)
        else:
            fused = fuse(equal, {name: ranked.scores for name, ranked in channels.items()}, first=first_of(channels))
        for number, rule in enumerate(grid):
            if rule.method == method:
                shares = rule.shares(tuple(fusion.of))
                weighted = fused.reweighted(shares)
                if fusion.by_case:
                    scored = weighted.scores.astype(np.float32)
                    yield number, candidates.rank_items(scored, own, first[:, candidates.columns])
                else:
                    yield number, ranking_of(weighted, channels, shares)


def tuning_half(cases: LabelledCases, seed: int) -> Bools:
    """bool[patients], by the key of a patient's first case: one more patient leaves the others where they are."""
    first_case = np.unique(cases.patient_of, return_index=True)[1]
    digests = (hashlib.sha256(f"{seed}\n{cases.keys[i]}".encode()).digest() for i in first_case)
    return np.array([digest[0] % 2 == 0 for digest in digests], dtype=bool)
