"""The charts of an evaluation's page: bars, differences, shares and curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from ui.html.svg import Bar, Chart, Curve, Dot, Group, Line, Shape, Text
from ui.text.evaluation.tables import figure, signed

if TYPE_CHECKING:
    from retrieval import Abstention, ConfounderShare, Difference, Estimate, RunResult

COLOURS: Final[Mapping[str, str]] = {
    "colour histogram": "#d9a441",
    "fused": "#46515e",
    "fused with image": "#5b8f3b",
}
"""Of runs that are no channel's (`Channel.colours`)."""
INK: Final = "#1c2733"
GRID: Final = "#e3e8ee"
PAPER: Final = "#fff"
TOP, BOTTOM, LEFT = 10, 24, 34  # pixels around a chart of upright bars
HEIGHT: Final = 190
WIDTH: Final = 920  # of the page's column
NAMES: Final = 200  # pixels for the names of runs beside horizontal bars
LINE: Final = 22  # pixels of a horizontal bar
HORIZONTAL: Final = 590  # width of a chart of horizontal bars
REACHES: Final = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # of the axis of differences
LEVELS: Final = (0, 0.25, 0.5, 0.75, 1)


def colour(run: str) -> str:
    """A run has one colour everywhere."""
    from retrieval import CHANNELS

    of_channels = (channel.colours.get(run) for channel in CHANNELS.values())
    return COLOURS.get(run) or next(filter(None, of_channels), INK)


