"""Every figure of the tables against a second count (`plain_count`) on small random archives with many ties."""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from generation.cluster_interval import subsets
from index_store import Case, Image
from retrieval.evaluation.dataset import labelled_cases
from retrieval.evaluation.evaluate import evaluate_experiment
from retrieval.evaluation.experiment import Experiment, QueryType
from retrieval.evaluation.labels import Label
from retrieval.evaluation.results import Part, QueryTypeResult, RunResult, TaskResult
from retrieval.search.batch import mean_queries
from retrieval.search.channels.own_runs import ByVectors
from retrieval.statistics.estimate import Estimate
from tests.retrieval.evaluation import plain_count as plain
from tests.retrieval.evaluation.plain_count import PlainCase, PlainTask

LABELS = (
    ("cervix", "Bethesda", "NILM"),
    ("cervix", "Bethesda", "HSIL"),
    ("thyroid", "Bethesda", "Benign"),
    ("thyroid", "own", "Benign"),
)
GRADES = {frozenset({"NILM", "HSIL"}): 0.5, frozenset({"HSIL", "AGC"}): 0.25}
FIELDS = ("slide", "stain", "preparation", "source", "scale")
SCALES = {None: None, 0.25: "40x", 0.26: "40x", 0.5: "20x"}
AXES = 3
SEED = 11


def grade(query: str, result: str) -> float:
    return 2.0 if query == result else GRADES.get(frozenset({query, result}), 0.0)


@dataclass(frozen=True, eq=False)
class Drawn:
    """A random archive, for the product and for the count. Cases are in the order of their keys, images of their ids.

    Vectors are plus or minus one axis of three, so that scores are exact and equal ones are many.
    """

    records: list[Case]
    cases: list[PlainCase]
    images: np.ndarray
    """float32[m, 3]"""
    texts: np.ndarray
    """float32[n, 3], of reports; zeros where there is none."""


def drawn(seed: int, *, patients: int, labels: Sequence[tuple[str, str, str]] = LABELS, mixed: bool = True) -> Drawn:
    """Patients of one to three cases, cases of one to three images whose ids are dealt at random; one category has a
    single patient; with `mixed`, some patients have cases of two categories."""
    rng = random.Random(seed)
    labels = [*labels, (labels[0][0], labels[0][1], "AGC")]
    kinds = []
    for patient in range(patients):
        own = labels[-1] if patient == 0 else labels[rng.randrange(len(labels) - 1)]
        for _ in range(rng.randint(1, 3)):
            other = mixed and patient % 3 == 1 and rng.random() < 0.5
            kinds.append((f"patient {patient}", labels[rng.randrange(len(labels) - 1)] if other else own))
    rng.shuffle(kinds)
    counts = [rng.randint(1, 3) for _ in kinds]
    ids = [number for number, count in enumerate(counts) for _ in range(count)]
    rng.shuffle(ids)
    axes = [[rng.randrange(2 * AXES) for _ in range(count)] for count in counts]
    texts = np.zeros((len(kinds), AXES), dtype=np.float32)
    images = np.zeros((len(ids), AXES), dtype=np.float32)
    records, cases = [], []
    for number, (patient, (site, system, category)) in enumerate(kinds):
        if len({axis % AXES for axis in axes[number]}) < len(set(axes[number])):
            axes[number] = [axes[number][0]] * counts[number]  # opposite vectors might cancel each other out
        own = [image for image, case in enumerate(ids) if case == number]
        for image, axis in zip(own, axes[number], strict=True):
            images[image, axis % AXES] = -1 if axis >= AXES else 1
        family = rng.choice([-1, 0, 1, 2])
        if family >= 0:
            texts[number, rng.randrange(AXES)] = rng.choice([1, -1])
        source, stain = rng.choice(["", "A", "B"]), rng.choice(["Pap", "Giemsa"])
        attributes = [
            {
                "slide": rng.choice(["", "1", "2"]),
                "stain": stain if rng.random() < 0.9 else "H&E",
                "preparation": rng.choice(["smear", "liquid"]),
                "mpp": rng.choice(list(SCALES)),
            }
            for _ in own
        ]
        records.append(
            Case(
                id=100 - number,
                key=f"case {number:02}",
                patient=patient,
                report="" if family < 0 else f"Report {family}.",
                site=site,
                system=system,
                category=category,
                source=source,
                images=tuple(
                    Image(7 * image + 3, f"case {number:02}", Path(), sha256="", width=1, height=1, **given)
                    for image, given in zip(own, attributes, strict=True)
                ),
            )
        )
        values: dict[str, list[object]] = {
            "slide": [(source, given["slide"]) if given["slide"] else None for given in attributes],
            "stain": [given["stain"] for given in attributes],
            "preparation": [given["preparation"] for given in attributes],
            "source": [source or None for _ in own],
            "scale": [SCALES[given["mpp"]] for given in attributes],
        }
        cases.append(PlainCase(patient, site, system, category, family, own, values))
    rng.shuffle(records)
    return Drawn(records, cases, images, texts)


