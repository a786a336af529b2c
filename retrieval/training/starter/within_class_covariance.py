"""Making an image tower look less at what a laboratory's stain moves, when its training is done.

The projection is followed by one more matrix, which is merged into it: directions in which restained copies of the same
image differ are made shorter (within-class covariance normalisation, Hatch, Kajarekar and Stolcke, Interspeech 2006,
where a class is one image).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from retrieval.training.image_augmentation import restain

if TYPE_CHECKING:
    import torch

COPIES = 4
STRENGTH = 1.0
"""A direction as much moved as the mean one is made shorter by the square root of 1 + this."""


def steady(visual: Any, images: Iterable[torch.Tensor], generator: torch.Generator, strength: float = STRENGTH) -> None:
    """Change the last layer of an image tower by what `images` say, batches float32[n, 3, h, w] in 0…1, each seen as it
    is and in COPIES other stains. `generator` is of the images' device."""
    import torch
    import torch.nn.functional as F

    visual.eval()
    apart, count = torch.zeros((), device=generator.device), 0
    with torch.no_grad():
        for batch in images:
            views = [batch, *(restain(batch, generator) for _ in range(COPIES))]
            seen = torch.stack([F.normalize(visual((view - 0.5) / 0.5), dim=-1) for view in views])
            moved = (seen - seen.mean(0)).flatten(0, 1)
            apart, count = apart + moved.T @ moved, count + len(moved)
        amount, directions = torch.linalg.eigh(apart / count)
        amount = amount.clamp(min=0) / amount.clamp(min=0).mean()
        shorter = directions @ torch.diag((1 + strength * amount) ** -0.5) @ directions.T
        last = visual.trunk.get_classifier()
        last.weight.copy_(shorter @ last.weight)
        last.bias.copy_(shorter @ last.bias)
