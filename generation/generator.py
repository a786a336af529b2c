"""The façade of this room: a report becomes images."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import logging
import operator
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from generation.cache import GenerationCache, cache_key
from generation.device import choose_device, choose_dtype
from generation.errors import SettingsError
from generation.pipeline import CoinPipeline, PromptTokens
from generation.presets import Preset, choose_preset
from generation.prompt import Prompt, build_prompt
from generation.provenance import Provenance
from generation.weights import STARTER, Base, Lora, find_base, find_lora

if TYPE_CHECKING:
    import torch
    from PIL import Image

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
_LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True)
class GeneratedImage:
    """A synthetic image (RGB). `path` is its file in the cache; None without a cache, or where that is full."""

    image: Image.Image
    provenance: Provenance
    path: Path | None
    cached: bool


@dataclass(frozen=True)
class Generation:
    """The images of one report, in the order of their seeds, and the wall-clock seconds they took."""

    report: str
    prompt: Prompt
    images: tuple[GeneratedImage, ...]
    seconds: float


class CoinGenerator:
    """Generates cytology images from report text with an SDXL base and COIN's LoRA.

    `base` is a folder in diffusers' layout or a hub id, `lora` a folder, a .safetensors file or a hub id. Without a
    base it is the starter, with the starter's LoRA unless another is given; a base without a LoRA stays plain. With a
    `cache`, an image that was generated before by the same inputs is read from there, and the model is not even loaded.

    Nothing is read before first use, so errors about weights (`WeightsError`) and devices (`DeviceError`) are raised
    there, or by `load`. Safe to share between threads: one at a time draws.
    """

    def __init__(
        self,
        base: str | Path | None = None,
        lora: str | Path | None = None,
        *,
        device: str = "auto",
        dtype: str = "auto",
        cache: GenerationCache | None = None,
    ) -> None:
        self.is_starter = base is None
        self.cache = cache
        self._base_source = STARTER / "base" if base is None else base
        self._lora_source = STARTER / "lora" if base is None and lora is None else lora
        self._device_asked = device
        self._dtype_asked = dtype
        self._lock = threading.RLock()
        self._loaded: CoinPipeline | None = None

    @functools.cached_property
    def device(self) -> str:
        """ "cuda", "mps" or "cpu"."""
        return choose_device(self._device_asked)

    @functools.cached_property
    def dtype(self) -> torch.dtype:
        """The number format of the weights."""
        return choose_dtype(self._dtype_asked, self.device)

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of base and LoRA together: two generators of one fingerprint draw by the same weights."""
        lora = self._lora.fingerprint if self._lora else ""
        return hashlib.sha256(f"{self._base.fingerprint}\n{lora}".encode()).hexdigest()

    def describe(self) -> dict[str, str]:
        """For people: the models' names and fingerprints, device and number format."""
        return {
            "base": self._base.name,
            "base_fingerprint": self._base.fingerprint,
            "lora": self._lora.name if self._lora else "",
            "lora_fingerprint": self._lora.fingerprint if self._lora else "",
            "fingerprint": self.fingerprint,
            "device": self.device,
            "dtype": str(self.dtype).removeprefix("torch."),
            "size": str(self._base.size),
        }

    def load(self) -> None:
        """Load the model now instead of at the first image."""
        self._pipeline()

    def prompt(self, report: str) -> Prompt:
        """What would be encoded of that report. Raises `EmptyReportError`."""
        return build_prompt(report, count_tokens=self._tokens.count, limit=self._tokens.limit)

    def generate(
        self,
        report: str,
        *,
        n: int = 4,
        seed: int = 0,
        seeds: Sequence[int] | None = None,
        preset: str | Preset = "reference",
        size: int | None = None,
        batch_size: int = 4,
        progress: Progress | None = None,
    ) -> Generation:
        """`n` images of a report with the seeds `seed`, `seed` + 1, ..., or one image for each of `seeds`.

        `size` is the edge in pixels, by default the base's own. At most `batch_size` images are drawn at once. A seed
        gives the same image on the same machine, alone or in a batch (up to rounding, see `CoinPipeline.draw`).
        `progress(done, total)` is called after each denoising step of each batch; images from the cache need none.

        Raises `EmptyReportError`, `SettingsError`, `WeightsError`, `DeviceError` or `BlankImageError`. Images that were
        finished before an error are in the cache.
        """
        started = time.perf_counter()
        wanted = _check_seeds(n, seed, seeds)
        if batch_size < 1:
            raise SettingsError(f"The batch size is {batch_size}: at least 1 is needed.")
        chosen = choose_preset(preset)
        edge = self._check_size(size)
        prompt = self.prompt(report)
        report_sha256 = hashlib.sha256(report.encode(errors="surrogatepass")).hexdigest()

        def describe(seed: int) -> Provenance:
            return self._provenance(report_sha256, prompt, seed, chosen, edge)

        found = {seed: self._from_cache(describe(seed), chosen) for seed in wanted}
        missing = [seed for seed, image in found.items() if image is None]
        batches = [missing[start : start + batch_size] for start in range(0, len(missing), batch_size)]
        total = len(batches) * chosen.steps
        for number, batch in enumerate(batches):

            def on_step(done: int, before: int = number * chosen.steps) -> None:
                if progress is not None:
                    progress(before + done, total)

            with self._lock:
                drawn = self._pipeline().draw(prompt.text, batch, preset=chosen, size=edge, on_step=on_step)
            for seed, image in zip(batch, drawn, strict=True):
                found[seed] = self._keep(image, describe(seed), chosen)
        images = tuple(image for image in (found[seed] for seed in wanted) if image is not None)
        return Generation(report, prompt, images, time.perf_counter() - started)

    @functools.cached_property
    def _base(self) -> Base:
        return find_base(self._base_source)

    @functools.cached_property
    def _lora(self) -> Lora | None:
        return None if self._lora_source is None else find_lora(self._lora_source)

    @functools.cached_property
    def _tokens(self) -> PromptTokens:
        return PromptTokens(self._base)

    def _pipeline(self) -> CoinPipeline:
        with self._lock:
            if self._loaded is None:
                self._loaded = CoinPipeline(self._base, self._lora, self._tokens, device=self.device, dtype=self.dtype)
            return self._loaded

    def _check_size(self, size: int | None) -> int:
        edge, step = self._base.size if size is None else size, self._base.size_step
        if edge < step or edge % step:
            raise SettingsError(f"The image size is {edge}: the base {self._base.name} needs a multiple of {step}.")
        return edge

    def _provenance(self, report_sha256: str, prompt: Prompt, seed: int, preset: Preset, size: int) -> Provenance:
        lora = self._lora
        return Provenance(
            report_sha256=report_sha256,
            prompt=prompt.text,
            seed=seed,
            preset=preset.name,
            steps=preset.steps,
            guidance=preset.guidance,
            scheduler=preset.scheduler or self._base.scheduler,
            width=size,
            height=size,
            model=self._base.name,
            model_fingerprint=self._base.fingerprint,
            lora=lora.name if lora else "",
            lora_fingerprint=lora.fingerprint if lora else "",
            software=_software(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            device=self.device,
            dtype=str(self.dtype).removeprefix("torch."),
        )

    @staticmethod
    def _key(provenance: Provenance, preset: Preset) -> str:
        """Of all that decides the pixels, and of the report's hash, which the stored provenance states.

        The scheduler as shipped is part of the base's fingerprint. Names and the time are left out: a folder that was
        moved is still the same base.
        """
        return cache_key(
            {
                "report": provenance.report_sha256,
                "prompt": provenance.prompt,
                "seed": provenance.seed,
                "preset": [preset.name, preset.steps, preset.guidance, preset.scheduler],
                "scheduler_options": sorted(preset.scheduler_options.items()),
                "size": [provenance.width, provenance.height],
                "model": provenance.model_fingerprint,
                "lora": provenance.lora_fingerprint,
                "device": provenance.device,
                "dtype": provenance.dtype,
                "software": provenance.software,
            }
        )

    def _from_cache(self, provenance: Provenance, preset: Preset) -> GeneratedImage | None:
        if self.cache is None:
            return None
        key = self._key(provenance, preset)
        stored = self.cache.get(key)
        if stored is None:
            return None
        image, made = stored
        return GeneratedImage(image, made, self.cache.path(key), cached=True)

    def _keep(self, image: Image.Image, provenance: Provenance, preset: Preset) -> GeneratedImage:
        """Into the cache, if that can be done: a full disk must not cost the image that took so long to draw."""
        path = None
        if self.cache is not None:
            try:
                path = self.cache.put(self._key(provenance, preset), image, provenance)
            except OSError as error:
                logger.warning("A generated image was not cached: %s (%s)", error.strerror, self.cache.folder)
        return GeneratedImage(image, provenance, path, cached=False)


def _check_seeds(n: int, seed: int, seeds: Sequence[int] | None) -> tuple[int, ...]:
    if seeds is None:
        if n < 1:
            raise SettingsError(f"{n} images were asked for: at least 1 is needed.")
        seeds = range(seed, seed + n)
    if not seeds:
        raise SettingsError("The list of seeds is empty: one seed an image is needed.")
    if min(seeds) < 0 or max(seeds) > _LARGEST_SEED:
        raise SettingsError(f"A seed is a whole number from 0 to {_LARGEST_SEED}.")
    return tuple(operator.index(one) for one in seeds)  # plain integers, also from numpy


@functools.cache
def _software() -> str:
    """Ours and the two libraries whose versions may change pixels."""
    return ", ".join(f"{name} {_version(name)}" for name in ("coin-retrieval", "diffusers", "torch"))


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "from source"