def products(queries: Sequence[Sequence[float]], references: Sequence[Sequence[float]]) -> list[list[float]]:
    return [[sum(a * b for a, b in zip(query, row, strict=True)) for row in references] for query in queries]


def mean_vectors(archive: Drawn) -> list[list[float]]:
    """The normalised mean of each case's images."""
    found = []
    for case in archive.cases:
        summed = [sum(float(archive.images[image][axis]) for image in case.images) for axis in range(AXES)]
        length = math.sqrt(sum(value * value for value in summed))
        found.append([round(value / length, 6) for value in summed])
    return found


@functools.cache
def tasks_of(archive: Drawn) -> list[PlainTask]:
    return plain.tasks_of(archive.cases, grade)


ROWS = ("image", "first axis", "report")


@functools.cache
def scores_of(archive: Drawn) -> dict[str, plain.Scores]:
    """By row, what a case gives to every image, or to every case."""
    images, texts = archive.images.tolist(), archive.texts.tolist()
    by_report = products(texts, texts)
    for scores in by_report:
        for number, case in enumerate(archive.cases):
            if case.family < 0:
                scores[number] = -math.inf
    queries = mean_vectors(archive)
    return {
        "image": products(queries, images),
        "first axis": products([[query[0], 0.0, 0.0] for query in queries], images),
        "report": by_report,
    }


def evaluated(archive: Drawn, asking: Sequence[int], seed: int) -> QueryTypeResult:
    cases = labelled_cases(archive.records)
    queries = mean_queries(archive.images, cases.case_of, len(cases.keys))
    first = np.array([1, 0, 0], dtype=np.float32)
    missing = np.array([case.family < 0 for case in archive.cases])
    channels = [
        ByVectors("image", queries, archive.images),
        ByVectors("first axis", queries * first, archive.images),
        ByVectors("report", archive.texts, archive.texts, by_case=True, missing=missing),
    ]
    query_type = QueryType(
        "both",
        "",
        np.array(asking),
        ROWS,
        compared=(("image", "report"), ("first axis", "image")),
        left_out=4,
        by_report=True,
    )
    groups = np.array([case.family for case in archive.cases])
    gain: Callable[[Label, Label], float] = lambda query, result: grade(query.category, result.category)  # noqa: E731
    (result,) = evaluate_experiment(cases, Experiment(channels, [query_type]), seed=seed, gain=gain, group_of=groups)
    return result


@dataclass(frozen=True)
class Counted:
    """The figures of one row for one task, query by query."""

    labels: list[list[plain.Label]]
    hits: list[list[plain.Hit]]
    values: dict[str, list[float]]
    votes: dict[str, list[plain.Label]]


@functools.cache
def counted(archive: Drawn, row: str, task: PlainTask, queries: tuple[int, ...]) -> Counted:
    scores, whose = scores_of(archive)[row], plain.cases_of_images(archive.cases)
    hits = [plain.rank(archive.cases, scores, query, task, by_case=row == "report") for query in queries]
    labels = [[task.label(whose[image]) for image, _ in ranking] for ranking in hits]
    figures = [
        plain.query_figures(found, archive.cases, query, task) for found, query in zip(labels, queries, strict=True)
    ]
    return Counted(
        labels,
        hits,
        {name: [figure[name] for figure in figures] for name in figures[0]},
        {f"mMV@{k}": [plain.vote(found, k) for found in labels] for k in plain.VOTE_DEPTHS},
    )


