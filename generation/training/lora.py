"""Training a LoRA on one's own image-report pairs, on any SDXL-architecture base.

    pairs ─► hold out whole patients ─► steps, which encode images and reports as they take them ─► LoRA, card, sheets

The UNet is frozen and gets a LoRA on its attention (peft), which learns to remove noise from the latents of each image,
given its report (the prompt as at inference) and how the image was cut (`crops`). In some cases the text is dropped, so
that classifier-free guidance works. The model that is trained is the one that generates images (`CoinPipeline`).

accelerate distributes the work over several processes (`accelerate launch`), each of which takes a part of every step.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from generation.errors import SettingsError, TrainingDataError
from generation.model.device import choose_device, choose_dtype
from generation.model.files.weight_files import STARTER
from generation.model.lora.find import find_lora
from generation.model.weights import find_base
from generation.training.checkpoint import locked, require_same_training
from generation.training.data.holdout import held_out_patients
from generation.training.data.latent_cache import Encodings, ProgressFactory, no_progress
from generation.training.data.lora_material import LoraMaterial, StepData, bucket_of_each, divide_pairs
from generation.training.data.pairs import TrainingPair, data_fingerprint
from generation.training.data.work_folder import work_folder
from generation.training.lora_card import LoraTraining
from generation.training.lora_run import LoraRun
from generation.training.lora_settings import LoraSettings
from generation.training.loss import Denoising
from generation.training.noise import NoiseSchedule
from generation.training.optimizers import optimizer_package
from generation.training.training_log import require_tracker
from generation.training.training_run import gather
from generation.worker_pool import workers

if TYPE_CHECKING:
    from generation.model.pipeline import CoinPipeline

MAY_DIFFER = (
    "steps", "epochs", "checkpoint_every", "sample_every", "sample_reports", "sample_seeds", "base", "tensorboard",
    "wandb",
)  # fmt: skip
"""Between a training and its continuation. The base may have moved: its fingerprint may not differ."""


def train_lora(
    pairs: Sequence[TrainingPair],
    folder: str | Path,
    *,
    base: str | Path | None = None,
    settings: LoraSettings | None = None,
    device: str = "auto",
    work: Path | None = None,
    sample_prompts: Sequence[str] = (),
    start: str | Path | None = None,
    progress: ProgressFactory = no_progress,
) -> LoraTraining | None:
    """Train a LoRA on `pairs` into `folder`, which then loads as `CoinGenerator(base, folder)`.

    Args:
        base: a folder in diffusers' layout or a hub id; None is the starter's base, without its LoRA.
        work: folder of encodings; by default in the user's cache (`work_folder`), never beside the weights. Trainings
            on one base may share it.
        start: a LoRA to begin with, of the same rank, as `find_lora` takes it.
        sample_prompts: texts of the sample sheets, in place of held-out reports. They are written nowhere.
        progress: shows progress; the note of its `show(done, total, note)` holds the loss.

    A training that was interrupted, or that is to take more steps, resumes from the last checkpoint in its folder. Of
    several processes only the first returns a result.

    Raises `TrainingDataError` (nothing to learn from, one patient …), `TrainingError` (the folder holds another
    training, the loss is not-a-number), `SettingsError`, `WeightsError`, `DeviceError`, and `OSError` on a full disk:
    the checkpoints before that are whole.
    """
    settings = settings or LoraSettings()
    folder = Path(folder)
    chosen = find_base(STARTER / "base" if base is None else base)
    size = settings.size or chosen.size
    if size % chosen.size_step:
        raise SettingsError(f"The image size is {size}: the base {chosen.name} needs a multiple of {chosen.size_step}.")
    if not pairs:
        raise TrainingDataError("There are no images with reports to learn from. Name a manifest or archive with some.")
    held_out_patients((pair.patient for pair in pairs), settings.hold_out)  # refuse before any work is done
    where = choose_device(device)
    begin = None if start is None else find_lora(start)
    optimizer_package(settings.optimizer)
    for tracker in settings.trackers:
        require_tracker(tracker)

    from accelerate import Accelerator, DistributedDataParallelKwargs

    from generation.model.pipeline import CoinPipeline
    from generation.model.tokens import PromptTokens

    # The last layer of a text encoder is not read, so that not every weight has a gradient.
    unused = DistributedDataParallelKwargs(find_unused_parameters=settings.text_encoder)
    accelerator = Accelerator(cpu=where == "cpu", kwargs_handlers=[unused])
    main, process = accelerator.is_main_process, (accelerator.process_index, accelerator.num_processes)
    tokens = PromptTokens(chosen)
    material = divide_pairs(pairs, settings, tokens)
    settings = dataclasses.replace(settings, steps=material.steps(settings, process[1]))
    with locked(folder) if main else contextlib.nullcontext():
        if main:
            begun = {
                **dataclasses.asdict(settings),
                "kind": "LoRA",
                "base": chosen.name,
                "base_fingerprint": chosen.fingerprint,
                "data": data_fingerprint(pairs),
                "processes": accelerator.num_processes,
                "start_fingerprint": "" if begin is None else begin.fingerprint,
            }
            defaults = {**dataclasses.asdict(LoraSettings()), "start_fingerprint": ""}
            require_same_training(folder, begun, may_differ=MAY_DIFFER, defaults=defaults)
        dtype = choose_dtype(settings.dtype, where)
        if settings.dtype == "auto" and str(dtype) == "torch.float16":  # an older GPU
            dtype = choose_dtype("float32", where)
        pipeline = CoinPipeline(chosen, [], tokens, device=where, dtype=dtype)
        schedule = NoiseSchedule(pipeline.scheduler_config, where)
        shown = progress if main else no_progress
        taken = min(settings.steps * settings.images_a_step, len(material.training)) + len(material.measured)
        with workers(taken, of=process[1], probe=pairs[0].load) as pool:
            shapes = {}
            if settings.buckets:
                seen = [*material.training, *material.measured]
                shapes = bucket_of_each(seen, size=size, size_step=chosen.size_step, batch=settings.batch_size)
            kept = work or work_folder(folder)
            encodings = Encodings(kept, chosen, settings, device=where, pool=pool, shapes=shapes)
            material = _readable(material, encodings, pipeline, process, shown, text_encoder=settings.text_encoder)
            denoising = Denoising(
                schedule,
                encodings,
                material.prompts,
                settings,
                device=where,
                dtype=dtype,
            )
            data = StepData(material, settings, encodings, pipeline, process=process, timesteps=schedule.steps)
            run = LoraRun(
                folder, chosen, settings, pipeline, material, denoising, accelerator, data, sample_prompts, begin
            )
            if run.step < settings.steps:
                data.prepare(run.step, progress=shown)
            with shown("Training", unit="steps") as show:
                run.run(show)
        failed = dict(gather(list(encodings.failed.items())))
        if not main:
            return None
        return run.finish(
            failed,
            size=size,
            prediction=schedule.prediction,
            data=data_fingerprint(pairs),
            work=work or work_folder(folder),
        )


def _readable(
    material: LoraMaterial,
    encodings: Encodings,
    pipeline: CoinPipeline,
    process: tuple[int, int],
    progress: ProgressFactory,
    *,
    text_encoder: bool,
) -> LoraMaterial:
    """Encode what the validation loss is measured on, each process its part; what cannot be read is left out."""
    mine = material.measured[process[0] :: process[1]]
    encodings.encode_images([(pair, 0) for pair in mine], progress=progress)
    failed = dict(gather(list(encodings.failed.items())))
    encodings.failed.clear()  # from here on those that are learned from
    material = material.with_failed(failed)
    mine = material.measured[process[0] :: process[1]]
    encodings.encode_images([(pair, 0) for pair in mine])  # the parts are others where some were left out
    if not text_encoder:
        encodings.encode_texts((material.prompts[pair.report] for pair in mine), pipeline, progress=progress)
    return material
