"""The steps of a training on one number, whose weights can be computed by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.training_utils import EMAModel

from generation import TrainingError
from generation.training.training_run import LOGGED_EVERY, TrainingRun

DECAY = 0.6


@dataclass(frozen=True)
class Settings:
    steps: int = 6
    clip: float = 100.0
    validate_every: int = 4
    checkpoint_every: int = 2
    seed: int = 7
    schedule: str = "cosine"

    def rate(self, step: int) -> float:
        return 0.5 / (step + 1)


class Descent(TrainingRun):
    """Moves a number w from 8 downwards: its gradient at step i is i + 1, so that it falls by rate * (i + 1) = .5."""

    def __init__(
        self, folder: Path, settings: Settings, *, ema: bool = False, is_main: bool = True, scaled: bool = False
    ) -> None:
        self.w = torch.nn.Parameter(torch.tensor([8.0]))
        self.samples: list[tuple[int, bool, float]] = []
        self.restored: Mapping[str, Any] = {}
        self.loss = 1.0
        self.too_large: dict[int, float] = {}
        """By step: what gradients are multiplied with."""
        super().__init__(
            folder,
            settings,
            {"w": self.w},
            torch.optim.SGD([self.w], 1.0),
            optimizer_names=["w"],
            average=EMAModel([self.w], decay=DECAY) if ema else None,
            is_main=is_main,
            scaled=scaled,
        )

    def backward(self) -> float:
        self.scaler.scale((self.w * (self.step + 1)).sum() * self.too_large.get(self.step, 1.0)).backward()
        return self.loss

    def validate(self) -> float:
        return self.w.item()

    def sample(self, *, last: bool) -> None:
        self.samples.append((self.step, last, self.w.item()))

    def state(self) -> dict[str, Any]:
        return {"note": "kept"}

    def restore_state(self, state: Mapping[str, Any]) -> None:
        self.restored = state


def averages(decay: float = DECAY) -> Iterator[float]:
    """The moving average of w after each step: diffusers' decay is (1 + t) / (10 + t), at most `decay`, from step 2."""
    average, step = 8.0, 0
    while True:
        w = 8.0 - 0.5 * (step + 1)
        t = step  # steps averaged before this one
        d = min(decay, (1 + t) / (10 + t)) if t > 0 else 0.0
        average = d * average + (1 - d) * w
        step += 1
        yield average


def test_every_step_has_its_own_rate_and_is_measured_and_saved_when_due(tmp_path: Path) -> None:
    run = Descent(tmp_path, Settings())
    shown: list[tuple[int, int, str]] = []
    run.run(lambda done, total, note="": shown.append((done, total, note)))
    assert run.step == 6 and run.w.item() == pytest.approx(8 - 6 * 0.5)
    assert run.validation_losses() == ((0, 8.0), (4, 6.0), (6, 5.0))
    assert run.samples == [(step, step == 6, pytest.approx(8 - step * 0.5)) for step in range(7)]
    folders = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert folders == ["step-00000004", "step-00000006"]
    state = json.loads((tmp_path / "checkpoints" / folders[1] / "state.json").read_text())
    assert {**state, "seconds": 0} == {
        "step": 6,
        "seed": 7,
        "seconds": 0,
        "planned": {"0": 6},
        "note": "kept",
    } and state["seconds"] > 0
    assert [done for done, _, _ in shown] == list(range(7)) and {total for _, total, _ in shown} == {6}
    assert (shown[0][2], shown[2][2]) == ("", "loss 1.0000, rate 2.5e-01")


def test_a_schedule_that_was_planned_anew_and_a_batch_larger_than_the_data_are_said(tmp_path: Path) -> None:
    def notes(folder: str, **changed: Any) -> list[str]:
        (tmp_path / folder).mkdir(exist_ok=True)
        run = Descent(tmp_path / folder, Settings(**changed))
        run.run(lambda *_shown: None)
        return run.notes(4, of=4)

    assert notes("a", steps=4) == []
    assert notes("a", steps=4) == [], "nothing was planned anew"
    (said,) = notes("a", steps=6)
    assert "for 4 from step 0, for 6 from step 4" in said and "not the schedule of one training" in said
    assert notes("a", steps=6) == [said], "it is still so when the same command is given once more"
    assert notes("b", steps=4, schedule="constant") == notes("b", steps=6, schedule="constant") == []
    run = Descent(tmp_path, Settings())
    assert run.notes(5, of=4) == ["A step takes 5 images, and there are 4 to learn from."]


