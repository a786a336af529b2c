"""What a random order is worth, against all orders there are; the best order, against a search for it."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from retrieval.evaluation.chance_baseline import CandidateSet
from retrieval.statistics.metrics import average_precision, majority_vote, ndcg, precision, recall, reciprocal_rank
from tests.retrieval.evaluation.plain_count import macro_f1

GAINS = np.array([[2.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.0, 1.0]])
PATIENTS = np.array([3, 3, 8, 9, 12, 12, 20])


def every_order(classes: np.ndarray, own: int) -> np.ndarray:
    """The classes in every order of the other patients, each led by any of its images (equally often)."""
    of = [classes[p == PATIENTS] for p in np.unique(PATIENTS) if p != own]
    common = int(np.lcm.reduce([len(c) for c in of]))
    choices = [np.repeat(c, common // len(c)) for c in of]
    return np.array(
        [[leads[i] for i in order] for leads in product(*choices) for order in permutations(range(len(of)))]
    )


ONE_CLASS_EACH, SEVERAL = [0, 0, 1, 0, 2, 2, 0], [0, 1, 0, 0, 1, 2, 1]


# Without the queries whose class no other patient has.
@pytest.mark.parametrize(
    ("classes", "query"),
    [(ONE_CLASS_EACH, query) for query in (0, 1, 3, 6)] + [(SEVERAL, query) for query in (0, 1, 2, 3, 4, 6)],
)
def test_chance_is_the_mean_over_all_orders(classes: list[int], query: int) -> None:
    labels = np.array(classes)
    candidates = CandidateSet(PATIENTS, labels, GAINS)
    truth, own = labels[[query]], PATIENTS[[query]]
    total = candidates.relevant_patients(truth, own)
    assert total[0]
    orders = every_order(labels, int(own[0]))
    relevant, ideal = orders == truth[0], candidates.ideal_gains(truth, own, 3)
    totals = np.repeat(total, len(orders))
    expected = {
        **{f"P@{k}": precision(relevant, k) for k in (1, 3, 10)},
        "mAP": average_precision(relevant, total=totals),
        "MRR": reciprocal_rank(relevant, total=totals),
        "nDCG@3": ndcg(GAINS[truth[0], orders], 3, ideal=np.repeat(ideal, len(orders), axis=0)),
        "R@3": recall(relevant, 3, total=totals),
    }
    chance = candidates.expected_metrics(truth, own, (1, 3, 10), 3)
    assert set(chance) == set(expected)
    for name, values in expected.items():
        # A patient of several classes makes the rank of the first an approximation, as the docstring says.
        tolerance = 0.1 if name == "MRR" and classes[0] != classes[1] else 1e-9
        assert chance[name][0] == pytest.approx(values.mean(), abs=tolerance), name


def test_the_ideal_leaves_the_own_patient_out() -> None:
    labels = np.array([0, 0, 1, 0, 2, 2, 0])
    candidates = CandidateSet(PATIENTS, labels, GAINS)
    truth, own = np.array([0, 0, 1, 2]), np.array([3, 8, 8, 12])
    assert candidates.relevant_patients(truth, own).tolist() == [2, 3, 0, 0]
    assert candidates.ideal_gains(truth, own, 3).tolist() == [[2, 2, 1], [2, 2, 2], [1, 1, 1], [0, 0, 0]]
    # The query's patient is none of the best: nothing of these is left out.
    assert candidates.ideal_gains(np.array([0]), np.array([12]), 3).tolist() == [[2, 2, 2]]
    assert candidates.ideal_gains(truth[:1], own[:1], 9).tolist() == [[2, 2, 1, 0, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize("k", [1, 3, 5])
def test_votes_by_chance_are_votes_over_random_others(k: int) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 30)
    votes = CandidateSet(np.arange(30), labels, np.eye(3)).random_votes(np.arange(30), k, rng)
    sampled = []
    for _ in range(200):
        others = np.array([rng.permutation(np.delete(labels, i))[:k] for i in range(30)])
        sampled.append(macro_f1(majority_vote(others, k).tolist(), labels.tolist(), range(3), [1] * 30))
    found = [macro_f1(vote.tolist(), labels.tolist(), range(3), [1] * 30) for vote in votes]
    assert np.mean(found) == pytest.approx(np.mean(sampled), abs=0.03)


def test_two_patients_vote_for_each_other() -> None:
    votes = CandidateSet(np.array([4, 4, 7]), np.array([0, 0, 1]), np.eye(2)).random_votes(
        np.array([4, 7]), 5, np.random.default_rng(0)
    )
    assert np.unique(votes, axis=0).tolist() == [[1, 0]]


def test_any_image_of_a_patient_may_represent_it_by_chance() -> None:
    """The only other patient has three images of class 1 and one of class 0."""
    candidates = CandidateSet(np.array([4, 7, 7, 7, 7]), np.array([0, 0, 1, 1, 1]), np.eye(2))
    votes = candidates.random_votes(np.array([4]), 1, np.random.default_rng(0))
    assert votes.mean() == pytest.approx(0.75, abs=0.1)
