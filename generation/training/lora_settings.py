"""The settings of a LoRA's training, checked on creation."""

from __future__ import annotations

from dataclasses import dataclass

from generation.errors import SettingsError
from generation.training.data.holdout import ONE_IN
from generation.training.optimizers import OPTIMIZERS, PRODIGY_RATE
from generation.training.run_settings import (
    SCHEDULES,
    learning_rate_at,
    require_hold_out,
    require_not_negative,
    require_one_of,
    require_positive,
    require_share,
)
from generation.training.training_log import TRACKERS

CROPS = ("centre", "random")
DTYPES = ("auto", "float32", "bfloat16", "float16")
CONDITIONINGS = ("true", "square")


@dataclass(frozen=True)
class LoraSettings:
    """Raises `SettingsError` for a number out of range or an unknown name."""

    rank: int = 16
    alpha: float = 0.0
    """The LoRA's strength is alpha / rank; 0 stands for the rank, strength 1."""
    steps: int = 1000
    epochs: float = 0.0
    """Passes over the training images, in place of `steps`; 0: `steps`."""
    batch_size: int = 4
    accumulate: int = 1
    """Batches whose gradients are summed for one step."""
    optimizer: str = "adamw"
    learning_rate: float = 1e-4
    schedule: str = "cosine"
    restarts: int = 3
    """Cosines one after the other, of the schedule "restarts"."""
    warmup: int = 50
    weight_decay: float = 1e-2
    clip: float = 1.0
    """The gradient's largest length."""
    text_encoder: bool = False
    """Put a LoRA on the text encoders, too. Reports are then read anew in each step."""
    size: int = 0
    """Edge in pixels; 0 is the base's own."""
    buckets: bool = False
    """Cut images to rectangles of about the area of that square, each to the shape that is nearest to its own."""
    crop: str = "centre"
    turns: bool = True
    views: int = 4
    """Squares cut from each image that are encoded and trained on."""
    conditioning: str = "true"
    """SDXL's size conditioning. true: the original size of the image, the corner of the crop, the target size; square:
    as in generation, a whole image of the target size."""
    balance: bool = False
    """Repeat the images of rare categories in each pass, so that categories come as often as the commonest, or 20 times
    as often as without."""
    noise_offset: float = 0.0
    """Noise of one value for a whole channel of an image, as a share of the other noise: brightness and colour of whole
    images are learned better. 0: none."""
    text_dropout: float = 0.1
    min_snr: float = 5.0
    """γ of min-SNR weighting; 0 switches it off."""
    ema: float = 0.0
    """Decay of the moving average of the weights that is saved; 0 switches it off."""
    hold_out: int = ONE_IN
    """One patient in so many is never trained on."""
    validation_images: int = 64
    validate_every: int = 100
    checkpoint_every: int = 100
    sample_every: int = 250
    """Steps between two sample sheets; 0 makes none."""
    sample_reports: int = 4
    sample_seeds: int = 3
    dtype: str = "auto"
    """auto: bfloat16 on a GPU that computes in it, else float32. With float16 losses are scaled."""
    checkpointing: bool | None = None
    """Gradient checkpointing: a third more work, a fraction of the memory. None: on a GPU."""
    tensorboard: bool = False
    wandb: bool = False
    """Show the log's numbers in TensorBoard, in Weights & Biases."""
    seed: int = 0

    def __post_init__(self) -> None:
        require_positive(
            self, "rank", "steps", "batch_size", "accumulate", "learning_rate", "clip", "views", "validation_images",
            "validate_every", "checkpoint_every", "sample_reports", "sample_seeds", "restarts",
        )  # fmt: skip
        require_not_negative(
            self, "alpha", "epochs", "warmup", "weight_decay", "size", "min_snr", "sample_every", "seed", "noise_offset"
        )
        require_one_of(self, "schedule", SCHEDULES)
        require_one_of(self, "optimizer", OPTIMIZERS)
        require_one_of(self, "crop", CROPS)
        require_one_of(self, "dtype", DTYPES)
        require_one_of(self, "conditioning", CONDITIONINGS)
        require_share(self, "text_dropout", "ema")
        require_hold_out(self)
        if self.optimizer == "prodigy" and self.learning_rate < PRODIGY_RATE:
            raise SettingsError(
                f"The learning rate is {self.learning_rate:g}: the optimizer prodigy multiplies it with one that it "
                "finds by itself. Give a learning rate of 1."
            )

    @property
    def trackers(self) -> tuple[str, ...]:
        """Of `training_log.TRACKERS`."""
        return tuple(name for name in TRACKERS if getattr(self, name))

    @property
    def images_a_step(self) -> int:
        """In one process."""
        return self.batch_size * self.accumulate

    def rate(self, step: int) -> float:
        """The learning rate of a step, from 0."""
        return learning_rate_at(
            step,
            peak=self.learning_rate,
            steps=self.steps,
            warmup=self.warmup,
            schedule=self.schedule,
            restarts=self.restarts,
        )
