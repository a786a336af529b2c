"""Choosing weights: what tells is kept, what does not goes, the simpler wins a draw, and the halves stay apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from index_store import Archive
from retrieval import EvaluationError
from retrieval.evaluation.dataset import labelled_cases, read_labelled
from retrieval.evaluation.tune_fusion import _grid, _tuning_half, choose_fusion, rules_text
from retrieval.search.fusion import default_rules, read_rules
from tests.retrieval.labelled_archive import made_cases, unit
from tests.retrieval.vector_archive import FINGERPRINT, archive_of

CASES = 80
SYLLABLES = ("ba", "du", "ke", "lo", "mi", "nu", "pa", "ro")


def made(folder: Path, *, images: float, texts: float, words: Callable[[int, np.random.Generator], str]) -> Archive:
    """Four categories; how much noise the images' and the reports' vectors have, and what the reports say."""
    rng = np.random.default_rng(5)
    labels = np.arange(CASES) % 4
    centres = unit(rng.normal(size=(4, 16)))
    rows = [
        {
            "case": f"case {i:02}",
            "report": words(int(label), rng),
            "site": "cervix",
            "category": "ABCD"[label],
        }
        for i, label in enumerate(labels)
    ]
    archive = archive_of(folder, rows, unit(centres[labels] + images * unit(rng.normal(size=(CASES, 16)))))
    reports = list(archive.reports())
    at = [labels[int(report.case_key.removeprefix("case "))] for report in reports]
    vectors = unit(centres[at] + texts * unit(rng.normal(size=(CASES, 16))))
    archive.add_report_vectors(
        [r.case_id for r in reports], [r.text for r in reports], vectors, fingerprint=FINGERPRINT
    )
    return archive


def noise(label: int, rng: np.random.Generator) -> str:
    return " ".join(rng.choice(SYLLABLES, 6))


def test_a_channel_of_noise_loses_its_weight(tmp_path: Path) -> None:
    with made(tmp_path, images=30.0, texts=0.7, words=noise) as archive:
        choices = {choice.name: choice for choice in choose_fusion(archive, rules=default_rules())}
    assert list(choices) == ["report", "text", "text and image"]
    report = choices["report"]
    assert report.rule.weights["words"] < report.rule.weights["meaning"]
    both = choices["text and image"].rule.weights
    assert both["image"] < max(both.values())
    for choice in choices.values():
        compared = {one.name: one for one in choice.compared}
        assert compared["equal weights, by ranks"].chosen_minus.mean > 0
        assert choice.choosing_queries + choice.measured_queries == CASES
        assert choice.choosing_patients + choice.measured_patients == CASES


def test_a_draw_goes_to_equal_weights_by_ranks(tmp_path: Path) -> None:
    """Every channel finds everything: nothing is gained by other weights."""
    said = ("atypical", "benign", "clusters", "dense")
    with made(tmp_path, images=0.01, texts=0.01, words=lambda label, rng: said[label]) as archive:
        choices = choose_fusion(archive, rules=default_rules())
    for choice in choices:
        assert choice.rule.method == "rrf"
        assert len(set(choice.rule.weights.values())) == 1


def test_the_file_is_read_as_rules_and_written_the_same_again(tmp_path: Path) -> None:
    with made(tmp_path, images=2.0, texts=1.5, words=noise) as archive:
        first, again, other = (choose_fusion(archive, rules=default_rules(), seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    text = rules_text(first, default_rules())
    (tmp_path / "rules.toml").write_text(text, encoding="utf-8")
    rules = read_rules(tmp_path / "rules.toml")
    assert set(rules) == set(default_rules())
    for choice in first:
        weights = dict(rules[choice.name].weights)
        assert rules[choice.name].method == choice.rule.method
        assert {channel: weights.pop(channel) for channel in choice.rule.weights} == choice.rule.weights
        assert not any(weights.values()), "a channel that was not measured has a weight"
        assert f"the other {choice.measured_patients} patients" in text
    assert rules["text"].weights["generated"] == 0
    assert "`generated` was not measured" in text
    assert rules["image"] == default_rules()["image"]


def test_half_of_the_patients_choose_whoever_else_comes() -> None:
    few, more = labelled_cases(made_cases(200)), labelled_cases(made_cases(260))
    half = _tuning_half(few, 3)
    assert 0.35 < half.mean() < 0.65
    np.testing.assert_array_equal(_tuning_half(more, 3)[: len(half)], half)
    assert (_tuning_half(few, 4) != half).any()


def test_the_grid_has_each_ratio_once() -> None:
    grid = list(_grid(("a", "b")))
    shares = [(rule.method, tuple(round(share, 9) for share in rule.shares(("a", "b")).values())) for rule in grid]
    assert len(set(shares)) == len(shares) == 12
    assert sum(1.0 in ratio for _, ratio in shares) == 2, "one channel alone: the method changes nothing"


def test_nothing_to_join_says_so(tmp_path: Path) -> None:
    rows = [{"case": str(i), "report": " ", "site": "cervix", "category": "AB"[i % 2]} for i in range(8)]
    with archive_of(tmp_path, rows, unit(np.random.default_rng(0).normal(size=(8, 4)))) as archive:
        assert read_labelled(archive).reports == (" ",) * 8
        with pytest.raises(EvaluationError, match="nothing to fuse"):
            choose_fusion(archive, rules=default_rules())
