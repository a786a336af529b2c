"""Choosing weights: what tells is kept, what does not goes, the simpler wins a draw, and the halves stay apart."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from index_store import Archive
from retrieval import EvaluationError
from retrieval.evaluation.batched_rankings import Block, Rankings
from retrieval.evaluation.dataset import labelled_cases, read_labelled
from retrieval.evaluation.fusion_tuning.choice import rules_text
from retrieval.evaluation.fusion_tuning.choose import choose_fusion, tuning_half
from retrieval.evaluation.fusion_tuning.select import Halves, chosen_rule, rule_grid
from retrieval.evaluation.material import Material, gather, no_progress
from retrieval.evaluation.relevance import Relevance
from retrieval.evaluation.tasks import Task, tasks_for
from retrieval.search.channels.own_runs import Fusion
from retrieval.search.fusion import FusionRule, default_rules, read_rules
from retrieval.statistics.cluster_bootstrap import MacroBootstrap
from tests.retrieval.labelled_archive import made_cases, unit
from tests.retrieval.vector_archive import FINGERPRINT, archive_of
from ui.text.evaluation.tables import choice_text

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


@pytest.mark.slow
def test_a_channel_of_noise_loses_its_weight(tmp_path: Path) -> None:
    with made(tmp_path, images=30.0, texts=0.7, words=noise) as archive:
        choices = {choice.name: choice for choice in choose_fusion(archive, rules=default_rules())}
    assert list(choices) == ["report", "text", "text and image"]
    report = choices["report"]
    assert report.rule.weights["words"] < report.rule.weights["meaning"]
    both = choices["text and image"].rule.weights
    assert both["image"] < max(both.values())
    assert {choice.name: choice.rule.weights for choice in choices.values() if not all(choice.rule.weights.values())}
    for choice in choices.values():
        for channel, weight in choice.rule.weights.items():
            idle = f"`{channel}` earns nothing on this archive and has weight 0"
            assert any(idle in each.words for each in choice.contributions) == (weight == 0)
            assert (idle in rules_text(list(choices.values()), default_rules())) >= (weight == 0)
            assert (idle in " ".join(choice_text([choice], "rules.toml").split())) == (weight == 0)
    for choice in choices.values():
        compared = {one.name: one for one in choice.compared}
        assert compared["equal weights, by ranks"].chosen_minus.mean > 0
        assert choice.choosing_queries + choice.measured_queries == CASES
        assert choice.choosing_patients + choice.measured_patients == CASES


@pytest.mark.slow
def test_a_draw_goes_to_equal_weights_by_ranks(tmp_path: Path) -> None:
    """Every channel finds everything: nothing is gained by other weights."""
    said = ("atypical", "benign", "clusters", "dense")
    with made(tmp_path, images=0.01, texts=0.01, words=lambda label, rng: said[label]) as archive:
        choices = choose_fusion(archive, rules=default_rules())
    for choice in choices:
        assert choice.rule.method == "rrf"
        assert len(set(choice.rule.weights.values())) == 1


@pytest.mark.slow
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
        assert rules[choice.name].encoders == dict.fromkeys(("image", "text"), FINGERPRINT)
        assert {channel: weights.pop(channel) for channel in choice.rule.weights} == choice.rule.weights
        assert not any(weights.values()), "a channel that was not measured has a weight"
        assert f"the other {choice.measured_patients} patients" in text
    assert rules["text"].weights["generated"] == 0
    assert "`generated` was not measured" in text
    assert rules["image"] == default_rules()["image"]


def plain_precisions(
    material: Material, fusion: Fusion, rule: FusionRule, task: Task, queries: list[int]
) -> list[float]:
    """P@10 of each query, ranked by the rule as any run is, not reweighted from equal weights as in the tuning."""
    experiment = replace(
        material.experiment,
        fusions=[of if of.name != fusion.name else replace(fusion, rule=rule) for of in material.experiment.fusions],
    )
    rankings = Rankings(material.cases, experiment)
    block = Block(np.array(queries), (fusion.name,))
    ranked = rankings.ranked(block, rankings.scores(block), task.candidates_of)[fusion.name].ranked_images[:, :10]
    found = []
    for query, images in zip(queries, ranked.tolist(), strict=True):
        classes = [task.class_of[material.cases.case_of[image]] for image in images]
        found.append(sum(label == task.class_of[query] for label in classes) / 10)
    return found


def macro(values: list[float], classes: list[int]) -> float:
    by_class: dict[int, list[float]] = {}
    for value, label in zip(values, classes, strict=True):
        by_class.setdefault(label, []).append(value)
    return float(np.mean([np.mean(of) for of in by_class.values()]))


@pytest.mark.parametrize(
    ("images", "texts", "seed"),
    [
        (1.2, 0.9, 0),
        pytest.param(0.8, 2.5, 3, marks=pytest.mark.slow),
        pytest.param(30.0, 0.7, 1, marks=pytest.mark.slow),
    ],
)
def test_choices_and_figures_are_those_of_the_rules_themselves(
    tmp_path: Path, images: float, texts: float, seed: int
) -> None:
    """The rule is the simplest that the best of the tuning half does not surpass; its figures are of the other half."""
    words = lambda label, rng: f"{SYLLABLES[label] if rng.random() < 0.4 else ''} {noise(label, rng)}"  # noqa: E731
    with made(tmp_path, images=images, texts=texts, words=words) as archive:
        material = gather(
            archive,
            encoder=None,
            generation=None,
            sample=None,
            seed=seed,
            histogram=False,
            rules=default_rules(),
            work=None,
            progress=no_progress,
        )
        choices = {choice.name: choice for choice in choose_fusion(archive, rules=default_rules(), seed=seed)}
    cases = material.cases
    (task,) = tasks_for(cases)
    fusions = {fusion.name: fusion for fusion in material.experiment.fusions}
    halves: dict[bool, list[int]] = {True: [], False: []}
    for query, key in enumerate(cases.keys):  # one case a patient
        halves[hashlib.sha256(f"{seed}\n{key}".encode()).digest()[0] % 2 == 0].append(query)
    for run, name in (("report", "report"), ("fused", "text"), ("fused with image", "text and image")):
        fusion, choice = fusions[run], choices[name]
        channels = tuple(fusion.of)
        queries = list(range(len(cases.keys)))
        grid = list(rule_grid(channels))
        by_rule = [plain_precisions(material, fusion, rule, task, queries) for rule in grid]

        def figure(number: int, tuning: bool, by_rule: list[list[float]] = by_rule) -> float:
            values = [by_rule[number][query] for query in halves[tuning]]
            return macro(values, [int(task.class_of[query]) for query in halves[tuning]])

        def number(rule: FusionRule, grid: list[FusionRule] = grid, channels: tuple[str, ...] = channels) -> int:
            return next(
                i
                for i, of in enumerate(grid)
                if (of.method, of.shares(channels)) == (rule.method, rule.shares(channels))
            )

        equal = dict.fromkeys(channels, 1.0)
        tuning = [figure(i, True) for i in range(len(grid))]
        by_ranks = [i for i, rule in enumerate(grid) if rule.method == "rrf"]
        contenders = [
            number(FusionRule("rrf", equal)),
            number(FusionRule("score", equal)),
            max(by_ranks, key=lambda i: tuning[i]),
            max(range(len(grid)), key=lambda i: tuning[i]),
        ]
        patients = cases.patient_of[halves[True]]
        classes = task.class_of[halves[True]]
        bootstrap = MacroBootstrap(patients, classes, len(task.site_of), seed=seed)
        averages = bootstrap.mean(
            {str(i): np.array(by_rule[i])[halves[True]] for i in contenders}, [np.unique(classes)]
        )
        best = averages[str(contenders[-1])][0]
        start = chosen = next(i for i in contenders if best.minus(averages[str(i)][0]).low <= 0)
        while True:  # without the channels that it is better without
            without = {
                name: number(FusionRule(grid[chosen].method, {**grid[chosen].weights, name: 0.0}))
                if sum(w > 0 for w in grid[chosen].weights.values()) > 2
                else number(FusionRule("rrf", {**grid[chosen].weights, name: 0.0}))
                for name, weight in grid[chosen].weights.items()
                if weight and sum(w > 0 for w in grid[chosen].weights.values()) > 1
            }
            worst = max(without, key=lambda name: tuning[without[name]], default=None)
            if worst is None or tuning[without[worst]] < tuning[chosen] + 0.001:
                break
            chosen = without[worst]
        assert (choice.rule.method, choice.rule.weights) == (grid[chosen].method, grid[chosen].weights)
        assert choice.choosing.mean == pytest.approx(tuning[chosen])
        assert choice.measured.mean == pytest.approx(figure(chosen, False))
        assert (choice.choosing_queries, choice.measured_queries) == (len(halves[True]), len(halves[False]))
        assert (choice.choosing_patients, choice.measured_patients) == (len(halves[True]), len(halves[False]))
        gain = tuning[contenders[-1]] - tuning[start]
        assert ("above it" in choice.why) == (gain > 0)
        assert f"{gain:.3f} [" in choice.why or gain == 0
        single = {f"{name} alone": FusionRule("rrf", {c: float(c == name) for c in channels}) for name in channels}
        for other in choice.compared:
            rule = {"equal weights, by ranks": FusionRule("rrf", equal), **single}.get(other.name)
            if rule is not None:
                expected = figure(number(rule), False)
                assert other.precision.mean == pytest.approx(expected)
                assert other.chosen_minus.mean == pytest.approx(figure(chosen, False) - expected)
        assert set(single) < {other.name for other in choice.compared}
        idle = {channel for channel, weight in choice.rule.weights.items() if not weight}
        assert {each.channel for each in choice.contributions if not each.weight} == idle
        least = min(weight for weight in choice.rule.weights.values() if weight)
        for each in choice.contributions:
            added = grid[start].weights[each.channel] or least
            other_weights = {**choice.rule.weights, each.channel: 0.0 if each.weight else added}
            one = sum(weight > 0 for weight in other_weights.values()) == 1
            other_rule = number(FusionRule("rrf" if one else grid[start].method, other_weights))
            difference = figure(chosen, False) - figure(other_rule, False)
            assert each.gain.mean == pytest.approx(difference if each.weight else -difference)
        material = replace(
            material,
            experiment=replace(
                material.experiment,
                fusions=[of if of.name != run else replace(of, rule=choice.rule) for of in material.experiment.fusions],
            ),
        )


def test_queries_of_one_half_cannot_choose(tmp_path: Path) -> None:
    with (
        made(tmp_path, images=1.0, texts=1.0, words=noise) as archive,
        pytest.raises(EvaluationError, match="one half"),
    ):
        choose_fusion(archive, rules=default_rules(), sample=1)


def test_half_of_the_patients_choose_whoever_else_comes() -> None:
    few, more = labelled_cases(made_cases(200)), labelled_cases(made_cases(260))
    half = tuning_half(few, 3)
    assert 0.35 < half.mean() < 0.65
    np.testing.assert_array_equal(tuning_half(more, 3)[: len(half)], half)
    assert (tuning_half(few, 4) != half).any()


def test_the_grid_has_each_ratio_once() -> None:
    grid = list(rule_grid(("a", "b")))
    shares = [(rule.method, tuple(round(share, 9) for share in rule.shares(("a", "b")).values())) for rule in grid]
    assert len(set(shares)) == len(shares) == 12
    assert sum(1.0 in ratio for _, ratio in shares) == 2, "one channel alone: the method changes nothing"


def test_the_rule_before_has_no_weight_for_what_answers_on_request_unless_it_states_one() -> None:
    cases = labelled_cases(made_cases(40))
    halves = Halves(Relevance(tasks_for(cases)[0], cases), cases, np.arange(40), tuning_half(cases, 0), 0)
    channels = ("image", "colour")
    grid = list(rule_grid(channels))
    for weights, shares in (({"image": 2.0}, (1.0, 0.0)), ({"image": 1.0, "colour": 1.0}, (0.5, 0.5))):
        same = [tuple(rule.shares(channels).values()) == shares for rule in grid]
        precisions = np.repeat(np.where(same, 0.25, 0.5)[:, None], 40, axis=1)
        choice = chosen_rule("text", channels, grid, precisions, halves, FusionRule("rrf", weights))
        before = {one.name: one.precision.mean for one in choice.compared}["as before"]
        assert before == pytest.approx(0.25)


def test_nothing_to_join_says_so(tmp_path: Path) -> None:
    rows = [{"case": str(i), "report": " ", "site": "cervix", "category": "AB"[i % 2]} for i in range(8)]
    with archive_of(tmp_path, rows, unit(np.random.default_rng(0).normal(size=(8, 4)))) as archive:
        assert read_labelled(archive).reports == (" ",) * 8
        with pytest.raises(EvaluationError, match="nothing to fuse"):
            choose_fusion(archive, rules=default_rules())
