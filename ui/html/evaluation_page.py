"""An evaluation as a page: figures with their intervals, drawn as SVG in one HTML file that loads nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from retrieval import RESEARCH_USE
from ui.html.evaluation_charts import bars, curves, differences, escaped, legend, lying_bars, nuisance
from ui.text.evaluation import (
    ABSTENTION,
    NOT_SHOWN,
    NUISANCE,
    asked,
    counts,
    figure,
    introduction,
    remarks,
    same_report_words,
    signed,
    site_name,
)

if TYPE_CHECKING:
    from retrieval import Abstention, Difference, Evaluation, Part, QueryTypeResult, RunResult, SameReport, TaskResult

BY_SITE: Final = ("P@1", "P@10")
GLANCE: Final = "P@10"

_STYLE: Final = """
:root { color-scheme: light }
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2733; background: #f3f5f8; margin: 0 }
main { max-width: 1000px; margin: 0 auto; padding: 24px }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere } h2 { font-size: 20px; margin: 0 }
h3 { font-size: 16px; margin: 26px 0 0 } h4 { font-size: 14px; margin: 18px 0 4px }
h2::first-letter, h3::first-letter, h4::first-letter { text-transform: uppercase }
p { margin: 6px 0; max-width: 78ch }
section { background: #fff; border: 1px solid #d5dce4; border-radius: 8px; padding: 18px 20px; margin: 18px 0 }
.notice { color: #9b1c1c; font-weight: 600 } .soft { color: #52606d; font-size: 13px }
.legend span { margin-right: 18px; white-space: nowrap; display: inline-block } .legend i { display: inline-block;
width: 12px; height: 12px; margin-right: 6px; border-radius: 2px; vertical-align: -1px } .legend i.line { height: 0;
border-top: 2px dashed #1c2733; border-radius: 0; width: 16px; vertical-align: 4px }
.sites { display: grid; grid-template-columns: repeat(auto-fill, minmax(210px, 1fr)); gap: 16px; margin: 12px 0 }
.sites b { font-size: 14px }
svg { display: block } svg.fit { max-width: 100%; min-width: 430px; height: auto }
svg text { font: 11px system-ui, sans-serif; fill: #52606d }
svg text.name { font-size: 12px; fill: #1c2733 }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; margin: 10px 0 }
th, td { text-align: left; padding: 3px 14px 3px 0; border-bottom: 1px solid #e3e8ee; white-space: nowrap }
summary { cursor: pointer; color: #0b5394; margin-top: 10px } .wide { overflow-x: auto }
@media (max-width: 600px) { main { padding: 12px } section { padding: 14px 12px } }
@media print { body { background: #fff } section { break-inside: avoid } }
"""


def evaluation_page(evaluation: Evaluation) -> str:
    """One HTML document, without scripts and without anything to fetch. All names of the archive are escaped."""
    head = [f"<p>{escaped(line)}</p>" for line in introduction(evaluation)]
    head += [f'<p class="notice">{escaped(line)}</p>' for line in remarks(evaluation)]
    unseen = "".join(f"<li>{escaped(line)}</li>" for line in NOT_SHOWN)
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width">',
            # Nothing may be loaded, whatever an archive's names were made to look like.
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            f"<title>Evaluation of {escaped(evaluation.archive)}</title><style>{_STYLE}</style></head><body><main>",
            f"<h1>How well do the cases of {escaped(evaluation.archive)} find each other?</h1>",
            f'<p class="notice">{RESEARCH_USE}</p>',
            _glance(evaluation.families),
            *(_family(family) for family in evaluation.families),
            f"<section><h2>How this was measured</h2>{''.join(head)}</section>",
            f"<section><h2>What this does not show</h2><ul>{unseen}</ul></section>",
            f'<p class="notice">{RESEARCH_USE}</p>',
            "</main></body></html>\n",
        ]
    )


def _glance(families: Sequence[QueryTypeResult]) -> str:
    task = _category(families[0])
    lines = [
        "<section><h2>At a glance</h2>",
        f"<p>{escaped(task.question)} The share of the first 10 that is right ({GLANCE}), with its 95 % interval; "
        "dashed: by chance.</p>",
    ]
    for family in families:
        lines += [f"<h4>{escaped(family.name)}</h4>", lying_bars(_category(family).parts[0], GLANCE)]
    return "\n".join([*lines, "</section>"])


def _category(family: QueryTypeResult) -> TaskResult:
    return next(task for task in family.tasks if task.name.startswith("category"))


def _family(family: QueryTypeResult) -> str:
    lines = [
        f"<section><h2>{escaped(family.name)}</h2><p>{escaped(asked(family))}</p>",
        legend(family.tasks[0].parts[0]),
    ]
    lines += [_task(task) for task in family.tasks]
    if family.same_report is not None:
        lines.append(_same_report(family.same_report))
    if family.nuisance:
        lines += [f'<h3>Nuisance audit</h3><p class="soft">{escaped(NUISANCE)}</p>', nuisance(family.nuisance)]
    lines += [f'<h3>Abstention</h3><p class="soft">{escaped(ABSTENTION)}</p>', curves(family.abstention)]
    lines.append(_abstention_table(family.abstention))
    return "\n".join([*lines, "</section>"])


def _task(task: TaskResult) -> str:
    whole, *sites = task.parts
    metrics = list(whole.rows[0].scores)
    lines = [
        f"<h3>{escaped(task.name)}</h3><p>{escaped(task.question)}</p>",
        f'<p class="soft">{escaped(counts(task, whole))}.</p>',
        bars(whole, metrics),
    ]
    if task.differences:
        lines += [_difference_words(GLANCE), differences(task.differences, GLANCE)]
    if len(sites) > 1:
        lines.append('<details><summary>By site</summary><div class="sites">')
        for part in sites:
            title = f'<b>{escaped(site_name(part))}</b> <span class="soft">{escaped(_rests_on(task, part))}</span>'
            lines.append(f"<div>{title}{bars(part, BY_SITE, width=230)}</div>")
        lines.append("</div></details>")
    lines.append("<details><summary>All figures</summary>")
    lines += [_table(f"{site_name(part)}, n = {part.queries}", part.rows) for part in task.parts]
    if task.differences:
        lines.append(_difference_table(task.differences))
    return "\n".join([*lines, "</details>"])


def _same_report(same: SameReport) -> str:
    lines = [f'<h3>Exact report family</h3><p class="soft">{escaped(same_report_words(same))}</p>']
    lines.append(bars(_as_part(same), list(same.rows[0].scores), width=620))
    if same.differences:
        lines += [_difference_words("MRR"), differences(same.differences, "MRR")]
    lines += ["<details><summary>All figures</summary>", _table(f"n = {same.queries}", same.rows)]
    if same.differences:
        lines.append(_difference_table(same.differences))
    return "\n".join([*lines, "</details>"])


def _as_part(same: SameReport) -> Part:
    from retrieval import Part

    return Part(None, same.families, same.queries, same.queries, same.rows)


def _difference_words(metric: str) -> str:
    return (
        f"<h4>Differences in {metric}</h4>"
        '<p class="soft">In the same queries and resamples; a filled point is one whose interval holds no zero.</p>'
    )


def _rests_on(task: TaskResult, part: Part) -> str:
    return f"n = {part.queries}" if task.name == "site" else f"n = {part.queries}, categories: {part.categories}"


def _table(head: str, rows: Sequence[RunResult]) -> str:
    names = "".join(f"<th>{escaped(row.channel)}</th>" for row in rows)
    lines = [
        f"<tr><th>{metric}</th>{''.join(f'<td>{figure(row.scores[metric])}</td>' for row in rows)}</tr>"
        for metric in rows[0].scores
    ]
    return f'<div class="wide"><table><tr><th>{escaped(head)}</th>{names}</tr>{"".join(lines)}</table></div>'


def _difference_table(of: Sequence[Difference]) -> str:
    names = "".join(f"<th>{escaped(one.channel)} − {escaped(one.minus)}</th>" for one in of)
    lines = [
        f"<tr><th>{metric}</th>{''.join(f'<td>{signed(one.scores[metric])}</td>' for one in of)}</tr>"
        for metric in of[0].scores
    ]
    return f'<div class="wide"><table><tr><th>differences</th>{names}</tr>{"".join(lines)}</table></div>'


def _abstention_table(of: Sequence[Abstention]) -> str:
    shares = "".join(f"<th>{share} % answered</th>" for share in of[0].accuracy)
    lines = [
        f"<tr><th>{escaped(one.channel)}</th><td>{one.aurc:.3f}</td>"
        f"{''.join(f'<td>{value:.3f}</td>' for value in one.accuracy.values())}</tr>"
        for one in of
    ]
    return f'<div class="wide"><table><tr><th></th><th>AURC</th>{shares}</tr>{"".join(lines)}</table></div>'
