"""Fine-tuning an encoder on one's own image-report pairs: images should be found by their reports, and vice versa.

    pairs ─► hold out whole patients ─► decode images once ─► steps ─► open_clip folder ─► compare before, after ─► card

The loss is CLIP's, within a batch, of two augmented views of each image (`image_augmentation.two_views`). Identical
reports are matches of all their images, never negatives (`losses.report_loss`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from generation.errors import TrainingDataError
from generation.training.checkpoint import locked, require_same_training
from generation.training.data.holdout import held_out_patients, write_held_out
from generation.training.data.latent_cache import ProgressFactory, no_progress
from generation.training.data.pairs import TrainingPair, count_pairs, data_fingerprint
from generation.training.data.step_sampling import items_of_step
from generation.training.data.work_folder import work_folder
from generation.training.training_run import TrainingRun
from generation.training.validation import choose_spread
from generation.worker_pool import begun_ahead, workers
from retrieval.encoder.encoder import Encoder
from retrieval.encoder.model_files import find_clip
from retrieval.training.before_after import Comparison, Seen, compare
from retrieval.training.encoder_settings import EncoderSettings
from retrieval.training.image_augmentation import two_views
from retrieval.training.losses import report_loss
from retrieval.training.model_card import EncoderTuning, write_card
from retrieval.training.pixel_store import PixelStore, decode_pixels
from retrieval.training.trainable_clip import TrainableClip

if TYPE_CHECKING:
    import torch

MAY_DIFFER = ("steps", "epochs", "checkpoint_every", "gallery", "encoder")
BATCH = 64
"""Images that are embedded at once outside of training steps."""


def train_encoder(
    pairs: Sequence[TrainingPair],
    folder: str | Path,
    *,
    encoder: str | Path | None = None,
    settings: EncoderSettings | None = None,
    device: str = "auto",
    work: Path | None = None,
    progress: ProgressFactory = no_progress,
) -> EncoderTuning:
    """Fine-tune an encoder on `pairs` into `folder`, which then loads as `Encoder(folder)`.

    Args:
        encoder: what `Encoder` takes; None is the starter.
        work: folder of decoded images; by default in the user's cache (`generation.work_folder`), never beside the
            weights.
        progress: shows progress; the note of its `show(done, total, note)` holds the loss.

    A training that was interrupted, or that is to take more steps, resumes from the last checkpoint in its folder.

    Raises `generation.TrainingDataError` (nothing to learn from, one patient …), `generation.TrainingError` (the folder
    holds another training, the loss is not-a-number), EncoderLoadError, `generation.DeviceError`, and `OSError` on a
    full disk: the checkpoints before that are whole.
    """
    settings = settings or EncoderSettings()
    folder = Path(folder)
    clip_folder = find_clip(encoder)
    if not pairs:
        raise TrainingDataError("There are no images with reports to learn from. Name a manifest or archive with some.")
    held = held_out_patients((pair.patient for pair in pairs), settings.hold_out)
    if settings.epochs:
        learned = len({pair.content for pair in pairs if pair.patient not in held})
        steps = max(1, math.ceil(settings.epochs * learned / min(settings.batch_size, max(1, learned))))
        settings = dataclasses.replace(settings, steps=steps)
    with locked(folder):
        begun = {
            **dataclasses.asdict(settings),
            "kind": "encoder",
            "encoder": clip_folder.name,
            "encoder_fingerprint": clip_folder.fingerprint,
            "data": data_fingerprint(pairs),
        }
        defaults = dataclasses.asdict(EncoderSettings())
        require_same_training(folder, begun, may_differ=MAY_DIFFER, defaults=defaults)
        before = Encoder(encoder, device=device, batch_size=BATCH)
        clip = TrainableClip(clip_folder, settings, device)
        kept = work or work_folder(folder)
        store = decode_pixels(pairs, clip, before, kept, progress)
        held_out = [pair for pair in pairs if pair.patient in held and pair in store]
        unseen = {pair.content for pair in held_out}
        training = [pair for pair in pairs if pair.patient not in held and pair in store and pair.content not in unseen]
        if not training or not held_out:
            what = "of held-out patients" if training else "to learn from"
            raise TrainingDataError(f"There is no readable image {what}. {'; '.join(store.skipped)} Check the images.")
        run = EncoderRun(folder, settings, clip, store, training, choose_spread(held_out, settings.validation_images))
        with progress("Training", unit="steps") as show:
            run.run(show)
        clip.save(folder)
        comparison = _compared(training, held_out, store, before, Encoder(folder, device=device), settings, progress)
        result = EncoderTuning(
            folder=folder,
            work=kept,
            encoder=clip_folder.name,
            before_fingerprint=clip_folder.fingerprint,
            after_fingerprint=find_clip(folder).fingerprint,
            data_fingerprint=data_fingerprint(pairs),
            device=clip.device,
            steps=run.step,
            seconds_a_step=run.seconds / run.step,
            trained_share=run.trained_share,
            trained=count_pairs(training),
            held_out=count_pairs(held_out),
            skipped=dict(store.skipped),
            settings=settings,
            validation=run.validation_losses(),
            comparison=comparison,
            notes=run.notes(settings.batch_size, of=len(training)),
        )
        if result.patients_named:
            write_held_out(folder, (pair.patient for pair in held_out))
        write_card(result)
        return result


class EncoderRun(TrainingRun):
    """Trains an encoder on `training`; `measured` are the held-out pairs whose loss is reported."""

    def __init__(
        self,
        folder: Path,
        settings: EncoderSettings,
        clip: TrainableClip,
        store: PixelStore,
        training: Sequence[TrainingPair],
        measured: Sequence[TrainingPair],
    ) -> None:
        import torch

        self._settings, self._clip = settings, clip
        self._training, self._measured = _Batches(training, clip, store), _Batches(measured, clip, store)
        weights = clip.trained
        matrices = {name: value for name, value in weights.items() if value.ndim > 1}
        others = {name: value for name, value in weights.items() if value.ndim <= 1}
        optimizer = torch.optim.AdamW(
            [
                {"params": list(matrices.values()), "weight_decay": settings.weight_decay},
                {"params": list(others.values()), "weight_decay": 0.0},
            ],
            settings.peak_rate,
        )
        everything = sum(value.numel() for value in clip.network.parameters())
        self.trained_share = sum(value.numel() for value in weights.values()) / everything
        """The share of the parameters that are trained; a LoRA's own count among them."""
        super().__init__(folder, settings, weights, optimizer, optimizer_names=[*matrices, *others])

    def backward(self) -> float:
        """The contrastive loss of the step's batch; computes its gradients."""
        settings, clip = self._settings, self._clip
        count = min(settings.batch_size, len(self._training))
        items = items_of_step(self.step, items=len(self._training), count=count, seed=settings.seed)
        pixels, tokens, which, statement = self._training.take(items)
        clip.train()
        views = two_views(pixels, self._generator(), pixels.shape[-1]).clamp(0, 1)
        loss = report_loss(clip.scale * clip.embed_images(views), clip.embed_texts(tokens)[which], statement)
        loss.backward()
        return float(loss.detach())

    def validate(self) -> float:
        """The loss of the measured pairs without augmentation, all as one batch."""
        import torch

        clip = self._clip
        clip.network.eval()
        seen, read = [], []
        statements: list[Any] = []
        with torch.no_grad():
            for start in range(0, len(self._measured), BATCH):
                items = np.arange(start, min(start + BATCH, len(self._measured)))
                pixels, tokens, which, statement = self._measured.take(items)
                seen.append(clip.embed_images(pixels))
                read.append(clip.embed_texts(tokens)[which])
                statements.append(statement)
            rows = clip.scale * torch.cat(seen)
            return float(report_loss(torch.cat([rows, rows]), torch.cat(read), torch.cat(statements)))

    def _generator(self) -> torch.Generator:
        """The random generator of this step's augmentation."""
        import torch

        seed = int(np.random.default_rng([self._settings.seed, 1, self.step]).integers(2**62))
        return torch.Generator(self._clip.device).manual_seed(seed)


