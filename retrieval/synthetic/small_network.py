"""A small convolutional network trained from scratch on thumbnails: a classifier that depends on no encoder.

Four strided convolutions with group normalisation (169,000 weights), mean pooling, and a linear layer. Every training
takes the same number of steps whatever the number of images, and samples every class equally often, so that two
trainings differ in their images alone. Images are turned, mirrored and recoloured at random: without that, a network
learns one laboratory's stain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from retrieval.arrays import Floats, Ints, Vectors
from retrieval.encoder.thumbnails import SIDE

if TYPE_CHECKING:
    import torch


STEPS: Final = 150
BATCH: Final = 64
RATE: Final = 3e-3
WIDTHS: Final = (16, 32, 64, 64)
GAIN: Final = 0.15
"""Standard deviation of the random factors of each colour and of the brightness."""


@dataclass(frozen=True, eq=False)
class SmallNetwork:
    """A trained network of the classes `present`, of `categories` in all."""

    network: Any
    present: Ints
    categories: int

    def probabilities(self, vectors: Vectors) -> Floats:
        """Class probabilities float64[n, categories] of thumbnails float32[n, 3 × SIDE × SIDE]; 0 for classes that were
        not trained on."""
        import torch

        result = np.zeros((len(vectors), self.categories))
        with torch.inference_mode():
            for start in range(0, len(vectors), BATCH):
                scores = self.network(_pictures(vectors[start : start + BATCH]))
                result[start : start + BATCH, self.present] = torch.softmax(scores.double(), dim=1).numpy()
        return result


def train_network(
    vectors: Vectors, classes: Ints, groups: Ints, categories: int, *, seed: int = 0, steps: int = STEPS
) -> SmallNetwork:
    """Train a network, with the same arguments as `linear_probe.train_probe`.

    Args:
        vectors: thumbnails, float32[n, 3 × SIDE × SIDE].
        classes: int[n], from 0 to `categories` - 1.
        groups: int[n]; not used, since nothing is chosen by cross-validation.
        categories: number of classes, trained on or not.
        seed: the same seed gives the same network on the same machine.

    Raises:
        ValueError: there are no images.
    """
    import torch

    if not len(vectors):
        raise ValueError("There are no images to train on.")
    present, labels = np.unique(classes, return_inverse=True)
    weights = 1.0 / np.bincount(labels)[labels]
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network(len(present))
        optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
        for _ in range(steps):
            batch = rng.choice(len(vectors), BATCH, p=weights / weights.sum())
            scores = network(_varied(_pictures(vectors[batch]), rng))
            loss = torch.nn.functional.cross_entropy(scores, torch.from_numpy(labels[batch]), label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    network.eval()
    return SmallNetwork(network, present, categories)


def _network(classes: int) -> Any:
    from torch import nn

    layers: list[Any] = []
    before = 3
    for width in WIDTHS:
        layers += [nn.Conv2d(before, width, 5, 2, padding=2), nn.GroupNorm(8, width), nn.ReLU()]
        before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))


def _pictures(vectors: Vectors) -> torch.Tensor:
    """Images float32[n, 3, SIDE, SIDE] in [-1, 1] of thumbnails float32[n, 3 × SIDE × SIDE]."""
    import torch

    rows = np.ascontiguousarray(vectors.reshape(-1, SIDE, SIDE, 3).transpose(0, 3, 1, 2))
    return torch.from_numpy(rows) * 2 - 1


def _varied(pictures: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Augmented images: turned and mirrored (each quarter of a batch in one way), and each image recoloured."""
    import torch

    parts = []
    for part in pictures.chunk(4):
        turned = torch.rot90(part, int(rng.integers(4)), dims=(2, 3))
        parts.append(turned.flip(3) if rng.random() < 0.5 else turned)
    gains = 1 + GAIN * rng.standard_normal((len(pictures), 4)).clip(-2, 2).astype(np.float32)
    colour = torch.from_numpy(gains[:, :3] * gains[:, 3:])[:, :, None, None]
    return ((torch.cat(parts) + 1) * colour - 1).clamp(-1, 1)
