"""Macro-F1, macro recall, accuracy and AUROC of a classifier's predictions for held-out images, with intervals."""

from __future__ import annotations

import numpy as np

from retrieval.arrays import Floats, Ints
from retrieval.statistics.auroc import macro_auroc
from retrieval.statistics.cluster_bootstrap import Average, MacroBootstrap


class PredictionMetrics:
    """The metrics of predictions for n tested images. Each repetition of an image counts, in its patient's cluster."""

    def __init__(self, truth: Ints, groups: Ints, rounds: Ints, categories: int) -> None:
        self._truth = truth
        self._rounds = rounds
        self._groups = groups
        self._macro = MacroBootstrap(groups, truth, categories)
        self._plain = MacroBootstrap(groups, np.zeros(len(truth), dtype=np.int64), 1)
        self._present = [np.unique(truth)]

    def evaluate(self, scores: Floats) -> dict[str, Average]:
        """By metric, the average for probabilities float64[n, categories]."""
        area = macro_auroc(scores, self._truth, self._groups, self._rounds)
        return {**self._label_metrics(scores.argmax(axis=1)), "AUROC": area}

    def commonest(self) -> dict[str, float]:
        """By metric, the value of always predicting the commonest class."""
        values = self._label_metrics(np.full(len(self._truth), np.bincount(self._truth).argmax()))
        return {**{name: average.mean for name, average in values.items()}, "AUROC": 0.5}

    def _label_metrics(self, guess: Ints) -> dict[str, Average]:
        right = (guess == self._truth).astype(np.float64)
        return {
            "macro-F1": self._macro.f1({"": guess}, self._present)[""][0],
            "macro recall": self._macro.mean({"": right}, self._present)[""][0],
            "accuracy": self._plain.mean({"": right}, [np.array([0])])[""][0],
        }
