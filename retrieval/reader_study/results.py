"""Results of a blinded reader study: authenticity of real and generated images, guesses, and agreement.

Only readers who have closed are counted: their ratings are frozen, and they already know the origins. Intervals come
from 2000 resamples of images, real and generated ones apart; the readers are fixed, so that the intervals do not extend
to other readers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from retrieval.arrays import Bools, Floats, Ints
from retrieval.errors import ReaderStudyError
from retrieval.reader_study.kappa import MISSING, Agreement, agreements
from retrieval.reader_study.ratings import AXES, GUESSES, SCORES, Rating
from retrieval.statistics.cluster_bootstrap import Average
from retrieval.statistics.estimate import CONFIDENCE, RESAMPLES, Estimate

if TYPE_CHECKING:
    from retrieval.reader_study.study import ReaderStudy

_FEWEST: Final = 2  # images of which an interval can be made


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
    """One axis: an image's score is the mean over the readers who rated it, a half's score the mean over its images."""

    axis: str
    real: Estimate | None
    """None where fewer than two images were rated."""
    generated: Estimate | None
    difference: Estimate | None
    """Generated minus real."""
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
    """With its exact binomial interval (Clopper and Pearson 1934); None without a guess."""
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
    """Of all readers' guesses, with an interval from resampled images; None for one reader."""
    agreement: tuple[Agreement, ...]
    resamples: int = RESAMPLES
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


def evaluate_reader_study(study: ReaderStudy, *, seed: int = 0) -> ReaderStudyResults:
    """Compute the results: the same for the same ratings and seed. Raises ReaderStudyError where nobody has closed."""
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
            categories=len(SCORES) if question in AXES else len(GUESSES),
            ordinal=question in AXES,
            seed=seed,
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
        tuple(_scores(axis, tables[axis], is_generated, seed) for axis in AXES),
        tuple(_guesses(name, row, is_generated) for name, row in zip(names, tables["guess"], strict=True)),
        _pooled(tables["guess"], is_generated, seed),
        tuple(agreement),
    )


def _number(answer: int | str | None) -> int:
    """An answer as a number from 0, or MISSING, as `agreements` expects it."""
    if answer is None:
        return MISSING
    return answer - SCORES[0] if isinstance(answer, int) else GUESSES.index(answer)


def _scores(axis: str, answers: Ints, is_generated: Bools, seed: int) -> Scores:
    given = answers != MISSING
    per_image = _image_means(np.where(given, answers + SCORES[0], 0), given)
    rated = given.any(axis=0)
    halves = [per_image[rated & ~is_generated], per_image[rated & is_generated]]
    rng = np.random.default_rng(seed)
    real, generated = (
        Average(float(half.mean()), _resampled_means(half, rng)) if len(half) >= _FEWEST else None for half in halves
    )
    return Scores(
        axis,
        real.estimate if real else None,
        generated.estimate if generated else None,
        generated.minus(real) if real and generated else None,
        len(halves[0]),
        len(halves[1]),
        int(given.sum()),
        int((~given).sum()),
    )


def _guesses(reader: str, answers: Ints, is_generated: Bools) -> Guesses:
    given = answers != MISSING
    right = given & ((answers == GUESSES.index("generated")) == is_generated)
    n, k = int(given.sum()), int(right.sum())
    accuracy = chance = None
    if n:
        from statsmodels.stats.proportion import proportion_confint

        low, high = proportion_confint(k, n, alpha=1 - CONFIDENCE, method="beta")
        accuracy = Estimate(k / n, float(low), float(high))
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


def _pooled(answers: Ints, is_generated: Bools, seed: int) -> Estimate | None:
    """Accuracy of all readers' guesses. Those on one image are not independent, so that whole images are resampled."""
    given = answers != MISSING
    if len(answers) < 2 or not given.any():
        return None
    right = (given & ((answers == GUESSES.index("generated")) == is_generated)).sum(axis=0)
    counts = given.sum(axis=0)
    rng = np.random.default_rng(seed)
    halves = [np.flatnonzero(half) for half in (~is_generated, is_generated)]
    resamples = np.concatenate([half[rng.integers(len(half), size=(RESAMPLES, len(half)))] for half in halves], axis=1)
    resampled = counts[resamples].sum(axis=1)
    share = right[resamples].sum(axis=1)[resampled > 0] / resampled[resampled > 0]
    return Average(float(right.sum() / counts.sum()), share).estimate


def _image_means(values: Ints, given: Bools) -> Floats:
    return values.sum(axis=0) / np.maximum(given.sum(axis=0), 1)


def _resampled_means(values: Floats, rng: np.random.Generator) -> Floats:
    means: Floats = values[rng.integers(len(values), size=(RESAMPLES, len(values)))].mean(axis=1)
    return means
