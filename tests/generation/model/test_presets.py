from __future__ import annotations

import pytest
from diffusers import EulerDiscreteScheduler

from generation import PRESETS, Preset, SettingsError
from generation.model.presets import choose_preset


@pytest.fixture
def shipped() -> EulerDiscreteScheduler:
    return EulerDiscreteScheduler(beta_start=0.001, beta_end=0.013, beta_schedule="scaled_linear")


def test_reference_is_what_coin_publishes() -> None:
    reference = PRESETS["reference"]
    assert (reference.steps, reference.guidance, reference.scheduler) == (50, 7.5, "")


def test_reference_samples_with_the_scheduler_as_shipped(shipped: EulerDiscreteScheduler) -> None:
    scheduler = PRESETS["reference"].make_scheduler(shipped)
    assert type(scheduler) is EulerDiscreteScheduler
    assert scheduler is not shipped
    assert scheduler.config == shipped.config


def test_draft_changes_the_solver_and_keeps_the_noise_schedule(shipped: EulerDiscreteScheduler) -> None:
    before = dict(shipped.config)
    scheduler = PRESETS["draft"].make_scheduler(shipped)
    assert type(scheduler).__name__ == "DPMSolverMultistepScheduler"
    assert scheduler.config.use_karras_sigmas is True
    assert (scheduler.config.beta_start, scheduler.config.beta_end) == (0.001, 0.013)
    assert dict(shipped.config) == before


def test_presets_are_chosen_by_name_or_given() -> None:
    own = Preset("own", steps=3, guidance=1.0)
    assert choose_preset("draft") is PRESETS["draft"]
    assert choose_preset(own) is own
    with pytest.raises(SettingsError, match="'fast': choose one of reference, draft"):
        choose_preset("fast")


@pytest.mark.parametrize("wrong", [{"steps": 0, "guidance": 7.5}, {"steps": 5, "guidance": -1.0}])
def test_impossible_presets_are_refused_when_made(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match="'own'"):
        Preset("own", **wrong)  # type: ignore[arg-type]


def test_a_scheduler_that_diffusers_lacks_is_named(shipped: EulerDiscreteScheduler) -> None:
    with pytest.raises(SettingsError, match="NoSuchScheduler"):
        Preset("own", steps=3, guidance=1.0, scheduler="NoSuchScheduler").make_scheduler(shipped)
