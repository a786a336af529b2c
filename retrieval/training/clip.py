"""Training the starter's CLIP: a small convolutional image tower and a small text tower, in open_clip's format.

Every image is seen twice in a batch, perturbed anew. Four losses at once: image against image (the other view of the
same one, and the same finding in other patients: supervised contrast, Khosla et al. 2020, arXiv:2004.11362), image
against report (every report of the same finding counts as a match, since phantoms of one finding are
interchangeable), image against learned prototypes of the findings, and report against the same prototypes. The
prototypes are thrown away; they only pull both towers to one geometry early. What is saved is the moving average of
the weights.
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

from .augmentation import reword, two_views

EMBED_DIM = 192
LOSSES = ("pairs", "contrastive", "image", "report", "kept")
PAIR_SCALE = 14.0  # inverse temperature of image against image
KEEPING = 8.0  # weight of keeping to an earlier CLIP
AVERAGE_DECAY = 0.998
WINDOW_PX = 96  # most of the training looks at windows of the images, which takes half the time …
WINDOW_SHARE = 0.75  # … and the rest of it at whole images, as the encoder will
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
    same finding in every source; `reports(i, rng)` gives one wording for image i.

    `patients` int64[n] says whose they are (without it, each its own); `chances` float64[n] how often each is drawn
    (without it, all once before any twice). `kept`: where a training keeps to an earlier CLIP, it does so on these.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    reports: Callable[[int, np.random.Generator], str]
    patients: NDArray[np.int64] | None = None
    chances: NDArray[np.float64] | None = None
    kept: bool = False


def train_clip(
    sources: Sequence[tuple[Pairs, int]],
    tokenizer_folder: Path,
    folder: Path,
    *,
    seconds: float,
    learning_rate: float = 1.5e-3,
    seed: int = 0,
    start_from: Path | None = None,
    keep_to: Path | None = None,
    log: Callable[[str], None] = lambda line: None,
    checkpoint_every: float = 240.0,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Train for `seconds` and save `folder` (fp16 safetensors). Each source gives its number of pairs to every batch,
    and its patients are no other source's.

    `start_from` takes up the weights of an earlier run. `keep_to` names a CLIP of the same vocabulary, so that what
    was learned is not lost while something is learned anew: its text tower is taken over and stays as it is, and images
    of the sources that are `kept` stay near its vectors of them, under every stain and turn.

    `clock` counts the seconds: `time.thread_time`, where the training has one thread, does not count what other
    programs take.
    """
    import open_clip
    import torch
    import torch.nn.functional as F

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    model, config = new_clip(tokenizer_folder, start_from=start_from)
    earlier = None
    if keep_to is not None:
        earlier = new_clip(tokenizer_folder, start_from=keep_to)[0].eval().requires_grad_(False)
        text = {name: value for name, value in earlier.state_dict().items() if not name.startswith("visual.")}
        model.load_state_dict(text, strict=False)
        model.requires_grad_(False).visual.requires_grad_(True)
    tokenizer = open_clip.tokenizer.HFTokenizer(str(tokenizer_folder), context_length=77)
    findings = 1 + max(int(pairs.labels.max()) for pairs, _ in sources)
    prototypes = torch.nn.Parameter(torch.randn(findings, EMBED_DIM) * 0.1)
    trained = [p for p in model.parameters() if p.requires_grad]
    decayed = [p for p in trained if p.ndim > 1]
    plain = [p for p in trained if p.ndim <= 1] + [prototypes]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}], learning_rate
    )
    orders = [_draws(pairs, rng) for pairs, _ in sources]
    average = _copied(model.state_dict())
    started = saved = clock()
    step = 0
    running = np.zeros(len(LOSSES))
    while (elapsed := clock() - started) < seconds:
        share = elapsed / seconds
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * min(1.0, (step + 1) / 100) * (0.5 * (1 + np.cos(np.pi * share)) + 0.01)
        images, labels, patients, texts, told, kept = [], [], [], [], [], []
        for number, (pairs, share_of_batch) in enumerate(sources):
            chosen = np.sort([next(orders[number]) for _ in range(share_of_batch)])
            images.append(pairs.images[chosen])
            labels.append(pairs.labels[chosen])
            whose = chosen if pairs.patients is None else pairs.patients[chosen]
            patients.append(whose * len(sources) + number)
            texts += [reword(pairs.reports(int(i), rng), rng) for i in chosen[::REPORTS_EVERY]]
            told.append(labels[-1][::REPORTS_EVERY])
            kept.append(np.full(share_of_batch, pairs.kept))
        pixels = torch.from_numpy(np.concatenate(images)).permute(0, 3, 1, 2).float() / 255
        side = min(WINDOW_PX, pixels.shape[-1]) if share < WINDOW_SHARE else pixels.shape[-1]
        views = (two_views(pixels, generator, side) - 0.5) / 0.5
        label, label_told = torch.from_numpy(np.concatenate(labels)).repeat(2), torch.from_numpy(np.concatenate(told))
        seen = F.normalize(model.encode_image(views.contiguous(memory_format=torch.channels_last)), dim=-1)
        read = F.normalize(encode_text(model, tokenizer(texts)), dim=-1)
        paired = pair_loss(seen, label, torch.from_numpy(np.concatenate(patients)).repeat(2))
        scale = model.logit_scale.exp().clamp(max=50)
        kinds = F.normalize(prototypes, dim=-1)
        logits = scale * seen @ read.T
        match = (label[:, None] == label_told[None]).float()
        contrastive = (_soft_cross_entropy(logits, match) + _soft_cross_entropy(logits.T, match.T)) / 2
        by_image = F.cross_entropy(16 * seen @ kinds.T, label)
        by_report = F.cross_entropy(16 * read @ kinds.T, label_told)
        away = torch.zeros(())
        if earlier is not None:
            settled = torch.from_numpy(np.concatenate(kept))
            with torch.no_grad():
                known = earlier.encode_image((pixels[settled] - 0.5) / 0.5).repeat(2, 1)
            away = 1 - F.cosine_similarity(seen[settled.repeat(2)], known).mean()
        loss = paired + contrastive + by_image + 0.5 * by_report + KEEPING * away
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
        _move(average, model.state_dict(), min(AVERAGE_DECAY, step / (step + 10)))
        current = np.array([paired.item(), contrastive.item(), by_image.item(), by_report.item(), away.item()])
        running = current if step == 1 else 0.97 * running + 0.03 * current
        if step % 25 == 0:
            parts = " ".join(f"{name} {value:.3f}" for name, value in zip(LOSSES, running, strict=True))
            log(f"clip step {step} {parts} {elapsed:.0f} s")
        if clock() - saved > checkpoint_every:
            save_clip(average, config, tokenizer_folder, folder)
            saved = clock()
    save_clip(average, config, tokenizer_folder, folder)


