"""The denoiser's loss: the error of the noise that it predicts in encoded images, given their reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from generation.training.data.latent_cache import EncodedText, Encodings
from generation.training.data.pairs import TrainingPair
from generation.training.data.step_sampling import StepSample
from generation.training.lora_settings import LoraSettings
from generation.training.noise import NoiseSchedule, squared_error
from generation.training.validation import validation_timesteps

if TYPE_CHECKING:
    import torch

    from generation.model.pipeline import CoinPipeline


Text = EncodedText | tuple[str, bool]
"""An encoded report; or the prompt, and whether it counts."""


class Denoising:
    """Computes training and validation losses of a UNet.

    Args:
        prompts: by report.
        dtype: the UNet's. A LoRA on it is in float32 and computes as the UNet does.

    Where the settings train the text encoders, the model is that of `with_text_encoders`, and reads the prompts itself.
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
    ) -> None:
        self._schedule, self.encodings, self._prompts = schedule, encodings, prompts
        self._settings, self._device, self._dtype = settings, device, dtype

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
            texts.append(self._text(pairs[item], has_text))
        t = torch.from_numpy(sample.timesteps).to(self._device)
        clean = [rows.float() for rows in latents]
        offset = self._settings.noise_offset
        seeds = sample.noise_seeds.tolist()
        noise = [_noise(seed, rows.shape, offset) for seed, rows in zip(seeds, clean, strict=True)]
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
            clean = encoded.latents.float()
            noise = _noise(number, clean.shape)
            ids, text = encoded.time_ids[None].expand(len(t), -1), self._text(pair)
            with torch.no_grad():
                each = self._errors(unet, [clean] * len(t), [noise] * len(t), t, [text] * len(t), ids)
            errors.append(float(each.mean()))
        return errors

    def _text(self, pair: TrainingPair, has_text: bool = True) -> Text:
        prompt = self._prompts[pair.report]
        if self._settings.text_encoder:
            return prompt, has_text
        text = self.encodings.text(prompt)
        return text if has_text else self.encodings.dropped_text(len(text.tokens))

    def _errors(
        self,
        unet: Any,
        clean: Sequence[torch.Tensor],
        noise: Sequence[torch.Tensor],
        t: torch.Tensor,
        texts: Sequence[Text],
        time_ids: torch.Tensor,
    ) -> torch.Tensor:
        """Errors float32[n] of latents float32[c, h, w] each.

        Images of different shapes are not batched, nor prompts of different lengths: the model would attend to padding.
        """
        import torch

        if self._settings.conditioning == "square":  # as in generation: a whole picture of the size of the cut
            size = time_ids[:, 4:]
            time_ids = torch.cat([size, torch.zeros_like(size), size], dim=1)
        half = self._dtype != torch.float32
        errors = torch.zeros(len(texts), device=self._device)
        alike = [
            (0 if isinstance(text, tuple) else len(text.tokens), *rows.shape)
            for text, rows in zip(texts, clean, strict=True)
        ]
        for kind in sorted(set(alike)):
            rows = [row for row, other in enumerate(alike) if other == kind]
            latents, noises = (torch.stack([some[row] for row in rows]).to(self._device) for some in (clean, noise))
            steps = t[rows]
            noised, target = (
                self._schedule.noised(latents, noises, steps),
                self._schedule.target(latents, noises, steps),
            )
            read, conditions = self._conditions([texts[row] for row in rows])
            conditions["time_ids"] = time_ids[rows].to(self._device, self._dtype)
            with torch.autocast(latents.device.type, self._dtype if half else torch.bfloat16, enabled=half):
                predicted = unet(noised.to(self._dtype), steps, read, added_cond_kwargs=conditions).sample
            errors[rows] = squared_error(predicted, target)
        return errors

    def _conditions(self, texts: Sequence[Any]) -> tuple[Any, dict[str, torch.Tensor]]:
        """What the model reads of n texts: token states [n, t, d] and pooled embeddings, or prompts and which count."""
        import torch

        if self._settings.text_encoder:
            prompts, has_text = zip(*texts, strict=True)
            return list(prompts), {"has_text": torch.tensor(has_text, device=self._device)}
        tokens, pooled = (
            torch.stack([getattr(text, name) for text in texts]).to(self._device, self._dtype)
            for name in ("tokens", "pooled")
        )
        return tokens, {"text_embeds": pooled}


def _noise(seed: int, shape: Any, offset: float = 0.0) -> torch.Tensor:
    """Standard normal noise float32[c, h, w] of a seed, sampled on the CPU, so that it is the same on every device; and
    `offset` times one more value for each channel."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(shape, generator=generator)
    return noise + offset * torch.randn(shape[0], 1, 1, generator=generator) if offset else noise


def with_text_encoders(pipeline: CoinPipeline) -> Any:
    """One torch module of the pipeline's UNet and text encoders, which several processes train as a whole.

    It is called as the UNet is, with n prompts in place of their token states, and `has_text` bool[n] in place of
    their pooled embeddings: where it is false, a prompt is replaced by what replaces it without guidance.
    """
    import torch

    class Conditioned(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unet = pipeline.unet
            for part, model in pipeline.text_encoders.items():
                self.add_module(part, model)

        def forward(self, noised: Any, t: Any, prompts: list[str], added_cond_kwargs: dict[str, Any]) -> Any:
            has_text = added_cond_kwargs["has_text"][:, None]
            tokens, no_tokens, pooled, no_pooled = pipeline.embed_texts(prompts, trained=True)
            conditions = {
                "text_embeds": torch.where(has_text, pooled, no_pooled).to(noised.dtype),
                "time_ids": added_cond_kwargs["time_ids"],
            }
            read = torch.where(has_text[:, None], tokens, no_tokens).to(noised.dtype)
            return self.unet(noised, t, read, added_cond_kwargs=conditions)

    return Conditioned()
