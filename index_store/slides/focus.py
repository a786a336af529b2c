"""How sharp a field is at the level at which it is read."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from index_store.slides.ground import STAINED, STEPS, Ground

UM: Final = 0.5
"""µm a pixel at which it is measured; finer fields are averaged first."""


def sharpness(pixels: NDArray[np.uint8], ground: Ground, um: float) -> float:
    """Fine over coarse contrast of uint8[h, w, 3], RGB, of `um` µm a pixel: about 0.1 when blurred, 0.4 when sharp.

    Fine is what differs within 2.5 µm, coarse within 6.5 µm, in light and where something is stained. Blur takes away
    the first before the second, whatever the stain and however many cells there are. What fine contrast the calmest
    parts show is noise, and is subtracted.
    """
    shrink = max(1, round(UM / um))
    seen = np.asarray(Image.fromarray(pixels).reduce(shrink)) if shrink > 1 else pixels
    grey = seen @ np.array([0.30, 0.59, 0.11], np.float32)
    near, around = ndimage.uniform_filter(grey, 3), ndimage.uniform_filter(grey, 5)
    wide = ndimage.uniform_filter(grey, 13)
    stained = ndimage.uniform_filter(ground.densities(seen).most, 9) > STAINED * STEPS
    if not stained.any():
        return 0.0
    fine, coarse = (near - around) ** 2, (around - wide) ** 2
    noise = float(np.quantile(ndimage.uniform_filter(fine, 15), 0.05))
    top = max(float(fine[stained].mean()) - noise, 0.0)
    return float(np.sqrt(top / max(float(coarse[stained].mean()), 1e-6)))