def answerable(archive: Drawn, asking: Sequence[int], task: PlainTask) -> tuple[int, ...]:
    return tuple(query for query in asking if plain.relevant_patients(archive.cases, query, task))


def statistics(
    found: Counted, classes: Sequence[plain.Label], part: Sequence[plain.Label]
) -> dict[str, Callable[[Sequence[int]], float]]:
    """By metric: its average over the part, of queries that count as often as the weights say."""
    means: dict[str, Callable[[Sequence[int]], float]] = {
        name: lambda weights, values=values: plain.macro_mean(values, classes, part, weights)
        for name, values in found.values.items()
    }
    return means | {
        name: lambda weights, votes=votes: plain.macro_f1(votes, classes, part, weights)
        for name, votes in found.votes.items()
    }


def parts_of(archive: Drawn, task: PlainTask, queries: Sequence[int]) -> dict[str | None, list[plain.Label]]:
    """By site (None: all of them) the labels whose queries count."""
    site_of = {task.label(archive.cases[query]): archive.cases[query].site for query in queries}
    whole: dict[str | None, list[plain.Label]] = {None: list(site_of)}
    return whole | {
        site: [label for label in site_of if site_of[label] == site] for site in sorted({*site_of.values()})
    }


def row_of(rows: Sequence[RunResult], name: str) -> Mapping[str, Estimate]:
    (found,) = [row for row in rows if row.channel == name]
    return found.scores


def check_task(result: TaskResult, archive: Drawn, asking: Sequence[int], task: PlainTask) -> None:
    queries = answerable(archive, asking, task)
    classes = [task.label(archive.cases[query]) for query in queries]
    once = [1] * len(queries)
    found = {row: counted(archive, row, task, queries) for row in ROWS}
    parts = parts_of(archive, task, queries)
    assert (result.name, result.unanswerable) == (task.name, len(asking) - len(queries))
    assert [part.site for part in result.parts] == list(parts)
    for part, labels in zip(result.parts, parts.values(), strict=True):
        members = [query for query, label in zip(queries, classes, strict=True) if label in labels]
        assert part.queries == len(members)
        assert part.categories == len(labels)
        assert part.patients == len({archive.cases[query].patient for query in members})
        assert [row.channel for row in part.rows] == [*ROWS, "chance"]
        for row in ROWS:
            expected = {name: of(once) for name, of in statistics(found[row], classes, labels).items()}
            assert {name: of.mean for name, of in row_of(part.rows, row).items()} == pytest.approx(expected), row
    means = {row: {name: of(once) for name, of in statistics(found[row], classes, parts[None]).items()} for row in ROWS}
    assert [(one.channel, one.minus) for one in result.differences] == [("image", "report"), ("first axis", "image")]
    for one in result.differences:
        expected = {name: value - means[one.minus][name] for name, value in means[one.channel].items()}
        assert {name: of.mean for name, of in one.scores.items()} == pytest.approx(expected)


def first_task(archive: Drawn) -> PlainTask:
    """The one in which all patients compete."""
    return tasks_of(archive)[0]


def check_same_report(result: QueryTypeResult, archive: Drawn, asking: Sequence[int]) -> None:
    found = result.same_report
    assert found is not None
    cases, everybody = archive.cases, first_task(archive)

    def same(query: int) -> int:
        rivals = plain.rivals(cases, query, everybody).values()
        return sum(any(case.family == cases[query].family for case in own) for own in rivals)

    queries = [query for query in asking if cases[query].family >= 0 and same(query)]
    assert (found.queries, found.unanswerable) == (len(queries), len(asking) - len(queries))
    assert found.families == len({cases[query].family for query in queries})
    assert [row.channel for row in found.rows] == [*ROWS, "chance"]
    whose = plain.cases_of_images(cases)
    means = {}
    for row in ROWS:
        figures = []
        for query in queries:
            hits = plain.rank(cases, scores_of(archive)[row], query, everybody, by_case=row == "report")
            relevant = [whose[image].family == cases[query].family for image, _ in hits]
            figures.append(plain.ranked_figures(relevant, same(query)))
        means[row] = {
            name: sum(of[name] for of in figures) / len(figures) for name in ("P@1", "P@5", "P@10", "MRR", "R@10")
        }
        assert {name: of.mean for name, of in row_of(found.rows, row).items()} == pytest.approx(means[row]), row
    for one in found.differences:
        expected = {name: value - means[one.minus][name] for name, value in means[one.channel].items()}
        assert {name: of.mean for name, of in one.scores.items()} == pytest.approx(expected)
    assert len(found.differences) == 2


