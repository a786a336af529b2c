"""The noise schedule of a base: noise by timestep, the target of the prediction, and the weight of its error."""

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
        """Number of timesteps."""
        return len(self._signal)

    def noised(self, latents: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Add noise to latents: all float32[n, c, h, w], at the timesteps int[n]."""
        signal, noise_share = self._shares(t)
        return signal * latents + noise_share * noise

    def target(self, latents: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """What the denoiser should predict for them, float32[n, c, h, w]."""
        if self.prediction == "epsilon":
            return noise
        signal, noise_share = self._shares(t)
        return signal * noise - noise_share * latents

    def weight(self, t: torch.Tensor, gamma: float) -> torch.Tensor:
        """The weights float32[n] of squared errors under min-SNR weighting with γ = `gamma`; 1 if gamma is 0.

        Hang et al. 2023, arXiv:2303.09556; the authors use 5. The weight min(SNR, γ) is that of an error of the clean
        latents; an error of the noise is that times SNR, one of the velocity that times SNR + 1.
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
    """The mean over channels and positions of float[n, c, h, w]: float32[n]."""
    return (predicted.float() - target).square().mean((1, 2, 3))
