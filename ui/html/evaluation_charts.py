"""The drawings of an evaluation's page: bars, differences, shares and curves, as SVG that loads nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Final

from ui.text.evaluation import figure, signed, site_name
from ui.text.layout import clean

if TYPE_CHECKING:
    from retrieval import Abstention, ConfounderShare, Difference, Estimate, Part

COLOURS: Final[Mapping[str, str]] = {
    "image": "#0b5394",
    "colour histogram": "#d9a441",
    "generated": "#8d5a97",
    "joint": "#2f9c95",
    "report": "#b5533c",
    "report: words (BM25)": "#e3a48f",
    "report: meaning (text tower)": "#cf7a5f",
    "fused": "#46515e",
    "fused with image": "#5b8f3b",
}
INK: Final = "#1c2733"
GRID: Final = "#e3e8ee"
TOP, BOTTOM, LEFT = 10, 24, 34  # pixels around a chart of bars
HEIGHT: Final = 190
WIDTH: Final = 920  # of the page's column
NAMES: Final = 200  # pixels for the names of rows beside lying bars
LINE: Final = 22  # pixels of a lying bar
LYING: Final = 590
REACHES: Final = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # of the axis of differences
LEVELS: Final = (0, 0.25, 0.5, 0.75, 1)


def escaped(text: str) -> str:
    """Text from an archive, as it may stand in a page."""
    return escape(clean(text))


def colour(row: str) -> str:
    """A row has one colour everywhere."""
    return COLOURS.get(row, INK)


def legend(part: Part) -> str:
    """Which colour is which row; chance is a dashed line."""
    *channels, chance = (row.channel for row in part.rows)
    keys = [f'<span><i style="background:{colour(name)}"></i>{escaped(name)}</span>' for name in channels]
    return f'<p class="legend">{"".join(keys)}<span><i class="line"></i>{escaped(chance)}</span></p>'


def bars(part: Part, metrics: Sequence[str], *, width: int = WIDTH) -> str:
    """A group of bars a metric, from 0 to 1, a bar a row with its interval; chance is a line across the group."""
    *channels, chance = part.rows
    gap = 18
    bar = max(8, min(26, ((width - LEFT) // len(metrics) - gap) // max(1, len(channels))))
    gap = max(gap, 56 - bar * len(channels))  # room for the metric's name
    step = bar * len(channels) + gap
    width = LEFT + step * len(metrics) + gap // 2
    shapes = []
    for level in LEVELS:
        shapes.append(f'<line x1="{LEFT}" x2="{width}" y1="{_y(level)}" y2="{_y(level)}" stroke="{GRID}"/>')
        shapes.append(f'<text x="{LEFT - 6}" y="{_y(level) + 4}" text-anchor="end">{level:g}</text>')
    for group, metric in enumerate(metrics):
        start = LEFT + gap // 2 + group * step
        for i, row in enumerate(channels):
            score = row.scores[metric]
            left, top = start + i * bar, _y(score.mean)
            middle = left + bar / 2 - 0.5
            told = escaped(f"{row.channel}, {metric}: {figure(score)}")
            line = f'<line x1="{middle}" x2="{middle}" y1="{_y(score.low)}" y2="{_y(score.high)}"'
            shapes.append(
                f'<g><title>{told}</title><rect x="{left}" y="{top}" width="{bar - 1}" height="{_y(0) - top:.1f}" '
                # White below the ink, so that the interval is seen on a dark bar as on the paper.
                f'fill="{colour(row.channel)}"/>{line} stroke="#fff" stroke-width="4"/>'
                f'{line} stroke="{INK}" stroke-width="1.5"/></g>'
            )
        level, end = _y(chance.scores[metric].mean), start + step - gap
        told = escaped(f"{chance.channel}, {metric}: {figure(chance.scores[metric])}")
        shapes.append(
            f'<g><title>{told}</title><line x1="{start - 3}" x2="{end + 2}" y1="{level}" y2="{level}" stroke="{INK}" '
            f'stroke-width="2" stroke-dasharray="4 2"/></g>'
        )
        shapes.append(f'<text x="{(start + end) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{metric}</text>')
    label = f"{site_name(part)}: {', '.join(metrics)} of {', '.join(row.channel for row in part.rows)}"
    return _svg(width, HEIGHT, label, shapes)


def lying_bars(part: Part, metric: str) -> str:
    """One metric, a line a row: its bar, its interval and its figure; chance is a dashed line down the chart."""
    *channels, chance = part.rows
    height = LINE * len(channels) + 22
    level = chance.scores[metric].mean
    shapes = [*_scale(LEVELS, lambda v: f"{v:g}", _x, height)]
    for i, row in enumerate(channels):
        score, y = row.scores[metric], i * LINE + 4
        shapes.append(
            f"<g><title>{escaped(f'{row.channel}: {figure(score)}')}</title>"
            f'<text x="{NAMES - 8}" y="{y + 13}" text-anchor="end" class="name">{escaped(row.channel)}</text>'
            f'<rect x="{NAMES}" y="{y}" width="{_x(score.mean) - NAMES:.1f}" height="{LINE - 6}" '
            f'fill="{colour(row.channel)}"/>{_interval(score, y + LINE / 2 - 3, _x)}'
            f'<text x="{LYING - 2}" y="{y + 13}" text-anchor="end" class="name">{figure(score)}</text></g>'
        )
    shapes.append(
        f"<g><title>{escaped(f'{chance.channel}: {figure(chance.scores[metric])}')}</title>"
        f'<line x1="{_x(level):.1f}" x2="{_x(level):.1f}" y1="0" y2="{height - 20}" stroke="{INK}" stroke-width="2" '
        'stroke-dasharray="4 2"/></g>'
    )
    return _svg(LYING, height, f"{metric} of {', '.join(row.channel for row in part.rows)}", shapes)


def differences(of: Sequence[Difference], metric: str) -> str:
    """A point and its interval for each pair of rows, about a line at zero."""
    scores = [one.scores[metric] for one in of]
    widest = max(max(abs(score.low), abs(score.high)) for score in scores)
    reach = next((level for level in REACHES if level >= widest), 1.0)

    def x(value: float) -> float:
        return NAMES + 50 + (value + reach) / (2 * reach) * (LYING - NAMES - 220)

    height = LINE * len(of) + 22
    shapes = [*_scale((-reach, 0, reach), lambda v: f"{v:+g}" if v else "0", x, height)]
    shapes.append(f'<line x1="{x(0):.1f}" x2="{x(0):.1f}" y1="0" y2="{height - 20}" stroke="{INK}"/>')
    for i, (one, score) in enumerate(zip(of, scores, strict=True)):
        y = i * LINE + LINE / 2
        sure = score.low > 0 or score.high < 0
        fill = colour(one.channel) if sure else "#fff"
        shapes.append(
            f'<g><text x="{NAMES + 40}" y="{y + 4}" text-anchor="end" class="name">'
            f"{escaped(one.channel)} − {escaped(one.minus)}</text>{_interval(score, y, x)}"
            f'<circle cx="{x(score.mean):.1f}" cy="{y}" r="4.5" fill="{fill}" stroke="{INK}"/>'
            f'<text x="{LYING - 2}" y="{y + 4}" text-anchor="end" class="name">'
            f"{signed(score).removesuffix(' *')}</text></g>"
        )
    return _svg(LYING, height, f"Differences in {metric}", shapes)


def nuisance(of: Sequence[ConfounderShare]) -> str:
    """The share of the first 10 that has the query's value, and a tick where chance would put it."""
    height = LINE * len(of) + 22
    shapes = [*_scale(LEVELS, lambda v: f"{v:g}", _x, height)]
    for i, one in enumerate(of):
        y = i * LINE + 4
        expected = _x(one.expected)
        shapes.append(
            f"<g><title>{escaped(f'{one.field}, {one.channel}: {one.found}, by chance {one.expected:.3f}')}</title>"
            f'<text x="{NAMES - 8}" y="{y + 13}" text-anchor="end" class="name">{escaped(one.field)}: '
            f'{escaped(one.channel)}</text><rect x="{NAMES}" y="{y}" width="{_x(one.found.mean) - NAMES:.1f}" '
            f'height="{LINE - 6}" fill="{colour(one.channel)}" opacity="0.75"/>'
            f"{_interval(one.found, y + LINE / 2 - 3, _x)}"
            f'<line x1="{expected:.1f}" x2="{expected:.1f}" y1="{y - 3}" y2="{y + LINE - 3}" stroke="{INK}" '
            f'stroke-width="2" stroke-dasharray="4 2"/><text x="{LYING - 2}" y="{y + 13}" text-anchor="end" '
            f'class="name">{signed(one.excess).removesuffix(" *")}</text></g>'
        )
    return _svg(LYING, height, "Shared with the query, beside chance", shapes)