def check_confounders(result: QueryTypeResult, archive: Drawn, asking: Sequence[int]) -> None:
    cases, everybody = archive.cases, first_task(archive)
    assert [(one.field, one.channel) for one in result.nuisance] == [(name, row) for name in FIELDS for row in ROWS]
    for one in result.nuisance:
        shares = []
        for query in asking:
            hits = plain.rank(cases, scores_of(archive)[one.channel], query, everybody, by_case=one.channel == "report")
            shares.append(plain.confounder_shares(cases, one.field, query, [image for image, _ in hits[:10]]))
        given = [share for share in shares if share is not None]
        assert one.queries == len(given)
        assert one.found.mean == pytest.approx(sum(found for found, _ in given) / len(given))
        assert one.expected == pytest.approx(sum(expected for _, expected in given) / len(given))
        assert one.excess.mean == pytest.approx(one.found.mean - one.expected)


def check_abstention(result: QueryTypeResult, archive: Drawn, asking: Sequence[int]) -> None:
    task = next(task for task in tasks_of(archive) if task.name.startswith("category"))
    queries = answerable(archive, asking, task)
    classes = [task.label(archive.cases[query]) for query in queries]
    assert [one.channel for one in result.abstention] == list(ROWS)
    for one in result.abstention:
        found = counted(archive, one.channel, task, queries)
        right = [vote == label for vote, label in zip(found.votes["mMV@5"], classes, strict=True)]
        curve = plain.risk_curve([hits[0][1] for hits in found.hits], right)
        assert one.queries == len(queries)
        assert one.aurc == pytest.approx(curve.aurc)
        assert [list(point) for point in one.curve] == [pytest.approx(list(point)) for point in curve.points]
        for share in ("100", "95", "90", "80"):
            first = next(i for i, (coverage, _) in enumerate(curve.points) if coverage >= int(share) / 100 - 1e-9)
            assert one.accuracy[share] == pytest.approx(curve.points[first][1])
            assert one.thresholds[share] == pytest.approx(curve.thresholds[first], abs=1e-5)


def archive_and_queries(seed: int) -> tuple[Drawn, list[int]]:
    """Every third archive has one site and system; in every second some cases are no queries."""
    archive = drawn(seed, patients=12, labels=LABELS[:2] if seed % 3 == 0 else LABELS)
    asking = [case for case in range(len(archive.cases)) if seed % 2 == 0 or case % 5]
    return archive, asking


@pytest.mark.parametrize("seed", [0, 1, 2, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 8))])
def test_every_mean_is_the_one_counted_in_loops(seed: int) -> None:
    archive, asking = archive_and_queries(seed)
    result = evaluated(archive, asking, seed)
    assert (result.asked, result.left_out) == (len(asking), 4)
    tasks = tasks_of(archive)
    assert len(result.tasks) == len(tasks) == (1 if seed % 3 == 0 else 3)
    for of, task in zip(result.tasks, tasks, strict=True):
        check_task(of, archive, asking, task)
    check_same_report(result, archive, asking)
    check_confounders(result, archive, asking)
    check_abstention(result, archive, asking)


def assert_interval(estimate: Estimate, bounds: tuple[float, float]) -> None:
    assert (estimate.low, estimate.high) == pytest.approx(bounds, abs=1e-9)


@pytest.mark.slow
def test_every_interval_is_that_of_resampled_patients() -> None:
    archive, asking = archive_and_queries(1)
    result = evaluated(archive, asking, SEED)
    task = tasks_of(archive)[1]
    queries = answerable(archive, asking, task)
    classes = [task.label(archive.cases[query]) for query in queries]
    resamples = plain.resampled_weights([archive.cases[query].patient for query in queries], SEED)
    labels = parts_of(archive, task, queries)
    measured: list[tuple[Part, Mapping[str, Estimate], Mapping[str, Callable]]] = []
    of = {row: statistics(counted(archive, row, task, queries), classes, labels[None]) for row in ROWS}
    parts = result.tasks[1].parts
    measured.append((parts[0], row_of(parts[0].rows, "image"), of["image"]))
    thyroid = statistics(counted(archive, "report", task, queries), classes, labels["thyroid"])
    measured.append((parts[2], row_of(parts[2].rows, "report"), thyroid))
    assert parts[2].site == "thyroid"
    for _, estimates, counts in measured:
        for name in ("mMV@3", "P@5", "mAP", "nDCG@10"):
            assert_interval(estimates[name], plain.interval(counts[name], resamples))


