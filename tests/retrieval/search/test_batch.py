"""Many queries at once, against plain sorts in loops: few different scores, so that ties are frequent."""

from __future__ import annotations

import numpy as np
import pytest

from retrieval.search.batch import BatchRanking, Candidates, fused_ranking, mean_queries
from retrieval.search.fusion import FusionRule
from tests.retrieval.search.plain_fusion import plain_fusion

VALUES = [-np.inf, -1.5, -0.5, -0.0, 0.0, 0.25, 2.0]


def plain_rank(
    scores: np.ndarray, items: np.ndarray, patients: np.ndarray, images: np.ndarray, own: int
) -> list[tuple[int, float, int]]:
    """(patient, best score, its image) of all but the own patient, best first."""
    best: dict[int, tuple[float, int]] = {}
    rows = sorted(zip(-scores[items], images, patients, strict=True), key=lambda row: (row[0], row[1]))
    for negative, image, patient in rows:
        best.setdefault(int(patient), (-float(negative), int(image)))
    return [(p, score, image) for p, (score, image) in best.items() if p != own]


def ranked(ranking: BatchRanking, candidates: Candidates, query: int) -> list[tuple[int, float, int]]:
    columns = ranking.order[query]
    return [
        (int(candidates.patients[c]), float(ranking.scores[query, c]), int(image))
        for c, image in zip(columns, ranking.ranked_images[query], strict=True)
    ]


@pytest.mark.parametrize("seed", range(40))
def test_rankings_and_their_fusion_are_those_of_plain_sorts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    patients = np.concatenate([np.arange(7), rng.integers(0, 7, 8)])
    rng.shuffle(patients)
    items, images = rng.permutation(18)[:15], rng.permutation(40)[:15]
    own = rng.integers(0, 7, 3)
    candidates = Candidates(items, patients, images)
    given = {name: rng.choice(VALUES, (3, 18)).astype(np.float32) for name in ("a", "b")}
    rankings = {name: candidates.rank(scores, own) for name, scores in given.items()}
    rule = FusionRule("rrf" if seed % 2 else "score", {"a": 1, "b": float(rng.choice([0.5, 1, 2]))})
    fused = fused_ranking(rule, rankings)
    for query in range(3):
        plain = {name: plain_rank(s[query], items, patients, images, int(own[query])) for name, s in given.items()}
        for name, ranking in rankings.items():
            assert ranked(ranking, candidates, query) == plain[name]
            assert ranking.top[query] == plain[name][0][1]
            assert ranking.scores[query, np.searchsorted(candidates.patients, own[query])] == -np.inf
        scores = {name: {str(p): s for p, s, _ in of if np.isfinite(s)} for name, of in plain.items()}
        order = [str(patient) for patient, _, _ in plain["a"]]
        total, parts, _ = plain_fusion(rule.method, rule.weights, scores, order)
        expected = sorted(order, key=lambda p: (-round(total.get(p, -np.inf), 9), order.index(p)))
        found = ranked(fused, candidates, query)
        assert [str(patient) for patient, _, _ in found] == expected
        image = {name: {str(p): i for p, _, i in of} for name, of in plain.items()}
        for patient, score, shown in found:
            assert score == pytest.approx(total.get(str(patient), -np.inf))
            of_a, of_b = (parts[str(patient)][name] for name in ("a", "b"))
            if of_a == of_b or abs(of_a - of_b) > 1e-9:
                assert shown == image["a" if of_a >= of_b else "b"][str(patient)]


def test_sums_of_the_same_parts_in_another_order_tie() -> None:
    """Patients 1 and 2 swap ranks in two channels of equal weight; the first channel decides."""
    rows = np.arange(3)
    candidates = Candidates(rows, rows, rows)
    own = np.array([0])
    first, second = (
        candidates.rank(np.array([scores], dtype=np.float32), own) for scores in ([0, 0.1, 0.9], [0, 0.9, 0.1])
    )
    for rankings, order in (({"a": first, "b": second}, [2, 1]), ({"b": second, "a": first}, [1, 2])):
        assert fused_ranking(FusionRule("rrf"), rankings).order.tolist() == [order]


def test_a_case_queries_by_the_mean_of_its_images() -> None:
    vectors = np.array([[1, 0], [0, 1], [0, 1], [1, 0]], dtype=np.float32)
    means = mean_queries(vectors, np.array([1, 0, 1, 2]), 3)
    np.testing.assert_allclose(means, [[0, 1], [np.sqrt(0.5), np.sqrt(0.5)], [1, 0]], atol=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_patients_whose_report_contains_the_words_come_first_by_that_report(seed: int) -> None:
    rng = np.random.default_rng(seed)
    patients = np.concatenate([np.arange(7), rng.integers(0, 7, 8)])
    items, images = np.arange(15), rng.permutation(40)[:15]
    own = rng.integers(0, 7, 3)
    first = rng.random((3, 15)) < 0.2
    candidates = Candidates(items, patients, images)
    given = {name: rng.normal(size=(3, 15)).astype(np.float32) for name in ("a", "b")}
    given["a"][rng.random((3, 15)) < 0.3] = -np.inf
    rankings = {"b": candidates.rank(given["b"], own), "a": candidates.rank(given["a"], own, first)}
    joined = fused_ranking(FusionRule("rrf" if seed % 2 else "score", {"b": 9}), rankings)
    for query in range(3):
        holding = first[query] & np.isfinite(given["a"][query]) & (patients != own[query])
        ahead = set(patients[holding].tolist())
        for ranking in (rankings["a"], joined):
            assert ranking.first is not None
            assert set(candidates.patients[ranking.order[query]][: len(ahead)].tolist()) == ahead
            for patient, image in zip(
                candidates.patients[ranking.order[query]], ranking.ranked_images[query], strict=True
            ):
                if patient in ahead:
                    mine = holding & (patients == patient)
                    assert image == images[mine][np.argmax(given["a"][query][mine])]