def curves(of: Sequence[Abstention]) -> str:
    """The accuracy of the majority vote over the share of queries that is answered, a line a row."""
    width, height = 460, 240
    low = min(0.95, *(accuracy for one in of for _, accuracy in one.curve))
    low = max(0.0, int(low * 20) / 20)

    def place(coverage: float, accuracy: float) -> tuple[float, float]:
        return 44 + coverage * (width - 60), 10 + (1 - accuracy) / (1 - low) * (height - 48)

    shapes = []
    for part in LEVELS:
        level = low + part * (1 - low)
        x, y = place(part, level)
        shapes.append(f'<line x1="44" x2="{width - 16}" y1="{y:.1f}" y2="{y:.1f}" stroke="{GRID}"/>')
        shapes.append(f'<text x="38" y="{y + 4:.1f}" text-anchor="end">{level:.2f}</text>')
        shapes.append(f'<text x="{x:.1f}" y="{height - 22}" text-anchor="middle">{part:.0%}</text>')
    for one in of:
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in one.curve))
        shapes.append(
            f"<g><title>{escaped(one.channel)}: AURC {one.aurc:.3f}</title>"
            f'<polyline points="{points}" fill="none" stroke="{colour(one.channel)}" stroke-width="2.5"/></g>'
        )
    shapes.append(f'<text x="{width / 2}" y="{height - 6}" text-anchor="middle">queries answered</text>')
    return _svg(width, height, "Accuracy over the share of queries answered", shapes)


