"""Presets: how an image is sampled from the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from generation.errors import SettingsError

if TYPE_CHECKING:
    from diffusers import SchedulerMixin


@dataclass(frozen=True)
class Preset:
    """One way to sample.

    `scheduler` names a class of diffusers; "" is the scheduler that the base ships with. `scheduler_options` change
    single values of the base's scheduler configuration, and nothing else of it (the noise schedule stays the one
    that the model was trained with). `few_step` presets need a LoRA that was distilled for them beside COIN's.
    """

    name: str
    steps: int
    guidance: float
    scheduler: str = ""
    scheduler_options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    few_step: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise SettingsError(f"Preset {self.name!r} asks for {self.steps} steps: at least 1 is needed.")
        if not self.guidance >= 0:
            raise SettingsError(f"Preset {self.name!r} asks for guidance {self.guidance}: it cannot be negative.")

    def make_scheduler(self, shipped: SchedulerMixin) -> SchedulerMixin:
        """A fresh scheduler from the configuration of the one that the base ships with, which is left as it is."""
        import diffusers

        kind = getattr(diffusers, self.scheduler, None) if self.scheduler else type(shipped)
        if kind is None:
            raise SettingsError(f"Preset {self.name!r} names a scheduler that diffusers lacks: {self.scheduler!r}.")
        return kind.from_config(shipped.config, **self.scheduler_options)


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            # What COIN's authors publish (README of github.com/LexieK7/COIN).
            Preset("reference", steps=50, guidance=7.5),
            # DPM-Solver++ (arXiv 2211.01095). Below 50 steps it needs the Karras sigmas on SDXL: without them the last
            # steps leave artefacts. Guidance 4 found the site and category of 176 held-out phantom reports more often
            # than 7.5 did (P@10 .932 against .895; 2.5: .922, no real difference; starter, two images, see
            # benchmarks.starter --guidance); COIN itself was not at hand.
            Preset(
                "draft",
                steps=20,
                guidance=4.0,
                scheduler="DPMSolverMultistepScheduler",
                scheduler_options=MappingProxyType({"use_karras_sigmas": True}),
            ),
            # For the LCM-LoRA of SDXL (arXiv 2311.05556), as its model card samples: guidance is distilled into it, so
            # a step is one pass. Neither of these two was ever validated on cytology.
            Preset("lcm", steps=8, guidance=1.0, scheduler="LCMScheduler", few_step=True),
            # For the 8-step LoRA of SDXL-Lightning (arXiv 2402.13929): its steps end at the noisiest timestep.
            Preset(
                "lightning",
                steps=8,
                guidance=0.0,
                scheduler="EulerDiscreteScheduler",
                scheduler_options=MappingProxyType({"timestep_spacing": "trailing"}),
                few_step=True,
            ),
        )
    }
)


def choose_preset(preset: str | Preset) -> Preset:
    """The preset of that name, or the one given. Raises `SettingsError` for an unknown name."""
    if isinstance(preset, Preset):
        return preset
    if preset not in PRESETS:
        raise SettingsError(f"Unknown preset {preset!r}: choose one of {', '.join(PRESETS)}.")
    return PRESETS[preset]
