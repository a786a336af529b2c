"""The steps of a LoRA's training: learning, measuring, drawing, saving, and going on after an interruption."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generation.errors import TrainingError
from generation.model.weights import Base
from generation.training.adapter import add_lora, save_lora, trained_parameters
from generation.training.checkpoint import Checkpoint, Checkpoints, optimizer_tensors, restore_optimizer
from generation.training.data.lora_material import LoraMaterial
from generation.training.data.pairs import count_pairs
from generation.training.lora_card import LoraTraining, write_card
from generation.training.lora_settings import LoraSettings
from generation.training.loss import Denoising
from generation.training.sample_sheet import SampleSheets
from generation.training.step_sampling import draw_step
from generation.training.training_log import TrainingLog
from generation.training.validation import change

if TYPE_CHECKING:
    from generation.model.pipeline import CoinPipeline

LOGGED_EVERY = 10
EMA_POWER = 0.75


class LoraRun:
    """The steps of a training, from the last checkpoint or from the beginning."""

    def __init__(
        self,
        folder: Path,
        base: Base,
        settings: LoraSettings,
        pipeline: CoinPipeline,
        material: LoraMaterial,
        denoising: Denoising,
        accelerator: Any,
    ) -> None:
        import torch
        from diffusers.training_utils import EMAModel, cast_training_params

        self._folder, self._base, self._settings = folder, base, settings
        self._pipeline, self._material, self._denoising = pipeline, material, denoising
        self._accelerator = accelerator
        self._device = str(pipeline.unet.device).partition(":")[0]
        self._dtype = str(pipeline.unet.dtype).removeprefix("torch.")
        self._unet = pipeline.unet
        add_lora(self._unet, rank=settings.rank, alpha=settings.alpha or None, seed=settings.seed)
        cast_training_params(self._unet, dtype=torch.float32)
        if settings.checkpointing if settings.checkpointing is not None else self._device == "cuda":
            self._unet.enable_gradient_checkpointing()
        self._weights = dict(trained_parameters(self._unet))
        self._trained = list(self._weights.values())
        self._optimizer = torch.optim.AdamW(self._trained, settings.learning_rate, weight_decay=settings.weight_decay)
        self._average = (
            EMAModel(self._trained, decay=settings.ema, use_ema_warmup=True, power=EMA_POWER) if settings.ema else None
        )
        self._checkpoints = Checkpoints(folder)
        self._step, self._seconds = 0, 0.0
        self._first: list[float] = []
        """The validation errors before the first step."""
        self._latest: list[float] = []
        if (found := self._checkpoints.newest()) is not None:
            self._restore(found)
        self._log = TrainingLog(folder, step=self._step) if accelerator.is_main_process else None
        self._sheets = self._make_sheets()
        pipeline.retire_text_encoders()

    def go_on(self, timesteps: int, draw: Any) -> None:
        """Take the steps that are missing, and look at what was learned in between."""
        settings = self._settings
        model, optimizer = self._accelerator.prepare(self._unet, self._optimizer)
        if self._step == 0:
            self._look()
        draw(self._step, settings.steps)
        while self._step < settings.steps:
            rate = settings.rate(self._step)
            started = time.perf_counter()
            loss = self._learn(model, optimizer, rate, timesteps)
            if self._average is not None:
                self._average.step(self._trained)
            self._seconds += time.perf_counter() - started
            self._step += 1
            if self._log is not None and (self._step % LOGGED_EVERY == 0 or self._step == 1):
                self._log.add({"step": self._step, "loss": loss, "learning_rate": rate, "seconds": self._seconds})
            self._look()
            self._accelerator.wait_for_everyone()
            draw(self._step, settings.steps, f"loss {loss:.4f}, rate {rate:.1e}")

    def finish(self, *, size: int, prediction: str, data: str) -> LoraTraining:
        """Write the LoRA and its card."""
        import torch

        assert self._log is not None
        material = self._material
        with self._averaged():
            if not self._latest:  # the last step was taken by an earlier run
                self._latest = self._denoising.errors(self._unet, material.measured)
            weights = save_lora(self._unet, self._folder, dtype=torch.float32)
        result = LoraTraining(
            weights=weights,
            base=self._base.name,
            base_fingerprint=self._base.fingerprint,
            data_fingerprint=data,
            size=size,
            prediction=prediction,
            device=self._device,
            dtype=self._dtype,
            processes=self._accelerator.num_processes,
            steps=self._step,
            seconds_a_step=self._seconds / self._step,
            trained=count_pairs(material.training),
            held_out=count_pairs(material.held_out),
            measured=len(material.measured),
            skipped=material.skipped,
            settings=self._settings,
            validation=tuple(self._log.curve("validation_loss")),
            change=change(self._first, self._latest, [pair.patient for pair in material.measured]),
        )
        write_card(result)
        return result

    def _learn(self, model: Any, optimizer: Any, rate: float, timesteps: int) -> float:
        """One step of the optimizer; returns the mean loss of this process's images."""
        import torch

        settings, accelerator = self._settings, self._accelerator
        drawn = draw_step(
            self._step,
            items=len(self._material.training),
            count=settings.images_a_step * accelerator.num_processes,
            seed=settings.seed,
            views=settings.views,
            text_dropout=settings.text_dropout,
            timesteps=timesteps,
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        model.train()
        optimizer.zero_grad(set_to_none=True)
        losses = []
        for batch in range(settings.accumulate):
            start = accelerator.process_index * settings.images_a_step + batch * settings.batch_size
            last = batch + 1 == settings.accumulate
            with contextlib.nullcontext() if last else accelerator.no_sync(model):
                part = drawn.part(start, start + settings.batch_size)
                loss = self._denoising.loss(model, part, self._material.training)
                accelerator.backward(loss / settings.accumulate)
            losses.append(float(loss.detach()))
        mean = sum(losses) / len(losses)
        if not mean < float("inf"):  # also where it is not-a-number
            raise TrainingError(
                f"The loss of step {self._step + 1} is {mean}: the training ran away. Train into another folder with a "
                "lower learning rate, or in float32."
            )
        torch.nn.utils.clip_grad_norm_(self._trained, settings.clip)
        optimizer.step()
        return mean

    def _look(self) -> None:
        """Measure, draw and save what is due at this step, and all of it at the last one."""
        settings, step = self._settings, self._step
        if self._log is None:
            return
        last = step == settings.steps
        measured = last or step % settings.validate_every == 0
        drawn = settings.sample_every and (last or step % settings.sample_every == 0)
        with self._averaged() if measured or drawn else contextlib.nullcontext():
            if measured:
                self._latest = self._denoising.errors(self._unet, self._material.measured)
                self._first = self._first or self._latest
                self._log.add({"step": step, "validation_loss": sum(self._latest) / len(self._latest)})
            if drawn:
                path = self._folder / "samples" / f"step-{step:06}.png"
                self._sheets.save(path, step=step, device=self._device, dtype=self._dtype)
        if step and (last or step % settings.checkpoint_every == 0):
            self._save()

    def _save(self) -> None:
        average = self._average
        self._checkpoints.save(
            Checkpoint(
                step=self._step,
                weights=self._weights,
                optimizer=optimizer_tensors(self._optimizer, list(self._weights)),
                average={} if average is None else dict(zip(self._weights, average.shadow_params, strict=True)),
                state={
                    "seed": self._settings.seed,
                    "seconds": self._seconds,
                    "first_validation": self._first,
                    "averaged": 0 if average is None else average.optimization_step,
                },
            )
        )

    def _restore(self, found: Checkpoint) -> None:
        import torch

        self._step, self._seconds = found.step, found.state["seconds"]
        self._first = found.state["first_validation"]
        with torch.no_grad():
            for name, parameter in self._weights.items():
                parameter.copy_(found.weights[name])
        restore_optimizer(self._optimizer, list(self._weights), found.optimizer)
        if self._average is not None:
            self._average.shadow_params = [found.average[name].to(self._device) for name in self._weights]
            self._average.optimization_step = found.state["averaged"]

    def _make_sheets(self) -> SampleSheets:
        """Of the first different reports among the measured pairs, which come in turns of site and category."""
        settings, material = self._settings, self._material
        titles: dict[str, str] = {}
        for pair in material.measured:
            titles.setdefault(material.prompts[pair.report], pair.title)
        chosen = dict(list(titles.items())[: settings.sample_reports])
        size = settings.size or self._base.size
        return SampleSheets(self._pipeline, self._base, chosen, seeds=range(settings.sample_seeds), size=size)

    @contextlib.contextmanager
    def _averaged(self) -> Iterator[None]:
        """Within, the trained weights are their moving average, where one is kept."""
        if self._average is None:
            yield
            return
        self._average.store(self._trained)
        self._average.copy_to(self._trained)
        try:
            yield
        finally:
            self._average.restore(self._trained)
