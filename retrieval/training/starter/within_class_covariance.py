"""Within-class covariance normalisation of a trained image tower, where a class is one image under several stains.

The projection is followed by one more matrix, which is merged into it: directions in which restained copies of the same
image differ are shortened (Hatch, Kajarekar and Stolcke, Interspeech 2006).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from retrieval.training.image_augmentation import restain

if TYPE_CHECKING:
    import torch

COPIES = 4
STRENGTH = 1.0
"""A direction of mean variance is shortened by the square root of 1 + this."""


def reduce_stain_variance(
    visual: Any, images: Iterable[torch.Tensor], generator: torch.Generator, strength: float = STRENGTH
) -> None:
    """Change the last layer of an image tower in place.

    Args:
        visual: the image tower; `visual.trunk.get_classifier()` is its last layer.
        images: batches float32[n, 3, h, w] in 0…1; each image is embedded unchanged and in COPIES other stains.
        generator: random numbers for the stains, on the images' device.
        strength: see STRENGTH.
    """
    import torch
    import torch.nn.functional as F

    visual.eval()
    scatter, count = torch.zeros((), device=generator.device), 0
    with torch.no_grad():
        for batch in images:
            views = [batch, *(restain(batch, generator) for _ in range(COPIES))]
            rows = torch.stack([F.normalize(visual((view - 0.5) / 0.5), dim=-1) for view in views])
            deviations = (rows - rows.mean(0)).flatten(0, 1)
            scatter, count = scatter + deviations.T @ deviations, count + len(deviations)
        variance, directions = torch.linalg.eigh(scatter / count)
        variance = variance.clamp(min=0) / variance.clamp(min=0).mean()
        shortening = directions @ torch.diag((1 + strength * variance) ** -0.5) @ directions.T
        last = visual.trunk.get_classifier()
        last.weight.copy_(shortening @ last.weight)
        last.bias.copy_(shortening @ last.bias)
