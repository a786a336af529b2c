"""What is asked of the denoiser in a training: the noise of encoded images, being told their reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from generation.training.data.latent_cache import EncodedText, Encodings
from generation.training.data.pairs import TrainingPair
from generation.training.lora_settings import LoraSettings
from generation.training.noise import NoiseSchedule, squared_error
from generation.training.step_sampling import Draw
from generation.training.validation import validation_timesteps

if TYPE_CHECKING:
    import torch


class Denoising:
    """`prompts` are by report; `dtype` is the UNet's. A LoRA on it is in float32 and computes as the UNet does.

    `told_size`: tell the model that every image is a whole square picture of so many pixels, as it is told when it
    draws; None: tell it how the image was cut.
    """

    def __init__(
        self,
        schedule: NoiseSchedule,
        encodings: Encodings,
        prompts: Mapping[str, str],
        settings: LoraSettings,
        *,
        device: str,
        dtype: torch.dtype,
        told_size: int | None = None,
    ) -> None:
        self._schedule, self._encodings, self._prompts = schedule, encodings, prompts
        self._settings, self._device, self._dtype = settings, device, dtype
        self._told_size = told_size

    def loss(self, unet: Any, drawn: Draw, pairs: Sequence[TrainingPair]) -> torch.Tensor:
        """Scalar: the weighted mean error of the drawn ones of `pairs`."""
        import torch

        latents, time_ids, texts = [], [], []
        for item, view, told in zip(drawn.items.tolist(), drawn.views.tolist(), drawn.told.tolist(), strict=True):
            encoded = self._encodings.image(pairs[item], count=self._settings.views)
            view %= len(encoded.latents)
            latents.append(encoded.latents[view])
            time_ids.append(encoded.time_ids[view])
            text = self._encodings.text(self._prompts[pairs[item].report])
            texts.append(text if told else self._encodings.dropped_text(len(text.tokens)))
        t = torch.from_numpy(drawn.timesteps).to(self._device)
        clean = torch.stack(latents).float()
        noise = torch.stack([_noise(seed, clean.shape[1:]) for seed in drawn.noise_seeds.tolist()])
        error = self._errors(unet, clean, noise, t, texts, torch.stack(time_ids))
        return (self._schedule.weight(t, self._settings.min_snr) * error).mean()

    def errors(self, unet: Any, pairs: Sequence[TrainingPair]) -> list[float]:
        """The error of each pair, at its own noise and timesteps: see `validation`."""
        import torch

        unet.eval()
        errors = []
        for number, pair in enumerate(pairs):
            encoded = self._encodings.image(pair, count=1)
            t = torch.tensor(validation_timesteps(number, self._schedule.steps), device=self._device)
            clean = encoded.latents[:1].float()
            noise = _noise(number, clean.shape[1:])[None]
            latents, noises, ids = (
                rows.expand(len(t), *rows.shape[1:]) for rows in (clean, noise, encoded.time_ids[:1])
            )
            text = self._encodings.text(self._prompts[pair.report])
            with torch.no_grad():
                errors.append(float(self._errors(unet, latents, noises, t, [text] * len(t), ids).mean()))
        return errors

    def _errors(
        self,
        unet: Any,
        clean: torch.Tensor,
        noise: torch.Tensor,
        t: torch.Tensor,
        texts: Sequence[EncodedText],
        time_ids: torch.Tensor,
    ) -> torch.Tensor:
        """float32[n]. Prompts of different lengths go through the model apart: padding would be read."""
        import torch

        if self._told_size is not None:
            size = self._told_size
            time_ids = torch.tensor([size, size, 0, 0, size, size]).expand(len(texts), -1)
        clean, noise = clean.to(self._device), noise.to(self._device)
        noised, target = self._schedule.noised(clean, noise, t), self._schedule.target(clean, noise, t)
        lengths = [len(text.tokens) for text in texts]
        errors = torch.zeros(len(texts), device=self._device)
        for length in sorted(set(lengths)):
            rows = [place for place, one in enumerate(lengths) if one == length]
            told = {
                "text_embeds": torch.stack([texts[row].pooled for row in rows]).to(self._device, self._dtype),
                "time_ids": time_ids[rows].to(self._device, self._dtype),
            }
            tokens = torch.stack([texts[row].tokens for row in rows]).to(self._device, self._dtype)
            with torch.autocast(clean.device.type, torch.bfloat16, enabled=self._dtype == torch.bfloat16):
                predicted = unet(noised[rows].to(self._dtype), t[rows], tokens, added_cond_kwargs=told).sample
            errors[rows] = squared_error(predicted, target[rows])
        return errors


def _noise(seed: int, shape: Any) -> torch.Tensor:
    """Made on the CPU: the same on every device."""
    import torch

    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
