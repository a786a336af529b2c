"""How cells lie together: each arrangement is a function that yields positions (µm) and long-axis angles.

The names are those of the reports ("sheets", "microfollicles", "moulding" …), so that what a report says is what is
drawn. Pitch is the distance between neighbours in µm; the caller passes the cell's own size.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from generation.phantom.canvas import FIELD_UM

Placement = tuple[float, float, float | None]
Arrange = Callable[[np.random.Generator, int, float], list[Placement]]


def _centre(rng: np.random.Generator, margin: float = 0.28) -> tuple[float, float]:
    low, high = FIELD_UM * margin, FIELD_UM * (1 - margin)
    return float(rng.uniform(low, high)), float(rng.uniform(low, high))


def single(rng: np.random.Generator, n: int, pitch: float) -> list[Placement]:
    """Dispersed cells that keep their distance where there is room (best of a few candidates each)."""
    placed: list[tuple[float, float]] = []
    edge = -0.03 if n > 6 else 0.10  # a field was chosen for its few cells: they are in it
    for _ in range(n):
        candidates = rng.uniform(edge, 1 - edge, (8, 2)) * FIELD_UM
        if placed:
            gaps = np.min(np.hypot(*(candidates[:, None, :] - np.asarray(placed)[None]).transpose(2, 0, 1)), axis=1)
            best = candidates[int(np.argmax(np.minimum(gaps, pitch * 1.1) + rng.uniform(0, 0.2, 8) * pitch))]
        else:
            best = candidates[0]
        placed.append((float(best[0]), float(best[1])))
    return [(x, y, None) for x, y in placed]


def _lattice(rng: np.random.Generator, n: int, pitch: float, jitter: float, *, margin: float = 0.28) -> list[Placement]:
    cx, cy = _centre(rng, margin)
    turn = rng.uniform(0, np.pi / 3)
    reach = int(np.sqrt(n)) + 3
    points = []
    for i in range(-reach, reach + 1):
        for j in range(-reach, reach + 1):
            u, v = (i + 0.5 * (j % 2)) * pitch, j * pitch * 0.866
            points.append((u * np.cos(turn) - v * np.sin(turn), u * np.sin(turn) + v * np.cos(turn)))
    stretch = rng.uniform(0.75, 1.35)
    wobble = rng.uniform(0.8, 1.2, len(points))
    order = np.argsort([np.hypot(u * stretch, v / stretch) * w for (u, v), w in zip(points, wobble, strict=True)])
    noise = rng.normal(0, jitter * pitch, (n, 2))
    return [
        (cx + points[k][0] + dx, cy + points[k][1] + dy, None) for k, (dx, dy) in zip(order[:n], noise, strict=True)
    ]


def sheet(rng: np.random.Generator, n: int, pitch: float) -> list[Placement]:
    """A flat honeycomb: evenly spaced, one layer."""
    return _lattice(rng, n, pitch * 1.0, 0.07)


def crowded(rng: np.random.Generator, n: int, pitch: float) -> list[Placement]:
    """A crowded group with overlap and lost polarity."""
    return _lattice(rng, n, pitch * 0.74, 0.22)


def syncytium(rng: np.random.Generator, n: int, pitch: float) -> list[Placement]:
    """Two or three tight groups without borders."""
    sizes = rng.multinomial(n, [0.6, 0.4])
    return [place for size in sizes if size for place in _lattice(rng, int(size), pitch * 0.82, 0.18)]


def cluster(rng: np.random.Generator, n: int, pitch: float) -> list[Placement]:
    """A three-dimensional ball: cells pile up in depth, the outline is smooth."""
    cx, cy = _centre(rng, 0.33)
    radius = pitch * 0.55 * np.sqrt(n) * 0.72
    places: list[Placement] = []
    for _ in range(n):
        at, far = rng.uniform(0, 2 * np.pi), radius * np.sqrt(rng.uniform(0, 1))
        places.append((cx + far * np.cos(at), cy + far * np.sin(at), None))
    return places


def clusters(rng: np.random.Generator, n: int, pitch: float) -> list[Placement]:
    """Several small three-dimensional clusters."""
    parts = rng.multinomial(n, [0.45, 0.33, 0.22])
    return [place for part in parts if part for place in cluster(rng, int(part), pitch)]


def groups(rng: np.random.Generator, n: int, pitch: float) -> list[Placement]:
    """Small flat groups, as spun onto the slide: neighbours touch and do not overlap."""
    places: list[Placement] = []
    for part in rng.multinomial(n, [0.4, 0.27, 0.2, 0.13]):
        options: list[list[Placement]] = [_lattice(rng, int(part), pitch * 1.03, 0.05, margin=0.1) for _ in range(12)]
        apart = max(options, key=lambda option: _gap(option, places))
        places += apart
    return places


def _gap(some: list[Placement], others: list[Placement]) -> float:
    """The least distance between two groups of cells in µm; 0 where one of them is empty."""
    return min((float(np.hypot(a[0] - b[0], a[1] - b[1])) for a in some for b in others), default=0.0)


def papillae(rng: np.random.Generator, n: int, pitch: float) -> list[Placement]:
    """Finger-like fronds: two or three rows of cells along a curved axis, palisading at the edge."""
    places: list[Placement] = []
    fronds = 2 if n > 27 else 1
    x0, y0 = _centre(rng, 0.35)
    heading = rng.uniform(0, 2 * np.pi)
    for frond in range(fronds):
        x, y = x0, y0
        course = heading + frond * rng.uniform(1.4, 2.4)
        bend = rng.normal(0, 0.09)
        for _ in range(max(n // fronds // 3, 2)):
            for lane in (-1, 0, 1):
                side = lane * pitch * 0.78 + rng.normal(0, 0.08) * pitch
                places.append((x - side * np.sin(course), y + side * np.cos(course), course + np.pi / 2))
            x += np.cos(course) * pitch * 0.72
            y += np.sin(course) * pitch * 0.72
            course += bend + rng.normal(0, 0.05)
    # Fronds grow from their root, and the root is at their edge: move the whole so that its middle is in the field.
    dx, dy = np.array([x0, y0]) - np.mean([place[:2] for place in places], axis=0)
    return [(x + float(dx), y + float(dy), angle) for x, y, angle in places]


def rings(rng: np.random.Generator, n: int, pitch: float) -> list[Placement]:
    """Microfollicles, acini or rosettes: rings of cells round a small lumen."""
    places: list[Placement] = []
    taken: list[tuple[float, float]] = []
    while len(places) < n:
        count = int(rng.integers(6, 10))
        radius = pitch * 0.8 * count / (2 * np.pi)
        options = rng.uniform(0.12, 0.88, (8, 2)) * FIELD_UM
        if taken:
            gaps = np.min(np.hypot(*(options[:, None, :] - np.asarray(taken)[None]).transpose(2, 0, 1)), axis=1)
            cx, cy = options[int(np.argmax(np.minimum(gaps, radius * 2.4)))]
        else:
            cx, cy = options[0]
        taken.append((float(cx), float(cy)))
        for k in range(count):
            at = 2 * np.pi * k / count + rng.normal(0, 0.1)
            far = radius * rng.uniform(0.92, 1.08)
            places.append((float(cx + far * np.cos(at)), float(cy + far * np.sin(at)), at))
    return places


def strip(rng: np.random.Generator, n: int, pitch: float) -> list[Placement]:
    """A palisaded strip of columnar cells, side by side, pseudostratified."""
    cx, cy = _centre(rng, 0.35)
    course = rng.uniform(0, np.pi)
    places: list[Placement] = []
    for k in range(n):
        along = (k - n / 2) * pitch * 0.50
        bow = 0.006 * along**2 + rng.normal(0, 0.16) * pitch
        places.append(
            (
                cx + along * np.cos(course) - bow * np.sin(course),
                cy + along * np.sin(course) + bow * np.cos(course),
                course + np.pi / 2 + rng.normal(0, 0.1),
            )
        )
    return places


def moulded(rng: np.random.Generator, n: int, pitch: float) -> list[Placement]:
    """Tight files and nests in which neighbours press into each other (moulding)."""
    places: list[Placement] = []
    while len(places) < n:
        x, y = rng.uniform(0.12, 0.88, 2) * FIELD_UM
        course = rng.uniform(0, 2 * np.pi)
        for _ in range(int(rng.integers(4, 9))):
            places.append((float(x), float(y), course + np.pi / 2))
            course += rng.normal(0, 0.75)
            x, y = x + np.cos(course) * pitch * 0.86, y + np.sin(course) * pitch * 0.86
    return places[:n]


ARRANGEMENTS: dict[str, Arrange] = {
    "single": single,
    "sheet": sheet,
    "crowded": crowded,
    "syncytium": syncytium,
    "cluster": cluster,
    "clusters": clusters,
    "groups": groups,
    "papillae": papillae,
    "rings": rings,
    "strip": strip,
    "moulded": moulded,
}
