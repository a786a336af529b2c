"""Results of a blinded reader study: authenticity of real and generated images, guesses, and agreement.

Only readers who have closed are counted: their ratings are frozen, and they already know the origins. Images of one
patient, or generated from one report, are no independent evidence and count as one cluster. Of fewer than six clusters
there is no interval. The readers are fixed, so that the intervals do not extend to other readers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from retrieval.arrays import Bools, Floats, Ints
from retrieval.errors import ReaderStudyError
from retrieval.reader_study.kappa import MISSING, Agreement, agreements
from retrieval.reader_study.ratings import AXES, GUESSES, SCORES, Rating
from retrieval.statistics.estimate import CONFIDENCE, FEWEST_CLUSTERS, Estimate, exact_interval

if TYPE_CHECKING:
    from retrieval.reader_study.study import ReaderStudy

_FEWEST: Final = 2  # clusters that a mean is taken of


@dataclass(frozen=True)
class ReaderCount:
    """A reader and the number of pictures answered."""

    name: str
    pseudonym: bool
    closed: str
    """When the reader closed; empty for one who still rates and is not counted."""
    complete: int
    """Pictures rated on both axes."""
    guessed: int
    pictures: int


@dataclass(frozen=True)
class Scores:
    """One axis: an image's score is the mean over the readers who rated it. A half's score is the mean over its
    patients, or reports, of the mean over the images of each, with Student's interval."""

    axis: str
    real: Estimate | None
    """None where images of fewer than two patients were rated."""
    generated: Estimate | None
    difference: Estimate | None
    """Generated minus real, with Welch's interval."""
    images_real: int
    """Images with a rating."""
    images_generated: int
    ratings: int
    missing: int
    """Ratings that the counted readers did not give."""


@dataclass(frozen=True)
class Guesses:
    """How often a reader distinguished real from generated."""

    reader: str
    guessed: int
    missing: int
    right: int
    accuracy: Estimate | None
    """With its exact binomial interval (Clopper and Pearson 1934), of as many guesses as there are patients and
    reports: further images of one are no further evidence. None without a guess."""
    chance: float | None
    """The accuracy of as many guesses of each kind, assigned to the same images at random."""
    generated: int
    """Generated images with a guess, and how many of the guesses were right."""
    generated_right: int
    real: int
    real_right: int


@dataclass(frozen=True)
class ReaderStudyResults:
    """The figures of one study."""

    reading: str
    archive: str
    real: int
    phantoms: int
    """Rendered by this software and shown instead of real ones."""
    generated: int
    by_category: int
    by_site: int
    shows_labels: bool
    side: int
    compression: str
    readers: tuple[ReaderCount, ...]
    """Readers who have closed and are counted."""
    still_reading: tuple[ReaderCount, ...]
    scores: tuple[Scores, ...]
    guesses: tuple[Guesses, ...]
    accuracy: Estimate | None
    """Of all readers' guesses, with an interval of as many guesses as there are patients and reports; None for one
    reader."""
    agreement: tuple[Agreement, ...]
    confidence: float = CONFIDENCE


def progress_of(study: ReaderStudy) -> tuple[ReaderCount, ...]:
    """All readers and how much each has answered."""
    total = len(study.pictures)
    counts = []
    for reader in study.ratings.readers():
        ratings = study.ratings.of(reader.name).values()
        complete, guessed = sum(each.is_complete for each in ratings), sum(each.guess is not None for each in ratings)
        counts.append(ReaderCount(reader.name, reader.pseudonym, reader.closed, complete, guessed, total))
    return tuple(counts)


def evaluate_reader_study(study: ReaderStudy) -> ReaderStudyResults:
    """Compute the results: the same for the same ratings. Raises ReaderStudyError where nobody has closed."""
    everybody = progress_of(study)
    counted = tuple(reader for reader in everybody if reader.closed)
    if not counted:
        going = ", ".join(f"'{reader.name}' {reader.complete} of {reader.pictures}" for reader in everybody)
        raise ReaderStudyError(
            f"Nobody has closed the reading '{study.name}' yet ({going or 'nobody has begun'}): there are no results "
            "before, so that no reader sees any while reading."
        )
    truth = study.truth()
    pictures = [picture.id for picture in study.pictures]
    names = [reader.name for reader in counted]
    ratings = [study.ratings.of(name) for name in names]
    is_generated = np.array([truth.origins[key].generated for key in pictures])
    clusters = np.unique([truth.origins[key].cluster or key for key in pictures], return_inverse=True)[1]

    def answers(question: str) -> Ints:
        given = [
            [_number(getattr(of_reader.get(key, Rating()), question)) for key in pictures] for of_reader in ratings
        ]
        return np.array(given, dtype=np.int64)

    tables = {question: answers(question) for question in (*AXES, "guess")}
    agreement = [
        found
        for question, table in tables.items()
        for found in agreements(
            question,
            names,
            table,
            clusters=clusters,
            categories=len(SCORES) if question in AXES else len(GUESSES),
            ordinal=question in AXES,
        )
    ]
    return ReaderStudyResults(
        study.name,
        truth.archive,
        truth.count("real"),
        truth.count("phantom"),
        truth.count("generated"),
        truth.by_category,
        truth.by_site,
        study.shows_labels,
        study.side,
        study.compression,
        counted,
        tuple(reader for reader in everybody if not reader.closed),
        tuple(scores_of(axis, tables[axis], is_generated, clusters) for axis in AXES),
        tuple(guesses_of(name, row, is_generated, clusters) for name, row in zip(names, tables["guess"], strict=True)),
        _pooled(tables["guess"], is_generated, clusters),
        tuple(agreement),
    )


