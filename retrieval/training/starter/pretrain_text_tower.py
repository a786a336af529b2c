"""Pretraining the starter's text tower on reports alone.

It needs thousands of differently worded reports and no image: each report is classified by learned prototypes of its
finding and of its site. The CLIP starts from this tower, and the SDXL base takes it as its text encoders, so that CLIP
and denoiser can be trained side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from generation.training.run_settings import decayed_rate
from generation.training.starter.denoiser import mixed_precision
from retrieval.training.image_augmentation import reword
from retrieval.training.starter.clip import EMBED_DIM, encode_text, new_clip, save_clip

SCALE = 16.0  # inverse temperature of the cosine against the prototypes


def pretrain_text_tower(
    write: Callable[[np.random.Generator], tuple[str, tuple[int, ...]]],
    kinds: Sequence[int],
    tokenizer_folder: Path,
    folder: Path,
    *,
    steps: int,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    seed: int = 0,
    start_from: Path | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> None:
    """Train the text tower and save the whole CLIP (image tower unchanged) as an open_clip folder.

    `write(rng)` gives a report and its labels, one for each classification (finding, site …); `kinds[j]` is the number
    of classes of classification j.
    """
    import open_clip
    import torch
    import torch.nn.functional as F

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model, config = new_clip(tokenizer_folder, start_from=start_from)
    tokenizer = open_clip.tokenizer.HFTokenizer(str(tokenizer_folder), context_length=77)
    tower = [parameter for name, parameter in model.named_parameters() if not name.startswith(("visual", "logit"))]
    prototypes = [torch.nn.Parameter(torch.randn(n, EMBED_DIM) * 0.1) for n in kinds]
    optimiser = torch.optim.AdamW(
        [{"params": tower, "weight_decay": 0.05}, {"params": prototypes, "weight_decay": 0.0}], learning_rate
    )
    running = np.zeros(len(kinds))
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = decayed_rate(step, peak=learning_rate, steps=steps)
        batch = [write(rng) for _ in range(batch_size)]
        with mixed_precision():
            read = encode_text(model, tokenizer([reword(report, rng) for report, _ in batch]))
        read = F.normalize(read.float(), dim=-1)
        losses = [
            F.cross_entropy(SCALE * read @ F.normalize(classes, dim=-1).T, torch.tensor(labels))
            for classes, labels in zip(prototypes, zip(*(labels for _, labels in batch), strict=True), strict=True)
        ]
        optimiser.zero_grad(set_to_none=True)
        sum(losses).backward()  # type: ignore[union-attr]
        torch.nn.utils.clip_grad_norm_(tower, 1.0)
        optimiser.step()
        current = np.array([loss.item() for loss in losses])
        running = 0.97 * running + 0.03 * current if step else current
        if (step + 1) % 25 == 0:
            log(f"text tower step {step + 1} of {steps} " + " ".join(f"{value:.3f}" for value in running))
    save_clip(model.state_dict(), config, tokenizer_folder, folder)