class _Batches:
    """Batches of pairs; every different report is tokenized once."""

    def __init__(self, pairs: Sequence[TrainingPair], clip: TrainableClip, store: PixelStore) -> None:
        import torch

        reports = {text: number for number, text in enumerate(dict.fromkeys(pair.report for pair in pairs))}
        self._statement = torch.tensor([reports[pair.report] for pair in pairs], device=clip.device)
        self._tokens = clip.tokenize(list(reports))
        self._rows, self._store, self._device = store.rows(pairs), store, clip.device

    def __len__(self) -> int:
        return len(self._rows)

    def take(self, items: np.ndarray) -> tuple[Any, Any, Any, Any]:
        """The pairs `items` int[n] as four tensors.

        Pixels float32[n, 3, h, w] in 0…1; tokens int[m, context] of the m different reports; which of them belongs to
        each image, int[n]; and its number among all reports, int[n].
        """
        import torch

        pixels = torch.from_numpy(self._store.pixels[self._rows[items]]).to(self._device).float() / 255
        statement = self._statement[torch.from_numpy(items).to(self._device)]
        different, which = torch.unique(statement, return_inverse=True)
        return pixels, self._tokens[different], which, statement


def _compared(
    training: Sequence[TrainingPair],
    held_out: Sequence[TrainingPair],
    store: PixelStore,
    before: Encoder,
    after: Encoder,
    settings: EncoderSettings,
    progress: ProgressFactory,
) -> Comparison:
    """Compare both encoders, loaded from their folders, on the held-out pairs and some of the training pairs."""
    pairs = [*choose_spread(training, settings.gallery), *held_out]
    texts = sorted({pair.report for pair in pairs})
    seen = []
    for name, encoder in (("before", before), ("after", after)):
        rows = []
        loads = [pair.load for pair in pairs]
        with workers(len(pairs), probe=loads[0]) as pool, progress(f"Embedding, {name}", unit="images") as show:
            images = begun_ahead(pool, loads)
            for start in range(0, len(pairs), BATCH):
                some = [image.result() for image in islice(images, BATCH)]
                rows.append(encoder.encode_images(some))
                show(start + len(some), len(pairs))
        read = encoder.encode_texts(texts)
        seen.append(Seen(np.concatenate(rows), dict(zip(texts, read, strict=True))))
    held = np.array([False] * (len(pairs) - len(held_out)) + [True] * len(held_out))
    return compare(pairs, held, *seen, seed=settings.seed)
