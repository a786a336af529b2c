"""The settings of an encoder's fine-tuning, checked on creation."""

from __future__ import annotations

from dataclasses import dataclass

from generation.training.data.holdout import ONE_IN
from generation.training.run_settings import (
    SCHEDULES,
    learning_rate_at,
    require_hold_out,
    require_not_negative,
    require_one_of,
    require_positive,
)

MODES = ("lora", "full")
TOWERS = ("both", "image")
NUMBERS = ("float32", "bfloat16")
_RATES = {"lora": 5e-4, "full": 2e-5}


@dataclass(frozen=True)
class EncoderSettings:
    """Raises `generation.SettingsError` for a number out of range or an unknown name."""

    mode: str = "lora"
    """lora: on linear layers and 1 × 1 convolutions, merged when saved; full: every weight."""
    towers: str = "both"
    """image: the text tower is frozen."""
    rank: int = 16
    alpha: float = 0.0
    """The LoRA's strength is alpha / rank; 0 stands for the rank, strength 1."""
    steps: int = 300
    epochs: float = 0.0
    """Passes over the training images, in place of `steps`; 0: `steps`."""
    batch_size: int = 64
    learning_rate: float = 0.0
    """0 stands for 5e-4 with a LoRA and 2e-5 in full."""
    schedule: str = "cosine"
    restarts: int = 3
    """Cosines one after the other, of the schedule "restarts"."""
    warmup: int = 20
    weight_decay: float = 0.05
    clip: float = 1.0
    hold_out: int = ONE_IN
    validation_images: int = 256
    validate_every: int = 50
    checkpoint_every: int = 50
    dtype: str = "float32"
    """bfloat16: towers compute in it, weights and loss stay in float32."""
    checkpointing: bool = False
    """Gradient checkpointing: a third more work, a fraction of the memory."""
    gallery: int = 5000
    """Most images of training patients that held-out ones are searched among."""
    seed: int = 0

    def __post_init__(self) -> None:
        require_positive(
            self, "rank", "steps", "batch_size", "clip", "validation_images", "validate_every", "checkpoint_every",
            "gallery", "restarts",
        )  # fmt: skip
        require_not_negative(self, "alpha", "epochs", "learning_rate", "warmup", "weight_decay", "seed")
        require_one_of(self, "mode", MODES)
        require_one_of(self, "towers", TOWERS)
        require_one_of(self, "dtype", NUMBERS)
        require_one_of(self, "schedule", SCHEDULES)
        require_hold_out(self)

    @property
    def peak_rate(self) -> float:
        """The highest learning rate."""
        return self.learning_rate or _RATES[self.mode]

    def rate(self, step: int) -> float:
        """The learning rate of a step, from 0."""
        return learning_rate_at(
            step,
            peak=self.peak_rate,
            steps=self.steps,
            warmup=self.warmup,
            schedule=self.schedule,
            restarts=self.restarts,
        )
