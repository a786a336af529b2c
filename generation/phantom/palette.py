"""Stains as absorption: what each substance of a smear takes out of white light.

A field is composed in optical density (Beer-Lambert: densities add, light multiplies), so that overlapping nuclei
darken and a thin cytoplasm lets the cell below show through, as they do under a microscope. The colours are the
appearance of one unit of density, chosen by eye beside real Papanicolaou, May-Grünwald-Giemsa and H&E material.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PAPANICOLAOU = "Papanicolaou"
GIEMSA = "May-Grünwald-Giemsa"
HAEMATOXYLIN_EOSIN = "H&E"

Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class Stain:
    """One staining method: the slide's own colour, and the colour of one density unit of each substance (0-255)."""

    name: str
    slide: Rgb
    colours: dict[str, Rgb]

    def density(self, substance: str) -> NDArray[np.float32]:
        """Absorption of one unit of `substance`: float32[3], natural logarithm, red-green-blue."""
        return (-np.log((np.asarray(self.colours[substance], np.float32) + 1.0) / 256.0)).astype(np.float32)


STAINS: dict[str, Stain] = {
    stain.name: stain
    for stain in (
        Stain(
            PAPANICOLAOU,
            slide=(240, 243, 239),
            colours={
                "chromatin": (104, 86, 140),
                "nucleolus": (96, 40, 70),
                "blue-green": (140, 198, 200),  # cyanophilic cytoplasm: light green / fast green
                "pink": (232, 164, 158),  # eosinophilic cytoplasm of superficial cells
                "keratin": (243, 150, 62),  # orange G
                "pale": (204, 218, 216),
                "granular": (196, 170, 150),
                "basophilic": (132, 172, 186),
                "erythrocyte": (222, 140, 104),
                "colloid": (226, 178, 160),
                "mucin": (204, 202, 216),
                "matrix": (150, 188, 186),
                "debris": (150, 140, 150),
                "bacteria": (92, 88, 138),
                "eosinophil": (222, 120, 92),
                "neutral": (214, 196, 206),
            },
        ),
        Stain(
            GIEMSA,
            slide=(238, 231, 238),
            colours={
                "chromatin": (128, 72, 158),
                "nucleolus": (60, 60, 160),
                "blue-green": (176, 186, 224),
                "pink": (196, 190, 222),
                "keratin": (96, 156, 218),  # keratin is sky blue in Romanowsky stains
                "pale": (212, 212, 232),
                "granular": (176, 160, 206),
                "basophilic": (126, 138, 206),
                "erythrocyte": (214, 172, 166),
                "colloid": (156, 140, 208),
                "mucin": (206, 160, 206),
                "matrix": (212, 62, 158),  # metachromatic: chondromyxoid and basement-membrane matrix
                "debris": (160, 140, 180),
                "bacteria": (80, 60, 150),
                "eosinophil": (246, 184, 156),
                "neutral": (208, 172, 206),
            },
        ),
        Stain(
            HAEMATOXYLIN_EOSIN,
            slide=(246, 241, 245),
            colours={
                "chromatin": (112, 88, 158),
                "nucleolus": (130, 40, 110),
                "blue-green": (232, 176, 204),
                "pink": (238, 158, 186),
                "keratin": (230, 108, 142),
                "pale": (240, 212, 226),
                "granular": (230, 150, 170),
                "basophilic": (206, 158, 204),
                "erythrocyte": (226, 96, 88),
                "colloid": (238, 146, 172),
                "mucin": (214, 196, 226),
                "matrix": (204, 176, 220),
                "debris": (190, 150, 176),
                "bacteria": (96, 80, 150),
                "eosinophil": (222, 80, 76),
                "neutral": (226, 190, 214),
            },
        ),
    )
}
