"""Novelty check (out-of-distribution detection): is anything in the archive comparable to the query?

Each of a sample of the archive's patients queries for the others, leave-one-patient-out. Their results show how near
the nearest patients usually are; a query whose nearest are farther than for (nearly) all of them is called not
comparable. The share of the archive's own cases that this rule would reject is its false-alarm rate, and is stated with
its interval. It holds for queries of the archive's kind: the same preparation, laboratory and wording.

The statistic is the mean similarity of the 5 nearest patients, a k-nearest-neighbour distance as in Ramaswamy et al.,
SIGMOD 2000. It separated phantoms of missing sites from others better than the nearest patient alone and a
local ratio as in LOF, and as well as a Mahalanobis distance (`benchmarks.comparability` prints the table), whose false
alarms were 12 to 13 % at a nominal rate of 5 %.

Each query type has a calibration of its own (`novelty_calibration`), because similarities of images, texts and
generated images are not of one scale.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from retrieval.search.channels.own_cases import NEIGHBOURS
from retrieval.search.channels.registry import channel_of_query_type
from retrieval.statistics.estimate import exact_interval

FALSE_ALARMS: Final = 0.05


@dataclass(frozen=True)
class NoveltyCheck:
    """Whether anything comparable was found, and how often this rule rejects the archive's own cases."""

    kind: str
    comparable: bool
    similarity: float
    threshold: float
    percentile: float
    """Share of the archive's own cases with nearest patients that are less similar, from 0 to 1."""
    false_alarm_rate: float
    """Share of the archive's own cases that the threshold rejects; `low` and `high` its exact 95 % interval."""
    false_alarm_low: float
    false_alarm_high: float
    n: int
    """How many of the archive's own cases, each of another patient, this was calibrated on."""
    filtered: bool = False
    """Whether these are cases that pass the search's filter, with candidates that pass it, too."""
    changes: int = 0
    """Images added, changed or removed since it was calibrated."""
    near: int = 0
    """How many of the nearest patients are each as similar as the mean of the nearest is for half of the archive's own
    cases: the mean of `neighbours` falls below the threshold, too, where the archive has fewer of the query's kind."""

    @property
    def channel(self) -> str:
        """The channel that was judged."""
        return channel_of_query_type(self.kind)

    @property
    def words(self) -> str:
        """In one sentence."""
        rate = (
            f"calls {self.false_alarm_rate:.1%} [{self.false_alarm_low:.1%}, {self.false_alarm_high:.1%}] of "
            f"{self.n} cases of the archive itself{' that the filter lets through' if self.filtered else ''} not "
            "comparable"
        )
        if self.changes:
            rate += f" (as it was {self.changes} changes of images ago)"
        if self.comparable:
            return (
                f"The nearest cases are as similar to the query as those of the archive's own cases are (above "
                f"{self.percentile:.0%} of them); the rule {rate}."
            )
        mean = f"(mean {self.similarity:.3f}, threshold {self.threshold:.3f})"
        if self.near:
            similar = "one is" if self.near == 1 else f"{self.near} are"
            return (
                f"Few comparable cases: {similar} similar to the query, but the nearest together are less similar "
                f"{mean} than those of the archive's own cases. The others may be of another kind; the rule {rate}."
            )
        return (
            f"No comparable case: the nearest cases are less similar to the query {mean} than those of the archive's "
            f"own cases; the rule {rate}."
        )


@dataclass(frozen=True)
class Calibration:
    """The similarities that the archive's own cases find, by query type."""

    fingerprint: str
    """Of the encoder; similarities of another encoder mean something else."""
    scores: Mapping[str, tuple[float, ...]]
    """One a sampled patient, ascending."""
    neighbours: int = NEIGHBOURS
    filtered: bool = False
    """Whether the cases are those that pass a filter."""

    def judge(
        self,
        similarity: float,
        kind: str,
        *,
        nearest: Sequence[float] = (),
        false_alarms: float = FALSE_ALARMS,
        changes: int = 0,
    ) -> NoveltyCheck:
        """Judge a query by the mean similarity of its nearest patients (`nearest_similarity` of the results).

        `false_alarms` is the share of the archive's own cases that may be turned away; what is reached is the largest
        share that n cases allow (none, below 1 / false_alarms cases). `changes` of images were made since. `nearest`
        are the nearest patients' similarities: some of them can be high where their mean is not.

        Raises:
            KeyError: the kind was not calibrated.
        """
        threshold = self.threshold(kind, false_alarms=false_alarms)
        scores = np.array(self.scores[kind])
        n = len(scores)
        turned_away = int(np.searchsorted(scores, threshold, side="left"))
        low, high = exact_interval(turned_away, n)
        return NoveltyCheck(
            kind=kind,
            comparable=bool(similarity >= threshold),
            similarity=float(similarity),
            threshold=threshold,
            percentile=float(np.searchsorted(scores, similarity, side="left")) / n,
            false_alarm_rate=turned_away / n,
            false_alarm_low=low,
            false_alarm_high=high,
            n=n,
            filtered=self.filtered,
            changes=changes,
            near=int(np.count_nonzero(np.asarray(nearest) >= np.median(scores))),
        )

    def threshold(self, kind: str, *, false_alarms: float = FALSE_ALARMS) -> float:
        """The least similarity that is called comparable. Raises KeyError for a kind that was not calibrated."""
        if kind not in self.scores:
            raise KeyError(f"{kind!r} was not calibrated, only {', '.join(self.scores)}")
        scores = self.scores[kind]
        return float(scores[min(len(scores) - 1, math.floor(false_alarms * len(scores)))])


def nearest_similarity(scores: Sequence[float], *, neighbours: int = NEIGHBOURS) -> float:
    """A search's statistic: the mean of its nearest patients' similarities (`ChannelAnswer.scores`). A search for fewer
    than `neighbours` cases gives a higher one than was calibrated: search for at least as many. Raises ValueError
    without a score.
    """
    if not scores:
        raise ValueError("a search that found nothing has no similarity")
    return float(np.mean(sorted(scores, reverse=True)[:neighbours]))
