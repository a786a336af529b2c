"""The tasks of an evaluation: which cases are candidates of a query, and what makes one relevant to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from retrieval.arrays import Floats, Ints
from retrieval.evaluation.dataset import LabelledCases
from retrieval.evaluation.labels import Label
from retrieval.language.vocabulary import vocabulary

Gain = Callable[[Label, Label], float]
"""Graded relevance: what a result (second) is worth to a query (first), from 0. Called only with two labels of one site
and reporting system."""


@dataclass(frozen=True, eq=False)
class Task:
    """One retrieval task over n cases of c classes."""

    name: str
    question: str
    """In words, for readers of the tables."""
    class_of: Ints
    """int[n], from 0 to c - 1: two cases of one class are relevant to each other."""
    candidates_of: Ints
    """int[n], the number of a case's candidate set: a query ranks the cases of its own set only."""
    site_of: tuple[str, ...]
    """The site of each class."""
    gains: Floats
    """float[c, c]: what a result of class j is worth to a query of class i."""


def same_category(query: Label, result: Label) -> float:
    """1 for the same category, 0 for any other: nDCG without grades."""
    return float(query == result)


def ordinal(query: Label, result: Label) -> float:
    """1 for the same category, 1/2 for another of its tier, 1/4 for one of a neighbouring tier, else 0.

    The tiers are the vocabulary's (negative … malignant); a non-diagnostic case, and a category that the vocabulary
    lacks, resembles none but its own. The steps are this project's choice: cytology has no agreed distances.
    """
    if query == result:
        return 1.0
    tiers = [vocabulary().tier_rank(label.system, label.category) for label in (query, result)]
    if not all(tiers):  # None: unknown; 0: non-diagnostic, which is no step below negative
        return 0.0
    return {0: 0.5, 1: 0.25}.get(abs(tiers[0] - tiers[1]), 0.0)  # type: ignore[operator]


def tasks_for(cases: LabelledCases, gain: Gain = same_category) -> tuple[Task, ...]:
    """Site, category, and category within the site (Yottixel's horizontal and vertical search, and what a reviewer
    sees who filters by nothing). Of an archive with one site and system only the last: the first could not be
    answered wrongly, the second would be the same.

    Raises ValueError where `gain` gives a negative or infinite value, or none to a category itself.
    """
    labels = sorted(set(cases.labels), key=dataclasses.astuple)
    category = _numbers(labels, cases.labels)
    gains = np.array([[gain(a, b) if _comparable(a, b) else 0.0 for b in labels] for a in labels])
    if not (np.isfinite(gains).all() and (gains >= 0).all() and (gains.diagonal() > 0).all()):
        raise ValueError("gains must be finite and not negative, and a category's gain for itself above 0")
    systems = [(label.site, label.system) for label in cases.labels]
    sites = [label.site for label in cases.labels]
    site_of = tuple(label.site for label in labels)
    whole_archive = np.zeros(len(cases.labels), dtype=np.int64)
    within = Task(
        name="category within the site",
        question="Among the cases of the query's site and reporting system: is its category found?",
        class_of=category,
        candidates_of=_numbers(sorted(set(systems)), systems),
        site_of=site_of,
        gains=gains,
    )
    if len(set(systems)) == 1:
        return (within,)
    by_category = Task(
        name="category",
        question="In the whole archive: are the query's site, reporting system and category found together?",
        class_of=category,
        candidates_of=whole_archive,
        site_of=site_of,
        gains=gains,
    )
    by_site = Task(
        name="site",
        question="In the whole archive: is the query's site found?",
        class_of=_numbers(sorted(set(sites)), sites),
        candidates_of=whole_archive,
        site_of=tuple(sorted(set(sites))),
        gains=np.eye(len(set(sites))),
    )
    return (by_site, by_category, within)


def _comparable(a: Label, b: Label) -> bool:
    return (a.site, a.system) == (b.site, b.system)


def _numbers(order: Sequence[Hashable], values: Sequence[Hashable]) -> Ints:
    """int[n]: the position of each value in `order`."""
    number = {value: i for i, value in enumerate(order)}
    return np.array([number[value] for value in values], dtype=np.int64)
