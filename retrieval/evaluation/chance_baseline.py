"""Who competes for a query's results, what the best order of them is worth, and what a random one."""

from __future__ import annotations

from typing import Final

import numpy as np

from retrieval.arrays import Floats, Ints
from retrieval.statistics.metrics import discounts, majority_vote

CHANCE_ORDERS: Final = 200
"""Random orders that the chance of a majority vote is averaged over: it alone has no closed form here."""


class Pool:
    """m images of p patients, each image with the class (0 to c - 1) of its case.

    A patient may have cases of several classes: it is relevant to a query where one of them is the query's, but
    whether it is found is decided by its leading image. "Random order" below means that the patients come in any
    order with equal probability, each led by any of its images.
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

    def relevant(self, truth: Ints, own: Ints) -> Ints:
        """How many other patients have a case of the query's class: int[n] for queries of the class `truth` and
        the patient `own`, int[n] each.
        """
        place = self._place(own)
        return self._has.sum(axis=0)[truth] - self._has[place, truth]

    def ideal(self, truth: Ints, own: Ints, k: int) -> Floats:
        """The k largest gains that other patients can bring, float[n, k], largest first; 0 where there are fewer."""
        padded = np.pad(self._worth, ((0, 0), (0, k + 1)))
        best = -np.sort(-padded, axis=1)[:, : k + 1][truth]
        # Without the own patient: one of the values equal to its worth goes, or the one too many at the end.
        equal = best == self._worth[truth, self._place(own)][:, None]
        dropped = np.where(equal.any(axis=1), equal.argmax(axis=1), k)
        return best[np.arange(k + 1) != dropped[:, None]].reshape(len(truth), k)

    def chance(self, truth: Ints, own: Ints, ks: tuple[int, ...], depth: int) -> dict[str, Floats]:
        """What a random order is expected to reach, float[n] a metric: P@k for `ks`, mAP, MRR, nDCG and R@`depth`.

        Exact where a patient's cases are all of one class; MRR is an approximation for patients with several.
        The expectation of AP: Bestgen, Exact expected average precision of the random baseline (2015).
        """
        place = self._place(own)
        n = len(self._patients) - 1
        found = self._share.sum(axis=0)[truth] - self._share[place, truth]
        squares = (self._share**2).sum(axis=0)[truth] - self._share[place, truth] ** 2
        relevant = self.relevant(truth, own)
        harmonic = (1 / np.arange(1, n + 1)).sum()
        pairs = (found**2 - squares) / max(1, n * (n - 1))  # both of two places relevant
        first = min(depth, n)
        gain = ((self._share.sum(axis=0) - self._share[place]) @ self._gains.T)[np.arange(len(truth)), truth] / n
        return {
            **{f"P@{k}": found / n * min(k, n) / k for k in ks},
            "mAP": (found / n * harmonic + pairs * (n - harmonic)) / relevant,
            "MRR": first_rank(found, n),
            f"nDCG@{depth}": gain * discounts(first).sum() / (self.ideal(truth, own, depth) @ discounts(depth)),
            f"R@{depth}": found / n * first / relevant,
        }

    def chance_votes(self, own: Ints, k: int, rng: np.random.Generator) -> Ints:
        """The majority votes of k random other patients for every query, int[CHANCE_ORDERS, n]."""
        place = self._place(own)
        p = len(self._patients)
        order = np.argsort(self._patient_of, kind="stable")
        starts = np.searchsorted(self._patient_of[order], np.arange(p))
        counts = np.bincount(self._patient_of)
        width = min(k + 1, p)
        votes = np.empty((CHANCE_ORDERS, len(own)), dtype=np.int64)
        for repetition in range(CHANCE_ORDERS):
            leads = self._classes[order[starts + (rng.random(p) * counts).astype(np.int64)]]
            # Each query reads the same random circle of patients from a place of its own.
            circle = rng.permutation(p)
            seen = circle[(rng.integers(p, size=len(own))[:, None] + np.arange(width)) % p]
            mine = seen == place[:, None]
            dropped = np.where(mine.any(axis=1), mine.argmax(axis=1), width - 1)
            kept = seen[np.arange(width) != dropped[:, None]].reshape(len(own), width - 1)
            votes[repetition] = majority_vote(leads[kept], k)
        return votes

    def _place(self, own: Ints) -> Ints:
        return np.searchsorted(self._patients, own)


def first_rank(found: Floats, n: int) -> Floats:
    """Expected 1 / rank of the first of `found` relevant (float[q]) among n entries in random order, float[q]."""
    values, back = np.unique(found, return_inverse=True)
    ranks = np.arange(n)
    expected = np.empty(len(values))
    for i, r in enumerate(values):
        none_yet = np.cumprod(np.maximum(0.0, (n - r - ranks) / (n - ranks)))
        reached = np.concatenate([[1.0], none_yet])
        expected[i] = ((reached[:-1] - reached[1:]) / (ranks + 1)).sum()
    return expected[back]
