"""What `benchmarks.growth` measured, as a table, a list of what grows faster than its work, and a picture."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

Measured = Mapping[int, Mapping[str, Sequence[float]]]
"""By size and step: seconds of each repetition, or megabytes."""

MEMORY = "memory of a process over its models, MB"
OWN_MEMORY = "of it, not mapped from files, MB"
MEMORIES = (MEMORY, OWN_MEMORY)
ADDED = 100
"""Images that another process adds."""
ADDING = f"add {ADDED} images"
WORK = {
    "first answer of a new process, by a case": 1.0,
    "first answer of a new process, by words as well": 1.0,
    "by a case, under a filter that is new": 1.0,
    "by words, under a filter that is new": 1.0,
    "coin doctor --quick": 1.0,
    "coin backup": 1.0,
    MEMORY: 1.0,
    OWN_MEMORY: 1.0,
}
"""Steps whose work is proportional to the archive (1). That of the others is the same at every size (0)."""
LIMITS = {
    "first answer of a new process, by a case": {100_000: 1.0, 300_000: 1.5, 1_000_000: 3.0},
    "first answer of a later process, by words": {100_000: 1.0, 300_000: 1.5, 1_000_000: 3.0},
    "by a case, with diagnostics": {100_000: 0.040, 300_000: 0.060, 1_000_000: 0.120},
    "by words, with diagnostics": {100_000: 0.040, 300_000: 0.060, 1_000_000: 0.150},
    "by a case, under a filter that is new": {100_000: 0.150, 300_000: 0.250, 1_000_000: 0.700},
    "by words, under a filter that is new": {100_000: 0.150, 300_000: 0.250, 1_000_000: 0.700},
    f"by words, after {ADDED} images by another process": {100_000: 0.3, 300_000: 0.3, 1_000_000: 0.5},
    "facets": {100_000: 0.010, 300_000: 0.010, 1_000_000: 0.010},
    "status": {100_000: 0.010, 300_000: 0.010, 1_000_000: 0.010},
    MEMORY: {100_000: 400, 300_000: 600, 1_000_000: 1_200},
}
"""Medians that are wanted, by size: seconds, or megabytes."""
SLACK = 0.2
"""By how much a slope may be above the work's."""
NOTICED = 0.005
"""Seconds: what grows by less is not named."""
EQUAL = 1.3
"""By which factor `ADDING` may differ between two sizes."""

OF_CLOCK = {
    "wall": "",
    "processor": ": what this process computes itself, while others fill the machine, and not what it waits for",
}

WIDTH, HEIGHT, LEFT, TOP, BOTTOM, NAMES = 980, 560, 64, 16, 40, 360
COLOURS = ("#1f5fa8", "#c2571a", "#2f7d32", "#8e3b8a", "#a11d33", "#6b6b00", "#00757a", "#555555")


def table(found: Measured) -> str:
    """A row a step: median and 95th percentile of each size, in ms (MB for memory), and the slope."""
    sizes = sorted(found)
    lines = [
        f"| ms: median (95th of 100) | {' | '.join(f'{size:,} images' for size in sizes)} | slope |",
        "|---|" + "---|" * (len(sizes) + 1),
    ]
    for name in found[sizes[0]]:
        cells = [_cell(found[size][name], 1 if name in MEMORIES else 1e3) for size in sizes]
        lines.append(f"| {name} | {' | '.join(cells)} | {_shown_slope(found, name)} |")
    return "\n".join(lines)


def slope(found: Measured, name: str) -> float | None:
    """That of the median over the size between the last two sizes, both as logarithms; None for a single size."""
    sizes = sorted(found)[-2:]
    if len(sizes) < 2:
        return None
    low, high = (max(1e-9, statistics.median(found[size][name])) for size in sizes)
    return math.log(high / low) / math.log(sizes[1] / sizes[0])


def faster_than_its_work(found: Measured) -> list[str]:
    """The steps whose cost grows faster than their work, each with its figures."""
    sizes = sorted(found)
    named = []
    for name in found[sizes[0]]:
        grown, medians = slope(found, name), [statistics.median(found[size][name]) for size in sizes]
        if grown is None:
            continue
        if name == ADDING and max(medians) > EQUAL * min(medians):
            named.append(f"{name}: {max(medians) / min(medians):.2f} times as long at one size as at another")
        elif name != ADDING and grown > WORK.get(name, 0.0) + SLACK and medians[-1] - medians[-2] > NOTICED:
            named.append(f"{name}: slope {grown:.2f}, and its work's is {WORK.get(name, 0.0):.0f}")
    return named


