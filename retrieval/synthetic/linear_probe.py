"""A linear classifier on frozen vectors (linear probe): it measures how well the encoder's space separates classes.

scikit-learn's multinomial logistic regression with an L2 penalty, every class with the same weight whatever its number
of images. The penalty's strength is chosen on the training images alone, by cross-validation whose folds share no group
(a patient, or the report of synthetic images).

The cross-validation is not scikit-learn's `LogisticRegressionCV`. That scores a fold by the mean loss over images, in
which a rare class hardly counts, and takes the mean over folds, where a class whose only group was held out dominates.
It also solves the chosen strength from the mean of the folds' solutions, which changed the class of about one in 2,000
images and so the published figures.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from retrieval.arrays import Floats, Ints, Vectors

STRENGTHS: Final = (1.0, 10.0, 100.0, 1000.0)
"""Inverse penalties that are tried: the weight of the mean loss over classes beside half the squared coefficients."""
FOLDS: Final = 3
MAX_ITERATIONS: Final = 1000
SMALLEST_PROBABILITY: Final = 1e-6
"""Bounds the loss of a class that a fold was not trained on."""


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """A fitted model of the classes `present`, of `categories` in all; no model where only one was trained on."""

    model: Any
    present: Ints
    categories: int
    strength: float

    def probabilities(self, vectors: Vectors) -> Floats:
        """float64[n, categories] of vectors float32[n, d]; 0 for classes that were not trained on."""
        result = np.zeros((len(vectors), self.categories))
        result[:, self.present] = 1.0 if self.model is None else self.model.predict_proba(vectors.astype(np.float64))
        return result


def train_probe(
    vectors: Vectors,
    classes: Ints,
    groups: Ints,
    categories: int,
    *,
    strengths: Sequence[float] = STRENGTHS,
    seed: int = 0,
) -> LinearProbe:
    """Train a probe.

    Args:
        vectors: float32[n, d], unit rows.
        classes: int[n], from 0 to `categories` - 1.
        groups: int[n]; images of one group are never on both sides of a fold.
        categories: number of classes, trained on or not.
        strengths: inverse penalties to choose from.
        seed: of the folds.

    Raises:
        ValueError: there are no images.
    """
    if not len(vectors):
        raise ValueError("There are no images to train on.")
    best = strengths[len(strengths) // 2]
    if len(strengths) > 1 and len(np.unique(classes)) > 1 and len(np.unique(groups)) > 1:
        losses = [_held_out_loss(vectors, classes, groups, categories, strength, seed) for strength in strengths]
        best = strengths[int(np.argmin(losses))]
    return _solve(vectors, classes, categories, best)


def _held_out_loss(vectors: Vectors, classes: Ints, groups: Ints, categories: int, strength: float, seed: int) -> float:
    """The mean over classes of the mean cross-entropy of images whose group was held out."""
    known, group = np.unique(groups, return_inverse=True)
    fold = np.random.default_rng(seed).permutation(len(known))[group] % FOLDS
    total, count = np.zeros(categories), np.zeros(categories)
    for number in range(min(FOLDS, len(known))):
        held_out = fold == number
        probe = _solve(vectors[~held_out], classes[~held_out], categories, strength)
        probability = probe.probabilities(vectors[held_out])[np.arange(held_out.sum()), classes[held_out]]
        np.add.at(total, classes[held_out], -np.log(np.maximum(probability, SMALLEST_PROBABILITY)))
        np.add.at(count, classes[held_out], 1)
    return float((total[count > 0] / count[count > 0]).mean())


def _solve(vectors: Vectors, classes: Ints, categories: int, strength: float) -> LinearProbe:
    from sklearn.linear_model import LogisticRegression

    present = np.unique(classes)
    if len(present) == 1:
        return LinearProbe(None, present, categories, strength)
    # Its balanced weights are n in all, so that C stands before a sum and not before a mean.
    model = LogisticRegression(C=strength / len(vectors), class_weight="balanced", max_iter=MAX_ITERATIONS)
    with warnings.catch_warnings():
        # One or two images a class are expected here; they are no sign of a regression target.
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        model.fit(vectors.astype(np.float64), classes)
    return LinearProbe(model, present, categories, strength)