@pytest.mark.slow
def test_the_interval_of_a_difference_is_that_of_sign_flips_of_patients() -> None:
    archive, asking = archive_and_queries(1)
    difference = evaluated(archive, asking, SEED).tasks[1].differences[0]
    task = tasks_of(archive)[1]
    queries = answerable(archive, asking, task)
    classes = [task.label(archive.cases[query]) for query in queries]
    whose = [archive.cases[query].patient for query in queries]
    patients = sorted(set(whose))
    chosen = [
        {patient for patient, taken in zip(patients, row, strict=True) if taken} for row in subsets(len(patients))
    ]
    image, report = (counted(archive, row, task, queries) for row in ("image", "report"))
    assert (difference.channel, difference.minus) == ("image", "report") and len(patients) > 6
    for name in ("P@5", "mAP", "nDCG@10"):
        minus = [a - b for a, b in zip(image.values[name], report.values[name], strict=True)]
        share = [1 / classes.count(label) for label in classes]
        ratios = sorted(
            sum(s * d for s, d, patient in zip(share, minus, whose, strict=True) if patient in some)
            / sum(s for s, patient in zip(share, whose, strict=True) if patient in some)
            for some in chosen
        )
        beyond = int(0.025 * (len(ratios) + 1))
        assert_interval(difference.scores[name], (ratios[beyond - 1], ratios[-beyond]))
    votes, part = (image.votes["mMV@3"], report.votes["mMV@3"]), sorted(set(classes))
    even = [1] * len(queries)
    far = []
    for some in (set(), set(patients), *chosen):
        pairs = [(b, a) if patient in some else (a, b) for a, b, patient in zip(*votes, whose, strict=True)]
        mine, theirs = (plain.macro_f1([pair[side] for pair in pairs], classes, part, even) for side in (0, 1))
        far.append(abs(mine - theirs))
    reach = sorted(far, reverse=True)[int(0.05 * len(far))]
    mean = difference.scores["mMV@3"].mean
    assert_interval(difference.scores["mMV@3"], (mean - reach, mean + reach))


@pytest.mark.slow
def test_intervals_of_confounders_and_same_reports_are_those_of_resampled_patients() -> None:
    archive, asking = archive_and_queries(1)
    result = evaluated(archive, asking, SEED)
    cases, everybody = archive.cases, first_task(archive)
    one = next(one for one in result.nuisance if (one.field, one.channel) == ("preparation", "image"))
    scores = scores_of(archive)["image"]
    shares = {}
    for query in asking:
        hits = plain.rank(cases, scores, query, everybody, by_case=False)
        share = plain.confounder_shares(cases, "preparation", query, [image for image, _ in hits[:10]])
        if share is not None:
            shares[query] = share
    resamples = plain.resampled_weights([cases[query].patient for query in shares], SEED)
    alike = [("all",)] * len(shares)
    for estimate, values in (
        (one.found, [found for found, _ in shares.values()]),
        (one.excess, [found - expected for found, expected in shares.values()]),
    ):
        statistic = lambda weights, values=values: plain.macro_mean(values, alike, [("all",)], weights)  # noqa: E731
        assert_interval(estimate, plain.interval(statistic, resamples))
    assert result.same_report is not None
    whose = plain.cases_of_images(cases)
    values, patients = [], []
    for query in asking:
        hits = plain.rank(cases, scores, query, everybody, by_case=False)
        rivals = plain.rivals(cases, query, everybody).values()
        if cases[query].family >= 0 and any(case.family == cases[query].family for own in rivals for case in own):
            relevant = [whose[image].family == cases[query].family for image, _ in hits]
            values.append(plain.ranked_figures(relevant, 1)["MRR"])
            patients.append(cases[query].patient)
    resamples = plain.resampled_weights(patients, SEED)
    statistic = lambda weights: plain.macro_mean(values, [("all",)] * len(values), [("all",)], weights)  # noqa: E731
    assert_interval(row_of(result.same_report.rows, "image")["MRR"], plain.interval(statistic, resamples))