def bars(rows: Sequence[RunResult], metrics: Sequence[str], *, measured: str, width: int = WIDTH) -> Chart:
    """A group of bars for each metric, from 0 to 1, with a bar and its interval for each run; chance (the last of the
    rows) is a line across the group. `measured` names what the metrics are of."""
    *runs, chance = rows
    gap = 18
    bar = max(8, min(26, ((width - LEFT) // len(metrics) - gap) // max(1, len(runs))))
    gap = max(gap, 56 - bar * len(runs))  # so that the metric's name fits
    step = bar * len(runs) + gap
    width = LEFT + step * len(metrics) + gap // 2
    shapes: list[Shape] = []
    for level in LEVELS:
        shapes.append(Line(LEFT, _y(level), width, _y(level), GRID))
        shapes.append(Text(LEFT - 6, _y(level) + 4, f"{level:g}", "end"))
    for group, metric in enumerate(metrics):
        start = LEFT + gap // 2 + group * step
        for i, row in enumerate(runs):
            score = row.scores[metric]
            left, top = start + i * bar, _y(score.mean)
            middle = left + bar / 2 - 0.5
            interval = (middle, _y(score.low), middle, _y(score.high))
            shapes.append(
                Group(
                    [Bar(left, top, bar - 1, _y(0) - top, colour(row.channel)), *_outlined(*interval)],
                    f"{row.channel}, {metric}: {figure(score)}",
                )
            )
        level, end = _y(chance.scores[metric].mean), start + step - gap
        shapes.append(
            Group(
                [Line(start - 3, level, end + 2, level, INK, width=2, dashed=True)],
                f"{chance.channel}, {metric}: {figure(chance.scores[metric])}",
            )
        )
        shapes.append(Text((start + end) / 2, HEIGHT - 8, metric))
    return Chart(width, HEIGHT, f"{measured}: {', '.join(metrics)} of {_names(rows)}", shapes)


def horizontal_bars(rows: Sequence[RunResult], metric: str) -> Chart:
    """One metric, a line a run: its bar, its interval and its figure; chance (the last) is a dashed line downwards."""
    *runs, chance = rows
    height = LINE * len(runs) + 22
    level = _x(chance.scores[metric].mean)
    shapes = _scale(LEVELS, lambda value: f"{value:g}", _x, height)
    for i, row in enumerate(runs):
        score, y = row.scores[metric], i * LINE + 4
        shapes.append(
            Group(
                [
                    Text(NAMES - 8, y + 13, row.channel, "end", large=True),
                    Bar(NAMES, y, _x(score.mean) - NAMES, LINE - 6, colour(row.channel)),
                    *_interval(score, y + LINE / 2 - 3, _x),
                    Text(HORIZONTAL - 2, y + 13, figure(score), "end", large=True),
                ],
                f"{row.channel}: {figure(score)}",
            )
        )
    line = Line(level, 0, level, height - 20, INK, width=2, dashed=True)
    shapes.append(Group([line], f"{chance.channel}: {figure(chance.scores[metric])}"))
    return Chart(HORIZONTAL, height, f"{metric} of {_names(rows)}", shapes, shrinks=True)


def differences(pairs: Sequence[Difference], metric: str) -> Chart:
    """A point and its interval for each pair of runs, about a line at zero; filled where the interval excludes zero."""
    rows = [(f"{pair.channel} − {pair.minus}", pair.scores[metric]) for pair in pairs]
    return difference_points(rows, f"Differences in {metric}", [colour(pair.channel) for pair in pairs])


def difference_points(rows: Sequence[tuple[str, Estimate]], label: str, colours: Sequence[str] = ()) -> Chart:
    """A line for each difference: its name, point and interval, if it has one, about a line at zero. `colours`: of the
    points."""
    ends = [value for _, score in rows for value in (score.mean, score.low, score.high) if math.isfinite(value)]
    widest = max(abs(value) for value in ends)
    reach = next((level for level in REACHES if level >= widest), 1.0)

    def x(value: float) -> float:
        return NAMES + 50 + (value + reach) / (2 * reach) * (HORIZONTAL - NAMES - 220)

    height = LINE * len(rows) + 22
    shapes = _scale((-reach, 0, reach), lambda value: f"{value:+g}" if value else "0", x, height)
    shapes.append(Line(x(0), 0, x(0), height - 20, INK))
    for i, ((name, score), fill) in enumerate(zip(rows, colours or [INK] * len(rows), strict=True)):
        y = i * LINE + LINE / 2
        significant = score.low > 0 or score.high < 0
        shapes.append(
            Group(
                [
                    Text(NAMES + 40, y + 4, name, "end", large=True),
                    *_interval(score, y, x),
                    Dot(x(score.mean), y, fill if significant else PAPER, INK),
                    Text(HORIZONTAL - 2, y + 4, signed(score, star=False), "end", large=True),
                ]
            )
        )
    return Chart(HORIZONTAL, height, label, shapes, shrinks=True)


def confounders(shares: Sequence[ConfounderShare]) -> Chart:
    """The share of the first 10 that has the query's value, and a dashed tick at the share that chance would give."""
    height = LINE * len(shares) + 22
    shapes = _scale(LEVELS, lambda value: f"{value:g}", _x, height)
    for i, share in enumerate(shares):
        y = i * LINE + 4
        expected = _x(share.expected)
        shapes.append(
            Group(
                [
                    Text(NAMES - 8, y + 13, f"{share.field}: {share.channel}", "end", large=True),
                    Bar(NAMES, y, _x(share.found.mean) - NAMES, LINE - 6, colour(share.channel), opacity=0.75),
                    *_interval(share.found, y + LINE / 2 - 3, _x),
                    Line(expected, y - 3, expected, y + LINE - 3, INK, width=2, dashed=True),
                    Text(HORIZONTAL - 2, y + 13, signed(share.excess, star=False), "end", large=True),
                ],
                f"{share.field}, {share.channel}: {share.found}, by chance {share.expected:.3f}",
            )
        )
    return Chart(HORIZONTAL, height, "Shared with the query, beside chance", shapes, shrinks=True)


def curves(abstentions: Sequence[Abstention]) -> Chart:
    """The accuracy of the majority vote over the share of queries that is answered, a line a run."""
    width, height = 460, 240
    low = min(0.95, *(accuracy for run in abstentions for _, accuracy in run.curve))
    low = max(0.0, int(low * 20) / 20)

    def point(coverage: float, accuracy: float) -> tuple[float, float]:
        return 44 + coverage * (width - 60), 10 + (1 - accuracy) / (1 - low) * (height - 48)

    shapes: list[Shape] = []
    for share in LEVELS:
        level = low + share * (1 - low)
        x, y = point(share, level)
        shapes.append(Line(44, y, width - 16, y, GRID))
        shapes.append(Text(38, y + 4, f"{level:.2f}", "end"))
        shapes.append(Text(x, height - 22, f"{share:.0%}"))
    for run in abstentions:
        curve = Curve([point(*at) for at in run.curve], colour(run.channel))
        shapes.append(Group([curve], f"{run.channel}: AURC {run.aurc:.3f}"))
    shapes.append(Text(width / 2, height - 6, "queries answered"))
    return Chart(width, height, "Accuracy over the share of queries answered", shapes)


def _names(rows: Sequence[RunResult]) -> str:
    return ", ".join(row.channel for row in rows)


def _outlined(x1: float, y1: float, x2: float, y2: float) -> list[Line]:
    """A line of ink on a wider one of paper, so that it is seen on a dark bar as beside it."""
    return [Line(x1, y1, x2, y2, PAPER, width=4), Line(x1, y1, x2, y2, INK, width=1.5)]


def _interval(score: Estimate, y: float, x: Callable[[float], float]) -> list[Line]:
    return _outlined(x(score.low), y, x(score.high), y) if score.has_interval else []


def _scale(
    levels: Sequence[float], words: Callable[[float], str], x: Callable[[float], float], height: float
) -> list[Shape]:
    shapes: list[Shape] = []
    for level in levels:
        shapes.append(Line(x(level), 0, x(level), height - 20, GRID))
        shapes.append(Text(x(level), height - 6, words(level)))
    return shapes


def _x(value: float) -> float:
    """Of a share on a horizontal scale from 0 to 1."""
    return NAMES + value * (HORIZONTAL - NAMES - 150)


def _y(value: float) -> float:
    """Of a share on an upright scale from 0 to 1."""
    return TOP + (1 - value) * (HEIGHT - TOP - BOTTOM)
