"""A text tower with fewer layers, distilled from the pretrained one.

Distillation after Hinton et al. 2015, arXiv:1503.02531. The SDXL base takes the whole tower as its text encoders; the
CLIP has the short one, which leaves room for the image tower under 40 MB.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np

from generation.training.run_settings import decayed_rate
from retrieval.training.image_augmentation import reword
from retrieval.training.starter.clip import encode_text, new_clip, save_clip

KEPT_LAYERS = (0, 3)
"""Layers that the short tower starts from: the one nearest to the input, and the one nearest to the output."""
BATCH = 64
SORTED_AT_ONCE = 4  # batches that are sorted by length together: a batch is as long as its longest text
LEARNING_RATE = 1e-3
AVERAGE_DECAY = 0.995
UNCHANGED = 0.3  # share of texts that no word is removed from
ONE_SENTENCE = 0.2  # share of reports of which one sentence is used


def shorten_text_tower(
    write: Callable[[np.random.Generator], str],
    whole: Path,
    folder: Path,
    *,
    steps: int,
    seed: int = 0,
    log: Callable[[str], None] = lambda line: None,
) -> None:
    """Train on texts of `write(rng)`, and save `folder`: the CLIP folder `whole` with the short tower.

    The loss is the cosine distance between both towers' embeddings of a text; the moving average of the weights is
    saved.
    """
    import open_clip
    import torch
    import torch.nn.functional as F

    rng = np.random.default_rng(seed)
    teacher, config = new_clip(whole, start_from=whole)
    teacher.eval().requires_grad_(False)
    tokenizer = open_clip.tokenizer.HFTokenizer(str(whole), context_length=77)
    student = copy.deepcopy(teacher)
    student.transformer.resblocks = torch.nn.ModuleList(student.transformer.resblocks[i] for i in KEPT_LAYERS)
    config["text_cfg"]["layers"] = len(KEPT_LAYERS)
    tower = [p for name, p in student.named_parameters() if not name.startswith(("visual", "logit"))]
    for parameter in tower:
        parameter.requires_grad_(True)
    average = copy.deepcopy(student).requires_grad_(False)
    optimiser = torch.optim.AdamW(tower, LEARNING_RATE, weight_decay=0.01)
    texts: list[str] = []
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = decayed_rate(step, peak=LEARNING_RATE, steps=steps, warmup=50)
        if not texts:
            texts = sorted((_varied(write(rng), rng) for _ in range(BATCH * SORTED_AT_ONCE)), key=len)
        batch, texts = texts[:BATCH], texts[BATCH:]
        tokens = tokenizer(batch)
        with torch.no_grad():
            target = F.normalize(encode_text(teacher, tokens), dim=-1)
        loss = 1 - (F.normalize(encode_text(student, tokens), dim=-1) * target).sum(-1).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(tower, 1.0)
        optimiser.step()
        with torch.no_grad():
            for mean, value in zip(average.parameters(), student.parameters(), strict=True):
                mean.lerp_(value, 1 - min(AVERAGE_DECAY, (step + 1) / (step + 11)))
        if (step + 1) % 100 == 0:
            log(f"short text tower step {step + 1} of {steps} cosine {1 - loss.item():.4f}")
    save_clip(average.state_dict(), config, whole, folder)


def _varied(report: str, rng: np.random.Generator) -> str:
    """The report or one sentence of it, mostly with words removed."""
    if rng.random() < ONE_SENTENCE:
        sentences = report.split(". ")
        report = sentences[int(rng.integers(len(sentences)))]
    return report if rng.random() < UNCHANGED else reword(report, rng)
