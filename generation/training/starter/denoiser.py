"""Training the starter's UNet on cached latents and cached text, and a LoRA on top of it.

The base learns phantoms by short captions and whole reports; the LoRA then learns whole reports only, with real smears
beside the phantoms, as COIN's LoRA was trained on real smears over a general base. Both predict v (Salimans & Ho 2022)
with min-SNR weighting (Hang et al. 2023, γ = 5) and drop the text in one case of ten, so that classifier-free guidance
works.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from generation.training.adapter import TARGETS, trained_parameters
from generation.training.noise import NoiseSchedule, squared_error
from generation.training.run_settings import decayed_rate

if TYPE_CHECKING:
    import torch

Log = Callable[[str], None]
UNCONDITIONAL_SHARE = 0.1
MIN_SNR_GAMMA = 5.0
LORA_RANK = 16
LORA_TARGETS = (*TARGETS, "proj_in", "proj_out", "net.0.proj", "net.2", "conv1", "conv2", "time_emb_proj")
"""With the convolutions (LoCon): the finer of the two levels has no attention, and decides how a smear looks."""


def unet_config(latent_channels: int, text_width: int, pooled_width: int) -> dict[str, Any]:
    """SDXL's UNet in small: no attention at the first level, cross-attention below, size and text in the time path."""
    return {
        "sample_size": 8,
        "in_channels": latent_channels,
        "out_channels": latent_channels,
        "block_out_channels": [128, 160],
        "layers_per_block": 1,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
        "cross_attention_dim": text_width,
        "attention_head_dim": [4, 5],
        "transformer_layers_per_block": 1,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 32,
        "projection_class_embeddings_input_dim": pooled_width + 6 * 32,
    }


@dataclass(frozen=True)
class EncodedSet:
    """The denoiser's training data.

    `latents` float16[n, c, 8, 8] are scaled to unit deviation; `tokens` float16[m, 77, d] and `pooled` float16[m, p]
    are of m texts; `texts_of` int64[n, texts] holds the rows of each latent's texts. `chances` float64[n] says how
    often each is sampled; None: equally.
    """

    latents: torch.Tensor
    tokens: torch.Tensor
    pooled: torch.Tensor
    texts_of: np.ndarray
    chances: np.ndarray | None = None


def joined(first: EncodedSet, second: EncodedSet, *, share: float) -> EncodedSet:
    """Both sets in one; `share` of what is sampled is of the second."""
    import torch

    def chances(data: EncodedSet, of_all: float) -> np.ndarray:
        n = len(data.latents)
        return of_all * (np.full(n, 1 / n) if data.chances is None else data.chances)

    return EncodedSet(
        torch.cat([first.latents, second.latents]),
        torch.cat([first.tokens, second.tokens]),
        torch.cat([first.pooled, second.pooled]),
        np.concatenate([first.texts_of, second.texts_of + len(first.tokens)]),
        np.concatenate([chances(first, 1 - share), chances(second, share)]),
    )


def scheduler_config() -> dict[str, Any]:
    """SDXL's noise schedule, with v as the prediction."""
    return {
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "prediction_type": "v_prediction",
        "timestep_spacing": "leading",
        "steps_offset": 1,
    }


def train_denoiser(
    unet: Any,
    data: EncodedSet,
    folder: Path,
    *,
    steps: int,
    texts: slice,
    batch_size: int = 64,
    learning_rate: float = 8e-4,
    ema_decay: float = 0.998,
    seed: int = 0,
    log: Log = lambda line: None,
    save: Callable[[Any, Path], object] = lambda unet, folder: unet.save_pretrained(folder),
) -> None:
    """Train the parameters of `unet` that require gradients, and save their moving average by `save`.

    `texts` says which columns of `data.texts_of` are used (short captions and reports for the base, reports alone for
    the LoRA). The learning rate warms up over 100 steps and decays along a cosine.
    """
    import torch
    from diffusers.training_utils import EMAModel

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    schedule = NoiseSchedule(scheduler_config())
    trained = [parameter for _, parameter in trained_parameters(unet)]
    average = EMAModel(trained, decay=ema_decay, use_ema_warmup=True, inv_gamma=1.0, power=0.75)
    optimiser = torch.optim.AdamW(trained, learning_rate, betas=(0.9, 0.99), weight_decay=1e-2)
    size = torch.tensor([[128, 128, 0, 0, 128, 128]], dtype=torch.float32)
    options = data.texts_of[:, texts]

    running = 0.0
    for step in range(steps):
        rate = decayed_rate(step, peak=learning_rate, steps=steps, floor=0.005)
        for group in optimiser.param_groups:
            group["lr"] = rate
        chosen = rng.choice(len(data.latents), batch_size, p=data.chances)
        text = options[chosen, rng.integers(options.shape[1], size=batch_size)]
        has_text = torch.from_numpy((rng.random(batch_size) >= UNCONDITIONAL_SHARE).astype(np.float32))
        latents = data.latents[chosen].float()
        noise = torch.randn_like(latents)
        t = torch.randint(0, schedule.steps, (batch_size,))
        with mixed_precision():
            predicted = unet(
                schedule.noised(latents, noise, t).contiguous(memory_format=torch.channels_last),
                t,
                data.tokens[text].float() * has_text.view(-1, 1, 1),
                added_cond_kwargs={
                    "text_embeds": data.pooled[text].float() * has_text.view(-1, 1),
                    "time_ids": size.repeat(batch_size, 1),
                },
            ).sample
        error = squared_error(predicted, schedule.target(latents, noise, t))
        loss = (schedule.weight(t, MIN_SNR_GAMMA) * error).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        average.step(trained)
        running = 0.98 * running + 0.02 * float(loss.detach()) if step else float(loss.detach())
        if (step + 1) % 50 == 0:
            log(f"denoiser step {step + 1} of {steps} loss {running:.4f}")
    average.copy_to(trained)
    save(unet, folder)


def mixed_precision() -> Any:
    """Autocast to bfloat16 if this processor multiplies in it (1.4 × the images a second), else change nothing."""
    import torch

    fast = torch.cpu.get_capabilities().get("avx512_bf16", False)
    return torch.autocast("cpu", torch.bfloat16, enabled=fast)
