"""The façade of this package: it generates images from a report."""

from __future__ import annotations

import functools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from generation.cache import GenerationCache, image_key
from generation.jobs import GeneratedImage, Generation, Job, run_jobs
from generation.model.device import choose_device, choose_dtype
from generation.model.loading import part_models
from generation.model.model_files import ModelFiles
from generation.model.pipeline import CoinPipeline
from generation.model.presets import Preset, choose_preset
from generation.model.requirements import GeneratorRequirements
from generation.options import GenerationOptions, check_options, check_seeds
from generation.prompts.glossary import glossary, in_words
from generation.prompts.prompt import LongReports, Prompt, build_prompt, check_long_reports
from generation.provenance import Provenance, software, text_sha256

if TYPE_CHECKING:
    import torch
    from PIL import Image

Progress = Callable[[int, int], None]


class CoinGenerator:
    """Generates cytology images from report text with an SDXL base and COIN's LoRA.

    Args:
        base: a folder in diffusers' layout or a hub id; None is the starter.
        lora: a folder, a .safetensors file or a hub id. None is the starter's LoRA with the starter, and no LoRA with
            any other base.
        cache: where images are kept. An image that is in it is read, and the model is not even loaded.
        few_step_lora: a second LoRA, distilled to sample in few steps (LCM, Lightning). It is opt-in, and only the
            presets made for it can then be used, because it changes every image.
        compiled: compile the UNet's transformer blocks: faster images after a first batch that takes longer, once more
            for every batch size and number of chunks.
        low_memory: keep the model in main memory, and its parts on the GPU only while they compute: the same images,
            more slowly.
        long_reports: how a report is treated that is longer than the encoders read: "condense" keeps its most
            important clauses, "chunk" encodes all of it in pieces.
        glossary: replace machine-translated wordings by the usual ones (`generation.prompts.glossary`). Off by
            default, because COIN was trained on reports that hold them.
        negative_prompt: what images should not show; none by default, as in COIN.
        guidance: replaces the preset's.
        vae: an autoencoder in the place of the base's own: a folder in diffusers' layout, a .safetensors file or a hub
            id.
        dtype: number format of the weights: float32, bfloat16, float16, or auto (`choose_dtype`).

    Nothing is read before first use, so errors about weights (`WeightsError`) and devices (`DeviceError`) are raised
    then, or by `load`. May be shared between threads, of which one at a time generates.
    """

    def __init__(
        self,
        base: str | Path | None = None,
        lora: str | Path | None = None,
        *,
        device: str = "auto",
        dtype: str = "auto",
        cache: GenerationCache | None = None,
        few_step_lora: str | Path | None = None,
        compiled: bool = False,
        low_memory: bool = False,
        long_reports: LongReports = "condense",
        glossary: bool = False,
        negative_prompt: str = "",
        guidance: float | None = None,
        vae: str | Path | None = None,
    ) -> None:
        check_long_reports(long_reports)
        self.long_reports = long_reports
        self.uses_glossary = glossary
        self.negative_prompt = " ".join(negative_prompt.split())
        self.guidance = guidance
        self.is_starter = base is None
        self.cache = cache
        self._files = ModelFiles(base, lora, few_step_lora, vae=vae, half=lambda: self.device == "cuda")
        self._compiled = compiled
        self._low_memory = low_memory
        self._requested_device = device
        self._requested_dtype = dtype
        self._lock = threading.RLock()
        self._loaded: CoinPipeline | None = None

    @functools.cached_property
    def device(self) -> str:
        """ "cuda", "mps" or "cpu"."""
        return choose_device(self._requested_device)

    @functools.cached_property
    def dtype(self) -> torch.dtype:
        """The number format of the weights."""
        return choose_dtype(self._requested_dtype, self.device)

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of base and LoRAs together: generators of one fingerprint have the same weights."""
        return self._files.fingerprint

    def describe(self) -> dict[str, str]:
        """For people: the models' names and fingerprints, device and number format."""
        return self._files.describe() | {"device": self.device, "dtype": str(self.dtype).removeprefix("torch.")}

    def requirements(self) -> GeneratorRequirements:
        """What loading and generating will take, from headers alone. Raises `WeightsError`, `LoraMismatchError`."""
        part_models(self._files.base)
        return self._files.check(device=self.device, dtype=self.dtype, low_memory=self._low_memory)

    def load(self) -> None:
        """Load the model now instead of at the first image."""
        self._pipeline()

    def prompt(self, report: str) -> Prompt:
        """The prompt that a report would be encoded as. Raises `EmptyReportError`."""
        return build_prompt(
            report,
            count_tokens=self._files.tokens.count,
            limit=self._files.tokens.limit,
            long_reports=self.long_reports,
            glossary=glossary() if self.uses_glossary else None,
        )

    def sampling(self, preset: str | Preset) -> Preset:
        """The preset as this generator uses it: with the generator's guidance, if it has one.

        Raises `SettingsError` for an unknown name or an impossible guidance, and for a few-step preset without its LoRA
        or the other way round.
        """
        chosen = choose_preset(preset)
        self._files.check_preset(chosen)
        return chosen if self.guidance is None else replace(chosen, guidance=self.guidance)

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
        """Generate the images of a report.

        A seed gives the same image on the same machine, alone or in a batch (up to rounding, see
        `CoinPipeline.generate`). Images that were finished before an error are in the cache.

        Args:
            n: number of images, with the seeds `seed`, `seed` + 1 …
            seeds: one image for each of these; `n` and `seed` are then ignored.
            size: edge in pixels; None is the base's own.
            batch_size: most images that are generated at once.
            progress: `progress(done, total)` is called once before the model is needed, with 0, and after each
                denoising step of each batch; images from the cache need none. What it raises ends the generation.

        Raises:
            EmptyReportError, SettingsError, WeightsError, DeviceError, BlankImageError: see `generation.errors`.
        """
        started = time.perf_counter()
        wanted = check_seeds(n, seed, seeds)
        options = check_options(self._files, self.sampling(preset), size, batch_size, self.negative_prompt)
        jobs = [self._job(report, wanted)]
        self._fill(jobs[0], options)
        missing = list(jobs[0].images.values()).count(None)
        total = -(-missing // batch_size) * options.preset.steps
        before = 0
        if missing and progress is not None:
            progress(0, total)

        def on_step(done: int) -> None:
            nonlocal before
            if progress is not None:
                progress(before + done, total)
            if done == options.preset.steps:
                before += done

        [made] = self._run(jobs, options, on_step)
        return replace(made, seconds=time.perf_counter() - started)

    def generate_queue(
        self,
        requests: Iterable[tuple[str, Sequence[int]]],
        *,
        preset: str | Preset = "reference",
        size: int | None = None,
        batch_size: int = 4,
    ) -> Iterator[Generation]:
        """Generate the images of many reports, each with its seeds; yields them in the order given, as they finish.

        Images of different reports share a batch if their prompts have equally many chunks, so that one image a report
        takes no longer than many. The images are those of `generate` (up to rounding).

        All requests are checked before anything is generated. Raises what `generate` raises; images that were finished
        before an error are in the cache.
        """
        options = check_options(self._files, self.sampling(preset), size, batch_size, self.negative_prompt)
        jobs = deque(self._job(report, check_seeds(0, 0, seeds)) for report, seeds in requests)
        released = (jobs.popleft() for _ in range(len(jobs)))  # a finished report keeps no image in memory
        return self._run(released, options, lambda _done: None)

    def _run(
        self, jobs: Iterable[Job], options: GenerationOptions, on_step: Callable[[int], None]
    ) -> Iterator[Generation]:
        return run_jobs(
            jobs,
            batch_size=options.batch_size,
            look_up=lambda job: self._fill(job, options),
            generate=lambda batch: self._generate_batch(batch, options, on_step),
        )

    def _generate_batch(
        self, batch: Sequence[tuple[Job, int]], options: GenerationOptions, on_step: Callable[[int], None]
    ) -> None:
        """Generate a batch, and put each image into its job and the cache."""
        started = time.perf_counter()
        with self._lock:
            images = self._pipeline().generate(
                [job.prompt.encoded for job, _ in batch],
                [seed for _, seed in batch],
                preset=options.preset,
                size=options.size,
                on_step=on_step,
                negative_prompt=self.negative_prompt,
            )
        share = (time.perf_counter() - started) / len(batch)
        for (job, seed), image in zip(batch, images, strict=True):
            job.images[seed] = self._store(job, image, self._provenance(job, seed, options), options.preset)
            job.seconds += share

    def _fill(self, job: Job, options: GenerationOptions) -> None:
        """Look each image up in the cache, once."""
        if not job.images:
            job.images = {seed: self._look_up(job, seed, options) for seed in job.seeds}

    def _job(self, report: str, seeds: tuple[int, ...]) -> Job:
        return Job(report, text_sha256(report), self.prompt(report), seeds)

    def _pipeline(self) -> CoinPipeline:
        with self._lock:
            if self._loaded is None:
                self._files.find()  # errors about the files come before those about the device
                self._loaded = self._files.load(
                    device=self.device, dtype=self.dtype, compiled=self._compiled, low_memory=self._low_memory
                )
            return self._loaded

    def _provenance(self, job: Job, seed: int, options: GenerationOptions) -> Provenance:
        preset = options.preset
        return Provenance(
            report_sha256=job.report_sha256,
            prompt=job.prompt.text,
            seed=seed,
            preset=preset.name,
            steps=preset.steps,
            guidance=preset.guidance,
            scheduler=preset.scheduler or self._files.base.scheduler,
            width=options.size,
            height=options.size,
            model=self._files.base.name,
            model_fingerprint=self._files.base.fingerprint,
            lora=self._files.lora_name,
            lora_fingerprint=self._files.lora_fingerprint,
            software=software(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            device=self.device,
            dtype=str(self.dtype).removeprefix("torch."),
            negative_prompt=self.negative_prompt,
            reading=job.prompt.reading,
            chunks=len(job.prompt.encoded.texts),
            replaced=in_words(job.prompt.replaced),
        )

    def _look_up(self, job: Job, seed: int, options: GenerationOptions) -> GeneratedImage | None:
        """The image from the cache, or None."""
        if self.cache is None:
            return None
        key = image_key(job.prompt, self._provenance(job, seed, options), options.preset)
        stored = self.cache.get(key)
        if stored is None:
            return None
        image, made = stored
        return GeneratedImage(image, made, self.cache.path(key), cached=True)

    def _store(self, job: Job, image: Image.Image, provenance: Provenance, preset: Preset) -> GeneratedImage:
        """Put an image into the cache if possible."""
        path = None
        if self.cache is not None:
            path = self.cache.put_if_possible(image_key(job.prompt, provenance, preset), image, provenance)
        return GeneratedImage(image, provenance, path, cached=False)
