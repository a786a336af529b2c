"""The files of a generator's model: its base, its LoRAs, and the base's tokenizers; and the model loaded of them."""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from generation.errors import SettingsError
from generation.model.files.hub import is_hub_id
from generation.model.files.weight_files import STARTER
from generation.model.lora.find import Lora, find_lora
from generation.model.pipeline import CoinPipeline
from generation.model.presets import Preset
from generation.model.requirements import GeneratorRequirements, available_memory, requirements
from generation.model.tokens import PromptTokens
from generation.model.weights import Base, find_base

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)


class ModelFiles:
    """A base with at most two LoRAs, which are looked for on first use.

    Without a base it is the starter, with the starter's LoRA unless another is given; another base without a LoRA has
    none. `vae` replaces the base's own autoencoder. `half()` says whether fp16 files of a hub id are to be taken; it is
    called for hub ids only. The first property that needs unusable weights raises `WeightsError`.
    """

    def __init__(
        self,
        base: str | Path | None,
        lora: str | Path | None,
        few_step_lora: str | Path | None,
        *,
        vae: str | Path | None = None,
        half: Callable[[], bool] = lambda: False,
    ) -> None:
        self._base_source = STARTER / "base" if base is None else base
        self._lora_source = STARTER / "lora" if base is None and lora is None else lora
        self._few_step_source = few_step_lora
        self._vae_source = vae
        self._half = half

    @functools.cached_property
    def base(self) -> Base:
        """The base."""
        fetched = is_hub_id(self._base_source) or (self._vae_source is not None and is_hub_id(self._vae_source))
        return find_base(self._base_source, half=fetched and self._half(), vae=self._vae_source)

    @functools.cached_property
    def loras(self) -> tuple[Lora, ...]:
        """The LoRAs in the order in which they are fused."""
        return tuple(find_lora(source) for source in (self._lora_source, self._few_step_source) if source is not None)

    @property
    def lora_name(self) -> str:
        """The names of all LoRAs, "" without one."""
        return " + ".join(lora.name for lora in self.loras)

    @property
    def lora_fingerprint(self) -> str:
        """The fingerprints of all LoRAs, "" without one."""
        return " + ".join(lora.fingerprint for lora in self.loras)

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of base and LoRAs together."""
        return hashlib.sha256(f"{self.base.fingerprint}\n{self.lora_fingerprint}".encode()).hexdigest()

    def describe(self) -> dict[str, str]:
        """For people: names and fingerprints of base and LoRAs, and the edge of the images in pixels."""
        return {
            "base": self.base.name,
            "base_fingerprint": self.base.fingerprint,
            "lora": self.lora_name,
            "lora_fingerprint": self.lora_fingerprint,
            "fingerprint": self.fingerprint,
            "size": str(self.base.size),
        }

    @functools.cached_property
    def tokens(self) -> PromptTokens:
        """Counts tokens by the base's tokenizers."""
        return PromptTokens(self.base)

    def find(self) -> None:
        """Look for all files now. Raises `WeightsError` for those that are missing or unusable."""
        _ = self.base, self.loras

    def check(self, *, device: str, dtype: torch.dtype, low_memory: bool = False) -> GeneratorRequirements:
        """What loading will take; a warning is logged where main memory will hardly suffice.

        Raises `WeightsError`, and `LoraMismatchError` for a LoRA that does not fit: before anything is loaded.
        """
        name = str(dtype).removeprefix("torch.")
        needed = requirements(self.base, self.loras, dtype=name, device=device, low_memory=low_memory)
        available = available_memory()
        if available is not None and needed.main_memory > available:
            logger.warning(
                "The generator needs about %.1f GB of main memory, and %.1f GB are available: it may be ended by the "
                "system. Close other programs, or use --dtype bfloat16.",
                needed.main_memory / 1e9,
                available / 1e9,
            )
        return needed

    def load(self, *, device: str, dtype: torch.dtype, compiled: bool, low_memory: bool) -> CoinPipeline:
        """The model, loaded; its fingerprint is known afterwards. Raises `WeightsError`, `LoraMismatchError`."""
        self.check(device=device, dtype=dtype, low_memory=low_memory)
        # Hashing 7 GB takes seconds and every image needs the fingerprint: done beside loading, it costs none.
        with ThreadPoolExecutor(max_workers=1) as beside:
            fingerprint = beside.submit(lambda: self.fingerprint)
            loaded = CoinPipeline(
                self.base, self.loras, self.tokens, device=device, dtype=dtype, compiled=compiled, low_memory=low_memory
            )
            fingerprint.result()
        return loaded

    def check_preset(self, preset: Preset) -> None:
        """Raise `SettingsError` for a few-step preset without a few-step LoRA, and for another preset with one."""
        if preset.few_step and self._few_step_source is None:
            raise SettingsError(
                f"Preset {preset.name!r} needs a LoRA that was distilled for few steps: give one (few_step_lora), or "
                "choose another preset."
            )
        if self._few_step_source is not None and not preset.few_step:
            raise SettingsError(
                f"Preset {preset.name!r} is not made for a LoRA that was distilled for few steps: leave that LoRA "
                "out (few_step_lora), or choose another preset."
            )
