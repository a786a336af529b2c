"""Training the starter's CLIP: a small convolutional image tower and a small text tower, in open_clip's format.

Three losses at once: image against report within the batch (every report of the same finding counts as a match, since
phantoms of one finding are interchangeable), image against learned prototypes of the findings, and report against the
same prototypes. The prototypes are thrown away; they only pull both towers to one geometry early.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .augmentation import perturb_fields, reword

EMBED_DIM = 192
LOSSES = ("contrastive", "image", "report")
REPORTS_EVERY = 4  # the text tower reads every fourth report of a batch: reading costs more than looking
TOKENIZER_FILES = ("vocab.json", "merges.txt", "tokenizer_config.json")
PREPROCESS: dict[str, Any] = {
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}


def model_config(vocabulary: int) -> dict[str, Any]:
    """The architecture in open_clip's terms (`model_cfg`)."""
    return {
        "embed_dim": EMBED_DIM,
        "vision_cfg": {
            "timm_model_name": "mobilenetv4_conv_small",
            "timm_model_pretrained": False,
            "timm_pool": "avg",
            "timm_proj": "",  # the trunk's own classifier layer is the projection
            "image_size": 128,
        },
        "text_cfg": {
            "context_length": 77,
            "vocab_size": vocabulary,
            "hf_tokenizer_name": "local",
            "width": 192,
            "heads": 6,
            "layers": 4,
        },
    }


