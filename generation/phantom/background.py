"""What lies between the cells: blood, inflammation, necrosis, colloid, mucin, matrix, bacteria, fat.

Each is a function of the canvas and an amount (0 to 1). Names are those used in profiles and reports.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, rotate

from generation.phantom.arrangement import single
from generation.phantom.canvas import FIELD_UM, Canvas
from generation.phantom.cells import CELLS, render_cell

Draw = Callable[[Canvas, float], None]


def _scatter(canvas: Canvas, n: float) -> list[tuple[float, float]]:
    return [tuple(place) for place in canvas.rng.uniform(-0.02, 1.02, (canvas.rng.poisson(n), 2)) * FIELD_UM]


def _cells(kind: str, per_field: float) -> Draw:
    def render(canvas: Canvas, amount: float) -> None:
        for x, y in _scatter(canvas, per_field * amount):
            render_cell(canvas, x, y, CELLS[kind])

    return render


def blood(canvas: Canvas, amount: float) -> None:
    """Erythrocytes: 7.5 µm discs with a paler centre."""
    for x, y in _scatter(canvas, 42 * amount):
        disc = canvas.outline(x, y, 3.7 * canvas.rng.uniform(0.85, 1.1), irregularity=0.05)
        canvas.absorb(disc, disc.mask * 0.75 * (0.55 + 0.45 * np.clip(disc.radius * 1.3, 0, 1)), "erythrocyte")


def blood_film(canvas: Canvas, amount: float) -> None:
    """The one layer of erythrocytes of a blood smear, some of which overlap, and platelets."""
    for x, y, _ in single(canvas.rng, canvas.rng.poisson(125 * amount), 7.4):
        disc = canvas.outline(x, y, 3.6 * canvas.rng.uniform(0.92, 1.08), aspect=canvas.rng.uniform(1.0, 1.15),
                              angle=canvas.rng.uniform(0, np.pi), irregularity=0.04)  # fmt: skip
        pallor = canvas.rng.uniform(0.3, 0.95) * np.exp(-((disc.radius / 0.5) ** 2))
        canvas.absorb(disc, disc.mask * 0.85 * (1.0 - pallor), "erythrocyte")
    for x, y in _scatter(canvas, 5 * amount):
        plate = canvas.outline(x, y, canvas.rng.uniform(0.7, 1.4), irregularity=0.25)
        canvas.absorb(plate, plate.mask * 0.9, "bacteria")


def _film(canvas: Canvas, amount: float, substance: str, grain: float, depth: float, threshold: float) -> None:
    """A patchy film over the whole field, of grain `grain` µm; higher threshold, smaller patches."""
    field = gaussian_filter(canvas.rng.standard_normal((96, 96)), grain, mode="wrap")
    _spread(canvas, field, substance, depth * amount, threshold)


def _spread(canvas: Canvas, field: NDArray[np.float64], substance: str, depth: float, threshold: float) -> None:
    """Lay a substance over the whole field where the noise `field` (96 × 96, one value a µm) passes `threshold`."""
    if not canvas.films:
        return
    field = (field - field.mean()) / field.std()
    film = np.clip(canvas.sampled(field) - threshold, 0.0, 1.5)
    film = gaussian_filter(film, 0.6 * canvas.px)
    canvas.density += (film * depth)[..., None].astype(np.float32) * canvas.stain.density(substance)


def necrosis(canvas: Canvas, amount: float) -> None:
    """Tumour diathesis: granular debris and ghosts of cells."""
    _film(canvas, amount, "debris", 1.2, 0.9, 0.5)
    _film(canvas, amount, "granular", 5.0, 0.5, 0.2)
    for x, y in _scatter(canvas, 26 * amount):
        bit = canvas.outline(x, y, canvas.rng.uniform(0.6, 1.6), irregularity=0.3)
        canvas.absorb(bit, bit.mask * 0.8, "chromatin")


def colloid(canvas: Canvas, amount: float) -> None:
    """A pool of colloid: smooth, broad, with cracks as dried colloid has."""
    x, y = canvas.rng.uniform(0.1, 0.9, 2) * FIELD_UM
    pool = canvas.outline(x, y, FIELD_UM * (0.28 + 0.35 * amount), aspect=1.3, irregularity=0.25, softness=3.0)
    depth = pool.mask * (0.35 + 0.45 * amount) * (1.0 + 0.08 * canvas.texture(pool, 3))
    for _ in range(3):
        where, tilt = canvas.rng.uniform(-20, 20), canvas.rng.uniform(-0.6, 0.6)
        depth *= 1.0 - 0.8 * np.exp(-(((pool.across - where - tilt * pool.along) / 0.7) ** 2))
    canvas.absorb(pool, depth, "colloid")


def mucin(canvas: Canvas, amount: float) -> None:
    """Strands of mucus, stretched in one direction by smearing."""
    noise = gaussian_filter(canvas.rng.standard_normal((192, 192)), (1.3, 14.0), mode="wrap")
    stretched = rotate(noise, float(canvas.rng.uniform(0, 180)), reshape=False, order=1, mode="wrap")[48:144, 48:144]
    _spread(canvas, stretched, "mucin", 0.7 * amount, 0.5)


def matrix(canvas: Canvas, amount: float) -> None:
    """Fibrillary chondromyxoid matrix with frayed edges (metachromatic in Romanowsky stains)."""
    for _ in range(1 + canvas.rng.poisson(2 * amount)):
        x, y = canvas.rng.uniform(0.1, 0.9, 2) * FIELD_UM
        pool = canvas.outline(x, y, 12 + 16 * amount, aspect=1.6, angle=canvas.rng.uniform(0, np.pi),
                              irregularity=0.4, softness=7.0)  # fmt: skip
        waves = pool.across * 1.5 + 2.2 * canvas.texture(pool, 3) + 0.9 * canvas.texture(pool, 2)
        fibres = 1 + 0.22 * np.cos(waves) + 0.2 * canvas.texture(pool, 1)
        canvas.absorb(pool, pool.mask * 0.75 * fibres, "matrix")


def globules(canvas: Canvas, amount: float) -> None:
    """Smooth acellular matrix globules, as in adenoid cystic carcinoma."""
    for x, y in _scatter(canvas, 1.5 + 4 * amount):
        ball = canvas.outline(x, y, canvas.rng.uniform(5, 10), softness=0.8)
        canvas.absorb(ball, ball.mask * (0.6 + 0.4 * ball.radius), "matrix")


def bacteria(canvas: Canvas, amount: float) -> None:
    """A film of coccobacilli."""
    for x, y in _scatter(canvas, 260 * amount):
        rod = canvas.outline(x, y, 0.5, aspect=1.5, angle=canvas.rng.uniform(0, np.pi), softness=0.5)
        canvas.absorb(rod, rod.mask * 0.9, "bacteria")


def fat(canvas: Canvas, amount: float) -> None:
    """Fat vacuoles: empty round spaces in a thin film."""
    _film(canvas, 1.0, "pale", 9.0, 0.8, -0.8)
    for x, y in _scatter(canvas, 9 * amount):
        drop = canvas.outline(x, y, canvas.rng.uniform(4, 13), softness=0.8)
        canvas.clear(drop, drop.mask * 0.95)
        canvas.absorb(drop, np.exp(-(((drop.radius - 1.0) / 0.07) ** 2)) * 0.5, "pale")


def lymphoglandular(canvas: Canvas, amount: float) -> None:
    """Lymphoglandular bodies: pale round cytoplasmic fragments between lymphoid cells."""
    for x, y in _scatter(canvas, 36 * amount):
        body = canvas.outline(x, y, canvas.rng.uniform(0.8, 2.0), softness=0.7)
        canvas.absorb(body, body.mask * 0.55, "basophilic")


def protein(canvas: Canvas, amount: float) -> None:
    """The fine granular precipitate of a fluid."""
    _film(canvas, amount, "pale", 3.0, 0.35, -0.6)


BACKGROUNDS: dict[str, Draw] = {
    "blood": blood,
    "blood film": blood_film,
    "inflammation": _cells("neutrophil", 16),
    "lymphocytes": _cells("lymphocyte", 26),
    "macrophages": _cells("macrophage", 6),
    "dust macrophages": _cells("dust macrophage", 6),
    "squames": _cells("superficial", 2.4),
    "necrosis": necrosis,
    "colloid": colloid,
    "mucin": mucin,
    "matrix": matrix,
    "globules": globules,
    "bacteria": bacteria,
    "fat": fat,
    "lymphoglandular": lymphoglandular,
    "protein": protein,
}
