"""Fine-tuning an encoder on one's own image-report pairs: images should be found by their reports, and vice versa.

    pairs ─► hold out whole patients ─► decode images once ─► steps ─► open_clip folder ─► compare before, after ─► card

The loss is CLIP's, within a batch, of two augmented views of each image (`image_augmentation.two_views`). Identical
reports are matches of all their images, never negatives (`losses.report_loss`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from generation.errors import TrainingDataError
from generation.model.device import choose_device
from generation.training.checkpoint import locked, require_same_training
from generation.training.data.holdout import held_out_patients, write_held_out
from generation.training.data.latent_cache import ProgressFactory, no_progress
from generation.training.data.pairs import TrainingPair, count_pairs, data_fingerprint
from generation.training.data.work_folder import work_folder
from generation.training.validation import choose_spread
from generation.worker_pool import begun_ahead, workers
from retrieval.encoder.encoder import Encoder
from retrieval.encoder.model_files import find_clip
from retrieval.training.before_after import Comparison, Seen, compare
from retrieval.training.encoder_run import BATCH, EncoderRun
from retrieval.training.encoder_settings import EncoderSettings
from retrieval.training.model_card import EncoderTuning, write_card
from retrieval.training.pixel_store import PixelStore, decode_shared
from retrieval.training.trainable_clip import TrainableClip

MAY_DIFFER = ("steps", "epochs", "checkpoint_every", "gallery", "encoder")


def train_encoder(
    pairs: Sequence[TrainingPair],
    folder: str | Path,
    *,
    encoder: str | Path | None = None,
    settings: EncoderSettings | None = None,
    device: str = "auto",
    work: Path | None = None,
    progress: ProgressFactory = no_progress,
) -> EncoderTuning | None:
    """Fine-tune an encoder on `pairs` into `folder`, which then loads as `Encoder(folder)`.

    Args:
        encoder: what `Encoder` takes; None is the starter.
        work: folder of decoded images; by default in the user's cache (`generation.work_folder`), never beside the
            weights.
        progress: shows progress; the note of its `show(done, total, note)` holds the loss.

    A training that was interrupted, or that is to take more steps, resumes from the last checkpoint in its folder. Of
    several processes (`accelerate launch`), each of which embeds its part of every step, only the first returns a
    result.

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
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=choose_device(device) == "cpu")
    main, processes = accelerator.is_main_process, accelerator.num_processes
    process = accelerator.process_index, processes
    a_step = settings.batch_size * processes
    shown = progress if main else no_progress
    if settings.epochs:
        learned = len({pair.content for pair in pairs if pair.patient not in held})
        steps = max(1, math.ceil(settings.epochs * learned / min(a_step, max(1, learned))))
        settings = dataclasses.replace(settings, steps=steps)
    with locked(folder) if main else contextlib.nullcontext():
        if main:
            begun = {
                **dataclasses.asdict(settings),
                "kind": "encoder",
                "encoder": clip_folder.name,
                "encoder_fingerprint": clip_folder.fingerprint,
                "data": data_fingerprint(pairs),
                "processes": processes,
            }
            defaults = {**dataclasses.asdict(EncoderSettings()), "processes": 1}
            require_same_training(folder, begun, may_differ=MAY_DIFFER, defaults=defaults)
        before = Encoder(encoder, device=device, batch_size=BATCH)
        clip = TrainableClip(clip_folder, settings, device)
        kept = work or work_folder(folder)
        wait = accelerator.wait_for_everyone
        store = decode_shared(pairs, clip, before, kept, shown, process=process, wait=wait)
        held_out = [pair for pair in pairs if pair.patient in held and pair in store]
        unseen = {pair.content for pair in held_out}
        training = [pair for pair in pairs if pair.patient not in held and pair in store and pair.content not in unseen]
        if not training or not held_out:
            what = "of held-out patients" if training else "to learn from"
            raise TrainingDataError(f"There is no readable image {what}. {'; '.join(store.skipped)} Check the images.")
        if len(training) < processes:
            raise TrainingDataError(f"{processes} processes, and {len(training)} images to learn from: start fewer.")
        measured = choose_spread(held_out, settings.validation_images)
        run = EncoderRun(folder, settings, clip, store, training, measured, process=process)
        with shown("Training", unit="steps") as show:
            run.run(show)
        if not main:
            return None
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
            notes=[
                *run.notes(a_step, of=len(training)),
                *([f"Trained by {processes} processes: a step takes {a_step} images."] if processes > 1 else []),
            ],
        )
        if result.patients_named:
            write_held_out(folder, (pair.patient for pair in held_out))
        write_card(result)
        return result


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
