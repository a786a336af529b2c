"""Training the starter's image tower against a frozen text tower (Zhai et al. 2022, arXiv:2111.07991).

A batch holds two augmented views of every image. Three losses are added: image against image (the other view of the
same image, and the same finding in other patients: supervised contrast, Khosla et al. 2020, arXiv:2004.11362); image
against report (every report of the same statement is a match, since phantoms of one finding are interchangeable);
and image against learned prototypes of the findings, which are discarded at the end. The moving average of the weights
is saved, after its variance under other stains was reduced (`within_class_covariance`).

A fourth loss was tried and left out: that a restained view keep the nearest neighbours of its image (relations between
instances, Zheng et al. 2021, arXiv:2107.09282). In trials of 300 steps on two divisions of the patients, cells under
another stain kept .71 to .72 of their first ten with it and .70 without, and phantoms were found .02 to .06 less well.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from generation.training.run_settings import decayed_rate
from retrieval.training.image_augmentation import two_views
from retrieval.training.losses import finding_loss, move_average, pair_loss, report_loss
from retrieval.training.starter.clip import EMBED_DIM, new_clip, save_clip
from retrieval.training.starter.cuda_graph import Recorded
from retrieval.training.starter.sampler import Pairs, PairSampler, text_embedder
from retrieval.training.starter.within_class_covariance import reduce_stain_variance

if TYPE_CHECKING:
    import torch

LOSSES = ("pairs", "reports", "findings")
PROTOTYPE_SCALE = 16.0
"""Inverse temperature of image against prototype."""
MOST_REPORT_SCALE = 50
FROZEN_STAGES = 5
"""Stages of the trunk that are frozen, as is the stem: edges and colours are what ImageNet taught them, and a step
without them takes half the time."""
DROP_PATH = 0.1
WEIGHT_DECAY = 0.05
AVERAGE_DECAY = 0.998
WINDOW_PX = 96
"""Most steps see windows of this edge, which takes half the time; the last ones whole images, as the encoder will."""
WINDOW_SHARE = 0.75
"""Share of the steps that see windows."""
LOGGED_EVERY = 25
STAIN_BATCHES = 12
"""Batches by which the variance under other stains is measured."""


def train_image_tower(sources: Sequence[tuple[Pairs, int]], text_tower: Path, folder: Path, **options: Any) -> None:
    """Take all steps of `image_tower_steps`."""
    for _ in image_tower_steps(sources, text_tower, folder, **options):
        pass


def image_tower_steps(
    sources: Sequence[tuple[Pairs, int]],
    text_tower: Path,
    folder: Path,
    *,
    steps: int,
    start_from: Path | None = None,
    learning_rate: float = 1.5e-3,
    seed: int = 0,
    device: str = "cpu",
    log: Callable[[str], None] = lambda line: None,
) -> Iterator[None]:
    """Train in `steps` steps, one whenever the iterator is advanced, and save `folder`, a CLIP.

    A seed gives the same weights on the same machine; bit for bit on a CPU.

    Args:
        sources: pairs, each with the number of its images in every batch. On `device` "cuda" all images must fit into
            its memory.
        text_tower: the CLIP folder whose text tower and vocabulary are taken over, unchanged.
        folder: written as open_clip reads it, with fp16 safetensors.
        start_from: the CLIP folder whose image tower is trained further, except for its first stages; None trains a
            new one, whole.
    """
    training = _Training(sources, text_tower, start_from, learning_rate, seed, device)
    whole = max(pairs.images.shape[1] for pairs, _ in sources)
    windows, wholes = (
        Recorded(functools.partial(training.learn, size), device, training.generator)
        for size in (min(WINDOW_PX, whole), whole)
    )
    for step in range(steps):
        training.begin_step(step, steps)
        (windows if step < WINDOW_SHARE * steps else wholes)()
        yield
        if (step + 1) % LOGGED_EVERY == 0:
            log(f"image tower step {step + 1} of {steps} {training.describe_losses(step + 1)}")
    if steps:
        training.reduce_stain_variance()
    training.save(folder)


class _Training:
    """Model, optimizer and data. `learn` takes no other input than tensors that stay where they are, as a recorded step
    must."""

    def __init__(
        self,
        sources: Sequence[tuple[Pairs, int]],
        text_tower: Path,
        start_from: Path | None,
        learning_rate: float,
        seed: int,
        device: str,
    ) -> None:
        import torch

        torch.manual_seed(seed)
        self.generator = torch.Generator(device).manual_seed(seed)
        self._text_tower, self._peak_rate = text_tower, learning_rate
        self._model, self._config = new_clip(text_tower, start_from=text_tower)
        self._model.visual = new_clip(text_tower, start_from=start_from, drop_path=DROP_PATH)[0].visual
        self._model.to(device).requires_grad_(False)
        self._visual = self._model.visual.requires_grad_(True).train()
        self._scale = self._model.logit_scale.requires_grad_(True)
        if start_from is not None:
            freeze(self._visual)
        embed = text_embedder(self._model, text_tower, device)
        self._sampler = PairSampler(list(sources), embed, np.random.default_rng(seed), device)
        self._average = copy.deepcopy(self._visual).requires_grad_(False)
        findings = 1 + max(int(pairs.labels.max()) for pairs, _ in sources)
        self._prototypes = torch.nn.Parameter(torch.randn(findings, EMBED_DIM, device=device) * 0.1)
        self._weights = [weight for weight in self._visual.parameters() if weight.requires_grad]
        self._rate, self._average_step = (torch.tensor(value, device=device) for value in (learning_rate, 1.0))
        self._mean_losses = torch.zeros(len(LOSSES), device=device)
        on_gpu = torch.device(device).type == "cuda"
        torch.backends.cudnn.benchmark = on_gpu  # all steps have one shape
        undecayed = [*(weight for weight in self._weights if weight.ndim <= 1), self._prototypes, self._scale]
        self._optimizer = torch.optim.AdamW(
            [
                {"params": [weight for weight in self._weights if weight.ndim > 1], "weight_decay": WEIGHT_DECAY},
                {"params": undecayed, "weight_decay": 0.0},
            ],
            self._rate, fused=on_gpu, capturable=on_gpu,
        )  # fmt: skip

    def begin_step(self, step: int, steps: int) -> None:
        """Set the rates of a step (from 0) and choose its batch."""
        self._rate.fill_(decayed_rate(step, peak=self._peak_rate, steps=steps, floor=0.01))
        self._average_step.fill_(1 - min(AVERAGE_DECAY, (step + 1) / (step + 11)))
        self._sampler.advance()

    def learn(self, size: int) -> None:
        """One step on the sampled batch, in views of `size` pixels."""
        import torch
        import torch.nn.functional as F

        batch = self._sampler.batch()
        views = two_views(batch.pixels, self.generator, size)
        normalised = ((views - 0.5) / 0.5).contiguous(memory_format=torch.channels_last)
        rows = F.normalize(self._visual(normalised), dim=-1)
        label = batch.label.repeat(2)
        losses = torch.stack(
            [
                pair_loss(rows, label, batch.patient.repeat(2)),
                report_loss(self._scale.exp().clamp(max=MOST_REPORT_SCALE) * rows, batch.reports, batch.statement),
                finding_loss(PROTOTYPE_SCALE * rows @ F.normalize(self._prototypes, dim=-1).T, label),
            ]
        )
        self._optimizer.zero_grad(set_to_none=True)
        losses.sum().backward()
        torch.nn.utils.clip_grad_norm_(self._weights, 1.0)
        self._optimizer.step()
        move_average(self._average, self._visual, self._average_step)
        self._mean_losses.lerp_(losses.detach(), 0.03)

    def describe_losses(self, steps: int) -> str:
        """The running mean of each loss after so many steps."""
        bias = 1 - 0.97**steps  # the running mean began at 0
        parts = zip(LOSSES, (self._mean_losses / bias).tolist(), strict=True)
        return " ".join(f"{name} {value:.3f}" for name, value in parts)

    def reduce_stain_variance(self) -> None:
        """Apply `within_class_covariance` to the averaged tower, by some more batches."""

        def batches() -> Iterator[torch.Tensor]:
            for _ in range(STAIN_BATCHES):
                self._sampler.advance()
                yield self._sampler.batch().pixels

        reduce_stain_variance(self._average, batches(), self.generator)

    def save(self, folder: Path) -> None:
        """Write the CLIP with the averaged image tower."""
        self._model.visual = self._average
        weights = {name: value.cpu() for name, value in self._model.state_dict().items()}
        save_clip(weights, self._config, self._text_tower, folder)


def freeze(visual: Any) -> None:
    """Freeze the image tower's first stages, their batch statistics included."""
    trunk = visual.trunk
    for part in (trunk.conv_stem, trunk.bn1, *trunk.blocks[:FROZEN_STAGES]):
        part.requires_grad_(False).eval()
