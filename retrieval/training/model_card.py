"""The model card of a fine-tuned encoder: data, settings, and figures before and after."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from generation.atomic_write import write_atomic
from generation.training.data.pairs import PairCounts
from generation.training.model_card import (
    counts_table,
    held_out_words,
    page,
    settings_table,
    skipped_list,
    table,
)
from retrieval.training.before_after import Comparison
from retrieval.training.encoder_settings import EncoderSettings


@dataclass(frozen=True)
class EncoderTuning:
    """A finished fine-tuning."""

    folder: Path
    work: Path
    """The folder with the decoded images: as confidential as they are, and not beside the weights."""
    encoder: str
    before_fingerprint: str
    after_fingerprint: str
    data_fingerprint: str
    device: str
    steps: int
    seconds_a_step: float
    """In the steps only, without decoding, validation and comparison."""
    trained_share: float
    """Share of the parameters that are trained; a LoRA's own count among them."""
    trained: PairCounts
    held_out: PairCounts
    skipped: Mapping[str, int]
    settings: EncoderSettings
    validation: Sequence[tuple[int, float]]
    comparison: Comparison
    notes: Sequence[str]
    """What was done otherwise than the settings say by themselves."""

    @property
    def patients_named(self) -> bool:
        """Whether every image's patient was named."""
        return self.trained.patients_named and self.held_out.patients_named


def write_card(tuning: EncoderTuning) -> Path:
    """README.md beside the weights; returns it."""
    settings = {
        **dataclasses.asdict(tuning.settings),
        "learning_rate": tuning.settings.peak_rate,
        "steps": tuning.steps,
    }
    made = {
        "encoder": tuning.encoder,
        "its fingerprint": tuning.before_fingerprint,
        "fingerprint of this one": tuning.after_fingerprint,
        "fingerprint of the data": tuning.data_fingerprint,
        "trained on": tuning.device,
        "share of the weights trained": f"{100 * tuning.trained_share:.1f} %",
        "seconds a step": f"{tuning.seconds_a_step:.2f}",
    }
    curve = [[str(step), f"{loss:.4f}"] for step, loss in tuning.validation]
    text = page(
        "Encoder for cytology images and reports",
        sections={
            "": [
                "An open_clip model, fine-tuned on image-report pairs. An archive takes it by `coin reembed --encoder "
                "THIS_FOLDER`: searches use the previous encoder until the new one has embedded everything.",
            ],
            "Before and after": [
                tuning.comparison.words,
                comparison_table(tuning.comparison),
                "On held-out cases, found among the images of all other patients (categories) or among the held-out "
                "images (own image; one with the same report counts). Intervals are of 95 %: of a figure from "
                "resampled patients, of a difference, which is paired, by sign flips of patients. An interval that "
                "holds 0 shows no sure difference.",
                *tuning.comparison.notes,
            ],
            "Data": [
                counts_table({"trained on": tuning.trained, "held out": tuning.held_out}),
                held_out_words(tuning.settings.hold_out, patients_named=tuning.patients_named),
                "Whether the encoder before saw them elsewhere is not known here.",
                skipped_list(tuning.skipped),
                "An encoder can give away whether an image was among those it learned from: it is as confidential as "
                "they are.",
            ],
            "Validation": [
                table(["step", "validation loss"], curve),
                "The contrastive loss of held-out pairs, always the same ones.",
            ],
            "Settings": [settings_table(settings), *tuning.notes],
            "Made with": [table(["", ""], [[name, value] for name, value in made.items()])],
        },
    )
    return write_atomic(tuning.folder / "README.md", text.encode())


def comparison_table(comparison: Comparison) -> str:
    """All figures as a Markdown table."""
    rows = [
        [
            figure.asked,
            figure.metric,
            f"{figure.queries} of {figure.patients}" if figure.patients_named else str(figure.queries),
            str(figure.before),
            str(figure.after),
            str(figure.difference),
            "" if figure.chance is None else f"{figure.chance:.3f}",
            figure.verdict,
        ]
        for figure in comparison.figures
    ]
    return table(["", "metric", "queries (of patients)", "before", "after", "difference", "chance", ""], rows)
