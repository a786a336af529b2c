"""The loss of a training step, against a count image by image."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from generation.training.data.latent_cache import EncodedText
from generation.training.data.step_sampling import StepSample
from generation.training.lora_settings import LoraSettings
from generation.training.loss import Denoising, _noise
from generation.training.noise import NoiseSchedule

SCHEDULE = {"num_train_timesteps": 100, "beta_start": 0.01, "beta_end": 0.2, "beta_schedule": "linear"}
TIMES, SEEDS = [2, 40, 90], [5, 6, 7]


class Encoded:
    """Latents of zeros, and texts of different lengths."""

    def image(self, pair: Any, view: int) -> Any:
        return SimpleNamespace(latents=torch.zeros(4, 2, 2), time_ids=torch.zeros(6))

    def text(self, prompt: str) -> EncodedText:
        return EncodedText(torch.zeros(len(prompt), 3), torch.zeros(2))

    def dropped_text(self, length: int) -> EncodedText:
        return EncodedText(torch.zeros(length, 3), torch.zeros(2))


def predicts_nothing(noised: torch.Tensor, *_: object, **__: object) -> Any:
    return SimpleNamespace(sample=torch.zeros_like(noised))


@pytest.mark.parametrize("min_snr", [0.0, 5.0])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_errors_are_weighted_by_the_signal_to_noise_ratio(prediction: str, min_snr: float) -> None:
    reports = ["a", "bb", "a"]
    denoising = Denoising(
        NoiseSchedule({**SCHEDULE, "prediction_type": prediction}),
        Encoded(),  # type: ignore[arg-type]
        {report: report for report in reports},
        LoraSettings(min_snr=min_snr),
        device="cpu",
        dtype=torch.float32,
    )
    sample = StepSample(np.arange(3), np.zeros(3, int), np.array([True, True, False]), np.array(TIMES), np.array(SEEDS))
    pairs = [SimpleNamespace(report=report, image=Path("a.png")) for report in reports]

    signal_at = np.cumprod(1 - np.linspace(0.01, 0.2, 100))
    weighted = []
    for t, seed in zip(TIMES, SEEDS, strict=True):
        noise = torch.randn((4, 2, 2), generator=torch.Generator().manual_seed(seed)).numpy()
        signal = signal_at[t]
        target = noise if prediction == "epsilon" else np.sqrt(signal) * noise  # of latents of zeros
        snr = signal / (1 - signal)
        weight = min(snr, min_snr) / (snr if prediction == "epsilon" else snr + 1) if min_snr else 1.0
        weighted.append(weight * float((target**2).mean()))
    found = denoising.loss(predicts_nothing, sample, pairs)  # type: ignore[arg-type]
    assert float(found) == pytest.approx(float(np.mean(weighted)), rel=1e-4)


def test_a_noise_offset_moves_whole_channels_and_is_the_same_each_time() -> None:
    plain, moved = (_noise(3, (4, 8, 8), offset) for offset in (0.0, 0.5))
    difference = (moved - plain).reshape(4, -1)
    assert difference.std(1).max() < 1e-6 and difference.mean(1).abs().min() > 0
    assert torch.equal(moved, _noise(3, (4, 8, 8), 0.5))
    assert torch.equal(plain, torch.randn((4, 8, 8), generator=torch.Generator().manual_seed(3)))
