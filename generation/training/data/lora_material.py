"""Training and validation data of a LoRA: pairs divided by patient, and what each step takes of them.

Nothing is encoded that no step takes: the images and reports of the next `BLOCK` images are encoded when the first of
them is needed, while workers decode those of the block after. An image that cannot be read is found out then: its place
is taken by the next one that can, so that all other steps stay as they are.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from generation.errors import TrainingDataError, TrainingError
from generation.prompts.prompt import build_prompt
from generation.training.data.buckets import BucketBatches, bucket_shapes, nearest_shapes
from generation.training.data.holdout import held_out_patients
from generation.training.data.latent_cache import Encodings, ProgressFactory, no_progress
from generation.training.data.pairs import TrainingPair, labelled_pairs, title_of
from generation.training.data.step_sampling import StepSample, sample_step
from generation.training.lora_settings import LoraSettings
from generation.training.validation import choose_spread

if TYPE_CHECKING:
    from generation.model.pipeline import CoinPipeline
    from generation.model.tokens import PromptTokens

BLOCK = 256
"""Images that are encoded at a time, of each process."""
_THREADS = 8
MOST_REPEATS = 20
"""Of an image in a pass, where categories are balanced."""
_EMPTY = "The report is empty."
_TWICE = "The same image file is a held-out patient's, too."


class Prompts(dict[str, str]):
    """The prompt of each report, as at inference, made when it is first asked for."""

    def __init__(self, tokens: PromptTokens) -> None:
        super().__init__()
        self._tokens = tokens

    def __missing__(self, report: str) -> str:
        self[report] = prompt = build_prompt(report, count_tokens=self._tokens.count, limit=self._tokens.limit).text
        return prompt


@dataclass(frozen=True)
class LoraMaterial:
    """Pairs of n patients, whether they can be read or not."""

    training: list[TrainingPair]
    held_out: list[TrainingPair]
    measured: list[TrainingPair]
    """The held-out pairs that the validation loss is measured on."""
    prompts: Prompts
    """By report."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Pairs that could not be used, by reason."""

    def steps(self, settings: LoraSettings, processes: int) -> int:
        """The steps of a training with these settings."""
        if not settings.epochs:
            return settings.steps
        return max(1, math.ceil(settings.epochs * len(self.training) / (settings.images_a_step * processes)))

    def with_failed(self, failed: dict[str, str]) -> LoraMaterial:
        """The material without the images that turned out to be unreadable (reasons by content), which are counted.

        Raises `TrainingDataError` if no image is left to train on, or to validate with.
        """
        training, measured = (
            [pair for pair in pairs if pair.content not in failed] for pairs in (self.training, self.measured)
        )
        skipped = self.skipped + Counter(failed.values())
        if not training or not measured:
            what = "of held-out patients" if training else "to learn from"
            reasons = "; ".join(f"{count} × {reason}" for reason, count in sorted(skipped.items()) if count)
            raise TrainingDataError(f"There is no readable image {what}. {reasons} Check the images, or add others.")
        held_out = [pair for pair in self.held_out if pair.content not in failed]
        return LoraMaterial(training, held_out, measured, self.prompts, skipped)


def divide_pairs(pairs: Sequence[TrainingPair], settings: LoraSettings, tokens: PromptTokens) -> LoraMaterial:
    """Hold out whole patients, and choose what the validation loss is measured on. No image is read."""
    usable = [pair for pair in pairs if any(character.isalnum() for character in pair.report)]
    held = held_out_patients((pair.patient for pair in usable), settings.hold_out)
    held_out = [pair for pair in usable if pair.patient in held]
    unseen = {pair.content for pair in held_out}
    training = [pair for pair in usable if pair.patient not in held and pair.content not in unseen]
    skipped = Counter({_EMPTY: len(pairs) - len(usable), _TWICE: len(usable) - len(held_out) - len(training)})
    measured = choose_spread(held_out, settings.validation_images)
    return LoraMaterial(training, held_out, measured, Prompts(tokens), +skipped)


def bucket_of_each(
    pairs: Sequence[TrainingPair], *, size: int, size_step: int, batch: int
) -> dict[str, tuple[int, int]]:
    """The aspect bucket of each pair by its content; one whose size cannot be read gets the square."""
    with ThreadPoolExecutor(_THREADS) as threads:
        sizes = [found or (size, size) for found in threads.map(_size, pairs)]
    shapes = nearest_shapes(sizes, bucket_shapes(size, size_step), batch=batch)
    return {pair.content: shape for pair, shape in zip(pairs, shapes, strict=True)}


