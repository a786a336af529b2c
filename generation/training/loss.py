"""The denoiser's loss: the error of the noise that it predicts in encoded images, given their reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from generation.training.data.latent_cache import EncodedText, Encodings
from generation.training.data.pairs import TrainingPair
from generation.training.lora_settings import LoraSettings
from generation.training.noise import NoiseSchedule, squared_error
from generation.training.step_sampling import StepSample
from generation.training.validation import validation_timesteps

if TYPE_CHECKING:
    import torch


class Denoising:
    """Computes training and validation losses of a UNet.

    Args:
        prompts: by report.
        dtype: the UNet's. A LoRA on it is in float32 and computes as the UNet does.
        square_size: condition the model on a whole square image of this edge, as in generation; None conditions it on
            how the image was cut.
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
        square_size: int | None = None,
    ) -> None:
        self._schedule, self.encodings, self._prompts = schedule, encodings, prompts
        self._settings, self._device, self._dtype = settings, device, dtype
        self._square_size = square_size

    def loss(self, unet: Any, sample: StepSample, pairs: Sequence[TrainingPair]) -> torch.Tensor:
        """The weighted mean error of the sampled ones of `pairs`, a scalar."""
        import torch

        latents, time_ids, texts = [], [], []
        for item, view, has_text in zip(
            sample.items.tolist(), sample.views.tolist(), sample.has_text.tolist(), strict=True
        ):
            encoded = self.encodings.image(pairs[item], view)
            latents.append(encoded.latents)
            time_ids.append(encoded.time_ids)
            text = self.encodings.text(self._prompts[pairs[item].report])
            texts.append(text if has_text else self.encodings.dropped_text(len(text.tokens)))
        t = torch.from_numpy(sample.timesteps).to(self._device)
        clean = torch.stack(latents).float()
        offset = self._settings.noise_offset
        noise = torch.stack([_noise(seed, clean.shape[1:], offset) for seed in sample.noise_seeds.tolist()])
        error = self._errors(unet, clean, noise, t, texts, torch.stack(time_ids))
        return (self._schedule.weight(t, self._settings.min_snr) * error).mean()

    def errors(self, unet: Any, pairs: Sequence[TrainingPair], *, part: tuple[int, int] = (0, 1)) -> list[float]:
        """The error of every n-th pair from the i-th on, `part` (i, n), at fixed noise and timesteps, see
        `generation.training.validation`."""
        import torch

        unet.eval()
        errors = []
        for number in range(part[0], len(pairs), part[1]):
            pair = pairs[number]
            encoded = self.encodings.image(pair, 0)
            t = torch.tensor(validation_timesteps(number, self._schedule.steps), device=self._device)
            clean = encoded.latents[None].float()
            noise = _noise(number, clean.shape[1:])[None]
            latents, noises, ids = (
                rows.expand(len(t), *rows.shape[1:]) for rows in (clean, noise, encoded.time_ids[None])
            )
            text = self.encodings.text(self._prompts[pair.report])
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
        """Errors float32[n]. Prompts of different lengths are not batched: the model would attend to padding."""
        import torch

        if self._square_size is not None:
            size = self._square_size
            time_ids = torch.tensor([size, size, 0, 0, size, size]).expand(len(texts), -1)
        clean, noise = clean.to(self._device), noise.to(self._device)
        noised, target = self._schedule.noised(clean, noise, t), self._schedule.target(clean, noise, t)
        lengths = [len(text.tokens) for text in texts]
        errors = torch.zeros(len(texts), device=self._device)
        for length in sorted(set(lengths)):
            rows = [row for row, tokens in enumerate(lengths) if tokens == length]
            conditions = {
                "text_embeds": torch.stack([texts[row].pooled for row in rows]).to(self._device, self._dtype),
                "time_ids": time_ids[rows].to(self._device, self._dtype),
            }
            tokens = torch.stack([texts[row].tokens for row in rows]).to(self._device, self._dtype)
            with torch.autocast(clean.device.type, torch.bfloat16, enabled=self._dtype == torch.bfloat16):
                predicted = unet(noised[rows].to(self._dtype), t[rows], tokens, added_cond_kwargs=conditions).sample
            errors[rows] = squared_error(predicted, target[rows])
        return errors


def _noise(seed: int, shape: Any, offset: float = 0.0) -> torch.Tensor:
    """Standard normal noise float32[c, h, w] of a seed, sampled on the CPU, so that it is the same on every device; and
    `offset` times one more value for each channel."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(shape, generator=generator)
    return noise + offset * torch.randn(shape[0], 1, 1, generator=generator) if offset else noise
