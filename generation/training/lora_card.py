"""The model card of a LoRA: its data and settings, without a word of any report and without names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from generation.atomic_write import write_atomic
from generation.training.data.pairs import PairCounts
from generation.training.lora_settings import LoraSettings
from generation.training.model_card import (
    counts_table,
    held_out_words,
    page,
    settings_table,
    skipped_list,
    table,
)
from generation.training.training_run import BEST
from generation.training.validation import Change

_CONDITIONING = {
    "true": "The model was conditioned on the true original size, corner and target size of each.",
    "square": "The model was conditioned as in generation: on a whole image of the target size.",
}
_ENCODED = {
    False: "Text and latents were encoded once, by the base's own encoders.",
    True: "Latents were encoded once, by the base's own autoencoder, reports in each step by the encoders in training.",
}


@dataclass(frozen=True)
class LoraTraining:
    """A finished training."""

    weights: Path
    work: Path
    """The folder with what was encoded of images and reports: as confidential as they are, not beside the weights."""
    base: str
    base_fingerprint: str
    data_fingerprint: str
    size: int
    """Edge in pixels."""
    prediction: str
    """What the base predicts: epsilon or v_prediction."""
    device: str
    dtype: str
    processes: int
    steps: int
    seconds_a_step: float
    """In the steps only, without encoding, validation and sample sheets."""
    trained: PairCounts
    held_out: PairCounts
    measured: int
    """Held-out images that the validation loss is measured on."""
    skipped: Mapping[str, int]
    """Pairs that could not be used, by reason."""
    settings: LoraSettings
    validation: Sequence[tuple[int, float]]
    """Steps and losses."""
    change: Change
    notes: Sequence[str]
    """What was done otherwise than the settings say by themselves."""

    @property
    def patients_named(self) -> bool:
        """Whether every image's patient was named."""
        return self.trained.patients_named and self.held_out.patients_named

    @property
    def lowest(self) -> tuple[int, float]:
        """The step of the lowest validation loss, and that loss."""
        return min(self.validation, key=lambda point: point[1])


def write_card(training: LoraTraining) -> Path:
    """README.md beside the weights; returns it."""
    settings = {**dataclasses.asdict(training.settings), "size": training.size, "steps": training.steps}
    made = {
        "base": training.base,
        "fingerprint of the base": training.base_fingerprint,
        "fingerprint of the data": training.data_fingerprint,
        "the base predicts": training.prediction,
        "trained on": f"{training.device}, {training.dtype}, processes: {training.processes}",
        "seconds a step": f"{training.seconds_a_step:.2f}",
    }
    encoders = training.settings.text_encoder
    lowest_step, lowest = training.lowest
    curve = [[str(step), f"{loss:.5f}"] for step, loss in training.validation]
    text = page(
        "LoRA for cytology images",
        sections={
            "": [
                f"A LoRA on the attention of {_where(training.settings)} of an SDXL-architecture base, trained on "
                "image-report pairs. Load it with its base: `coin generate --base BASE --lora THIS_FOLDER --text "
                "REPORT`.",
            ],
            "What it may give away": [
                "A LoRA can memorise images that it was trained on and reproduce them, and file names, settings and "
                "counts below say something about their origin. It is as confidential as the images. Reports "
                "were read on the machine that trained and are in no file beside it.",
                "Before images of it are given away, compare them with the training images: `coin copy-check "
                "--images THEIRS --against MANIFEST` (or `--archive`) reports copies of whole images and of parts, and "
                "how near the others lie. It says what it looked for: what it does not look for it does not deny.",
                "This card has no header for a hub of models: it describes one that is not to be published.",
            ],
            "Data": [
                counts_table({"trained on": training.trained, "held out": training.held_out}),
                held_out_words(training.settings.hold_out, patients_named=training.patients_named),
                f"The validation loss is of {training.measured} held-out images.",
                skipped_list(training.skipped),
            ],
            "Validation": [
                training.change.words,
                f"Lowest: {lowest:.4f} at step {lowest_step}. The weights here are those of step {training.steps}; "
                f"`{BEST}/` has those of the lowest loss after step 0, and `step-…/` those of the checkpoints.",
                table(["step", "validation loss"], curve),
                "Mean squared error of what the denoiser predicts, at the same noise and timesteps each time. A lower "
                "one says that the held-out images surprise the model less; it does not say that images look right.",
            ],
            "Settings": [
                settings_table(settings),
                *training.notes,
                f"{_cuts(training)} {_CONDITIONING[training.settings.conditioning]} {_ENCODED[encoders]}",
            ],
            "Made with": [table(["", ""], [[name, value] for name, value in made.items()])],
        },
    )
    return write_atomic(training.weights.parent / "README.md", text.encode())


def _where(settings: LoraSettings) -> str:
    return "the UNet and of the text encoders" if settings.text_encoder else "the UNet"


def _cuts(training: LoraTraining) -> str:
    size, crop = training.size, training.settings.crop
    if training.settings.buckets:
        return f"Images: scaled to cover a rectangle of about {size} × {size} pixels near to their own shape ({crop})."
    return f"Images: the short side scaled to {size} pixels, a square cut out ({crop})."