def _size(pair: TrainingPair) -> tuple[int, int] | None:
    try:
        return pair.load().size if pair.size is None else pair.size()
    except TrainingDataError:
        return None


class StepData:
    """What the steps take of the training pairs, in one of several processes.

    Args:
        process: the number of this process, and how many there are.
        timesteps: how many the base's noise schedule has.
    """

    def __init__(
        self,
        material: LoraMaterial,
        settings: LoraSettings,
        encodings: Encodings,
        pipeline: CoinPipeline,
        *,
        process: tuple[int, int] = (0, 1),
        timesteps: int,
    ) -> None:
        self._material, self._settings, self._encodings, self._pipeline = material, settings, encodings, pipeline
        self._process, self._timesteps = process, timesteps
        self._block = max(1, BLOCK // settings.images_a_step)
        self._pass = _balanced(material.training) if settings.balance else list(range(len(material.training)))
        """The training pairs of a pass, by position."""
        self._buckets: BucketBatches | None = None
        if settings.buckets:
            shapes = [encodings.shape(material.training[item]) for item in self._pass]
            groups = np.unique(shapes, axis=0, return_inverse=True)[1].reshape(-1)
            self._buckets = BucketBatches(groups, batch=settings.batch_size, seed=settings.seed)
        self._encoded_to = 0
        self.from_earlier_version = False
        """Whether the steps so far were taken by a version that left unreadable images out before the first."""

    def sample(self, step: int) -> StepSample:
        """The images of this process in a step (from 0); those that cannot be read are replaced."""
        settings, (number, processes) = self._settings, self._process
        count = settings.images_a_step
        whole = sample_step(
            step,
            items=len(self._pass),
            count=count * processes,
            seed=settings.seed,
            views=settings.views,
            text_dropout=settings.text_dropout,
            timesteps=self._timesteps,
        )
        if self._buckets is not None:
            batches = settings.accumulate * processes
            whole = replace(whole, items=self._buckets.items(step * batches, batches))
        part = whole.part(number * count, (number + 1) * count)
        items = [self._readable(self._pass[item]) for item in part.items.tolist()]
        return replace(part, items=np.array(items, dtype=np.int64))

    def prepare(self, step: int, *, progress: ProgressFactory = no_progress) -> None:
        """Encode what a step takes, and the steps after it, unless that was done.

        Raises `TrainingDataError` if no image can be read, `TrainingError` if a training that an earlier version began
        cannot be resumed to the same weights.
        """
        if step < self._encoded_to:
            return
        known = len(self._encodings.failed)
        while True:  # until nothing that replaces an unreadable image is unreadable, too
            failed = len(self._encodings.failed)
            wanted = self._wanted(step)
            self._encodings.encode_images(wanted, progress=progress)
            if len(self._encodings.failed) == failed:
                break
        if self.from_earlier_version and failed > known:
            raise TrainingError(
                "An image cannot be read. The training was begun by an earlier version, which left such images out "
                "before its first step: its steps cannot be repeated. Train into another folder."
            )
        prompts = self._material.prompts
        if not self._settings.text_encoder:
            self._encodings.encode_texts((prompts[p.report] for p, _ in wanted), self._pipeline, progress=progress)
        self._encoded_to = step + self._block
        self._encodings.decode_ahead(self._wanted(self._encoded_to))

    def _wanted(self, first: int) -> list[tuple[TrainingPair, int]]:
        """The views that the steps of a block take."""
        training = self._material.training
        samples = [self.sample(step) for step in range(first, min(first + self._block, self._settings.steps))]
        return [
            (training[item], view)
            for sample in samples
            for item, view in zip(sample.items.tolist(), sample.views.tolist(), strict=True)
        ]

    def _readable(self, item: int) -> int:
        """The item, or the next one after it that is not known to be unreadable, if possible of its shape."""
        training, failed = self._material.training, self._encodings.failed
        positions = ((item + further) % len(training) for further in range(len(training)))
        readable = (position for position in positions if training[position].content not in failed)
        if (first := next(readable, None)) is None:
            self._material.with_failed(failed)  # raises
            raise AssertionError
        shape = self._encodings.shape(training[item])
        return next((at for at in chain([first], readable) if self._encodings.shape(training[at]) == shape), first)


def _balanced(pairs: Sequence[TrainingPair]) -> list[int]:
    """Positions of the pairs, those of rare categories several times; ones without a category once."""
    titles = [title_of(attributes) for attributes in labelled_pairs(pairs)]
    counts = Counter(title for title in titles if title)
    most = max(counts.values(), default=1)
    often = [min(MOST_REPEATS, round(most / counts[title])) if title else 1 for title in titles]
    return [position for position, times in enumerate(often) for _ in range(times)]
