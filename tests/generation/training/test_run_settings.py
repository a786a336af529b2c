from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest

from generation import SettingsError
from generation.training.lora_settings import LoraSettings
from generation.training.run_settings import (
    learning_rate_at,
    require_hold_out,
    require_not_negative,
    require_one_of,
    require_positive,
    require_share,
)


def test_a_rate_rises_to_its_peak_and_falls_along_a_cosine() -> None:
    rates = [learning_rate_at(step, peak=8.0, steps=12, warmup=4, schedule="cosine") for step in range(13)]
    assert rates[:5] == [2.0, 4.0, 6.0, 8.0, 8.0]
    assert rates[6] == pytest.approx(8 * (1 + 0.5**0.5) / 2) and rates[8] == pytest.approx(4.0)
    assert rates[12] == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("schedule", "of_diffusers"), [("linear", "linear"), ("cosine", "cosine"), ("restarts", "cosine_with_restarts")]
)
def test_rates_fall_as_those_of_diffusers(schedule: str, of_diffusers: str) -> None:
    import torch
    from diffusers.optimization import get_scheduler

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    theirs = get_scheduler(of_diffusers, optimizer, num_warmup_steps=4, num_training_steps=20, num_cycles=3)
    (rate,) = (
        theirs.lr_lambdas
        if of_diffusers != "cosine"
        else get_scheduler(of_diffusers, optimizer, num_warmup_steps=4, num_training_steps=20).lr_lambdas
    )
    ours = [learning_rate_at(s, peak=2.0, steps=20, warmup=4, schedule=schedule, restarts=3) for s in range(4, 20)]
    assert ours == pytest.approx([2 * rate(step) for step in range(4, 20)])


def test_a_constant_rate_stays_at_its_peak() -> None:
    assert [learning_rate_at(step, peak=8.0, steps=6, warmup=2, schedule="constant") for step in range(5)] == [
        4.0, 8.0, 8.0, 8.0, 8.0,
    ]  # fmt: skip


@pytest.mark.parametrize("warmup", [3, 5])
def test_a_training_may_consist_of_warming_up(warmup: int) -> None:
    rates = [learning_rate_at(step, peak=6.0, steps=3, warmup=warmup, schedule="cosine") for step in range(3)]
    assert rates == pytest.approx([6.0 / warmup, 12.0 / warmup, 18.0 / warmup])
    assert learning_rate_at(warmup, peak=6.0, steps=3, warmup=warmup, schedule="cosine") == 6.0


def test_the_bounds_of_settings_are_allowed_and_what_lies_beyond_is_not() -> None:
    values = SimpleNamespace(zero=0, tiny=1e-9, below=-1e-9, one=1, two=2, endless=float("inf"), crop="best")
    require_positive(values, "tiny", "one")
    require_not_negative(values, "zero", "one")
    require_share(values, "zero", "tiny")
    require_hold_out(values, "two")
    for check, names in (
        (require_positive, ("zero", "below", "endless")),
        (require_not_negative, ("below", "endless")),
        (require_share, ("below", "one")),
        (require_hold_out, ("one",)),
    ):
        for name in names:
            with pytest.raises(SettingsError, match=r"is |cannot be held out"):
                check(values, name)
    with pytest.raises(SettingsError, match="crop is 'best': choose one of centre, random"):
        require_one_of(values, "crop", ("centre", "random"))


def test_the_settings_of_a_lora_give_its_rates() -> None:
    settings = dataclasses.replace(LoraSettings(), steps=10, warmup=5, learning_rate=1.0)
    assert [settings.rate(step) for step in (0, 4, 5)] == [0.2, 1.0, 1.0]