def check_chance_of_task(result: TaskResult, archive: Drawn, task: PlainTask, exact: set[str]) -> None:
    queries = answerable(archive, range(len(archive.cases)), task)
    classes = [task.label(archive.cases[query]) for query in queries]
    figures = []
    for query in queries:
        measure = lambda labels, query=query: plain.query_figures(labels, archive.cases, query, task)  # noqa: E731
        figures.append(plain.expected_in_random_order(archive.cases, query, task, task.label, measure))
    for part, labels in zip(result.parts, parts_of(archive, task, queries).values(), strict=True):
        chance = row_of(part.rows, "chance")
        for name in exact:
            expected = plain.macro_mean([of[name] for of in figures], classes, labels, [1] * len(queries))
            assert chance[name] == Estimate(*[pytest.approx(expected)] * 3), name


@pytest.mark.parametrize(
    ("seed", "mixed"),
    [
        (0, False),
        pytest.param(2, False, marks=pytest.mark.slow),
        (1, True),
        pytest.param(4, True, marks=pytest.mark.slow),
    ],
)
def test_chance_is_the_mean_over_all_orders(seed: int, mixed: bool) -> None:
    """Six patients: 120 orders of the other five, times the images that may lead."""
    archive = drawn(seed, patients=6, labels=LABELS[:3], mixed=mixed)
    everyone = range(len(archive.cases))
    result = evaluated(archive, everyone, seed)
    exact = {"P@1", "P@5", "P@10", "mAP", "nDCG@10", "R@10"}
    for of, task in zip(result.tasks, tasks_of(archive), strict=True):
        # Where a patient has several categories, the reciprocal rank is an approximation.
        check_chance_of_task(of, archive, task, exact if mixed else exact | {"MRR"})


@pytest.mark.slow
def test_chance_of_same_reports_is_the_mean_over_all_orders() -> None:
    archive = drawn(3, patients=6, labels=LABELS[:2])
    result = evaluated(archive, range(len(archive.cases)), 3)
    assert result.same_report is not None
    cases, everybody = archive.cases, first_task(archive)
    summed: dict[str, float] = {}
    for query, case in enumerate(cases):
        rivals = plain.rivals(cases, query, everybody).values()
        total = sum(any(other.family == case.family for other in own) for own in rivals)
        if case.family < 0 or not total:
            continue
        measure = lambda relevant, total=total: plain.ranked_figures(relevant, total)  # noqa: E731
        kind = lambda other, case=case: other.family == case.family  # noqa: E731
        for name, value in plain.expected_in_random_order(cases, query, everybody, kind, measure).items():
            summed[name] = summed.get(name, 0.0) + value
    chance = row_of(result.same_report.rows, "chance")
    for name in ("P@1", "P@5", "P@10", "R@10"):
        assert chance[name].mean == pytest.approx(summed[name] / result.same_report.queries), name


@pytest.mark.slow
def test_the_vote_by_chance_is_about_that_of_random_orders() -> None:
    archive = drawn(5, patients=14, labels=LABELS[:3], mixed=False)
    result = evaluated(archive, range(len(archive.cases)), 5)
    rng = random.Random(1)
    for of, task in zip(result.tasks, tasks_of(archive), strict=True):
        queries = answerable(archive, range(len(archive.cases)), task)
        classes = [task.label(archive.cases[query]) for query in queries]
        summed = dict.fromkeys((1, 3, 5), 0.0)
        for _ in range(150):
            rankings = []
            for query in queries:
                images = [
                    [(task.label(case), image) for case in own for image in case.images]
                    for own in plain.rivals(archive.cases, query, task).values()
                ]
                leads = [rng.choice(own)[0] for own in images]
                rng.shuffle(leads)
                rankings.append(leads)
            for k in summed:
                votes = [plain.vote(labels, k) for labels in rankings]
                summed[k] += plain.macro_f1(votes, classes, sorted(set(classes)), [1] * len(queries)) / 150
        chance = row_of(of.parts[0].rows, "chance")
        assert {k: chance[f"mMV@{k}"].mean for k in summed} == pytest.approx(summed, abs=0.04)
