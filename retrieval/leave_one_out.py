"""Leave-one-patient-out: every case of an archive asks for the others, without its own patient.

This is the field's protocol (Kalra et al., Yottixel, 2020; Lahr et al., 2024). What comes back is judged by
whether it is of the query's category, and a category means something only within its site and reporting system.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from retrieval.batch_ranking import Ranked, Vectors, mean_queries, rank_patients
from retrieval.colour import colour_histograms
from retrieval.encoder import Progress
from retrieval.errors import EvaluationError
from retrieval.evaluation import RESAMPLES, Estimate
from retrieval.evaluation_results import Evaluation, Part, Row, TaskResult
from retrieval.labelled import LabelledCases, read_labelled
from retrieval.macro import MacroBootstrap
from retrieval.metrics import (
    Floats,
    Ints,
    average_precision,
    majority_vote,
    ndcg,
    precision,
    recall,
    reciprocal_rank,
)
from retrieval.pool import Pool
from retrieval.questions import Gain, Question, questions_for, same_category

if TYPE_CHECKING:
    from index_store import Archive

VOTES: Final = (1, 3, 5)
PRECISIONS: Final = (1, 5, 10)
DEPTH: Final = 10
METRICS: Final = (
    *(f"mMV@{k}" for k in VOTES),
    *(f"P@{k}" for k in PRECISIONS),
    "mAP",
    "MRR",
    f"nDCG@{DEPTH}",
    f"R@{DEPTH}",
)
CHANCE: Final = "chance"
HISTOGRAM: Final = "colour histogram"
IMAGE: Final = "image"


@dataclass(frozen=True, eq=False)
class Channel:
    """One way to rank: what each case asks by, and what each image answers with, in one space."""

    name: str
    queries: Vectors
    """float32[cases, d], unit rows."""
    references: Vectors
    """float32[images, d], unit rows."""


def evaluate_archive(
    archive: Archive,
    *,
    sample: int | None = None,
    seed: int = 0,
    gain: Gain = same_category,
    histogram: bool = True,
    progress: Progress | None = None,
    reading: Progress | None = None,
) -> Evaluation:
    """Evaluate the image channel on the archive's own cases, by their stored vectors: no model is loaded.

    Args:
        sample: this many cases ask, drawn at random; all are asked for. None: every case asks.
        seed: of the sample, of the resampled patients, and of the random orders behind a vote's chance.
        gain: graded relevance for nDCG, such as the distance of two categories on an ordinal scale.
        histogram: also rank by colour alone. Reads every stored image once.
        progress: counts queries. reading: counts images read for the histogram.

    The same archive and arguments give the same figures. With n cases, m images of d dimensions and p patients:
    time O(n m d + n p log p) for each of the questions and channels, memory O(m d) beside one block of queries.

    Raises EvaluationError where the cases allow no evaluation.
    """
    cases = read_labelled(archive)
    encoder = archive.encoder
    if encoder is None:  # cases have images, and images came with vectors
        raise EvaluationError("The archive has no vectors: add its cases again with `coin add`.")
    vectors = archive.vectors_of(cases.image_ids.tolist(), encoder.fingerprint)
    channels = [_by_mean(IMAGE, vectors, cases)]
    unreadable = 0
    if histogram:
        colours, unreadable = colour_histograms(cases.paths, progress=reading)
        channels.append(_by_mean(HISTOGRAM, colours, cases))
    return Evaluation(
        archive=archive.name,
        encoder=encoder.name,
        fingerprint=encoder.fingerprint,
        cases=len(cases.keys),
        patients=cases.patients,
        images=len(cases.image_ids),
        phantoms=cases.phantoms,
        unlabelled=cases.unlabelled,
        derived=cases.derived,
        sampled=sample if sample is not None and sample < len(cases.keys) else None,
        seed=seed,
        resamples=RESAMPLES,
        metrics=METRICS,
        unreadable_images=unreadable,
        tasks=evaluate_channels(cases, channels, sample=sample, seed=seed, gain=gain, progress=progress),
    )


def evaluate_channels(
    cases: LabelledCases,
    channels: Sequence[Channel],
    *,
    sample: int | None = None,
    seed: int = 0,
    gain: Gain = same_category,
    progress: Progress | None = None,
) -> tuple[TaskResult, ...]:
    """Put every question to every channel, and to chance. Arguments and errors as of `evaluate_archive`."""
    asking = np.arange(len(cases.keys))
    if sample is not None and sample < len(asking):
        asking = np.sort(np.random.default_rng(seed).choice(asking, size=sample, replace=False))
    questions = questions_for(cases, gain)
    done, total = 0, len(questions) * len(channels) * len(asking)

    def ticked(queries: int) -> None:
        nonlocal done
        done += queries
        if progress is not None:
            progress(done, total)

    return tuple(_answers(question, cases, channels, asking, seed, ticked) for question in questions)


def _answers(
    question: Question,
    cases: LabelledCases,
    channels: Sequence[Channel],
    asking: Ints,
    seed: int,
    ticked: Callable[[int], None],
) -> TaskResult:
    rng = np.random.default_rng(seed)
    asked: list[Ints] = []
    found: dict[str, list[_Block]] = {channel.name: [] for channel in channels}
    expected: list[_Block] = []
    for pooled in _pools(question, cases, asking):
        asked.append(pooled.queries)
        ticked(pooled.unanswerable * len(channels))
        for channel in channels:
            for ranked in pooled.ranked(channel):
                found[channel.name].append(_measured(pooled, ranked))
                ticked(len(ranked.queries))
        if len(pooled.queries):
            expected.append(_expected(pooled, rng))
    queries = np.concatenate(asked)
    if not len(queries):
        raise EvaluationError(
            f"None of the {len(asking)} cases asked with shares its category with another patient: ask with more of "
            "them (a larger --sample)."
        )
    classes = question.class_of[queries]
    macro = MacroBootstrap(cases.patient_of[queries], classes, len(question.site_of), seed=seed)
    sites = sorted({question.site_of[i] for i in classes})
    parts = [np.unique(classes), *(_classes_at(site, classes, question) for site in sites)]
    rows: dict[str, dict[str, list[Estimate]]] = {}
    for name, blocks in found.items():
        means = {metric: macro.mean(joined, parts) for metric, joined in _joined([b.values for b in blocks])}
        rows[name] = {vote: macro.f1(joined, parts) for vote, joined in _joined([b.votes for b in blocks])} | means
    means = {metric: macro.expected_mean(joined, parts) for metric, joined in _joined([b.values for b in expected])}
    votes = {vote: macro.expected_f1(joined, parts) for vote, joined in _joined([b.votes for b in expected])}
    rows[CHANCE] = votes | means
    made = []
    for i, (site, part) in enumerate(zip([None, *sites], parts, strict=True)):
        members = queries[np.isin(classes, part)]
        made.append(
            Part(
                site=site,
                categories=len(part),
                queries=len(members),
                patients=len(np.unique(cases.patient_of[members])),
                rows=tuple(Row(name, {metric: of[metric][i] for metric in METRICS}) for name, of in rows.items()),
            )
        )
    return TaskResult(question.name, question.words, len(asking) - len(queries), tuple(made))


@dataclass(frozen=True, eq=False)
class _Pooled:
    """The queries that one pool can answer, and who competes for them."""

    pool: Pool
    gains: Floats
    queries: Ints
    """int[q], rows of the cases."""
    truth: Ints
    """int[q], their classes."""
    own: Ints
    """int[q], their patients."""
    total: Ints
    """int[q], how many other patients have a case of that class."""
    ideal: Floats
    """float[q, DEPTH], the largest gains to be had."""
    images: Ints
    patients: Ints
    classes: Ints
    """int[m] each: the pool's images, whose they are, and of which class."""
    unanswerable: int

    def ranked(self, channel: Channel) -> Iterator[Ranked]:
        queries, references = channel.queries[self.queries], channel.references[self.images]
        return rank_patients(queries, self.own, references, self.patients)


