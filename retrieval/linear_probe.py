"""A linear classifier on frozen vectors: what can be told of images by what the encoder has seen in them.

Multinomial logistic regression with an L2 penalty, every class weighing alike whatever its number of images, solved by
L-BFGS (scipy). The penalty's strength is chosen on the training images alone, by cross-validation whose parts share no
group (patient, or report of a synthetic image).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

STRENGTHS: Final = (1.0, 10.0, 100.0, 1000.0)
"""Inverse penalties that are tried: the weight of the mean loss over classes beside half the squared coefficients."""
PARTS: Final = 3
MOST_STEPS: Final = 200


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """Coefficients float64[d, c] and offsets float64[c] of the classes `present`, of `categories` in all."""

    coefficients: Floats
    offsets: Floats
    present: Ints
    categories: int
    strength: float

    def probabilities(self, vectors: Vectors) -> Floats:
        """float64[n, categories]; 0 for classes that the training images had none of."""
        scores = vectors.astype(np.float64) @ self.coefficients + self.offsets
        made = np.zeros((len(vectors), self.categories))
        made[:, self.present] = _softmax(scores)
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
    from scipy.optimize import minimize

    present, at = np.unique(classes, return_inverse=True)
    x = vectors.astype(np.float64)
    n, d, c = len(x), x.shape[1], len(present)
    weight = (1.0 / (c * np.bincount(at, minlength=c)))[at]  # every class as much, and 1 in all
    truth = np.zeros((n, c))
    truth[np.arange(n), at] = 1.0

    def loss(flat: Floats) -> tuple[float, Floats]:
        coefficients, offsets = flat[: d * c].reshape(d, c), flat[d * c :]
        scores = x @ coefficients + offsets
        top = scores.max(axis=1, keepdims=True)
        spread = top[:, 0] + np.log(np.exp(scores - top).sum(axis=1))
        value = strength * float(weight @ (spread - scores[np.arange(n), at])) + 0.5 * float((coefficients**2).sum())
        slope = strength * weight[:, None] * (np.exp(scores - spread[:, None]) - truth)
        return value, np.concatenate([(x.T @ slope + coefficients).ravel(), slope.sum(axis=0)])

    found = minimize(loss, np.zeros(d * c + c), jac=True, method="L-BFGS-B", options={"maxiter": MOST_STEPS})
    return LinearProbe(found.x[: d * c].reshape(d, c), found.x[d * c :], present, categories, strength)


def _softmax(scores: Floats) -> Floats:
    powers: Floats = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
