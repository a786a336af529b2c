"""The kinds of cell a phantom field is made of, and how a cell is rendered.

Sizes follow the atlases' measurements: an intermediate squamous nucleus is about 8 µm, a lymphocyte's 7 µm, an
erythrocyte 7.5 µm. Everything that a report talks about (nuclear size, N:C ratio, chromasia, membrane, nucleoli,
grooves, inclusions, halos, vacuoles) is a number here, so that relevance between two phantoms is known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from generation.phantom.canvas import Canvas


@dataclass(frozen=True)
class CellType:
    """One kind of cell. Lengths in µm; `nc` is nuclear over cell diameter; densities are relative to a normal cell."""

    nucleus: float  # nuclear diameter
    nc: float  # nuclear diameter / cell diameter; 1 is a bare nucleus
    spread: float = 0.10  # standard deviation of the sizes, as a fraction (pleomorphism)
    chromasia: float = 1.0  # nuclear density
    chromatin: str = "fine"  # fine | coarse | speckled | glassy | smudged
    elongation: float = 1.15  # nuclear length over width
    irregularity: float = 0.04  # waves of the nuclear membrane
    nucleoli: float = 0.0  # mean number
    nucleolus: float = 1.4  # their diameter
    groove: float = 0.0  # share of nuclei with a longitudinal groove
    inclusion: float = 0.0  # share with an intranuclear pseudoinclusion
    lobes: int = 1  # segments (neutrophils)
    indent: float = 0.0  # depth of a notch in the nucleus (monocytes)
    binucleate: float = 0.0
    cytoplasm: str = "blue-green"
    depth: float = 0.5  # cytoplasmic density
    shape: str = "round"  # round | polygonal | columnar | spindle | tadpole
    texture: float = 0.12  # unevenness of the cytoplasm
    off_centre: float = 0.1  # displacement of the nucleus, as a fraction of the cell's radius
    halo: float = 0.0  # share of cells with a perinuclear clearing and a thick rim (koilocytes)
    vacuoles: float = 0.0  # mean number
    vacuole: float = 3.0  # their diameter
    cilia: bool = False
    coated: bool = False  # covered by coccobacilli (clue cells)
    granules: float = 0.0  # dust-like granules, per cell
    granule: str = "chromatin"  # what these are made of
    blebs: float = 0.0  # mean number of buds at the border

    @property
    def diameter(self) -> float:
        """Mean cell diameter in µm."""
        return self.nucleus / self.nc


_EPITHELIUM = CellType(8.0, 0.62, cytoplasm="blue-green", depth=0.45)
_LYMPHOID = CellType(7.2, 0.86, chromasia=1.35, chromatin="coarse", cytoplasm="basophilic", depth=0.4)

CELLS: dict[str, CellType] = {
    # squamous
    "superficial": CellType(5.5, 0.12, chromasia=1.6, chromatin="smudged", cytoplasm="pink", depth=0.5,
                            shape="polygonal", texture=0.08),
    "intermediate": CellType(8.0, 0.19, cytoplasm="blue-green", depth=0.45, shape="polygonal", texture=0.10),
    "clue": CellType(8.0, 0.2, cytoplasm="blue-green", depth=0.4, shape="polygonal", coated=True),
    "asc-us": CellType(12.5, 0.30, chromasia=1.25, irregularity=0.06, cytoplasm="blue-green", depth=0.5,
                       shape="polygonal", spread=0.12, binucleate=0.15),
    "koilocyte": CellType(13.0, 0.33, chromasia=1.45, chromatin="smudged", irregularity=0.10, cytoplasm="blue-green",
                          depth=0.75, shape="polygonal", halo=0.9, binucleate=0.4, spread=0.14),
    "immature metaplastic": CellType(10.0, 0.55, chromasia=1.3, irregularity=0.08, cytoplasm="blue-green", depth=0.75,
                                     spread=0.12),
    "asc-h": CellType(10.5, 0.70, chromasia=1.5, chromatin="coarse", irregularity=0.10, cytoplasm="blue-green",
                      depth=0.7, spread=0.12),
    "hsil": CellType(12.0, 0.84, chromasia=1.85, chromatin="coarse", irregularity=0.16, elongation=1.3,
                     cytoplasm="blue-green", depth=0.6, spread=0.16),
    "keratinised": CellType(9.0, 0.42, chromasia=2.3, chromatin="smudged", irregularity=0.22, elongation=1.9,
                            cytoplasm="keratin", depth=0.95, shape="spindle", spread=0.3),
    "tadpole": CellType(10.0, 0.44, chromasia=2.3, chromatin="smudged", irregularity=0.25, elongation=1.5,
                        cytoplasm="keratin", depth=0.95, shape="tadpole", spread=0.3),
    "squamous carcinoma": CellType(14.0, 0.62, chromasia=2.0, chromatin="coarse", irregularity=0.22, nucleoli=0.8,
                                   nucleolus=2.2, cytoplasm="blue-green", depth=0.7, spread=0.28),
    # glandular
    "endocervical atypical": CellType(10.5, 0.74, chromasia=1.6, chromatin="coarse", elongation=1.9, irregularity=0.06,
                                      shape="columnar", depth=0.45, nucleoli=0.3),
    "bronchial": CellType(8.0, 0.50, elongation=1.4, shape="columnar", cytoplasm="blue-green", depth=0.55, cilia=True),
    "bronchial atypical": CellType(10.5, 0.62, chromasia=1.35, elongation=1.3, shape="columnar", depth=0.55,
                                   nucleoli=0.8, irregularity=0.07, spread=0.18),
    "follicular": CellType(6.8, 0.64, chromasia=1.15, cytoplasm="pale", depth=0.5, spread=0.06, elongation=1.05),
    "follicular crowded": CellType(8.2, 0.74, chromasia=1.45, chromatin="coarse", cytoplasm="pale", depth=0.55,
                                   spread=0.1),
    "follicular aus": CellType(8.2, 0.66, chromasia=1.15, cytoplasm="pale", depth=0.5, spread=0.12, groove=0.05,
                               irregularity=0.06),
    "papillary": CellType(11.5, 0.74, chromasia=0.75, chromatin="glassy", elongation=1.45, irregularity=0.10,
                          cytoplasm="granular", depth=0.5, groove=0.65, inclusion=0.28, nucleoli=0.5, nucleolus=1.1),
    "papillary suspect": CellType(10.0, 0.72, chromasia=0.95, chromatin="glassy", elongation=1.3, irregularity=0.08,
                                  cytoplasm="granular", depth=0.5, groove=0.35, inclusion=0.03),
    "oncocyte": CellType(8.0, 0.42, nucleoli=1.0, nucleolus=1.8, cytoplasm="granular", depth=0.95, texture=0.28,
                         shape="polygonal"),
    "ductal benign": CellType(7.4, 0.68, chromasia=1.1, cytoplasm="pale", depth=0.55, spread=0.06, elongation=1.1),
    "ductal atypical": CellType(9.0, 0.70, chromasia=1.3, irregularity=0.07, cytoplasm="pale", depth=0.6, spread=0.14,
                                nucleoli=0.5),
    "ductal suspicious": CellType(10.5, 0.72, chromasia=1.5, chromatin="coarse", irregularity=0.11, cytoplasm="pale",
                                  depth=0.65, spread=0.2, nucleoli=0.7),
    "ductal carcinoma": CellType(12.5, 0.66, chromasia=1.7, chromatin="coarse", irregularity=0.14, off_centre=0.42,
                                 cytoplasm="granular", depth=0.65, spread=0.24, nucleoli=1.0, nucleolus=2.2),
    "bipolar nucleus": CellType(6.0, 1.0, chromasia=1.7, chromatin="smudged", elongation=1.9),
    "adenocarcinoma": CellType(13.0, 0.64, chromasia=1.55, chromatin="coarse", irregularity=0.12, off_centre=0.3,
                               cytoplasm="blue-green", depth=0.55, spread=0.2, nucleoli=1.3, nucleolus=2.6,
                               vacuoles=0.9, vacuole=5.0),
    "adenocarcinoma suspect": CellType(11.5, 0.64, chromasia=1.4, irregularity=0.09, cytoplasm="blue-green",
                                       depth=0.55, spread=0.16, nucleoli=0.8, nucleolus=2.0, vacuoles=0.4, vacuole=4.0),
    "mesothelial": CellType(8.5, 0.48, cytoplasm="basophilic", depth=0.75, nucleoli=0.6, binucleate=0.15),
    "mesothelial atypical": CellType(11.0, 0.55, chromasia=1.3, irregularity=0.07, cytoplasm="basophilic", depth=0.75,
                                     nucleoli=0.9, nucleolus=1.8, binucleate=0.3, spread=0.16),
    # urothelial
    "umbrella": CellType(9.0, 0.27, cytoplasm="blue-green", depth=0.5, texture=0.22, binucleate=0.4, nucleoli=0.5),
    "urothelial": CellType(7.5, 0.45, cytoplasm="blue-green", depth=0.6, texture=0.18),
    "urothelial atypical": CellType(10.0, 0.58, chromasia=1.25, irregularity=0.07, cytoplasm="blue-green", depth=0.55),
    "urothelial suspicious": CellType(11.5, 0.74, chromasia=1.75, chromatin="coarse", irregularity=0.15,
                                      cytoplasm="blue-green", depth=0.55, spread=0.14),
    "urothelial carcinoma": CellType(13.0, 0.80, chromasia=2.1, chromatin="coarse", irregularity=0.22, elongation=1.25,
                                     cytoplasm="blue-green", depth=0.6, spread=0.24, nucleoli=0.4, off_centre=0.25),
    # small round and basaloid
    "small cell": CellType(9.0, 0.95, chromasia=1.9, chromatin="speckled", elongation=1.3, irregularity=0.10,
                           cytoplasm="basophilic", depth=0.3, spread=0.14),
    "basaloid": CellType(7.6, 0.86, chromasia=1.55, elongation=1.2, cytoplasm="basophilic", depth=0.4, spread=0.08),
    "myoepithelial": CellType(7.2, 0.52, chromasia=1.1, off_centre=0.45, elongation=1.2, cytoplasm="basophilic",
                              depth=0.55, spread=0.1),
    "acinar": CellType(6.4, 0.40, off_centre=0.4, cytoplasm="granular", depth=0.8, texture=0.4, vacuoles=3.0,
                       vacuole=2.0),
    "mucous": CellType(8.5, 0.36, off_centre=0.55, chromasia=1.3, cytoplasm="mucin", depth=0.7, vacuoles=1.0,
                       vacuole=9.0, spread=0.18),
    "salivary carcinoma": CellType(13.5, 0.66, chromasia=1.8, chromatin="coarse", irregularity=0.18, nucleoli=1.2,
                                   nucleolus=2.4, cytoplasm="granular", depth=0.7, spread=0.26),
    # blood, lymphoid and the rest of the background
    "lymphocyte": _LYMPHOID,
    "centroblast": replace(_LYMPHOID, nucleus=11.5, nc=0.80, chromasia=1.05, chromatin="fine", nucleoli=2.0,
                           nucleolus=1.4, depth=0.75),
    "centrocyte": replace(_LYMPHOID, nucleus=8.6, irregularity=0.12, chromasia=1.2),
    "lymphoma": replace(_LYMPHOID, nucleus=13.5, nc=0.84, chromasia=1.2, chromatin="coarse", nucleoli=1.8,
                        nucleolus=1.8, irregularity=0.13, depth=0.85, spread=0.1),
    "atypical lymphoid": replace(_LYMPHOID, nucleus=10.0, chromasia=1.3, irregularity=0.10, nucleoli=0.6),
    "neutrophil": CellType(5.4, 0.45, chromasia=1.7, chromatin="smudged", lobes=3, cytoplasm="pale", depth=0.25),
    "leukocyte": CellType(9.0, 0.64, chromasia=1.5, chromatin="smudged", lobes=4, elongation=1.5, cytoplasm="neutral",
                          depth=0.75, texture=0.3, spread=0.07, off_centre=0.0),
    "eosinophil": CellType(9.4, 0.64, chromasia=1.4, chromatin="smudged", lobes=2, cytoplasm="neutral", depth=0.6,
                           granules=75.0, granule="eosinophil", spread=0.06, off_centre=0.0),
    "monocyte": CellType(11.5, 0.68, chromasia=1.15, chromatin="coarse", elongation=1.35, indent=0.45,
                         cytoplasm="basophilic", depth=0.5, vacuoles=1.5, vacuole=1.2, spread=0.1),
    "reactive lymphocyte": CellType(10.5, 0.60, chromasia=1.3, chromatin="coarse", irregularity=0.08, off_centre=0.35,
                                    cytoplasm="basophilic", depth=0.6, texture=0.25, spread=0.12),
    "blast": CellType(14.0, 0.84, chromasia=1.15, nucleoli=2.0, nucleolus=2.2, irregularity=0.07, indent=0.12,
                      cytoplasm="basophilic", depth=0.8, spread=0.12),
    "smudge cell": CellType(13.0, 1.0, chromasia=0.7, chromatin="smudged", irregularity=0.35, spread=0.2),
    "fluid carcinoma": CellType(12.0, 0.68, chromasia=1.5, chromatin="coarse", irregularity=0.08, off_centre=0.15,
                                elongation=1.1, nucleoli=0.7, nucleolus=2.2, cytoplasm="basophilic", depth=0.9,
                                texture=0.3, spread=0.13, blebs=9.0, vacuoles=0.7, vacuole=2.4),
    "macrophage": CellType(8.0, 0.34, cytoplasm="pale", depth=0.75, texture=0.35, off_centre=0.4, vacuoles=5.0,
                           vacuole=2.6, elongation=1.35),
    "dust macrophage": CellType(8.0, 0.38, cytoplasm="pale", depth=0.7, texture=0.3, off_centre=0.35, granules=22.0,
                                vacuoles=2.0, vacuole=2.0),
    "tingible macrophage": CellType(9.0, 0.36, cytoplasm="pale", depth=0.6, texture=0.3, off_centre=0.3, granules=7.0,
                                    vacuoles=4.0, vacuole=3.6),
}  # fmt: skip


def render_cell(canvas: Canvas, x: float, y: float, kind: CellType, *, angle: float | None = None) -> None:
    """Draw one cell of `kind` centred at (x, y) µm. `angle` is the long axis; None leaves it to chance."""
    rng = canvas.rng
    angle = rng.uniform(0, np.pi) if angle is None else angle
    size = float(np.clip(rng.normal(1.0, kind.spread), 0.55, 1.9))
    nucleus = kind.nucleus / 2 * size
    cell = nucleus / kind.nc * float(np.clip(rng.normal(1.0, 0.08), 0.8, 1.25))
    koilocytic = rng.random() < kind.halo
    shift = kind.off_centre * max(cell - nucleus, 0.0) * rng.uniform(0.6, 1.2)
    turn = angle if kind.shape in ("columnar", "tadpole") else rng.uniform(0, 2 * np.pi)
    nx, ny = x + shift * np.cos(turn), y + shift * np.sin(turn)
    if kind.nc < 1.0:
        _render_cytoplasm(canvas, x, y, cell, kind, angle, koilocytic)
        if koilocytic:
            halo = canvas.outline(nx, ny, nucleus * 1.7, irregularity=0.12, softness=1.2)
            canvas.clear(halo, halo.mask * 0.85)
    nuclear_angle = angle if kind.shape in ("columnar", "spindle", "tadpole") else rng.uniform(0, np.pi)
    if kind.lobes > 1:
        far, radius, step = (0.66, 0.62, 2.2) if kind.lobes < 4 else (0.76, 0.45, 1.35)
        for lobe in range(kind.lobes):
            at = turn + (lobe + rng.uniform(-0.15, 0.15)) * step
            _render_nucleus(canvas, nx + nucleus * far * np.cos(at), ny + nucleus * far * np.sin(at),
                            nucleus * radius * rng.uniform(0.85, 1.15), kind, at + np.pi / 2)  # fmt: skip
    elif rng.random() < kind.binucleate:
        for side in (-0.62, 0.62):
            along = side * nucleus * 1.5
            _render_nucleus(canvas, nx + along * np.cos(angle), ny + along * np.sin(angle),
                            nucleus * 0.86, kind, nuclear_angle)  # fmt: skip
    else:
        _render_nucleus(canvas, nx, ny, nucleus, kind, nuclear_angle)


def _render_cytoplasm(
    canvas: Canvas, x: float, y: float, cell: float, kind: CellType, angle: float, koilocytic: bool
) -> None:
    rng = canvas.rng
    aspect = {"columnar": 2.0, "spindle": 4.0, "tadpole": 2.6}.get(kind.shape, rng.uniform(1.0, 1.25))
    body = canvas.outline(
        x, y, cell, aspect=aspect, angle=angle,
        irregularity=0.06 if kind.shape != "polygonal" else 0.08,
        corners=int(rng.integers(5, 8)) if kind.shape == "polygonal" else 0,
        taper=0.75 if kind.shape == "tadpole" else (0.25 if kind.shape == "columnar" else 0.0),
    )  # fmt: skip
    depth = kind.depth * rng.uniform(0.8, 1.2)
    amount = body.mask * depth * (1.0 + kind.texture * canvas.texture(body, 1))
    amount *= 1.0 + 0.25 * (body.radius > 0.86) * (kind.shape != "polygonal")
    if koilocytic:
        amount *= 1.0 + 0.9 * np.clip((body.radius - 0.55) * 3.0, 0.0, 1.0)  # the condensed rim round the halo
    if kind.shape == "polygonal" and rng.random() < 0.5:  # a fold across a thin cell
        amount += body.mask * 0.22 * np.exp(-((body.across - rng.uniform(-0.4, 0.4) * cell) ** 2) / 1.5)
    canvas.absorb(body, amount, kind.cytoplasm)
    for _ in range(rng.poisson(kind.vacuoles)):
        at, far = rng.uniform(0, 2 * np.pi), cell * rng.uniform(0.2, 0.75)
        hole = canvas.outline(
            x + far * np.cos(at), y + far * np.sin(at), kind.vacuole / 2 * rng.uniform(0.6, 1.3), softness=0.8
        )
        canvas.clear(hole, hole.mask * 0.7)
    for _ in range(rng.poisson(kind.blebs)):
        at = rng.uniform(0, 2 * np.pi)
        bud = canvas.outline(x + cell * np.cos(at), y + cell * np.sin(at), rng.uniform(0.5, 1.3), softness=0.6)
        canvas.absorb(bud, bud.mask * depth * 0.7, kind.cytoplasm)
    if kind.cilia:
        end = cell * np.sqrt(aspect) * 0.93
        brush = canvas.outline(
            x - end * np.cos(angle),
            y - end * np.sin(angle),
            cell * 0.42,
            aspect=0.3,
            angle=angle,
            softness=1.4,
        )
        stripes = 0.6 + 0.4 * np.cos(brush.across * 5.0)
        canvas.absorb(brush, brush.mask * 0.8 * stripes, "pink")
    if kind.coated:
        for _ in range(int(cell * 5)):
            at, far = rng.uniform(0, 2 * np.pi), cell * np.sqrt(rng.uniform(0, 1.15))
            rod = canvas.outline(x + far * np.cos(at), y + far * np.sin(at), 0.55, aspect=1.4, angle=at, softness=0.5)
            canvas.absorb(rod, rod.mask * 1.1, "bacteria")
    for _ in range(rng.poisson(kind.granules)):
        at, far = rng.uniform(0, 2 * np.pi), cell * rng.uniform(0.1, 0.85)
        dust = canvas.outline(x + far * np.cos(at), y + far * np.sin(at), rng.uniform(0.5, 1.1), softness=0.5)
        canvas.absorb(dust, dust.mask * 1.4, kind.granule)


def _render_nucleus(canvas: Canvas, x: float, y: float, radius: float, kind: CellType, angle: float) -> None:
    rng = canvas.rng
    body = canvas.outline(
        x, y, radius, aspect=kind.elongation * rng.uniform(0.93, 1.1), angle=angle,
        irregularity=kind.irregularity * rng.uniform(0.6, 1.5), indent=kind.indent, softness=0.5,
    )  # fmt: skip
    amount = body.mask * kind.chromasia * rng.uniform(0.88, 1.12)
    rim = np.exp(-(((body.radius - 0.93) / 0.10) ** 2))
    if kind.chromatin == "fine":
        amount *= 1.0 + 0.16 * canvas.texture(body, 0) + 0.15 * rim
    elif kind.chromatin == "coarse":
        amount *= 1.0 + 0.30 * canvas.texture(body, 1) + 0.25 * rim
    elif kind.chromatin == "speckled":
        amount *= 1.0 + 0.32 * canvas.texture(body, 0)
    elif kind.chromatin == "glassy":  # ground-glass: pale centre, chromatin at the membrane
        amount *= 0.72 + 0.07 * canvas.texture(body, 0) + 0.75 * rim
    else:  # smudged
        amount *= 1.05 + 0.08 * canvas.texture(body, 2)
    if rng.random() < kind.groove:
        line = np.exp(-((body.across / (0.09 * radius + 0.25)) ** 2)) * (np.abs(body.along) < radius * 1.0)
        amount += body.mask * line * 0.75
    canvas.absorb(body, amount, "chromatin")
    if rng.random() < kind.inclusion:
        hole = canvas.outline(
            x + rng.uniform(-0.2, 0.2) * radius,
            y + rng.uniform(-0.2, 0.2) * radius,
            radius * 0.48,
            softness=0.5,
        )
        canvas.clear(hole, hole.mask * 0.72)
        canvas.absorb(hole, np.exp(-(((hole.radius - 1.0) / 0.14) ** 2)) * 0.9, "chromatin")
    for _ in range(rng.poisson(kind.nucleoli)):
        at, far = rng.uniform(0, 2 * np.pi), radius * rng.uniform(0.0, 0.5)
        spot = canvas.outline(
            x + far * np.cos(at),
            y + far * np.sin(at),
            kind.nucleolus / 2 * rng.uniform(0.8, 1.25),
            softness=0.5,
        )
        canvas.absorb(spot, spot.mask * 1.1, "nucleolus")