def test_the_first_step_and_every_tenth_are_logged(tmp_path: Path) -> None:
    Descent(tmp_path, Settings(steps=2 * LOGGED_EVERY + 1, checkpoint_every=100)).run(lambda *_shown: None)
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    steps = [record for record in records if "loss" in record]
    assert [record["step"] for record in steps] == [1, 10, 20]
    assert [record["learning_rate"] for record in steps] == [0.5, 0.05, 0.025]
    assert [record["step"] for record in records if "validation_loss" in record] == [0, 4, 8, 12, 16, 20, 21]


def test_the_average_is_kept_measured_and_saved_and_the_weights_stay(tmp_path: Path) -> None:
    run = Descent(tmp_path, Settings(), ema=True)
    run.run(lambda *_shown: None)
    expected = [average for average, _ in zip(averages(), range(6), strict=False)]
    assert run.w.item() == pytest.approx(5.0)
    assert dict(run.validation_losses())[4] == pytest.approx(expected[3])
    assert dict(run.validation_losses())[6] == pytest.approx(expected[5]) != 5.0
    with run.averaged():
        assert run.w.item() == pytest.approx(expected[5])
    assert run.w.item() == pytest.approx(5.0)


@pytest.mark.parametrize("ema", [False, True])
def test_a_run_begins_at_its_last_checkpoint(ema: bool, tmp_path: Path) -> None:
    for name in ("whole", "halves"):
        (tmp_path / name).mkdir()
    whole = Descent(tmp_path / "whole", Settings(), ema=ema)
    whole.run(lambda *_shown: None)
    first = Descent(tmp_path / "halves", Settings(), ema=ema)

    def interrupt(done: int, *_shown: object) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        first.run(interrupt)
    second = Descent(tmp_path / "halves", Settings(), ema=ema)
    assert second.step == 4 and second.w.item() == pytest.approx(6.0) and second.restored["note"] == "kept"
    second.run(lambda *_shown: None)
    assert torch.equal(second.w, whole.w) and second.validation_losses() == whole.validation_losses()
    with second.averaged(), whole.averaged():
        assert torch.equal(second.w, whole.w)
    assert second.seconds > second.restored["seconds"] > 0


def test_a_scaled_loss_gives_the_same_steps_and_the_scale_is_kept(tmp_path: Path) -> None:
    """A step whose gradients are too large is left out, and the next ones are scaled by half."""
    run = Descent(tmp_path, Settings(), scaled=True)
    run.too_large = {1: float("inf")}
    run.run(lambda *_shown: None)
    assert run.w.item() == pytest.approx(8 - 5 * 0.5)
    assert run.scaler.get_scale() == 2.0**15
    assert Descent(tmp_path, Settings(steps=9), scaled=True).scaler.get_scale() == 2.0**15


def test_a_gradient_is_clipped_to_its_largest_length(tmp_path: Path) -> None:
    run = Descent(tmp_path, Settings(steps=3, clip=2.0))
    run.run(lambda *_shown: None)
    assert run.w.item() == pytest.approx(8 - 0.5 * 1 - 0.25 * 2 - 0.5 / 3 * 2, abs=1e-4)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_diverged_training_stops_before_its_weights_are_spoiled(loss: float, tmp_path: Path) -> None:
    run = Descent(tmp_path, Settings())
    run.loss = loss
    with pytest.raises(TrainingError, match=r"loss of step 1 is (nan|inf): .*diverged.* with a lower learning rate\."):
        run.run(lambda *_shown: None)
    assert run.w.item() == 8.0


def test_another_process_than_the_main_one_writes_nothing(tmp_path: Path) -> None:
    run = Descent(tmp_path, Settings(), is_main=False)
    run.run(lambda *_shown: None)
    assert run.w.item() == pytest.approx(5.0) and run.validation_losses() == ()
    assert len(run.samples) == 7, "each process has its part in measuring and in sample images"
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_have_an_interval_of_their_own(tmp_path: Path) -> None:
    Descent(tmp_path, Settings(steps=7)).run(lambda *_shown: None)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-00000006", "step-00000007"]
