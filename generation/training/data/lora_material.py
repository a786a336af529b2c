"""Training and validation data of a LoRA: pairs that could be read, encoded, and divided by patient."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from generation.errors import EmptyReportError, TrainingDataError
from generation.prompts.prompt import build_prompt
from generation.training.data.holdout import held_out_patients
from generation.training.data.latent_cache import Encodings, ProgressFactory
from generation.training.data.pairs import TrainingPair
from generation.training.lora_settings import LoraSettings
from generation.training.validation import choose_spread

if TYPE_CHECKING:
    from generation.model.pipeline import CoinPipeline
    from generation.model.tokens import PromptTokens

_EMPTY = "The report is empty."
_TWICE = "The same image file is a held-out patient's, too."


@dataclass(frozen=True)
class LoraMaterial:
    """Encoded pairs of n patients."""

    training: list[TrainingPair]
    held_out: list[TrainingPair]
    measured: list[TrainingPair]
    """The held-out pairs that the validation loss is measured on."""
    prompts: dict[str, str]
    """By report."""
    skipped: dict[str, int]
    """Pairs that could not be used, by reason."""


def gather_material(
    pairs: Sequence[TrainingPair],
    settings: LoraSettings,
    encodings: Encodings,
    pipeline: CoinPipeline,
    tokens: PromptTokens,
    *,
    accelerator: Any,
    device: str,
    progress: ProgressFactory,
) -> LoraMaterial:
    """Hold out whole patients, and encode what is not encoded yet.

    All processes encode equal shares of the images, the first one also the reports.

    Raises `TrainingDataError` if no image is left to train on, or to validate with.
    """
    prompts, skipped = _prompts(pairs, tokens)
    usable = [pair for pair in pairs if pair.report in prompts]
    held = held_out_patients((pair.patient for pair in usable), settings.hold_out)
    held_out = [pair for pair in usable if pair.patient in held]
    unseen = {pair.content for pair in held_out}
    training = [pair for pair in usable if pair.patient not in held and pair.content not in unseen]
    skipped[_TWICE] += len(usable) - len(held_out) - len(training)
    measured = choose_spread(held_out, settings.validation_images)
    share = accelerator.process_index, accelerator.num_processes
    for some, count in ((training, settings.views), (measured, 1)):
        failed = encodings.encode_images(some, count=count, device=device, progress=progress, share=share)
        skipped.update(failed.values())
    if accelerator.is_main_process:
        wanted = [prompts[pair.report] for pair in (*training, *measured)]
        encodings.encode_texts(wanted, pipeline, progress=progress)
    accelerator.wait_for_everyone()
    training = [pair for pair in training if encodings.has_image(pair, count=settings.views)]
    measured = [pair for pair in measured if encodings.has_image(pair, count=1)]
    if not training or not measured:
        what = "of held-out patients" if training else "to learn from"
        reasons = "; ".join(f"{count} × {reason}" for reason, count in sorted(skipped.items()) if count)
        raise TrainingDataError(f"There is no readable image {what}. {reasons} Check the images, or add others.")
    return LoraMaterial(training, held_out, measured, prompts, {reason: n for reason, n in skipped.items() if n})


def _prompts(pairs: Sequence[TrainingPair], tokens: PromptTokens) -> tuple[dict[str, str], Counter[str]]:
    """The prompt of each report, as at inference, and the number of pairs without one."""
    prompts: dict[str, str] = {}
    empty: set[str] = set()
    for report in dict.fromkeys(pair.report for pair in pairs):
        try:
            prompts[report] = build_prompt(report, count_tokens=tokens.count, limit=tokens.limit).text
        except EmptyReportError:
            empty.add(report)
    return prompts, Counter({_EMPTY: sum(pair.report in empty for pair in pairs)})