def _interval(score: Estimate, y: float, x: Callable[[float], float]) -> str:
    line = f'<line x1="{x(score.low):.1f}" x2="{x(score.high):.1f}" y1="{y}" y2="{y}"'
    return f'{line} stroke="#fff" stroke-width="4"/>{line} stroke="{INK}" stroke-width="1.5"/>'


def _scale(
    levels: Sequence[float], words: Callable[[float], str], x: Callable[[float], float], height: int
) -> list[str]:
    lines = []
    for level in levels:
        at = f"{x(level):.1f}"
        lines.append(f'<line x1="{at}" x2="{at}" y1="0" y2="{height - 20}" stroke="{GRID}"/>')
        lines.append(f'<text x="{at}" y="{height - 6}" text-anchor="middle">{words(level)}</text>')
    return lines


def _x(value: float) -> float:
    return NAMES + value * (LYING - NAMES - 150)


def _y(value: float) -> float:
    return round(TOP + (1 - value) * (HEIGHT - TOP - BOTTOM), 1)


def _svg(width: int, height: int, label: str, shapes: Sequence[str]) -> str:
    inside = "".join(shapes)
    kind = "fit" if width == LYING else "whole"
    return (
        f'<div class="wide"><svg class="{kind}" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="{escaped(label)}">{inside}</svg></div>'
    )
