"""Fusion by hand: by how much what comes first is raised, single precision, and what a file of rules may hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from retrieval import QueryError
from retrieval.search import fusion
from retrieval.search.fusion import FusionRule, descending_bits, fuse, raised, read_rules, rule_text

INF = np.inf


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_what_comes_first_is_raised_a_thousandth_of_the_range_above_the_rest(dtype: type) -> None:
    rows = [
        # scores, those that come first, what they are then
        ([1, 2, 3, 5], [1, 0, 0, 0], [5.004, 2, 3, 5]),
        ([1, 2, 3, 5], [1, 1, 0, 0], [5.004, 6.004, 3, 5]),  # all by one amount
        ([1, 2, 3, 5], [1, 0, 0, 1], [3.004, 2, 3, 7.004]),  # 3 is the best of the others
        ([1, 2, 3, 5], [0, 0, 0, 1], [1, 2, 3, 5]),  # is above already
        ([1, 2, 5, 5], [0, 0, 0, 1], [1, 2, 5, 5.004]),  # as high is not above
        ([7, 7, 7, 7], [0, 1, 0, 0], [7, 7.001, 7, 7]),  # no range: as if it were 1
        ([-INF, 1, 3, -INF], [1, 1, 0, 0], [-INF, 3.002, 3, -INF]),
        ([-INF, 1, 3, -INF], [1, 0, 0, 0], [-INF, 1, 3, -INF]),
        ([1, 2, 3, 5], [0, 0, 0, 0], [1, 2, 3, 5]),
        ([1, 2, 3, 5], [1, 1, 1, 1], [1, 2, 3, 5]),
        ([-INF] * 4, [1, 1, 0, 0], [-INF] * 4),
        ([-5, -3, -3, -1], [0, 1, 0, 0], [-5, -1 + 0.004, -3, -1]),
    ]
    scores, first, expected = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    found = raised(scores.astype(dtype), first > 0)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert raised(np.empty((2, 0), dtype=dtype), np.empty((2, 0), dtype=bool)).shape == (2, 0)


def test_the_rise_is_a_part_of_the_first_channel_with_weight() -> None:
    scores = {name: np.array([[3.0, 2.0, 1.0]]) for name in "abc"}
    last = np.array([[False, False, True]])
    for weights, raised_one in (({}, "b"), ({"b": 0.0}, "c")):
        fused = fuse(FusionRule("rrf", weights), scores, first={"b": last, "c": last})
        assert [name for name in "abc" if fused.parts[name][0, 2] > fused.weighed[name][0, 2]] == [raised_one]
        assert (fused.scores[0] == sum(part[0] for part in fused.parts.values())).all()
        assert fused.scores[0, 2] == pytest.approx(1 / 61 + 1e-3 * (1 / 61 - 1 / 63))
        shares = FusionRule("rrf", weights).shares(("a", "b", "c"))
        assert set(fused.leading(shares)) == ({"b", "c"} if not weights else {"c"})
    nothing = fuse(FusionRule("rrf", {"b": 0.0}), scores, first={"b": last})
    assert nothing.scores[0].argmin() == 2, "a channel without weight raises nothing"


@pytest.mark.parametrize("pool", [1, 3, 4, 7, 50])
def test_single_precision_ranks_as_double(pool: int) -> None:
    rng = np.random.default_rng(pool)
    values = np.array([-INF, -2.5, -1e-30, -0.0, 0.0, 1e-30, 1.0, 2.5, 3e8], dtype=np.float32)
    scores = rng.choice(values, (20, 12))
    scores[0] = -INF
    fused = fuse(FusionRule(), {"a": scores}, pool=pool)
    for row, ranks in zip(scores.astype(float), fused.ranks["a"], strict=True):
        # Where a pool ends among equal scores, all of them are in it.
        better = [(row > score).sum() for score in row]
        expected = [1 + n if np.isfinite(s) and n < pool else INF for n, s in zip(better, row, strict=True)]
        assert ranks.tolist() == expected


@pytest.mark.parametrize(
    ("floats", "bits"), [(np.float16, np.uint16), (np.float32, np.uint32), (np.float64, np.uint64)]
)
def test_bits_sort_as_their_floats_descending(floats: type, bits: type) -> None:
    values = np.array([-INF, -3.5, -1.0, -0.25, 0.0, 0.125, 1.0, 1.5, 60000.0, INF], dtype=floats)
    made = descending_bits(values.view(bits))
    assert made.dtype == bits
    assert np.argsort(made).tolist() == list(range(len(values)))[::-1]
    assert (descending_bits(made) == values.view(bits)).all()


def test_without_ranks_every_candidate_counts() -> None:
    scores = {"a": np.array([[3.0, 1.0, -INF]]), "b": np.array([[-INF, 1.0, -INF]])}
    fused = fuse(FusionRule("score"), scores, pool=1, ranked=False)
    assert fused.ranks["a"].tolist() == [[1, 1, INF]]
    assert np.isfinite(fused.scores).tolist() == [[True, True, False]]
    np.testing.assert_allclose(fused.parts["a"], [[0.5, -0.5, -0.5]])
    assert fuse(FusionRule("rrf"), scores, pool=1, ranked=False).ranks["a"].tolist() == [[1, INF, INF]]


def test_500_ranks_count_where_nothing_else_is_said() -> None:
    ranks = fuse(FusionRule(), {"a": -np.arange(502.0)[None]}).ranks["a"][0]
    assert ranks[499] == 500
    assert np.isinf(ranks[500:]).all()
    assert fusion.POOL == 500


def test_a_channel_whose_scores_are_all_alike_has_no_say() -> None:
    for spread, says in ((0.0, False), (5e-10, False), (1e-6, True)):
        assert fuse(FusionRule("score"), {"a": np.array([[1.0 + spread, 1.0 - spread]])}).parts["a"].any() == says


@pytest.mark.parametrize("weight", [np.inf, -1e-9, float("nan"), -np.inf])
def test_weights_are_numbers_from_0_upwards(weight: float) -> None:
    with pytest.raises(QueryError, match="weight of 'a'"):
        FusionRule("rrf", {"b": 1, "a": weight})


def test_shares_sum_to_1_and_words_say_the_rule() -> None:
    rule = FusionRule("score", {"a": 3, "b": 0.5, "c": 0})
    assert rule.shares(("a", "d", "c")) == {"a": 0.75, "d": 0.25, "c": 0}
    assert rule.words(("a", "b", "c", "d")) == "normalised scores, a 3, b 0.5, c 0, d 1"
    assert FusionRule("rrf").words(("a",)) == "reciprocal ranks, a 1"


def test_a_file_of_rules_is_read_as_it_was_written(tmp_path: Path) -> None:
    rules = {
        "text": FusionRule("score", {"a": 2.5, "b": 0}, {"image": "f1", "text": "f2"}),
        "text and image": FusionRule("rrf", {"a": 1}),
    }
    path = tmp_path / "rules.toml"
    path.write_text("\n".join(line for name, rule in rules.items() for line in rule_text(name, rule)))
    read = read_rules(path)
    assert read == rules
    assert {name: dict(rule.encoders) for name, rule in read.items()} == {
        "text": {"image": "f1", "text": "f2"},
        "text and image": {},
    }
    path.write_text("[text]\nweights = { a = 1 }")
    assert read_rules(path)["text"].method == "rrf"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"[text]\nweights = { a = true }", "must be a number"),
        (b"[text]\nweights = { a = 1 }\nencoders = 'f'", "must be a table of fingerprints"),
        (b"[text]\nweights = { a = 1 }\nencoders = { image = 1 }", "must be a table of fingerprints"),
        (b"[text]\nweights = 1", "must be a table with"),
        (b"\xff", "cannot be read as TOML"),
    ],
)
def test_a_wrong_file_of_rules_says_what_is_wrong(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "rules.toml").write_bytes(text)
    with pytest.raises(QueryError, match=message):
        read_rules(tmp_path / "rules.toml")
    with pytest.raises(QueryError, match="cannot be read as TOML"):
        read_rules(tmp_path)  # a folder
