"""A linear classifier on frozen vectors: what can be told of images by what the encoder has seen in them.

scikit-learn's multinomial logistic regression with an L2 penalty, every class weighing alike whatever its number of
images. The penalty's strength is chosen on the training images alone, by cross-validation whose parts share no group
(patient, or report of a synthetic image).
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
PARTS: Final = 3
MOST_STEPS: Final = 1000


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """A fitted model of the classes `present`, of `categories` in all; None where only one of them was trained on."""

    model: Any
    present: Ints
    categories: int
    strength: float

    def probabilities(self, vectors: Vectors) -> Floats:
        """float64[n, categories]; 0 for classes that the training images had none of."""
        made = np.zeros((len(vectors), self.categories))
        made[:, self.present] = 1.0 if self.model is None else self.model.predict_proba(vectors.astype(np.float64))
        return made


def train_probe(
    vectors: Vectors,
    classes: Ints,
    groups: Ints,
    categories: int,
    *,
    strengths: Sequence[float] = STRENGTHS,
    seed: int = 0,
) -> LinearProbe:
    """A probe of unit vectors float32[n, d], their classes int[n] from 0 to `categories` - 1, and their groups int[n].

    Raises ValueError where there is nothing to train on.
    """
    if not len(vectors):
        raise ValueError("There are no images to train on.")
    best = strengths[len(strengths) // 2]
    if len(strengths) > 1 and len(np.unique(classes)) > 1 and len(np.unique(groups)) > 1:
        losses = [_held_out_loss(vectors, classes, groups, categories, one, seed) for one in strengths]
        best = strengths[int(np.argmin(losses))]
    return _solve(vectors, classes, categories, best)


def _held_out_loss(vectors: Vectors, classes: Ints, groups: Ints, categories: int, strength: float, seed: int) -> float:
    """The mean over classes of the mean loss of images whose group was left out."""
    known, group = np.unique(groups, return_inverse=True)
    part = np.random.default_rng(seed).permutation(len(known))[group] % PARTS
    total, count = np.zeros(categories), np.zeros(categories)
    for number in range(PARTS):
        held = part == number
        if held.all() or not held.any():
            continue
        probe = _solve(vectors[~held], classes[~held], categories, strength)
        right = probe.probabilities(vectors[held])[np.arange(held.sum()), classes[held]]
        np.add.at(total, classes[held], -np.log(np.maximum(right, 1e-6)))
        np.add.at(count, classes[held], 1)
    return float((total[count > 0] / count[count > 0]).mean()) if count.any() else 0.0


def _solve(vectors: Vectors, classes: Ints, categories: int, strength: float) -> LinearProbe:
    from sklearn.linear_model import LogisticRegression

    present = np.unique(classes)
    if len(present) == 1:
        return LinearProbe(None, present, categories, strength)
    # Its balanced weights are n in all, so that C stands before a sum and not before a mean.
    model = LogisticRegression(C=strength / len(vectors), class_weight="balanced", max_iter=MOST_STEPS)
    with warnings.catch_warnings():
        # An image or two a class is what is asked about here, and no sign of numbers taken for classes.
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        model.fit(vectors.astype(np.float64), classes)
    return LinearProbe(model, present, categories, strength)
