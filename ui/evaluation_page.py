"""An evaluation as a page: bars with their intervals, drawn as SVG in one HTML file that loads nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Final

from retrieval.notice import RESEARCH_USE
from ui.evaluation_text import NOT_SHOWN, counts, figure, introduction, remarks, site_name
from ui.text import clean

if TYPE_CHECKING:
    from retrieval import Evaluation
    from retrieval.evaluation_results import Part, TaskResult

BY_SITE: Final = ("P@1", "P@5", "P@10")
COLOURS: Final = ("#0b5394", "#d9a441", "#5b8f6b", "#8d5a97", "#b5533c")  # told apart also in grey and by most eyes
INK: Final = "#1c2733"
GRID: Final = "#e3e8ee"

TOP, BOTTOM, LEFT = 10, 24, 34  # pixels around a chart
HEIGHT: Final = 190
WIDE: Final = (26, 30)  # pixels of a bar, and between two groups of bars
NARROW: Final = (15, 18)

_STYLE: Final = """
:root { color-scheme: light }
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2733; background: #f3f5f8; margin: 0 }
main { max-width: 1000px; margin: 0 auto; padding: 24px }
h1 { font-size: 26px; margin: 0 0 4px } h2 { font-size: 19px; margin: 0; text-transform: capitalize }
h3 { font-size: 14px; margin: 0 } p { margin: 6px 0; max-width: 78ch }
section { background: #fff; border: 1px solid #d5dce4; border-radius: 8px; padding: 18px 20px; margin: 18px 0 }
.notice { color: #9b1c1c; font-weight: 600 } .soft { color: #52606d; font-size: 13px }
.legend span { margin-right: 18px; white-space: nowrap } .legend i { display: inline-block; width: 12px; height: 12px;
margin-right: 6px; border-radius: 2px; vertical-align: -1px } .legend i.line { height: 0;
border-top: 2px dashed #1c2733; border-radius: 0; width: 16px; vertical-align: 4px }
.sites { display: grid; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); gap: 16px; margin-top: 18px }
svg { max-width: 100%; height: auto; display: block } svg text { font: 11px system-ui, sans-serif; fill: #52606d }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; margin: 10px 0 }
th, td { text-align: left; padding: 3px 14px 3px 0; border-bottom: 1px solid #e3e8ee; white-space: nowrap }
summary { cursor: pointer; color: #0b5394 } .wide { overflow-x: auto }
@media print { body { background: #fff } section { break-inside: avoid } }
"""


def evaluation_page(evaluation: Evaluation) -> str:
    """One HTML document, without scripts and without anything to fetch. All names of the archive are escaped."""
    head = [f"<p>{_text(line)}</p>" for line in introduction(evaluation)]
    head += [f'<p class="notice">{_text(line)}</p>' for line in remarks(evaluation)]
    unseen = "".join(f"<li>{_text(line)}</li>" for line in NOT_SHOWN)
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width">',
            # Nothing may be loaded, whatever an archive's names were made to look like.
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            f"<title>Evaluation of {_text(evaluation.archive)}</title><style>{_STYLE}</style></head><body><main>",
            f"<h1>How well do the cases of {_text(evaluation.archive)} find each other?</h1>",
            f'<p class="notice">{RESEARCH_USE}</p>',
            *head,
            *(_task(task) for task in evaluation.tasks),
            f"<section><h2>What this does not show</h2><ul>{unseen}</ul></section>",
            f'<p class="notice">{RESEARCH_USE}</p>',
            "</main></body></html>\n",
        ]
    )


def _task(task: TaskResult) -> str:
    whole, *sites = task.parts
    metrics = list(whole.rows[0].scores)
    lines = [
        f"<section><h2>{_text(task.name)}</h2><p>{_text(task.question)}</p>",
        f'<p class="soft">{_text(counts(task, whole))}.</p>',
        _legend(whole),
        _chart(whole, metrics, WIDE),
    ]
    if len(sites) > 1:
        lines.append('<div class="sites">')
        for part in sites:
            title = f'<h3>{_text(site_name(part))}</h3><span class="soft">{_text(_rests_on(task, part))}</span>'
            lines.append(f"<div>{title}{_chart(part, BY_SITE, NARROW)}</div>")
        lines.append("</div>")
    lines.append("<details><summary>All figures</summary>")
    lines += [_table(part, metrics) for part in task.parts]
    return "\n".join([*lines, "</details></section>"])


def _rests_on(task: TaskResult, part: Part) -> str:
    return f"n = {part.queries}" if task.name == "site" else f"n = {part.queries}, categories: {part.categories}"


def _legend(part: Part) -> str:
    *channels, chance = (row.channel for row in part.rows)
    keys = [f'<span><i style="background:{_colour(i)}"></i>{_text(name)}</span>' for i, name in enumerate(channels)]
    return f'<p class="legend">{"".join(keys)}<span><i class="line"></i>{_text(chance)}</span></p>'


def _chart(part: Part, metrics: Sequence[str], sizes: tuple[int, int]) -> str:
    """A group of bars a metric, from 0 to 1, a bar a channel with its interval; chance is a line across the group."""
    *channels, chance = part.rows
    bar, gap = sizes
    step = bar * len(channels) + gap
    width = LEFT + step * len(metrics) + gap // 2
    shapes = []
    for level in (0, 0.25, 0.5, 0.75, 1):
        shapes.append(f'<line x1="{LEFT}" x2="{width}" y1="{_y(level)}" y2="{_y(level)}" stroke="{GRID}"/>')
        shapes.append(f'<text x="{LEFT - 6}" y="{_y(level) + 4}" text-anchor="end">{level:g}</text>')
    for group, metric in enumerate(metrics):
        start = LEFT + gap // 2 + group * step
        for i, row in enumerate(channels):
            score = row.scores[metric]
            left, top = start + i * bar, _y(score.mean)
            middle = left + bar / 2 - 0.5
            told = _text(f"{row.channel}, {metric}: {figure(score)}")
            line = f'<line x1="{middle}" x2="{middle}" y1="{_y(score.low)}" y2="{_y(score.high)}"'
            shapes.append(
                f'<g><title>{told}</title><rect x="{left}" y="{top}" width="{bar - 1}" height="{_y(0) - top:.1f}" '
                # White below the ink, so that the interval is seen on a dark bar as on the paper.
                f'fill="{_colour(i)}"/>{line} stroke="#fff" stroke-width="4"/>'
                f'{line} stroke="{INK}" stroke-width="1.5"/></g>'
            )
        level, end = _y(chance.scores[metric].mean), start + step - gap
        told = _text(f"{chance.channel}, {metric}: {figure(chance.scores[metric])}")
        shapes.append(
            f'<g><title>{told}</title><line x1="{start - 3}" x2="{end + 2}" y1="{level}" y2="{level}" stroke="{INK}" '
            f'stroke-width="2" stroke-dasharray="4 2"/></g>'
        )
        shapes.append(f'<text x="{(start + end) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{metric}</text>')
    label = _text(f"{site_name(part)}: {', '.join(metrics)} of {', '.join(row.channel for row in part.rows)}")
    inside = "".join(shapes)
    return f'<svg width="{width}" viewBox="0 0 {width} {HEIGHT}" role="img" aria-label="{label}">{inside}</svg>'


def _table(part: Part, metrics: Sequence[str]) -> str:
    names = "".join(f"<th>{_text(row.channel)}</th>" for row in part.rows)
    rows = [
        f"<tr><th>{metric}</th>{''.join(f'<td>{figure(row.scores[metric])}</td>' for row in part.rows)}</tr>"
        for metric in metrics
    ]
    head = f"<tr><th>{_text(site_name(part))}, n = {part.queries}</th>{names}</tr>"
    return f'<div class="wide"><table>{head}{"".join(rows)}</table></div>'


def _y(value: float) -> float:
    return round(TOP + (1 - value) * (HEIGHT - TOP - BOTTOM), 1)


def _colour(channel: int) -> str:
    return COLOURS[channel % len(COLOURS)]


def _text(text: str) -> str:
    return escape(clean(text))
