"""The steps of a training: learning, measuring, saving, and resuming from the last checkpoint.

A training that was interrupted ends in the same weights, bit for bit, as one that was not: what is random in a step
depends on the seed and the step's number alone (`generation.training.data.step_sampling`).
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generation.errors import TrainingError
from generation.training.checkpoint import Checkpoint, Checkpoints
from generation.training.optimizers import optimizer_state, restore_optimizer
from generation.training.run_settings import RunSettings
from generation.training.training_log import TrainingLog

if TYPE_CHECKING:
    import torch

LOGGED_EVERY = 10
BEST = "best"
"""The weights of the lowest validation loss."""


class TrainingRun:
    """One run of a training in `folder`, which begins at its last checkpoint if there is one.

    Args:
        weights: the trained parameters by name.
        optimizer: a torch optimizer over them.
        optimizer_names: their names in the optimizer's order.
        average: diffusers' `EMAModel` over the weights in their order; None keeps no moving average.
        is_main: whether this process writes the log and the checkpoints.
        trackers: where the log's numbers are shown, too (`training_log.TRACKERS`).
        scaled: whether `backward` computes the gradients of `scaler.scale(loss)`, for float16.
    """

    remedy = "with a lower learning rate"
    """What to change when the loss is not finite."""

    def __init__(
        self,
        folder: Path,
        settings: RunSettings,
        weights: Mapping[str, torch.nn.Parameter],
        optimizer: Any,
        *,
        optimizer_names: list[str],
        average: Any = None,
        is_main: bool = True,
        scaled: bool = False,
        trackers: Sequence[str] = (),
    ) -> None:
        import torch

        device = next(iter(weights.values())).device.type
        self.scaler = torch.amp.GradScaler(device, enabled=scaled)
        """Multiplies losses, where gradients would vanish in float16, and divides the gradients again."""
        self.weights, self.optimizer, self.average = weights, optimizer, average
        self.step, self.seconds = 0, 0.0
        self._run_settings, self._optimizer_names = settings, optimizer_names
        self._checkpoints = Checkpoints(folder)
        self._planned = {0: settings.steps}
        """By the step from which on it was so: how many steps the training was to take."""
        if (checkpoint := self._checkpoints.newest()) is not None:
            self._restore(checkpoint)
        self._log = TrainingLog(folder, step=self.step, trackers=trackers) if is_main else None

    def backward(self) -> float:
        """Compute the gradients of the next step, `self.step`; returns its loss. To be defined by the training."""
        raise NotImplementedError

    def validate(self) -> float:
        """The validation loss with the present weights. To be defined by the training."""
        raise NotImplementedError

    def sample(self, *, last: bool) -> None:
        """Save sample images, if they are due at `self.step`."""

    def keep(self, name: str) -> None:
        """Save the present weights under a name ("best", "step-80"), for use. The main process calls it."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds beside tensors, steps, seconds and seed; plain data."""
        return {}

    def restore_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned before."""

    def prepare(self) -> None:
        """Get ready what the next step needs; not counted among its seconds."""

    def synchronise(self) -> None:
        """Wait for the other processes after a step."""

    def run(self, progress: Callable[..., None]) -> None:
        """Take the missing steps. `progress(done, total, note)` is called after each; the note holds loss and rate."""
        settings = self._run_settings
        if self.step == 0:
            self._measure_and_save()
        progress(self.step, settings.steps)
        while self.step < settings.steps:
            rate = settings.rate(self.step)
            self.prepare()
            started = time.perf_counter()
            loss = self._take_step(rate)
            self.seconds += time.perf_counter() - started
            self.step += 1
            if self._log is not None and (self.step % LOGGED_EVERY == 0 or self.step == 1):
                self._log.add({"step": self.step, "loss": loss, "learning_rate": rate, "seconds": self.seconds})
            self._measure_and_save()
            self.synchronise()
            progress(self.step, settings.steps, f"loss {loss:.4f}, rate {rate:.1e}")
        if self._log is not None:
            self._log.close()

    def validation_losses(self) -> tuple[tuple[int, float], ...]:
        """Steps and validation losses so far, those before an interruption too."""
        return () if self._log is None else tuple(self._log.curve("validation_loss"))

    def notes(self, batch: int, *, of: int) -> list[str]:
        """What the settings alone do not say: a learning rate that was planned anew, a batch larger than the data.

        Args:
            batch: images a step.
            of: images that are learned from.
        """
        notes = []
        if len(set(self._planned.values())) > 1 and self._run_settings.schedule != "constant":
            parts = ", ".join(f"for {steps} from step {begin}" for begin, steps in sorted(self._planned.items()))
            notes.append(
                f"The steps were planned more than once ({parts}), and the learning rate's fall with them: it is not "
                "the schedule of one training of as many steps."
            )
        if batch > of:
            notes.append(f"A step takes {batch} images, and there are {of} to learn from.")
        return notes

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Within, the weights are their moving average, where one is kept."""
        if self.average is None:
            yield
            return
        parameters = list(self.weights.values())
        self.average.store(parameters)
        self.average.copy_to(parameters)
        try:
            yield
        finally:
            self.average.restore(parameters)

    def _take_step(self, rate: float) -> float:
        import torch

        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.backward()
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss of step {self.step + 1} is {loss}: the training diverged. Train into another folder "
                f"{self.remedy}."
            )
        parameters = list(self.weights.values())
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(parameters, self._run_settings.clip)
        self.scaler.step(self.optimizer)  # not taken where a gradient is too large for float16
        self.scaler.update()
        if self.average is not None:
            self.average.step(parameters)
        return loss

    def _measure_and_save(self) -> None:
        """Validate, sample and save a checkpoint where they are due at this step; all of it at the last step."""
        settings, last = self._run_settings, self.step == self._run_settings.steps
        if last or self.step % settings.validate_every == 0:
            with self.averaged():
                loss = self.validate()
            if self._log is not None:
                before = [earlier for step, earlier in self.validation_losses() if 0 < step < self.step]
                self._log.add({"step": self.step, "validation_loss": loss})
                if self.step and loss <= min(before, default=loss):
                    with self.averaged():
                        self.keep(BEST)
        self.sample(last=last)
        if self._log is not None and self.step and (last or self.step % settings.checkpoint_every == 0):
            self._save()
            with self.averaged():
                self.keep(f"step-{self.step}")

    def _save(self) -> None:
        average = {} if self.average is None else dict(zip(self.weights, self.average.shadow_params, strict=True))
        optimizer, numbers = optimizer_state(self.optimizer, self._optimizer_names)
        planned = {str(step): steps for step, steps in self._planned.items()}
        state = {"seed": self._run_settings.seed, "seconds": self.seconds, "planned": planned, **self.state()}
        if numbers:
            state["optimizer"] = numbers
        if self.scaler.is_enabled():
            state["scaler"] = self.scaler.state_dict()
        if self.average is not None:
            state["averaged"] = self.average.optimization_step
        self._checkpoints.save(Checkpoint(self.step, self.weights, optimizer, average, state))

    def _restore(self, checkpoint: Checkpoint) -> None:
        import torch

        self.step, self.seconds = checkpoint.step, checkpoint.state["seconds"]
        planned = {int(step): steps for step, steps in checkpoint.state.get("planned", {}).items()}
        if planned and planned[max(planned)] != self._run_settings.steps:
            planned[self.step] = self._run_settings.steps
        self._planned = planned or self._planned
        with torch.no_grad():
            for name, parameter in self.weights.items():
                parameter.copy_(checkpoint.weights[name])
        numbers = checkpoint.state.get("optimizer", {})
        restore_optimizer(self.optimizer, self._optimizer_names, checkpoint.optimizer, numbers)
        if "scaler" in checkpoint.state:
            self.scaler.load_state_dict(checkpoint.state["scaler"])
        if self.average is not None:
            self.average.shadow_params = [
                checkpoint.average[name].to(parameter.device) for name, parameter in self.weights.items()
            ]
            self.average.optimization_step = checkpoint.state["averaged"]
        self.restore_state(checkpoint.state)


def gather(items: list[Any]) -> list[Any]:
    """The items of all processes, in their order; every process must call it."""
    from accelerate.utils import gather_object

    found: list[Any] = gather_object(items)
    return found
