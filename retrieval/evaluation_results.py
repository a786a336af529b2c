"""What an evaluation returns: plain frozen records that are printed, drawn and written as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from retrieval.evaluation import Estimate


@dataclass(frozen=True)
class Row:
    """One way to rank, measured. Chance is an expectation: its interval is a point."""

    channel: str
    scores: Mapping[str, Estimate]
    """By name, those of METRICS."""


@dataclass(frozen=True)
class Part:
    """The whole archive (`site` None), or one of its sites. Every score is a mean over its categories."""

    site: str | None
    categories: int
    queries: int
    patients: int
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class TaskResult:
    """One question put to the archive."""

    name: str
    question: str
    unanswerable: int
    """Cases that were no query: no other patient has what they ask for."""
    parts: tuple[Part, ...]
    """The whole archive first, then the sites in alphabetical order."""


@dataclass(frozen=True)
class Evaluation:
    """How well an archive's own cases find each other."""

    archive: str
    encoder: str
    fingerprint: str
    cases: int
    patients: int
    images: int
    phantoms: int
    """Of the cases, how many were drawn and have no patient."""
    unlabelled: int
    """Cases without a category: neither asked with nor searched in."""
    sampled: int | None
    """How many cases asked, where not all did."""
    seed: int
    resamples: int
    metrics: tuple[str, ...]
    unreadable_images: int
    """Image files that the colour histogram could not read."""
    tasks: tuple[TaskResult, ...]
    derived: int = 0
    """Of the cases, how many have a category that was read from their report: no truth independent of it."""
