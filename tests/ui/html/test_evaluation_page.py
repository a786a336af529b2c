"""The page of an evaluation: its text against a golden file, and its charts read back into figures."""

from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from jinja2 import UndefinedError

from retrieval import (
    Abstention,
    ConfounderShare,
    Difference,
    Estimate,
    Evaluation,
    Part,
    QueryTypeResult,
    RunResult,
    SameReport,
    TaskResult,
)
from ui.html import evaluation_charts
from ui.html.evaluation_page import evaluation_page
from ui.html.rendering import render

GOLDEN = Path(__file__).with_name("evaluation_page.txt")
DRAWN = Path(__file__).with_name("evaluation_charts.txt")
HOSTILE = '<script>alert("1")</script>&amp;\x1b[31m'
SHOWN = '<script>alert("1")</script>&amp;[31m'
"""What a reader sees of it: every sign but the control character."""
RUNS = ("image", "fused")


def scores(mean: float, *, metrics: tuple[str, ...] = ("P@1", "P@10", "mAP")) -> dict[str, Estimate]:
    """A figure a metric, each with an interval of its own."""
    return {
        metric: Estimate(mean - step, mean - step - 0.05, mean - step + 0.1)
        for step, metric in zip((0.0, 0.125, 0.25), metrics, strict=False)
    }


def chance(mean: float) -> RunResult:
    return RunResult("chance", {metric: Estimate(mean, mean, mean) for metric in ("P@1", "P@10", "mAP")})


def part(site: str | None, queries: int, mean: float) -> Part:
    rows = (RunResult("image", scores(mean)), RunResult("fused", scores(mean + 0.1)), chance(0.25))
    return Part(site, 3, queries, queries - 1, rows)


def difference(mean: float, low: float, high: float) -> Difference:
    metrics = ("P@1", "P@10", "mAP", "MRR")
    return Difference("fused", "image", dict.fromkeys(metrics, Estimate(mean, low, high)))


def small_evaluation() -> Evaluation:
    pairs = (difference(0.04, 0.01, 0.07), difference(-0.03, -0.06, -0.01), difference(0.02, -0.01, 0.05))
    tasks = tuple(
        TaskResult(name, f"Is the {name} found?", 2, (part(None, 20, 0.5), part(HOSTILE, 12, 0.75)), pairs)
        for name in ("site", "category")
    )
    two_sites = TaskResult(
        "category within", "?", 0, (part(None, 20, 0.5), part(HOSTILE, 12, 0.6), part("", 8, 0.4)), ()
    )
    same_rows = tuple(
        RunResult(name, {"MRR": Estimate(mean, mean - 0.1, mean + 0.1)})
        for name, mean in (("image", 0.3), ("fused", 0.6), ("chance", 0.1))
    )
    result = QueryTypeResult(
        name="queries by report",
        words="Each case queries.",
        asked=20,
        left_out=3,
        tasks=(*tasks, two_sites),
        same_report=SameReport(4, 9, 11, same_rows, pairs),
        nuisance=(ConfounderShare("image", "stain", 18, Estimate(0.5, 0.4, 0.6), 0.375, Estimate(0.125, 0.05, 0.2)),),
        abstention=tuple(
            Abstention(run, 20, aurc, {"100": 0.7, "80": 0.9}, {"100": 0.1, "80": 0.4}, ((0.5, 1.0), (1.0, 0.7)))
            for run, aurc in (("image", 0.1234), ("fused", 0.2))
        ),
    )
    return Evaluation(
        archive=HOSTILE,
        encoder=f"encoder {HOSTILE}",
        fingerprint="0123456789abcdef",
        cases=20,
        patients=10,
        images=30,
        phantoms=20,
        unlabelled=1,
        derived=2,
        sampled=None,
        generated="",
        seed=0,
        resamples=2000,
        metrics=("P@1", "P@10", "mAP"),
        unreadable_images=0,
        rules={"fused": HOSTILE},
        notes=(HOSTILE,),
        families=(result,),
    )


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return small_evaluation()


@pytest.fixture(scope="module")
def page(evaluation: Evaluation) -> str:
    return evaluation_page(evaluation)