@dataclass(frozen=True, eq=False)
class _Block:
    """Some queries, measured: each value float[b], each vote int[b] (or, of chance, int[orders, b])."""

    values: dict[str, Floats]
    votes: dict[str, Ints]


def _pools(question: Question, cases: LabelledCases, asking: Ints) -> Iterator[_Pooled]:
    pool_of_image = question.pool_of[cases.case_of]
    for number in np.unique(question.pool_of[asking]):
        images = np.flatnonzero(pool_of_image == number)
        patients, classes = cases.patient_of[cases.case_of[images]], question.class_of[cases.case_of[images]]
        pool = Pool(patients, classes, question.gains)
        here = asking[question.pool_of[asking] == number]
        queries = here[pool.relevant(question.class_of[here], cases.patient_of[here]) > 0]
        truth, own = question.class_of[queries], cases.patient_of[queries]
        yield _Pooled(
            pool=pool,
            gains=question.gains,
            queries=queries,
            truth=truth,
            own=own,
            total=pool.relevant(truth, own),
            ideal=pool.ideal(truth, own, DEPTH),
            images=images,
            patients=patients,
            classes=classes,
            unanswerable=len(here) - len(queries),
        )


def _measured(pooled: _Pooled, ranked: Ranked) -> _Block:
    truth, total = pooled.truth[ranked.queries], pooled.total[ranked.queries]
    found = pooled.classes[ranked.leads]
    relevant = found == truth[:, None]
    gains = pooled.gains[truth[:, None], found[:, :DEPTH]]
    return _Block(
        values={
            **{f"P@{k}": precision(relevant, k) for k in PRECISIONS},
            "mAP": average_precision(relevant, total=total),
            "MRR": reciprocal_rank(relevant, total=total),
            f"nDCG@{DEPTH}": ndcg(gains, DEPTH, ideal=pooled.ideal[ranked.queries]),
            f"R@{DEPTH}": recall(relevant, DEPTH, total=total),
        },
        votes={f"mMV@{k}": majority_vote(found, k) for k in VOTES},
    )


def _expected(pooled: _Pooled, rng: np.random.Generator) -> _Block:
    return _Block(
        values=pooled.pool.chance(pooled.truth, pooled.own, PRECISIONS, DEPTH),
        votes={f"mMV@{k}": pooled.pool.chance_votes(pooled.own, k, rng) for k in VOTES},
    )


def _joined(blocks: Sequence[Mapping[str, np.ndarray]]) -> Iterator[tuple[str, np.ndarray]]:
    """Each name with what the blocks have of it, one query after the other (the last axis)."""
    for name in blocks[0]:
        yield name, np.concatenate([block[name] for block in blocks], axis=-1)


def _classes_at(site: str, classes: Ints, question: Question) -> Ints:
    return np.array([i for i in np.unique(classes) if question.site_of[i] == site])


def _by_mean(name: str, vectors: Vectors, cases: LabelledCases) -> Channel:
    return Channel(name, mean_queries(vectors, cases.case_of, len(cases.keys)), vectors)