def beyond_limits(found: Measured) -> list[str]:
    """The steps whose median is above `LIMITS`, each with its figures."""
    named = []
    for name, of_size in LIMITS.items():
        for size in sorted(of_size.keys() & found.keys()):
            value, factor = statistics.median(found[size].get(name, [0.0])), 1 if name in MEMORIES else 1e3
            if value > of_size[size]:
                named.append(f"{name}, {size:,} images: {value * factor:.1f}, {of_size[size] * factor:g} were wanted")
    return named


def picture(found: Measured) -> str:
    """Medians over the size, both as logarithms, a line a step, as SVG that loads nothing."""
    sizes = sorted(found)
    names = [name for name in found[sizes[0]] if name not in MEMORIES]
    medians = {name: [max(1e-5, statistics.median(found[size][name])) for size in sizes] for name in names}
    low = math.floor(math.log10(min(min(values) for values in medians.values())))
    high = math.ceil(math.log10(max(max(values) for values in medians.values())))
    spread = max(1e-9, math.log10(sizes[-1] / sizes[0]))

    def x(size: int) -> float:
        return LEFT + math.log10(size / sizes[0]) / spread * (WIDTH - LEFT - NAMES)

    def y(seconds: float) -> float:
        return TOP + (high - math.log10(seconds)) / max(1, high - low) * (HEIGHT - TOP - BOTTOM)

    shapes = []
    for power in range(low, high + 1):
        at, words = y(10.0**power), f"{10.0 ** (power + 3):g} ms"
        shapes.append(f'<line x1="{LEFT}" x2="{WIDTH - NAMES}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>')
        shapes.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{words}</text>')
    shapes += [f'<text x="{x(size):.1f}" y="{HEIGHT - 14}" text-anchor="middle">{size:,}</text>' for size in sizes]
    order = sorted(names, key=lambda name: -medians[name][-1])
    for number, name in enumerate(order):
        colour, dashed = COLOURS[number % len(COLOURS)], ' stroke-dasharray="5 3"' if WORK.get(name) else ""
        points = " ".join(f"{x(size):.1f},{y(of):.1f}" for size, of in zip(sizes, medians[name], strict=True))
        at = TOP + 12 + number * (HEIGHT - TOP - BOTTOM) / len(order)
        end = y(medians[name][-1])
        shapes += [
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dashed}/>',
            f'<line x1="{WIDTH - NAMES}" x2="{WIDTH - NAMES + 24}" y1="{end:.1f}" y2="{at:.1f}" stroke="{colour}"/>',
            f'<text x="{WIDTH - NAMES + 28}" y="{at + 4:.1f}" fill="{colour}">{escape(name)}</text>',
        ]
    body = "\n".join(shapes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12" role="img">\n<title>Cost of each step over the size of the archive</title>\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>\n{body}\n</svg>\n'
    )


def write(folder: Path, found: Measured, machine: str, *, clock: str, repetitions: int) -> None:
    """`growth.md` and `growth.svg`; `clock` says whose time was measured."""
    missed = [f"- {line}" for line in beyond_limits(found)] or ["Nothing."]
    named = [f"- {line}" for line in faster_than_its_work(found)] or ["Nothing."]
    sizes = " ".join(str(size) for size in sorted(found))
    parts = [
        "# Cost as an archive grows",
        f"`python -m benchmarks.growth --clock {clock} --repetitions {repetitions} --sizes {sizes} --write docs` made "
        "this page and its picture: "
        f"{machine}.\nTimes are of the {clock} clock{OF_CLOCK[clock]}.\n"
        "Archives of synthetic vectors (SQLite; four images a case, every report embedded, no picture files, so that\n"
        "`coin doctor` and `coin backup` read records only), searched with the starter's encoder, whose own time is\n"
        "in a query by words. The slope is that of the median over the size between the last two sizes, both as\n"
        "logarithms: 0 where the cost stays, 1 where it is as the archive.",
        "![Cost of each step over the size of the archive](growth.svg)",
        "Dashed: steps whose work is proportional to the archive.",
        table(found),
        "## What grows faster than its work",
        "\n".join(named),
        "## What takes longer than is wanted",
        "In ms, or MB. Wanted are medians of the wall clock on a machine that does nothing else.",
        "\n".join(missed),
    ]
    (folder / "growth.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    (folder / "growth.svg").write_text(picture(found), encoding="utf-8")


def _cell(values: Sequence[float], factor: float) -> str:
    if len(values) == 1:
        return f"{values[0] * factor:.1f}"
    ordered = sorted(values)
    return f"{statistics.median(values) * factor:.1f} ({ordered[math.ceil(0.95 * len(ordered)) - 1] * factor:.1f})"


def _shown_slope(found: Measured, name: str) -> str:
    value = slope(found, name)
    return "" if value is None else f"{value:.2f}"