class Texts(HTMLParser):
    """The text between the tags, and the names of the tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: set[str] = set()
        self.labels: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.labels += [value or "" for name, value in attrs if name == "aria-label"]
        assert not {name for name, _ in attrs} & {"src", "href", "onload", "onclick"}

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(" ".join(data.split()))


def text_of(page: str) -> list[str]:
    return Texts(re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)).texts


def test_the_text_is_the_golden_one(page: str) -> None:
    """After an intended change, write it anew with `python -m tests.ui.html.test_evaluation_page`, and read it."""
    assert text_of(page) == GOLDEN.read_text(encoding="utf-8").splitlines()


def one_chart_of_each_kind(page: str) -> str:
    kinds = {}
    for svg in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
        kinds.setdefault(ElementTree.fromstring(svg).attrib["aria-label"].split()[0], svg)
    return "\n".join(kinds[kind] for kind in ("P@10", "all", "Differences", "Shared", "Accuracy")) + "\n"


def test_the_charts_are_drawn_as_somebody_looked_at_them(page: str) -> None:
    """Lengths stand for figures, which other tests read back; this one holds all else that a chart is made of."""
    assert one_chart_of_each_kind(page).splitlines() == DRAWN.read_text(encoding="utf-8").splitlines()


def test_names_of_the_archive_are_shown_as_text(page: str) -> None:
    texts = Texts(page)
    assert "script" not in texts.tags
    assert texts.texts.count(f"Evaluation of {SHOWN}") == 1
    assert f"Note: {SHOWN}" in texts.texts
    assert any(text.startswith(f"{SHOWN}, n = 12") for text in texts.texts), "the name of a site"
    assert any(f"encoder {SHOWN}" in text for text in texts.texts)
    assert "\x1b" not in page
    assert "&amp;amp;" in page


def test_a_name_in_an_attribute_stays_in_it(page: str) -> None:
    assert f"{SHOWN}: P@1, P@10 of image, fused, chance" in Texts(page).labels


def test_a_value_that_a_template_lacks_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        render("evaluation.html")


def charts(page: str, label: str) -> list[ElementTree.Element]:
    """The charts whose label begins so."""
    found = [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)]
    return [svg for svg in found if svg.attrib["aria-label"].startswith(label)]


def number(element: ElementTree.Element, name: str) -> float:
    return float(element.attrib[name])


def scale(svg: ElementTree.Element, *, upright: bool) -> tuple[float, float]:
    """Pixels of 0 and of 1, from the labels of the scale and the grid's lines."""
    words = [text.text for text in svg.findall("text")]
    at = {word: i for i, word in enumerate(words)}
    lines = svg.findall("line")
    axis = "y1" if upright else "x1"
    return number(lines[at["0"]], axis), number(lines[at["1"]], axis)


def test_bars_are_as_high_as_the_figures(page: str, evaluation: Evaluation) -> None:
    (svg,) = charts(page, "all sites: P@1, P@10, mAP")[:1]
    zero, top = scale(svg, upright=True)
    assert {line.get("stroke-width") for line in svg.findall("line")} == {None}
    groups = svg.findall("g")
    rows = evaluation.families[0].tasks[0].parts[0].rows
    expected = [(row.channel, metric, row.scores[metric]) for metric in ("P@1", "P@10", "mAP") for row in rows]
    assert len(groups) == len(expected)
    for group, (run, metric, score) in zip(groups, expected, strict=True):
        value = lambda y: (zero - y) / (zero - top)  # noqa: E731
        title = group.findtext("title") or ""
        assert title.startswith(f"{run}, {metric}: {score.mean:.3f}")
        lines = group.findall("line")
        if run == "chance":
            assert [value(number(lines[0], end)) for end in ("y1", "y2")] == pytest.approx([score.mean] * 2, abs=2e-3)
            continue
        (bar,) = group.findall("rect")
        assert value(number(bar, "y")) == pytest.approx(score.mean, abs=2e-3)
        assert number(bar, "y") + number(bar, "height") == pytest.approx(zero, abs=0.1)
        assert bar.attrib["fill"] == {"image": "#0b5394", "fused": "#46515e"}[run]
        assert [line.get("stroke-width") for line in lines] == ["4", "1.5"], "paper below ink"
        for line in lines:
            assert number(bar, "x") < number(line, "x1") == number(line, "x2") < number(bar, "x") + number(bar, "width")
            assert [value(number(line, end)) for end in ("y1", "y2")] == pytest.approx(
                [score.low, score.high], abs=2e-3
            )


