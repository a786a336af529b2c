"""The reader's text tower with fewer layers, taught to say what the whole one says.

Distillation after Hinton et al. 2015, arXiv:1503.02531. The SDXL base takes the whole one as its text encoders; the
CLIP has the short one, which leaves room for the image tower under 40 MB.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from retrieval.training.image_augmentation import reword
from retrieval.training.starter.clip import encode_text, new_clip, save_clip

KEPT_LAYERS = (0, 3)
"""Layers that the short tower starts from: the one nearest to the words, and the one nearest to the answer."""
BATCH = 64
SORTED_AT_ONCE = 4  # batches, dealt by length: a batch is as long as its longest text
LEARNING_RATE = 1e-3
AVERAGE_DECAY = 0.995
AS_THEY_ARE = 0.3  # texts that no word is taken from
ALONE = 0.2  # reports of which one sentence is read


def shorten_text_tower(
    write: Callable[[np.random.Generator], str],
    reader: Path,
    folder: Path,
    *,
    seconds: float,
    seed: int = 0,
    log: Callable[[str], None] = lambda line: None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Train for `seconds` on texts of `write(rng)`, and save `folder`: the CLIP folder `reader` with the short tower.

    The loss is the cosine between what both towers say of a text; what is saved is the moving average of the weights.
    """
    import open_clip
    import torch
    import torch.nn.functional as F

    rng = np.random.default_rng(seed)
    teacher, config = new_clip(reader, start_from=reader)
    teacher.eval().requires_grad_(False)
    tokenizer = open_clip.tokenizer.HFTokenizer(str(reader), context_length=77)
    student = copy.deepcopy(teacher)
    student.transformer.resblocks = torch.nn.ModuleList(student.transformer.resblocks[i] for i in KEPT_LAYERS)
    config["text_cfg"]["layers"] = len(KEPT_LAYERS)
    tower = [p for name, p in student.named_parameters() if not name.startswith(("visual", "logit"))]
    for parameter in tower:
        parameter.requires_grad_(True)
    average = copy.deepcopy(student).requires_grad_(False)
    optimiser = torch.optim.AdamW(tower, LEARNING_RATE, weight_decay=0.01)

    started = clock()
    step = 0
    while (elapsed := clock() - started) < seconds:
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, (step + 1) / 50) * (0.5 * (1 + np.cos(np.pi * elapsed / seconds)))
        texts = sorted((_varied(write(rng), rng) for _ in range(BATCH * SORTED_AT_ONCE)), key=len)
        for first in range(0, len(texts), BATCH):
            tokens = tokenizer(texts[first : first + BATCH])
            with torch.no_grad():
                meant = F.normalize(encode_text(teacher, tokens), dim=-1)
            loss = 1 - (F.normalize(encode_text(student, tokens), dim=-1) * meant).sum(-1).mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(tower, 1.0)
            optimiser.step()
            step += 1
            with torch.no_grad():
                for kept, value in zip(average.parameters(), student.parameters(), strict=True):
                    kept.lerp_(value, 1 - min(AVERAGE_DECAY, step / (step + 10)))
        if step % 100 == 0:
            log(f"short text tower step {step} cosine {1 - loss.item():.4f} {elapsed:.0f} s")
    save_clip(average.state_dict(), config, reader, folder)


def _varied(report: str, rng: np.random.Generator) -> str:
    """A report, or one sentence of it, mostly with words lost."""
    if rng.random() < ALONE:
        sentences = report.split(". ")
        report = sentences[int(rng.integers(len(sentences)))]
    return report if rng.random() < AS_THEY_ARE else reword(report, rng)