@dataclass(frozen=True)
class Pairs:
    """Images uint8[n, h, w, 3] and what is said of them. `labels` int64[n] number the findings, the same number for the
    same finding in every source; `reports(i, rng)` gives one wording for image i."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    reports: Callable[[int, np.random.Generator], str]


def train_clip(
    sources: Sequence[tuple[Pairs, int]],
    tokenizer_folder: Path,
    folder: Path,
    *,
    seconds: float,
    learning_rate: float = 1.5e-3,
    seed: int = 0,
    start_from: Path | None = None,
    log: Callable[[str], None] = lambda line: None,
    checkpoint_every: float = 240.0,
) -> None:
    """Train for `seconds` and save `folder` (fp16 safetensors). Each source gives its number of pairs to every batch.

    `start_from` takes up the weights of an earlier run.
    """
    import open_clip
    import torch
    import torch.nn.functional as F

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    model, config = new_clip(tokenizer_folder, start_from=start_from)
    tokenizer = open_clip.tokenizer.HFTokenizer(str(tokenizer_folder), context_length=77)
    findings = 1 + max(int(pairs.labels.max()) for pairs, _ in sources)
    prototypes = torch.nn.Parameter(torch.randn(findings, EMBED_DIM) * 0.1)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1] + [prototypes]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}], learning_rate
    )
    orders = [_shuffled(len(pairs.images), rng) for pairs, _ in sources]
    started = saved = time.monotonic()
    step = 0
    running = np.zeros(3)
    while (elapsed := time.monotonic() - started) < seconds:
        share = elapsed / seconds
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * min(1.0, (step + 1) / 100) * (0.5 * (1 + np.cos(np.pi * share)) + 0.01)
        images, labels, texts, told = [], [], [], []
        for number, (pairs, share_of_batch) in enumerate(sources):
            chosen = np.array([next(orders[number]) for _ in range(share_of_batch)])
            images.append(pairs.images[np.sort(chosen)])
            labels.append(pairs.labels[np.sort(chosen)])
            texts += [reword(pairs.reports(int(i), rng), rng) for i in np.sort(chosen)[::REPORTS_EVERY]]
            told.append(labels[-1][::REPORTS_EVERY])
        pixels = torch.from_numpy(np.concatenate(images)).permute(0, 3, 1, 2).float() / 255
        pixels = (perturb_fields(pixels, generator) - 0.5) / 0.5
        label, label_told = torch.from_numpy(np.concatenate(labels)), torch.from_numpy(np.concatenate(told))
        seen = F.normalize(model.encode_image(pixels.contiguous(memory_format=torch.channels_last)), dim=-1)
        read = F.normalize(encode_text(model, tokenizer(texts)), dim=-1)
        scale = model.logit_scale.exp().clamp(max=50)
        kinds = F.normalize(prototypes, dim=-1)
        logits = scale * seen @ read.T
        match = (label[:, None] == label_told[None]).float()
        contrastive = (_soft_cross_entropy(logits, match) + _soft_cross_entropy(logits.T, match.T)) / 2
        by_image = F.cross_entropy(16 * seen @ kinds.T, label)
        by_report = F.cross_entropy(16 * read @ kinds.T, label_told)
        loss = contrastive + by_image + 0.5 * by_report
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
        current = np.array([contrastive.item(), by_image.item(), by_report.item()])
        running = current if step == 1 else 0.97 * running + 0.03 * current
        if step % 25 == 0:
            parts = " ".join(f"{name} {value:.3f}" for name, value in zip(LOSSES, running, strict=True))
            log(f"clip step {step} {parts} {elapsed:.0f} s")
        if time.monotonic() - saved > checkpoint_every:
            save_clip(model, config, tokenizer_folder, folder)
            saved = time.monotonic()
    save_clip(model, config, tokenizer_folder, folder)


def new_clip(tokenizer_folder: Path, *, start_from: Path | None = None) -> tuple[Any, dict[str, Any]]:
    """A CLIP for the vocabulary of `tokenizer_folder`, and its config; with the weights of the folder `start_from`.

    Where that had another vocabulary, the embeddings of the tokens that both have are taken over, token by token.
    """
    import open_clip
    import torch
    from safetensors.torch import load_file

    vocabulary = _vocabulary(tokenizer_folder)
    config = model_config(len(vocabulary))
    model = open_clip.CLIP(**config)
    if start_from is not None:
        earlier = _vocabulary(start_from)
        weights = load_file(start_from / "open_clip_model.safetensors")
        weights = {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}
        embedding = model.state_dict()["token_embedding.weight"].clone()
        common = [token for token in vocabulary if token in earlier]
        embedding[[vocabulary[token] for token in common]] = weights["token_embedding.weight"][
            [earlier[token] for token in common]
        ]
        model.load_state_dict({**weights, "token_embedding.weight": embedding})
    return model.to(memory_format=torch.channels_last), config


def _vocabulary(folder: Path) -> dict[str, int]:
    entries: dict[str, int] = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    return entries


def _soft_cross_entropy(logits: Any, match: Any) -> Any:
    """Cross entropy against the uniform distribution over each row's matches; rows without one do not count."""
    matched = match.sum(1) > 0
    target = match[matched] / match[matched].sum(1, keepdim=True)
    return -(target * logits[matched].log_softmax(1)).sum(1).mean()


def encode_text(model: Any, tokens: Any) -> Any:
    """open_clip's `model.encode_text` without the padding: attention is causal, so what follows END cannot matter."""
    import torch

    ends = tokens.argmax(1)
    length = int(ends.max()) + 1
    x = model.token_embedding(tokens[:, :length]) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    return x[torch.arange(len(x)), ends] @ model.text_projection


def save_clip(model: Any, config: dict[str, Any], tokenizer_folder: Path, folder: Path) -> None:
    """Write the folder that `local-dir:` loads: config, fp16 weights, tokenizer files."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    document = {"model_cfg": config, "preprocess_cfg": PREPROCESS}
    (folder / "open_clip_config.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    weights = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in model.state_dict().items()
    }
    with torch.no_grad():
        save_file(weights, folder / "open_clip_model.safetensors")
    for name in TOKENIZER_FILES:
        if (tokenizer_folder / name).resolve() != (folder / name).resolve():
            shutil.copyfile(tokenizer_folder / name, folder / name)


def _shuffled(n: int, rng: np.random.Generator) -> Any:
    while True:
        yield from rng.permutation(n)