def test_bars_stand_side_by_side_within_the_chart(page: str) -> None:
    for svg in charts(page, ""):
        edges = sorted((number(bar, "x"), number(bar, "x") + number(bar, "width")) for bar in svg.iter("rect"))
        assert all(0 <= left < right <= number(svg, "width") for left, right in edges)
        if svg.attrib["class"] == "whole":
            assert all(right <= left for (_, right), (left, _) in itertools.pairwise(edges))
        for shape in [*svg.iter("line"), *svg.iter("text")]:
            ys = [number(shape, name) for name in ("y", "y1", "y2") if name in shape.attrib]
            assert all(-3 <= y <= number(svg, "height") for y in ys)


@pytest.mark.parametrize(("runs", "width"), [(1, 26), (2, 26), (5, 14), (8, 8), (30, 8)])
def test_bars_are_narrower_the_more_runs_there_are(runs: int, width: int) -> None:
    """Between 8 and 26 pixels, as many as the page's column allows; metrics' names keep 56 pixels each."""
    metrics = [f"P@{k}" for k in range(10)]
    rows = [RunResult(str(number), dict.fromkeys(metrics, Estimate(0.5, 0.4, 0.6))) for number in range(runs + 1)]
    chart = evaluation_charts.bars(rows, metrics, measured="all sites")
    groups = [shape for shape in chart.shapes if shape.kind == "group"]
    bars = [part for group in groups for part in group.shapes if part.kind == "bar"]
    assert {bar.width for bar in bars} == {width - 1}
    assert len(bars) == 10 * runs
    names = [shape.x for shape in chart.shapes if shape.kind == "text" and shape.words in metrics]
    steps = {right - left for left, right in itertools.pairwise(names)}
    assert steps == {max(56, runs * width + 18)}


def test_horizontal_bars_are_as_long_as_the_figures(page: str, evaluation: Evaluation) -> None:
    (svg,) = charts(page, "P@10 of image, fused, chance")
    zero, end = scale(svg, upright=False)
    value = lambda x: (x - zero) / (end - zero)  # noqa: E731
    rows = evaluation.families[0].tasks[1].parts[0].rows
    for group, row in zip(svg.findall("g"), rows, strict=True):
        score = row.scores["P@10"]
        if row.channel == "chance":
            assert value(number(group.findall("line")[0], "x1")) == pytest.approx(score.mean, abs=2e-3)
            continue
        (bar,) = group.findall("rect")
        assert number(bar, "x") == zero
        assert value(zero + number(bar, "width")) == pytest.approx(score.mean, abs=2e-3)
        for line in group.findall("line"):
            assert [value(number(line, x)) for x in ("x1", "x2")] == pytest.approx([score.low, score.high], abs=2e-3)
        assert [text.text for text in group.findall("text")] == [row.channel, str(score)]


@pytest.mark.parametrize("metric", ["P@10", "MRR"])
def test_a_point_is_filled_where_its_interval_holds_no_zero(page: str, metric: str) -> None:
    svg = charts(page, f"Differences in {metric}")[0]
    labels = [text.text or "" for text in svg.findall("text")]
    assert labels == ["-0.1", "0", "+0.1"], "the axis is as wide as the widest interval needs"
    low, middle, high = (number(line, "x1") for line in svg.findall("line")[:3])
    axis = svg.findall("line")[3]
    assert number(axis, "x1") == number(axis, "x2") == pytest.approx(middle)
    value = lambda x: (x - low) / (high - low) * 0.2 - 0.1  # noqa: E731
    expected = [(0.04, 0.01, 0.07, True), (-0.03, -0.06, -0.01, True), (0.02, -0.01, 0.05, False)]
    for group, (mean, start, end, filled) in zip(svg.findall("g"), expected, strict=True):
        (dot,) = group.findall("circle")
        assert value(number(dot, "cx")) == pytest.approx(mean, abs=1e-3)
        assert dot.attrib["fill"] == (evaluation_charts.COLOURS["fused"] if filled else "#fff")
        for line in group.findall("line"):
            assert [value(number(line, x)) for x in ("x1", "x2")] == pytest.approx([start, end], abs=1e-3)
        assert [text.text for text in group.findall("text")] == [
            "fused − image",
            f"{mean:+.3f} [{start:+.3f}, {end:+.3f}]",
        ]


