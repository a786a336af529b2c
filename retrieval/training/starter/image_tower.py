"""Training the starter's image tower against a text tower that stays as it is (Zhai et al. 2022, arXiv:2111.07991).

Every image is seen twice in a batch, perturbed anew. Three losses at once: image against image (the other view of the
same one, and the same finding in other patients: supervised contrast, Khosla et al. 2020, arXiv:2004.11362); image
against report (every report that says the same counts as a match, since phantoms of one finding are interchangeable);
and image against learned prototypes of the findings, which are thrown away. What is saved is the moving average of the
weights, steadied against other stains (`steadying`).

A fourth loss was tried and left out: that a restained view keep the neighbours of the image as it is (relations between
instances, Zheng et al. 2021, arXiv:2107.09282). In trials of 300 steps on two divisions of the patients, cells under
another stain kept .71 to .72 of their first ten with it and .70 without, and phantoms were found .02 to .06 less well.
"""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from retrieval.training.image_augmentation import two_views
from retrieval.training.losses import finding_loss, move, pair_loss, report_loss
from retrieval.training.starter.clip import EMBED_DIM, new_clip, save_clip
from retrieval.training.starter.cuda_graph import Recorded
from retrieval.training.starter.sampler import Pairs, Shelf, text_reader
from retrieval.training.starter.within_class_covariance import steady

if TYPE_CHECKING:
    import torch

LOSSES = ("pairs", "reports", "findings")
KIND_SCALE = 16.0  # … and of image against prototype
FROZEN_STAGES = 5
"""Stages of the trunk that stay as they are, and the stem: edges and colours are what ImageNet taught them, and a step
without them takes half the time."""
DROP_PATH = 0.1
WEIGHT_DECAY = 0.05
AVERAGE_DECAY = 0.998
WINDOW_PX = 96  # most of the training looks at windows of the images, which takes half the time …
WINDOW_SHARE = 0.75  # … and the rest of it at whole images, as the encoder will
CHECKPOINT_SECONDS = 240.0
LOGGED_EVERY = 25
STEADIED_BY = 12  # batches


def train_image_tower(sources: Sequence[tuple[Pairs, int]], text_tower: Path, folder: Path, **options: Any) -> None:
    """`training_of_image_tower` from begin to end."""
    for _ in training_of_image_tower(sources, text_tower, folder, **options):
        pass


def training_of_image_tower(
    sources: Sequence[tuple[Pairs, int]],
    text_tower: Path,
    folder: Path,
    *,
    seconds: float,
    start_from: Path | None = None,
    learning_rate: float = 1.5e-3,
    seed: int = 0,
    device: str = "cpu",
    log: Callable[[str], None] = lambda line: None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[None]:
    """Train for `seconds`, a step whenever asked for the next, and save `folder`, a CLIP (open_clip's format, fp16
    safetensors). Each source gives its number of images to every batch.

    `text_tower` is the CLIP folder whose text tower and vocabulary are taken over, unchanged; `start_from` the one
    whose image tower is trained on, all but its first stages (without it a new one, whole). On `device` "cuda" all
    images must fit into its memory. `clock` counts the seconds: `time.thread_time`, where the training has one thread,
    does not count what other programs take.
    """
    import torch
    import torch.nn.functional as F

    torch.manual_seed(seed)
    generator = torch.Generator(device).manual_seed(seed)
    model, config = new_clip(text_tower, start_from=text_tower)
    model.visual = new_clip(text_tower, start_from=start_from, drop_path=DROP_PATH)[0].visual
    model.to(device).requires_grad_(False)
    visual, scale = model.visual.requires_grad_(True).train(), model.logit_scale.requires_grad_(True)
    if start_from is not None:
        freeze(visual)
    shelf = Shelf(list(sources), text_reader(model, text_tower, device), np.random.default_rng(seed), device)
    average = copy.deepcopy(visual).requires_grad_(False)
    findings = 1 + max(int(pairs.labels.max()) for pairs, _ in sources)
    prototypes = torch.nn.Parameter(torch.randn(findings, EMBED_DIM, device=device) * 0.1)
    weights = [weight for weight in visual.parameters() if weight.requires_grad]
    # Both are looked up on the device, since a recorded step takes no other numbers than those it was recorded with.
    rate, behind = (torch.tensor(value, device=device) for value in (learning_rate, 1.0))
    on_gpu = torch.device(device).type == "cuda"
    torch.backends.cudnn.benchmark = on_gpu  # all steps have one shape
    optimiser = torch.optim.AdamW(
        [
            {"params": [w for w in weights if w.ndim > 1], "weight_decay": WEIGHT_DECAY},
            {"params": [*(w for w in weights if w.ndim <= 1), prototypes, scale], "weight_decay": 0.0},
        ],
        rate, fused=on_gpu, capturable=on_gpu,
    )  # fmt: skip
    running = torch.zeros(len(LOSSES), device=device)

    def learn(side: int) -> None:
        batch = shelf.batch()
        views = two_views(batch.pixels, generator, side)
        seen = F.normalize(visual(((views - 0.5) / 0.5).contiguous(memory_format=torch.channels_last)), dim=-1)
        label = batch.label.repeat(2)
        losses = torch.stack(
            [
                pair_loss(seen, label, batch.patient.repeat(2)),
                report_loss(scale.exp().clamp(max=50) * seen, batch.read, batch.statement),
                finding_loss(KIND_SCALE * seen @ F.normalize(prototypes, dim=-1).T, label),
            ]
        )
        optimiser.zero_grad(set_to_none=True)
        losses.sum().backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        move(average, visual, behind)
        running.lerp_(losses.detach(), 0.03)

    def pixels() -> torch.Tensor:
        shelf.draw()
        return shelf.batch().pixels

    def save() -> None:
        model.visual = average
        save_clip({name: value.cpu() for name, value in model.state_dict().items()}, config, text_tower, folder)
        model.visual = visual

    whole = max(pairs.images.shape[1] for pairs, _ in sources)
    windows, wholes = (
        Recorded(functools.partial(learn, side), device, generator) for side in (min(WINDOW_PX, whole), whole)
    )
    yield  # ready: the clock starts when the first step is asked for
    started = saved = clock()
    step = 0
    while (elapsed := clock() - started) < seconds:
        share = elapsed / seconds
        step += 1
        rate.fill_(learning_rate * min(1.0, step / 100) * (0.5 * (1 + np.cos(np.pi * share)) + 0.01))
        behind.fill_(1 - min(AVERAGE_DECAY, step / (step + 10)))
        shelf.draw()
        (windows if share < WINDOW_SHARE else wholes)()
        yield
        if step % LOGGED_EVERY == 0:
            bias = 1 - 0.97**step  # the running mean began at nothing
            parts = zip(LOSSES, (running / bias).tolist(), strict=True)
            log(f"image tower step {step} {' '.join(f'{name} {value:.3f}' for name, value in parts)} {elapsed:.0f} s")
        if clock() - saved > CHECKPOINT_SECONDS:
            save()
            saved = clock()
    if step:
        steady(average, (pixels() for _ in range(STEADIED_BY)), generator)
    save()


def freeze(visual: Any) -> None:
    """Keep the image tower's first stages as they are, their statistics included."""
    trunk = visual.trunk
    for part in (trunk.conv_stem, trunk.bn1, *trunk.blocks[:FROZEN_STAGES]):
        part.requires_grad_(False).eval()
