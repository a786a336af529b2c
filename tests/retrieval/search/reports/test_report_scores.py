"""The first reports by reciprocal ranks, against the ranks of all."""

from __future__ import annotations

import numpy as np
import pytest

from retrieval.search.fusion import FusionRule, fuse
from retrieval.search.reports.report_scores import AllScores, ReciprocalRanks

ZERO_IS_NONE = ("words",)


def ways_of(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    """Scores with ties: few or many reports that have a word of the query, some that do not compete."""
    words = rng.choice([0.0, *np.linspace(0.5, 9, rng.integers(1, 400))], n).astype(np.float32)
    words[rng.random(n) < rng.choice([0.0, 0.5, 0.995, 1.0])] = rng.choice([0.0, -0.0])
    meaning = rng.normal(size=n).round(int(rng.integers(1, 6))).astype(np.float32)
    meaning[rng.random(n) < rng.choice([0.0, 0.3, 1.0])] = -np.inf
    gone = rng.random(n) < rng.choice([0.0, 0.2])
    words[gone], meaning[gone] = -np.inf, -np.inf
    return {"words": words, "meaning": meaning} if rng.random() < 0.8 else {"words": words}


@pytest.mark.parametrize("seed", range(60))
def test_scores_and_the_first_are_those_of_a_fusion_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.choice([1, 40, 900, 6_000]))
    ways, weight = ways_of(rng, n), float(rng.choice([0.0, 0.2, 1.0, 5.0]))
    rule = FusionRule("rrf", {"words": 1.0, "meaning": weight})
    all_ranks = fuse(rule, {name: each[None] for name, each in ways.items()}, pool=n, zero_is_none=ZERO_IS_NONE)
    expected = all_ranks.scores[0]
    scores = ReciprocalRanks(rule, ways, ZERO_IS_NONE)
    assert np.array_equal(scores.of(np.arange(n)), expected), "to the last bit"
    assert np.array_equal(scores.results(), np.isfinite(expected))
    for wanted in (1, 7, 100, 2 * n):
        ordered = np.sort(expected[np.isfinite(expected)])[::-1]
        floor = ordered[min(wanted, len(ordered)) - 1] if len(ordered) else np.inf
        best = np.flatnonzero(expected >= floor)
        assert scores.first(wanted).tolist() == best.tolist()
        assert AllScores(expected).first(wanted).tolist() == best.tolist()


@pytest.mark.parametrize("having", [200, 50_000], ids=["a rare word", "a common word"])
def test_few_of_many_reports_are_ranked(having: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(having)
    words = np.zeros(100_000, dtype=np.float32)
    words[rng.permutation(len(words))[:having]] = rng.random(having).astype(np.float32) + 1
    scores = ReciprocalRanks(FusionRule(), {"words": words, "meaning": rng.random(len(words)).astype(np.float32)})
    ranked: list[int] = []
    of = scores.of
    monkeypatch.setattr(scores, "of", lambda rows: (ranked.append(len(rows)), of(rows))[1])
    assert len(scores.first(1_000)) >= 1_000
    assert sum(ranked) < 6_000
