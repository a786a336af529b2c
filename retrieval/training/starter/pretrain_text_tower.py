"""Teaching the starter's text tower to read, before there are pictures to compare with.

Reading needs thousands of differently worded reports and no image, so it is learned first and alone: each report
against learned prototypes of its finding and of its site. The CLIP then starts from this tower, and the SDXL base takes
it as its text encoders, which lets CLIP and denoiser be trained side by side.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from generation.training.starter.denoiser import mixed_precision
from retrieval.training.image_augmentation import reword
from retrieval.training.starter.clip import EMBED_DIM, encode_text, new_clip, save_clip

SCALE = 16.0  # inverse temperature of the cosine against the prototypes


def train_reader(
    write: Callable[[np.random.Generator], tuple[str, tuple[int, ...]]],
    kinds: Sequence[int],
    tokenizer_folder: Path,
    folder: Path,
    *,
    seconds: float,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    seed: int = 0,
    start_from: Path | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> None:
    """Train the text tower for `seconds` and save the whole (image tower untouched) as an open_clip folder.

    `write(rng)` gives a report and its labels, one for each way of sorting reports (finding, site …); `kinds[j]` is the
    number of labels of way j.
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
    started = time.monotonic()
    step, running = 0, np.zeros(len(kinds))
    while (elapsed := time.monotonic() - started) < seconds:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * min(1.0, (step + 1) / 100) * (0.5 * (1 + np.cos(np.pi * elapsed / seconds)))
        batch = [write(rng) for _ in range(batch_size)]
        with mixed_precision():
            read = encode_text(model, tokenizer([reword(report, rng) for report, _ in batch]))
        read = F.normalize(read.float(), dim=-1)
        losses = [
            F.cross_entropy(SCALE * read @ F.normalize(known, dim=-1).T, torch.tensor(labels))
            for known, labels in zip(prototypes, zip(*(labels for _, labels in batch), strict=True), strict=True)
        ]
        optimiser.zero_grad(set_to_none=True)
        sum(losses).backward()  # type: ignore[union-attr]
        torch.nn.utils.clip_grad_norm_(tower, 1.0)
        optimiser.step()
        step += 1
        current = np.array([loss.item() for loss in losses])
        running = current if step == 1 else 0.97 * running + 0.03 * current
        if step % 25 == 0:
            log(f"reader step {step} " + " ".join(f"{value:.3f}" for value in running) + f" {elapsed:.0f} s")
    save_clip(model.state_dict(), config, tokenizer_folder, folder)