def pair_loss(seen: Any, label: Any, patient: Any) -> Any:
    """Supervised contrast of unit rows float32[2n, d], the two views of n images one after the other.

    An image is to be found by its other view (half of the target) and by the same finding in other patients. The same
    finding in the same patient is neither wanted nor unwanted: a neighbouring cell is no evidence.
    """
    import torch

    places = torch.arange(len(seen))
    itself = places[:, None] == places[None]
    other_view = (places[:, None] - places[None]).abs() == len(seen) // 2
    alike, own = label[:, None] == label[None], patient[:, None] == patient[None]
    match = (alike & ~own).float()
    match = match + other_view * match.sum(1, keepdim=True).clamp(min=1)
    logits = (PAIR_SCALE * seen @ seen.T).masked_fill(itself | (alike & own & ~other_view), -1e4)
    return _soft_cross_entropy(logits, match)


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
    """Cross entropy against each row's matches, in proportion to their numbers; rows without one do not count."""
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


def save_clip(weights: dict[str, Any], config: dict[str, Any], tokenizer_folder: Path, folder: Path) -> None:
    """Write the folder that `local-dir:` loads: config, fp16 weights (of a state dict), tokenizer files."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    document = {"model_cfg": config, "preprocess_cfg": PREPROCESS}
    (folder / "open_clip_config.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    halved = {
        name: (value.half() if value.is_floating_point() else value).contiguous() for name, value in weights.items()
    }
    save_file(halved, folder / "open_clip_model.safetensors")
    for name in TOKENIZER_FILES:
        if (tokenizer_folder / name).resolve() != (folder / name).resolve():
            shutil.copyfile(tokenizer_folder / name, folder / name)


def _draws(pairs: Pairs, rng: np.random.Generator) -> Any:
    n = len(pairs.images)
    while True:
        yield from rng.permutation(n) if pairs.chances is None else rng.choice(n, size=n, p=pairs.chances)


def _copied(weights: dict[str, Any]) -> dict[str, Any]:
    return {name: value.detach().clone() for name, value in weights.items()}


def _move(average: dict[str, Any], weights: dict[str, Any], decay: float) -> None:
    """Move the average towards the weights; what is no floating-point number (counts of batches) is taken over."""
    for name, value in weights.items():
        if value.is_floating_point():
            average[name].lerp_(value.detach(), 1 - decay)
        else:
            average[name].copy_(value)
