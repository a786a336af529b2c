"""The noise that a denoiser learns to remove: how much at which timestep, what it predicts, what an error weighs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from generation.errors import TrainingDataError

if TYPE_CHECKING:
    import torch

_PREDICTIONS = ("epsilon", "v_prediction")


class NoiseSchedule:
    """A base's own noise schedule, from its scheduler's configuration.

    Raises `TrainingDataError` for a base that predicts neither noise nor velocity (Salimans & Ho 2022,
    arXiv:2202.00512).
    """

    def __init__(self, scheduler_config: Any, device: str = "cpu") -> None:
        from diffusers import DDPMScheduler

        scheduler = DDPMScheduler.from_config(scheduler_config)
        self.prediction: str = scheduler.config.prediction_type
        if self.prediction not in _PREDICTIONS:
            raise TrainingDataError(
                f"The base predicts {self.prediction!r}; a LoRA can be trained where it predicts one of "
                f"{', '.join(_PREDICTIONS)}."
            )
        self._signal = scheduler.alphas_cumprod.to(device)

    @property
    def steps(self) -> int:
        """How many timesteps there are."""
        return len(self._signal)

    def noised(self, latents: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """float32[n, c, h, w]: latents as they are at the timesteps int[n]."""
        kept, lost = self._shares(t)
        return kept * latents + lost * noise

    def target(self, latents: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """float32[n, c, h, w]: what the denoiser is to say of them."""
        if self.prediction == "epsilon":
            return noise
        kept, lost = self._shares(t)
        return kept * noise - lost * latents

    def weight(self, t: torch.Tensor, gamma: float) -> torch.Tensor:
        """float32[n]: what a squared error counts under min-SNR weighting (Hang et al. 2023, arXiv:2303.09556, with
        γ = `gamma`; the authors use 5). All ones where gamma is 0.

        The weight min(SNR, γ) is of an error of the clean latents; an error of the noise is that times SNR, one of the
        velocity that times SNR + 1.
        """
        import torch

        signal = self._signal[t].clamp(min=1e-8)  # a schedule that ends at no signal at all
        if not gamma:
            return torch.ones_like(signal)
        snr = signal / (1 - signal)
        return snr.clamp(max=gamma) / (snr if self.prediction == "epsilon" else snr + 1)

    def _shares(self, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        signal = self._signal[t].view(-1, 1, 1, 1)
        return signal.sqrt(), (1 - signal).sqrt()


def squared_error(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """float32[n]: the mean over channels and places."""
    return (predicted.float() - target).square().mean((1, 2, 3))