def _number(answer: int | str | None) -> int:
    """An answer as a number from 0, or MISSING, as `agreements` expects it."""
    if answer is None:
        return MISSING
    return answer - SCORES[0] if isinstance(answer, int) else GUESSES.index(answer)


def scores_of(axis: str, answers: Ints, is_generated: Bools, clusters: Ints) -> Scores:
    """The scores of one axis, of answers int[readers, images] from 0 or MISSING, and clusters int[images]."""
    given = answers != MISSING
    sums: Floats = np.where(given, answers + SCORES[0], 0).sum(axis=0).astype(np.float64)
    per_image = _means(sums, given.sum(axis=0))
    halves = [given.any(axis=0) & half for half in (~is_generated, is_generated)]
    means = [_cluster_means(per_image[half], clusters[half]) for half in halves]
    real, generated = (_mean(half) for half in means)
    return Scores(
        axis,
        real,
        generated,
        _difference(means[1], means[0]) if real and generated else None,
        int(halves[0].sum()),
        int(halves[1].sum()),
        int(given.sum()),
        int((~given).sum()),
    )


def _cluster_means(values: Floats, clusters: Ints) -> Floats:
    """The mean of each cluster, float[c], of float[n]."""
    counts = np.bincount(clusters)
    sums: Floats = np.bincount(clusters, values).astype(np.float64)
    return _means(sums, counts)[counts > 0]


def _means(sums: Floats, counts: Ints) -> Floats:
    means: Floats = sums / np.maximum(counts, 1)
    return means


def _mean(values: Floats) -> Estimate | None:
    """With Student's interval, within the scale."""
    from statsmodels.stats.weightstats import DescrStatsW

    if len(values) < _FEWEST:
        return None
    mean = float(values.mean())
    if len(values) < FEWEST_CLUSTERS:
        return Estimate(mean, -np.inf, np.inf)
    low, high = DescrStatsW(values).tconfint_mean(1 - CONFIDENCE)
    return Estimate(mean, max(float(low), SCORES[0]), min(float(high), SCORES[-1]))


def _difference(generated: Floats, real: Floats) -> Estimate:
    """With Welch's interval, of independent halves of unequal variance."""
    from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

    difference = float(generated.mean() - real.mean())
    if min(len(generated), len(real)) < FEWEST_CLUSTERS:
        return Estimate(difference, -np.inf, np.inf)
    if not (np.ptp(generated) or np.ptp(real)):  # all alike: it has no degrees of freedom
        return Estimate(difference, difference, difference)
    compared = CompareMeans(DescrStatsW(generated), DescrStatsW(real))
    low, high = compared.tconfint_diff(1 - CONFIDENCE, usevar="unequal")
    return Estimate(difference, float(low), float(high))


def guesses_of(reader: str, answers: Ints, is_generated: Bools, clusters: Ints) -> Guesses:
    """A reader's guesses, of answers int[images], positions in GUESSES or MISSING, and clusters int[images]."""
    given = answers != MISSING
    right = given & ((answers == GUESSES.index("generated")) == is_generated)
    n, k = int(given.sum()), int(right.sum())
    accuracy = chance = None
    if n:
        accuracy = _share(k, n, len(np.unique(clusters[given])))
        guessed_generated = float((answers[given] == GUESSES.index("generated")).mean())
        truly_generated = float(is_generated[given].mean())
        chance = guessed_generated * truly_generated + (1 - guessed_generated) * (1 - truly_generated)
    return Guesses(
        reader,
        n,
        len(answers) - n,
        k,
        accuracy,
        chance,
        int((given & is_generated).sum()),
        int((right & is_generated).sum()),
        int((given & ~is_generated).sum()),
        int((right & ~is_generated).sum()),
    )


def _pooled(answers: Ints, is_generated: Bools, clusters: Ints) -> Estimate | None:
    """Accuracy of all readers' guesses, of which those on one image are not independent either."""
    given = answers != MISSING
    if len(answers) < 2 or not given.any():
        return None
    right = given & ((answers == GUESSES.index("generated")) == is_generated)
    return _share(int(right.sum()), int(given.sum()), len(np.unique(clusters[given.any(axis=0)])))


def _share(times: int, n: int, clusters: int) -> Estimate:
    """`times` of n, with the exact interval of the same share of as many answers as there are clusters."""
    return Estimate(times / n, *exact_interval(times / n * clusters, clusters))
