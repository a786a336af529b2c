"""Fusion: by hand on small examples, and invariants that hold for any scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from retrieval import EncodingError, QueryError
from retrieval.encoder.vectors import mean_query
from retrieval.search.channels.registry import CHANNELS
from retrieval.search.fusion import RRF_CONSTANT, FusionRule, default_rules, fuse, read_rules
from tests.retrieval.search.plain_fusion import plain_fusion

# Few values, so that ties are frequent; -inf: the channel does not have the candidate.
tables = arrays(np.float64, (2, 6), elements=st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0, 3.25]))
rules = st.builds(
    FusionRule,
    st.sampled_from(["rrf", "score"]),
    st.fixed_dictionaries({"a": st.sampled_from([0.5, 1.0, 3.0]), "b": st.sampled_from([0.0, 1.0, 2.0])}),
)


def test_mean_query_is_the_direction_of_the_sum() -> None:
    rows = np.array([[1, 0, 0], [0, 1, 0]], dtype=np.float32)
    np.testing.assert_allclose(mean_query(rows), [[np.sqrt(0.5), np.sqrt(0.5), 0]], atol=1e-7)


def test_mean_query_refuses_vectors_that_cancel() -> None:
    with pytest.raises(EncodingError, match="opposite"):
        mean_query(np.array([[1, 0], [-1, 0]], dtype=np.float32))


def test_reciprocal_ranks_are_added_by_weight() -> None:
    first, second = np.array([[0.9, 0.5, 0.1, -np.inf]]), np.array([[1.0, 7.0, -np.inf, -np.inf]])
    fused = fuse(FusionRule("rrf", {"a": 3, "b": 1}), {"a": first, "b": second})
    assert fused.ranks["a"].tolist() == [[1, 2, 3, np.inf]]
    assert fused.ranks["b"].tolist() == [[2, 1, np.inf, np.inf]]
    by_hand = [0.75 / 61 + 0.25 / 62, 0.75 / 62 + 0.25 / 61, 0.75 / 63, -np.inf]
    np.testing.assert_allclose(fused.scores[0], by_hand)


def test_normalised_scores_are_added_by_weight() -> None:
    first, second = np.array([[3.0, 1.0, -np.inf]]), np.array([[10.0, 30.0, 20.0]])
    fused = fuse(FusionRule("score", {"a": 1, "b": 1}), {"a": first, "b": second})
    spread = np.sqrt(1.5)  # (30 - 20) / the deviation of 10, 20, 30
    np.testing.assert_allclose(fused.parts["a"], [[0.5, -0.5, -0.5]])  # one that the channel lacks counts as its last
    np.testing.assert_allclose(fused.parts["b"], [[-spread / 2, spread / 2, 0]])
    np.testing.assert_allclose(fused.scores, fused.parts["a"] + fused.parts["b"])


def test_equal_scores_share_the_better_rank() -> None:
    fused = fuse(FusionRule(), {"a": np.array([[1.0, 2.0, 2.0, 0.0]])})
    assert fused.ranks["a"].tolist() == [[3, 1, 1, 4]]


def test_only_the_first_places_count() -> None:
    fused = fuse(FusionRule(), {"a": np.array([[4.0, 3.0, 2.0, 1.0]])}, pool=2)
    assert np.isfinite(fused.scores).tolist() == [[True, True, False, False]]
    assert fused.parts["a"][0, 2:].tolist() == [0, 0]


@pytest.mark.slow
@given(tables, tables, rules)
def test_parts_sum_to_the_score_and_ranks_follow_the_scores(
    first: np.ndarray, second: np.ndarray, rule: FusionRule
) -> None:
    fused = fuse(rule, {"a": first, "b": second})
    kept = np.isfinite(fused.scores)
    np.testing.assert_allclose(fused.scores[kept], (fused.parts["a"] + fused.parts["b"])[kept], atol=1e-12)
    weighs = rule.weights["b"] > 0
    assert (kept == (np.isfinite(first) | (weighs & np.isfinite(second)))).all()
    for scores, ranks in ((first, fused.ranks["a"]), (second, fused.ranks["b"])):
        for row, places in zip(scores, ranks, strict=True):
            assert all(places[i] == 1 + (row > row[i]).sum() for i in range(6) if np.isfinite(row[i]))


@pytest.mark.slow
@given(tables, tables, rules, st.permutations(range(6)))
def test_the_order_of_the_candidates_decides_nothing(
    first: np.ndarray, second: np.ndarray, rule: FusionRule, order: list[int]
) -> None:
    straight = fuse(rule, {"a": first, "b": second}).scores[:, order]
    shuffled = fuse(rule, {"a": first[:, order], "b": second[:, order]}).scores
    np.testing.assert_allclose(straight, shuffled, atol=1e-12)


@pytest.mark.slow
@given(tables, st.sampled_from(["rrf", "score"]))
def test_one_channel_alone_keeps_its_order(scores: np.ndarray, method: str) -> None:
    fused = fuse(FusionRule(method), {"a": scores}).scores  # type: ignore[arg-type]
    for row, given_ in zip(fused, scores, strict=True):
        for i in range(6):
            for j in range(6):
                if np.isfinite(given_[i]) and np.isfinite(given_[j]) and given_[i] > given_[j]:
                    assert row[i] > row[j]


@pytest.mark.slow
@given(tables, tables, st.sampled_from([0.1, 7.0]))
def test_only_the_ratios_of_the_weights_count(first: np.ndarray, second: np.ndarray, factor: float) -> None:
    for method in ("rrf", "score"):
        one = fuse(FusionRule(method, {"a": 1, "b": 2}), {"a": first, "b": second}).scores  # type: ignore[arg-type]
        other = fuse(FusionRule(method, {"a": factor, "b": 2 * factor}), {"a": first, "b": second}).scores  # type: ignore[arg-type]
        np.testing.assert_allclose(one, other, atol=1e-12)


def test_a_batch_is_what_each_query_is_alone() -> None:
    rng = np.random.default_rng(0)
    channels = {"a": rng.normal(size=(5, 40)), "b": rng.normal(size=(5, 40))}
    for method in ("rrf", "score"):
        whole = fuse(FusionRule(method), channels, pool=10).scores  # type: ignore[arg-type]
        for i in range(5):
            alone = fuse(FusionRule(method), {n: s[i : i + 1] for n, s in channels.items()}, pool=10).scores  # type: ignore[arg-type]
            np.testing.assert_array_equal(whole[i], alone[0])


@pytest.mark.parametrize(("method", "weights"), [("sum", {}), ("rrf", {"a": -1}), ("rrf", {"a": float("nan")})])
def test_a_rule_that_is_none_is_refused(method: str, weights: dict[str, float]) -> None:
    with pytest.raises(QueryError, match=r"fusion .sum.|weight of .a."):
        FusionRule(method, weights)  # type: ignore[arg-type]


def test_weights_that_are_all_zero_are_refused() -> None:
    with pytest.raises(QueryError, match="weight 0"):
        fuse(FusionRule("rrf", {"a": 0}), {"a": np.zeros((1, 2))})


def test_the_rules_that_ship_name_only_channels_that_exist() -> None:
    rules = default_rules()
    assert set(rules) == {"text", "image", "text and image", "report"}
    for name in ("text", "image", "text and image"):
        assert set(rules[name].weights) <= set(CHANNELS)
    assert RRF_CONSTANT == 60


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[text", "TOML"),
        ("text = 1", "must be a table"),
        ("[text]\nmethod = 'rrf'", "must be a table"),
        ("[text]\nweights = { a = 'x' }", "must be a number"),
        ("[text]\nmethod = 'sum'\nweights = { a = 1 }", "no fusion"),
    ],
)
def test_a_file_of_rules_that_is_wrong_says_what_is(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "rules.toml").write_text(text)
    with pytest.raises(QueryError, match=message):
        read_rules(tmp_path / "rules.toml")


def test_a_file_of_rules_that_is_missing_says_so(tmp_path: Path) -> None:
    with pytest.raises(QueryError, match="There is no file of fusion rules"):
        read_rules(tmp_path / "none.toml")


@given(tables, tables, rules, st.sampled_from([1, 2, 3, 6, 500]))
def test_scores_parts_and_ranks_are_those_of_plain_loops(
    first: np.ndarray, second: np.ndarray, rule: FusionRule, pool: int
) -> None:
    fused = fuse(rule, {"a": first, "b": second}, pool=pool)
    reweighted = fuse(FusionRule(rule.method), {"a": first, "b": second}, pool=pool).reweighted(rule.shares(("a", "b")))
    names = list("uvwxyz")
    for row in range(2):
        scores = {
            channel: {name: score for name, score in zip(names, table[row].tolist(), strict=True) if np.isfinite(score)}
            for channel, table in (("a", first), ("b", second))
        }
        total, parts, ranks = plain_fusion(rule.method, rule.weights, scores, names, pool)
        expected = pytest.approx([total.get(name, -np.inf) for name in names])
        assert fused.scores[row].tolist() == expected
        assert reweighted.scores[row].tolist() == expected
        for channel in "ab":
            assert fused.ranks[channel][row].tolist() == [ranks[name][channel] for name in names]
            assert fused.parts[channel][row].tolist() == pytest.approx([parts[name][channel] for name in names])


masks = arrays(np.bool_, (2, 6))


@pytest.mark.slow
@given(tables, tables, rules, masks)
def test_what_comes_first_is_before_all_others_and_keeps_its_order(
    first: np.ndarray, second: np.ndarray, rule: FusionRule, mask: np.ndarray
) -> None:
    channels = {"a": first, "b": second}
    plain, fused = fuse(rule, channels), fuse(rule, channels, first={"b": mask})
    weighs = rule.weights["b"] > 0
    for row in range(2):
        found = np.isfinite(fused.scores[row])
        assert (found == np.isfinite(plain.scores[row])).all()
        ahead, others = fused.scores[row][mask[row] & found], fused.scores[row][~mask[row] & found]
        if weighs and len(ahead) and len(others):
            assert ahead.min() > others.max()
        moved, inside = fused.scores[row][found] - plain.scores[row][found], mask[row][found]
        assert moved[~inside].tolist() == pytest.approx([0.0] * len(others))
        if len(ahead):  # all by one amount, in the part of the channel that says so
            assert np.ptp(moved[inside]) == pytest.approx(0, abs=1e-9)
        np.testing.assert_allclose((fused.parts["a"] + fused.parts["b"])[row][found], fused.scores[row][found])
        np.testing.assert_array_equal(fused.parts["a"], plain.parts["a"])


@pytest.mark.slow
@given(tables, tables, rules, masks)
def test_a_fusion_that_is_reweighted_keeps_what_comes_first(
    first: np.ndarray, second: np.ndarray, rule: FusionRule, mask: np.ndarray
) -> None:
    channels = {"a": first, "b": second}
    direct = fuse(rule, channels, first={"b": mask})
    equal = fuse(FusionRule(rule.method), channels, first={"b": mask}).reweighted(rule.shares(("a", "b")))
    np.testing.assert_allclose(direct.scores, equal.scores, atol=1e-12)
    assert direct.leading(rule.shares(("a", "b"))).keys() == ({"b"} if rule.weights["b"] else set())


def test_a_zero_that_means_nothing_counts_but_finds_nothing() -> None:
    words = np.array([[2.0, 2.0, 0.0, 0.0]])
    assert not fuse(FusionRule("score"), {"words": np.where(words > 0, words, -np.inf)}).parts["words"].any()
    fused = fuse(FusionRule("score"), {"words": words}, zero_is_none=("words",))
    np.testing.assert_allclose(fused.parts["words"], [[1, 1, -1, -1]])  # a tie among the matches still tells them apart
    assert np.isfinite(fused.scores).tolist() == [[True, True, False, False]]