def test_a_difference_beyond_all_axes_is_shown_on_the_widest() -> None:
    chart = evaluation_charts.differences([difference(1.2, 0.9, 1.5)], "MRR")
    assert [shape.words for shape in chart.shapes if shape.kind == "text"] == ["-1", "0", "+1"]
    exact = evaluation_charts.differences([difference(0.0, -0.02, 0.01)], "MRR")
    assert [shape.words for shape in exact.shapes if shape.kind == "text"] == ["-0.02", "0", "+0.02"]


@pytest.mark.parametrize(
    ("widest", "reach"),
    [(0.02, "0.02"), (0.021, "0.05"), (0.06, "0.1"), (0.1, "0.1"), (0.11, "0.2"), (0.3, "0.5"), (0.51, "1")],
)
def test_the_axis_of_differences_is_the_narrowest_that_holds_them(widest: float, reach: str) -> None:
    pairs = [difference(0.0, -widest, 0.01), difference(0.0, -0.01, widest)]
    chart = evaluation_charts.differences(pairs, "MRR")
    assert [shape.words for shape in chart.shapes if shape.kind == "text"] == [f"-{reach}", "0", f"+{reach}"]


def test_confounders_show_their_share_beside_chance(page: str) -> None:
    (svg,) = charts(page, "Shared with the query")
    zero, end = scale(svg, upright=False)
    value = lambda x: (x - zero) / (end - zero)  # noqa: E731
    (group,) = svg.findall("g")
    (bar,) = group.findall("rect")
    *interval, expected = group.findall("line")
    assert value(zero + number(bar, "width")) == pytest.approx(0.5, abs=2e-3)
    assert value(number(expected, "x1")) == pytest.approx(0.375, abs=2e-3)
    for line in interval:
        assert [value(number(line, x)) for x in ("x1", "x2")] == pytest.approx([0.4, 0.6], abs=2e-3)
    assert [text.text for text in group.findall("text")] == ["stain: image", "+0.125 [+0.050, +0.200]"]
    assert group.findtext("title") == "stain, image: 0.500 [0.400, 0.600], by chance 0.375"


def test_curves_run_from_the_surest_query_to_all(page: str) -> None:
    (svg,) = charts(page, "Accuracy over")
    texts = svg.findall("text")
    shares = {text.text: number(text, "x") for text in texts if (text.text or "").endswith("%")}
    levels = {text.text: number(text, "y") - 4 for text in texts if re.fullmatch(r"\d\.\d\d", text.text or "")}
    assert list(shares) == ["0%", "25%", "50%", "75%", "100%"]
    assert "0.70" in levels and "1.00" in levels, "the axis begins at the lowest accuracy, rounded down to .05"
    for group, aurc in zip(svg.findall("g"), ("image: AURC 0.123", "fused: AURC 0.200"), strict=True):
        assert group.findtext("title") == aurc
        (line,) = group.findall("polyline")
        points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
        assert points == [
            pytest.approx((shares["50%"], levels["1.00"]), abs=0.1),
            pytest.approx((shares["100%"], levels["0.70"]), abs=0.1),
        ]


def test_one_site_is_not_shown_apart(evaluation: Evaluation, page: str) -> None:
    """Only where there are several: the tables of the first two tasks have one, of the third two."""
    assert page.count("By site") == 1
    assert len(charts(page, f"{SHOWN}: P@1, P@10")) == 1
    assert len(charts(page, "site not given: P@1, P@10")) == 1


def test_the_page_loads_nothing(page: str) -> None:
    assert page.startswith("<!DOCTYPE html>\n")
    assert "default-src 'none'" in page
    assert not {"script", "link", "img", "iframe", "object", "form"} & Texts(page).tags


if __name__ == "__main__":
    written = evaluation_page(small_evaluation())
    GOLDEN.write_text("\n".join(text_of(written)) + "\n", encoding="utf-8")
    DRAWN.write_text(one_chart_of_each_kind(written), encoding="utf-8")
