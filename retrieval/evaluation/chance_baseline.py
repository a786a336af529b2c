"""What a random ranking of a query's candidates is worth, and what the best one is.

A random ranking puts the n other patients in any order with equal probability, and each is represented by any of its
images with equal probability, independently. Let s_i be the share of patient i's images that are of the query's class
(0 or 1 where its cases are all of one class), S = Σ s_i their sum over the other patients, and R the number of patients
that are relevant: those with a case of the class.

- **P@k.** Each of the first min(k, n) ranks holds each patient with probability 1/n, so that it is relevant with
  probability S/n; ranks beyond n are misses: E[P@k] = S/n · min(k, n)/k.
- **R@k.** The same sum over R: E[R@k] = S/n · min(k, n)/R.
- **nDCG@k.** A rank's gain is expected to be G/n, with G = Σ_i Σ_c share_ic · gain_c, so that the expected DCG is
  G/n · Σ_{r ≤ min(k, n)} 1/log2(r + 1); it is divided by the DCG of the best order, which is no random quantity.
- **AP** = 1/R · Σ_r rel_r · (1/r) Σ_{q ≤ r} rel_q. Two given ranks are both relevant with probability
  p₂ = Σ_{i≠j} s_i s_j / (n (n - 1)) = (S² - Σ s_i²) / (n (n - 1)), and rel_r² = rel_r, so that
  E[AP] = 1/R · Σ_{r=1}^{n} (1/r) (S/n + (r - 1) p₂) = 1/R · (S/n · H_n + p₂ (n - H_n)), with H_n = Σ_{r ≤ n} 1/r.
  (Bestgen, Exact expected average precision of the random baseline for system evaluation, 2015, for s_i of 0 and 1.)
- **RR**: see `expected_reciprocal_rank`.

All but RR are exact for any s_i.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from retrieval.arrays import Floats, Ints
from retrieval.statistics.metrics import discounts, majority_vote

CHANCE_ORDERS: Final = 200
"""Random orders that the chance of a majority vote is averaged over: the macro-F1 of votes has no closed form here."""


class CandidateSet:
    """m images of p patients who are ranked for the same queries, each image with the class (0 to c - 1) of its case.

    A patient may have cases of several classes. It is relevant to a query if one of them is the query's, but counts as
    found only where the image that represents it is of that class.
    """

    def __init__(self, patients: Ints, classes: Ints, gains: Floats) -> None:
        """`patients` and `classes` are int[m]; `gains`, float[c, c] >= 0, is what an entry of class j is worth to
        a query of class i (graded relevance).
        """
        self._patients, self._patient_of = np.unique(patients, return_inverse=True)
        self._classes = classes
        self._gains = gains
        self._share = np.zeros((len(self._patients), len(gains)))  # of a patient's images, by class
        np.add.at(self._share, (self._patient_of, classes), 1.0)
        self._has = self._share > 0
        self._share /= self._share.sum(axis=1, keepdims=True)
        self._worth = np.zeros((len(gains), len(self._patients)))  # the most a patient can be worth to a class
        for label in range(len(gains)):
            np.maximum(self._worth, gains[:, label, None] * self._has[:, label], out=self._worth)

    def relevant_patients(self, classes: Ints, own: Ints) -> Ints:
        """How many other patients have a case of the query's class, int[b], for queries of the classes int[b] and
        the patients `own`, int[b].
        """
        return self._has.sum(axis=0)[classes] - self._has[self._rows(own), classes]

    def ideal_gains(self, classes: Ints, own: Ints, k: int) -> Floats:
        """The k largest gains that other patients can bring, float[b, k], largest first; 0 where there are fewer."""
        padded = np.pad(self._worth, ((0, 0), (0, k + 1)))
        best = -np.sort(-padded, axis=1)[:, : k + 1][classes]
        # Without the own patient: one of the values equal to its worth is dropped, or the last, which is one too many.
        equal = best == self._worth[classes, self._rows(own)][:, None]
        dropped = np.where(equal.any(axis=1), equal.argmax(axis=1), k)
        return best[np.arange(k + 1) != dropped[:, None]].reshape(len(classes), k)

    def expected_metrics(self, classes: Ints, own: Ints, ks: tuple[int, ...], depth: int) -> dict[str, Floats]:
        """The expectation over random rankings, float[b] a metric: P@k for `ks`, mAP, MRR, nDCG and R@`depth`.

        The module's docstring derives them. Queries need at least one relevant patient.
        """
        row = self._rows(own)
        n = len(self._patients) - 1
        summed = self._share.sum(axis=0)[classes] - self._share[row, classes]  # S
        squares = (self._share**2).sum(axis=0)[classes] - self._share[row, classes] ** 2
        relevant = self.relevant_patients(classes, own)  # R
        harmonic = (1 / np.arange(1, n + 1)).sum()
        both_relevant = (summed**2 - squares) / max(1, n * (n - 1))
        filled = min(depth, n)
        gain = ((self._share.sum(axis=0) - self._share[row]) @ self._gains.T)[np.arange(len(classes)), classes] / n
        ideal = self.ideal_gains(classes, own, depth) @ discounts(depth)
        return {
            **{f"P@{k}": summed / n * min(k, n) / k for k in ks},
            "mAP": (summed / n * harmonic + both_relevant * (n - harmonic)) / relevant,
            "MRR": expected_reciprocal_rank(summed, n),
            f"nDCG@{depth}": gain * discounts(filled).sum() / ideal,
            f"R@{depth}": summed / n * filled / relevant,
        }

    def random_votes(self, own: Ints, k: int, rng: np.random.Generator) -> Ints:
        """The majority votes of the first k of random rankings for queries of the patients `own`, int[b].

        Returns int[CHANCE_ORDERS, b]. One random permutation serves all queries: written in a circle, any k + 1
        neighbours are a random ordered sample without replacement, and so are the k that remain without the own
        patient (or without the last, where it is not among them). Each query reads from a position of its own.
        O(p + b k) an order instead of O(b p).
        """
        own_row = self._rows(own)
        p = len(self._patients)
        by_patient = np.argsort(self._patient_of, kind="stable")
        starts = np.searchsorted(self._patient_of[by_patient], np.arange(p))
        counts = np.bincount(self._patient_of)
        width = min(k + 1, p)
        votes = np.empty((CHANCE_ORDERS, len(own)), dtype=np.int64)
        for repetition in range(CHANCE_ORDERS):
            representatives = by_patient[starts + (rng.random(p) * counts).astype(np.int64)]
            class_of_patient = self._classes[representatives]
            circle = rng.permutation(p)
            window = circle[(rng.integers(p, size=len(own))[:, None] + np.arange(width)) % p]
            is_own = window == own_row[:, None]
            dropped = np.where(is_own.any(axis=1), is_own.argmax(axis=1), width - 1)
            others = window[np.arange(width) != dropped[:, None]].reshape(len(own), width - 1)
            votes[repetition] = majority_vote(class_of_patient[others], k)
        return votes

    def _rows(self, patients: Ints) -> Ints:
        return np.searchsorted(self._patients, patients)


def expected_reciprocal_rank(relevant: Floats, n: int) -> Floats:
    """The expectation of 1 / rank of the first of r relevant entries among n in random order, float[b], of r float[b].

    None of the first t ranks holds one with probability q_t = Π_{j < t} (n - r - j) / (n - j) (the hypergeometric
    distribution), so that the first stands at rank t with probability q_{t-1} - q_t: E[RR] = Σ_t (q_{t-1} - q_t) / t.
    Exact for whole r. A sum of shares that is not whole (patients with cases of several classes) is put in as it is,
    which interpolates between whole numbers.
    """
    distinct, back = np.unique(relevant, return_inverse=True)
    before = np.arange(n)
    expected = np.empty(len(distinct))
    for i, r in enumerate(distinct):
        none_yet = np.cumprod(np.maximum(0.0, (n - r - before) / (n - before)))
        reached = np.concatenate([[1.0], none_yet])
        expected[i] = ((reached[:-1] - reached[1:]) / (before + 1)).sum()
    return expected[back]
