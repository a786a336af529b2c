"""The read-out of a trained image tower's stages: the directions in which images of the training differ most."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from generation.atomic_write import write_atomic
from retrieval.encoder.formats.stage_readout import READOUT, stage_rows

STAGES: Final = (1, 2, 3, 4)
"""All but the first, in which the stain is most of what differs (`benchmarks.transfer`)."""
SHARE: Final = 0.85
"""Of `benchmarks.transfer`: cells of the cervix, in a training without them."""
DIRECTIONS: Final = 192
IMAGES: Final = 1_000
AT_ONCE: Final = 64


def write_stage_readout(folder: Path, sources: Sequence[NDArray[np.uint8]], *, share: float = SHARE) -> None:
    """Fit the read-out of the CLIP `folder` and write it there.

    The projection is onto the first right singular vectors of the rows, which keeps the inner products of two images as
    nearly as so many numbers can.

    Args:
        sources: images uint8[n, h, w, 3] of the training, of each source up to IMAGES, spread evenly; together at least
            DIRECTIONS.
        share: the stages' part of a similarity.
    """
    import torch
    from safetensors.torch import save

    from retrieval.training.starter.clip import new_clip

    visual = new_clip(folder, start_from=folder)[0].visual.eval()
    chosen = np.concatenate([images[:: max(1, len(images) // IMAGES)] for images in sources])
    with torch.inference_mode():
        pixels = torch.from_numpy(chosen).permute(0, 3, 1, 2)
        rows = [stage_rows(visual, batch / 127.5 - 1, STAGES)[1] for batch in pixels.split(AT_ONCE)]
        directions = torch.linalg.svd(torch.cat(rows), full_matrices=False).Vh[:DIRECTIONS].T
    described = {"stages": " ".join(map(str, STAGES)), "share": f"{share:g}"}
    write_atomic(folder / READOUT, save({"projection": directions.half().contiguous()}, described))
