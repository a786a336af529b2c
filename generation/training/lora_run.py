"""The steps of a LoRA's training: the denoiser's loss, sample sheets, and the LoRA file at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generation.model.lora.find import Lora
from generation.model.lora.lora_file import read_lora
from generation.model.lora.names import LayerNames, weight_shapes
from generation.model.weights import Base
from generation.provenance import text_sha256
from generation.training.adapter import (
    TARGETS,
    TEXT_TARGETS,
    add_lora,
    save_lora,
    start_from,
    trained_parameters,
)
from generation.training.data.holdout import HELD_OUT, read_held_out, write_held_out
from generation.training.data.lora_material import LoraMaterial, StepData
from generation.training.data.pairs import count_pairs, patients_named, title_of
from generation.training.lora_card import LoraTraining, write_card
from generation.training.lora_settings import LoraSettings
from generation.training.loss import Denoising, with_text_encoders
from generation.training.optimizers import make_optimizer
from generation.training.sample_sheet import SampleSheets
from generation.training.training_run import TrainingRun, gather
from generation.training.validation import change

if TYPE_CHECKING:
    import torch

    from generation.model.pipeline import CoinPipeline

EMA_POWER = 0.75


class LoraRun(TrainingRun):
    """Trains a LoRA on the UNet of `pipeline`. Of several processes each takes its part of every step.

    Args:
        accelerator: accelerate's `Accelerator`.
        data: what this process takes of each step.
        sample_prompts: texts of the sample sheets; by default reports of held-out patients.
        start: the LoRA that the training begins with.
    """

    remedy = "with a lower learning rate, or in float32"

    def __init__(
        self,
        folder: Path,
        base: Base,
        settings: LoraSettings,
        pipeline: CoinPipeline,
        material: LoraMaterial,
        denoising: Denoising,
        accelerator: Any,
        data: StepData,
        sample_prompts: Sequence[str] = (),
        start: Lora | None = None,
    ) -> None:
        import torch
        from diffusers.training_utils import EMAModel, cast_training_params

        self._folder, self._base, self._settings = folder, base, settings
        self._pipeline, self._material, self._denoising = pipeline, material, denoising
        self._accelerator, self._data = accelerator, data
        self._process = accelerator.process_index, accelerator.num_processes
        self._device = str(pipeline.unet.device).partition(":")[0]
        self._dtype = str(pipeline.unet.dtype).removeprefix("torch.")
        self._models = {"unet": pipeline.unet, **(pipeline.text_encoders if settings.text_encoder else {})}
        self._trained = with_text_encoders(pipeline) if settings.text_encoder else pipeline.unet
        self._errors_before: list[float] = []
        """The validation errors before the first step."""
        self._errors_now: list[float] = []
        self._start = start
        names = LayerNames(weight_shapes({"unet": pipeline.unet, **pipeline.text_encoders}))
        for part, model in self._models.items():
            targets = TARGETS if part == "unet" else TEXT_TARGETS
            add_lora(model, rank=settings.rank, alpha=settings.alpha or None, seed=settings.seed, targets=targets)
        cast_training_params(self._trained, dtype=torch.float32)
        if start is not None:
            start_from(self._models, read_lora(start, names, base.name), name=start.name)
        if settings.checkpointing if settings.checkpointing is not None else self._device == "cuda":
            for part, model in self._models.items():
                if part == "unet":
                    model.enable_gradient_checkpointing()
                else:
                    model.gradient_checkpointing_enable({"use_reentrant": False})
        weights = dict(trained_parameters(self._trained))
        trained = list(weights.values())
        super().__init__(
            folder,
            settings,
            weights,
            make_optimizer(
                settings.optimizer,
                trained,
                learning_rate=settings.learning_rate,
                weight_decay=settings.weight_decay,
            ),
            optimizer_names=list(weights),
            average=EMAModel(trained, decay=settings.ema, use_ema_warmup=True, power=EMA_POWER)
            if settings.ema
            else None,
            is_main=accelerator.is_main_process,
            scaled=self._dtype == "float16",
            trackers=settings.trackers,
        )
        self._sheets = self._make_sheets(sample_prompts)
        self._model, self.optimizer = accelerator.prepare(self._trained, self.optimizer)

    def finish(self, failed: dict[str, str], *, size: int, prediction: str, data: str, work: Path) -> LoraTraining:
        """Write the LoRA and its card. `failed` are training images that could not be read: reasons by content."""
        import torch

        material = self._material.with_failed(failed)
        with self.averaged():
            if not self._errors_now:  # the last step was taken by an earlier run
                self._errors_now = self._denoising.errors(self._trained, material.measured)
            weights = self._save_lora(self._folder, torch.float32)
        result = LoraTraining(
            weights=weights,
            work=work,
            base=self._base.name,
            base_fingerprint=self._base.fingerprint,
            data_fingerprint=data,
            size=size,
            prediction=prediction,
            device=self._device,
            dtype=self._dtype,
            processes=self._accelerator.num_processes,
            steps=self.step,
            seconds_a_step=self.seconds / self.step,
            trained=count_pairs(material.training),
            held_out=count_pairs(material.held_out),
            measured=len(material.measured),
            skipped=material.skipped,
            settings=self._settings,
            validation=self.validation_losses(),
            change=change(
                self._errors_before,
                self._errors_now,
                [pair.patient for pair in material.measured],
                patients_named=patients_named([*material.training, *material.held_out]),
            ),
            notes=[
                *self._start_notes(),
                *self.notes(self._settings.images_a_step * self._accelerator.num_processes, of=len(material.training)),
            ],
        )
        if result.patients_named and (self._start is None or self._start_held_out() is not None):
            known = self._start_held_out()
            held_out = {pair.patient for pair in material.held_out}
            write_held_out(self._folder, (name for name in held_out if known is None or text_sha256(name) in known))
        write_card(result)
        return result

    def backward(self) -> float:
        """The mean loss of this process's images; their gradients are summed over `accumulate` batches."""
        settings, accelerator = self._settings, self._accelerator
        sample = self._data.sample(self.step)
        self._model.train()
        losses = []
        for batch in range(settings.accumulate):
            start = batch * settings.batch_size
            is_last = batch + 1 == settings.accumulate
            with contextlib.nullcontext() if is_last else accelerator.no_sync(self._model):
                part = sample.part(start, start + settings.batch_size)
                loss = self._denoising.loss(self._model, part, self._material.training)
                accelerator.backward(self.scaler.scale(loss / settings.accumulate))
            losses.append(float(loss.detach()))
        return sum(losses) / len(losses)

    def validate(self) -> float:
        """The mean validation error, of which each process measures a part; those of images are kept for the card."""
        own = self._denoising.errors(self._trained, self._material.measured, part=self._process)
        numbers = range(self._process[0], len(self._material.measured), self._process[1])
        self._errors_now = [error for _, error in sorted(gather(list(zip(numbers, own, strict=True))))]
        self._errors_before = self._errors_before or self._errors_now
        return sum(self._errors_now) / len(self._errors_now)

    def sample(self, *, last: bool) -> None:
        """Save a sample sheet, if it is due. Each process makes its part."""
        every = self._settings.sample_every
        if every and (last or self.step % every == 0):
            path = self._folder / "samples" / f"step-{self.step:06}.png"
            with self.averaged():
                if self._settings.text_encoder:
                    self._trained.eval()
                    self._pipeline.forget_prompts()
                rows = gather(self._sheets.rows(self._process))
            if self._accelerator.is_main_process:
                self._sheets.save(path, rows, step=self.step, device=self._device, dtype=self._dtype)

    def state(self) -> dict[str, Any]:
        """The validation errors before the first step; "averaged" is replaced where an average is kept."""
        unreadable = self._denoising.encodings.failed
        return {"first_validation": self._errors_before, "averaged": 0, "unreadable": unreadable}

    def restore_state(self, state: Mapping[str, Any]) -> None:
        """Take over the validation errors before the first step, and which images could not be read."""
        self._errors_before = state["first_validation"]
        self._data.from_earlier_version = "unreadable" not in state
        self._denoising.encodings.failed.update(state.get("unreadable", {}))

    def prepare(self) -> None:
        """Encode what the next steps take."""
        self._data.prepare(self.step)

    def synchronise(self) -> None:
        """Wait for the other processes."""
        self._accelerator.wait_for_everyone()

    def keep(self, name: str) -> None:
        """Save the LoRA in a folder that `coin generate --lora` takes."""
        self._save_lora(self._folder / name)

    def _save_lora(self, folder: Path, dtype: torch.dtype | None = None) -> Path:
        encoders = {part: model for part, model in self._models.items() if part != "unet"}
        return save_lora(self._models["unet"], folder, dtype=dtype, text_encoders=encoders)

    def _start_held_out(self) -> frozenset[str] | None:
        """The hashes of the patients that the LoRA at the start did not learn from; None where that is not known."""
        if self._start is None:
            return None
        folders = [folder for folder in (*self._start.path.parents[:2], self._start.path) if folder.is_dir()]
        return next((held for folder in folders if (held := read_held_out(folder)) is not None), None)

    def _start_notes(self) -> list[str]:
        if self._start is None:
            return []
        known = (
            ""
            if self._start_held_out() is not None
            else (
                f" Whom that one was trained on is not known: held-out patients may be among them, and no "
                f"`{HELD_OUT}` is written."
            )
        )
        return [f"Begun with the LoRA {self._start.name} ({self._start.fingerprint[:12]}).{known}"]

    def _make_sheets(self, prompts: Sequence[str]) -> SampleSheets:
        """Sample sheets of these prompts or else of the first different reports of the measured pairs, whose sites and
        categories alternate."""
        settings, material = self._settings, self._material
        chosen = {material.prompts[text]: f"prompt {number}" for number, text in enumerate(prompts, start=1)}
        for pair in material.measured if not prompts else ():
            if len(chosen) < settings.sample_reports and (prompt := material.prompts[pair.report]) not in chosen:
                chosen[prompt] = title_of(pair.labelled())
        size = settings.size or self._base.size
        return SampleSheets(self._pipeline, self._base, chosen, seeds=range(settings.sample_seeds), size=size)
