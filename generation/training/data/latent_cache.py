"""Latents of images and embeddings of reports, encoded once for all trainings on a base and kept on disk.

    work/<base>/images/*.safetensors     by content, cut and view: latents float16[c, h, w], time_ids int32[6]
    work/<base>/texts/*.safetensors      by prompt: tokens float16[t, d], pooled float16[p]

Keys are hashes of the image file and of the prompt, the folder's name is one of the base's files: no report is in a
file or its name. Only what is asked for is encoded, a block at a time; images are decoded and cut by workers ahead of
that. An image is encoded by the base's autoencoder in float32, to the mean of its latents; a report as at inference, by
the same prompt, pipeline and format. On a processor each is encoded by itself, so that its numbers do not depend on
its block; on a GPU in batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generation.errors import TrainingDataError, TrainingError
from generation.provenance import text_sha256
from generation.training.data.buckets import Shape
from generation.training.data.crops import View, views
from generation.training.data.pairs import TrainingPair
from generation.training.data.shards import Shards
from generation.training.lora_settings import LoraSettings

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from generation.model.pipeline import CoinPipeline
    from generation.model.weights import Base

ProgressFactory = Callable[..., AbstractContextManager[Callable[..., None]]]
"""Opens a display of progress: `with progress("Training", unit="steps") as show: show(done, total)`."""
TEXTS = 32
"""Reports that are encoded at a time on a GPU."""
ENCODER_BYTES = 4096
"""Memory that the autoencoder of SDXL takes in float32, by pixel: an upper estimate."""
MAX_ASPECT = 100
"""Longest side by shortest. A longer strip is no field of view, and scaled by its short side would fill the memory."""


def no_progress(label: str, *, unit: str) -> AbstractContextManager[Callable[..., None]]:
    """A display of progress that shows nothing."""
    return nullcontext(lambda done, total, note="": None)


@dataclass(frozen=True)
class EncodedView:
    """`latents` float16[c, h, w], scaled as the denoiser sees them, and `time_ids` int32[6]."""

    latents: torch.Tensor
    time_ids: torch.Tensor


@dataclass(frozen=True)
class EncodedText:
    """`tokens` float16[t, d] and `pooled` float16[p]."""

    tokens: torch.Tensor
    pooled: torch.Tensor


Wanted = Sequence[tuple[TrainingPair, int]]
"""Pairs, each with the number of one of its views."""


class Encodings:
    """The encodings of one base in the folder `work`.

    Args:
        device: of the autoencoder, which is loaded when the first image is to be encoded.
        pool: workers that decode images; by default the calling thread does.
        shapes: what images are cut to, by their content; by default to squares.
    """

    def __init__(
        self,
        work: Path,
        base: Base,
        settings: LoraSettings,
        *,
        device: str = "cpu",
        pool: Executor | None = None,
        shapes: Mapping[str, Shape] | None = None,
    ) -> None:
        self._base, self._settings, self._device, self._pool = base, settings, device, pool
        self._size, self._shapes = settings.size or base.size, shapes or {}
        self._views = 1 if settings.crop == "centre" and not settings.turns else settings.views
        folder = work / base.fingerprint[:16]
        self._images, self._texts = Shards(folder / "images"), Shards(folder / "texts")
        self._ahead: dict[tuple[str, tuple[int, ...]], Future[list[View]]] = {}
        self._vae: Any = None
        self.failed: dict[str, str] = {}
        """Images that cannot be used: reasons by content."""

    def decode_ahead(self, wanted: Wanted) -> None:
        """Let the workers begin to decode and cut what is not encoded of these; what was begun otherwise is dropped."""
        missing = self._missing(wanted)
        for key in [key for key in self._ahead if key not in missing]:
            self._ahead.pop(key).cancel()
        settings = self._settings
        for (content, numbers), pair in missing.items():
            if self._pool is not None and (content, numbers) not in self._ahead:
                self._ahead[content, numbers] = self._pool.submit(
                    cut_views,
                    pair.load,
                    content,
                    numbers,
                    shape=self.shape(pair),
                    crop=settings.crop,
                    turns=settings.turns,
                )

    def encode_images(self, wanted: Wanted, *, progress: ProgressFactory = no_progress) -> None:
        """Encode what is not encoded of these. Images that cannot be used are added to `failed`."""
        missing = self._missing(wanted)
        if not missing:
            return
        self.decode_ahead(wanted)
        rows: dict[str, dict[str, torch.Tensor]] = {}
        waiting: dict[Shape, list[tuple[str, View]]] = {}
        with progress("Encoding images", unit="images") as show:
            for done, ((content, numbers), pair) in enumerate(missing.items(), start=1):
                try:
                    for number, view in zip(numbers, self._cut_out(content, numbers, pair), strict=True):
                        waiting.setdefault(view.image.size, []).append((self._image_key(content, number), view))
                except TrainingDataError as error:
                    self.failed[content] = str(error)
                for some in waiting.values():
                    while len(some) >= self._batch or (some and done == len(missing)):
                        rows |= self._encoded(some[: self._batch])
                        del some[: self._batch]
                show(done, len(missing))
        self._images.add(rows)

    def encode_texts(
        self, prompts: Iterable[str], pipeline: CoinPipeline, *, progress: ProgressFactory = no_progress
    ) -> None:
        """Embed each prompt that is not embedded yet, and the input that replaces it where the text is dropped."""
        missing = [prompt for prompt in dict.fromkeys(prompts) if text_sha256(prompt) not in self._texts]
        rows: dict[str, dict[str, torch.Tensor]] = {}
        size = TEXTS if self._device == "cuda" else 1
        if not missing:
            return
        with progress("Encoding reports", unit="reports") as show:
            for start in range(0, len(missing), size):
                some = missing[start : start + size]
                columns = [column.half().cpu() for column in pipeline.embed_texts(some)]
                for prompt, tokens, dropped, pooled, dropped_pooled in zip(some, *columns, strict=True):
                    if (key := f"dropped-{len(dropped)}") not in self._texts:
                        rows[key] = {"tokens": dropped.clone(), "pooled": dropped_pooled.clone()}
                    rows[text_sha256(prompt)] = {"tokens": tokens.clone(), "pooled": pooled.clone()}
                show(start + len(some), len(missing))
        self._texts.add(rows)

    def image(self, pair: TrainingPair, view: int) -> EncodedView:
        """A view of a pair. Raises `TrainingError` if it was not encoded, or its file was damaged."""
        return EncodedView(**self._images.read(self._image_key(pair.content, view)))

    def text(self, prompt: str) -> EncodedText:
        """The embeddings of a prompt. Raises `TrainingError`, as `image`."""
        return EncodedText(**self._texts.read(text_sha256(prompt)))

    def dropped_text(self, tokens: int) -> EncodedText:
        """The input of the unguided pass that replaces a prompt of so many tokens."""
        return EncodedText(**self._texts.read(f"dropped-{tokens}"))

    def shape(self, pair: TrainingPair) -> Shape:
        """The width and height that a pair's views are cut to."""
        return self._shapes.get(pair.content, (self._size, self._size))

    def has_image(self, pair: TrainingPair, view: int) -> bool:
        """Whether a view was encoded."""
        return self._image_key(pair.content, view) in self._images

    def _missing(self, wanted: Wanted) -> dict[tuple[str, tuple[int, ...]], TrainingPair]:
        """What is to be encoded: a pair by its content and the numbers of its views."""
        pairs: dict[str, TrainingPair] = {}
        numbers: dict[str, set[int]] = {}
        for pair, view in wanted:
            if pair.content not in self.failed and not self.has_image(pair, view):
                pairs[pair.content] = pair
                numbers.setdefault(pair.content, set()).add(view % self._views)
        return {(content, tuple(sorted(numbers[content]))): pair for content, pair in pairs.items()}

    def _cut_out(self, content: str, numbers: tuple[int, ...], pair: TrainingPair) -> list[View]:
        if (begun := self._ahead.pop((content, numbers), None)) is not None:
            return begun.result()
        settings = self._settings
        shape = self.shape(pair)
        return cut_views(pair.load, content, numbers, shape=shape, crop=settings.crop, turns=settings.turns)

    def _encoded(self, some: Sequence[tuple[str, View]]) -> dict[str, dict[str, torch.Tensor]]:
        import torch

        if self._vae is None:
            self._vae = self._load_vae()
        latents = encode_pixels(self._vae, [view.image for _, view in some])
        if not torch.isfinite(latents).all():
            raise TrainingError("The base's autoencoder gave not-a-number for an image: its weights are damaged.")
        return {
            key: {"latents": row.clone(), "time_ids": torch.tensor(view.time_ids, dtype=torch.int32)}
            for (key, view), row in zip(some, latents.half().cpu(), strict=True)
        }

    @property
    def _batch(self) -> int:
        """Views that are encoded at a time: as many as fit into a quarter of the GPU's free memory."""
        if self._device != "cuda":
            return 1
        import torch

        return min(16, max(1, torch.cuda.mem_get_info()[0] // 4 // (ENCODER_BYTES * self._size**2)))

    def _image_key(self, content: str, view: int) -> str:
        width, height = self._shapes.get(content, (self._size, self._size))
        shape = f"{width}" if width == height else f"{width}x{height}"
        cut = text_sha256(f"{shape} {self._settings.crop} {self._settings.turns}")[:8]
        return f"{content}-{cut}-{view % self._views}"

    def _load_vae(self) -> Any:
        import torch
        from diffusers import AutoencoderKL

        vae = AutoencoderKL.from_pretrained(
            self._base.folder / "vae", variant=self._base.variants["vae"], dtype=torch.float32, use_safetensors=True
        )
        return vae.to(self._device).eval()


def cut_views(
    load: Callable[[], Image.Image], content: str, numbers: Sequence[int], *, shape: Shape, crop: str, turns: bool
) -> list[View]:
    """Decode an image and cut out the views with these numbers.

    Raises `TrainingDataError`: it cannot be decoded, or is a strip.
    """
    image = load()
    if max(image.size) > MAX_ASPECT * min(image.size):
        raise TrainingDataError(f"An image of {image.width} × {image.height} pixels is a strip, not a field.")
    return list(views(image, content, numbers, size=shape, crop=crop, turns=turns))


def encode_pixels(vae: Any, images: Sequence[Image.Image]) -> torch.Tensor:
    """float32[n, c, h, w]: the mean latents of RGB images of one size, scaled as the denoiser sees them."""
    import numpy as np
    import torch

    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2)
    device = next(vae.parameters()).device
    with torch.no_grad():
        latents = vae.encode(pixels.to(device).float().div(127.5).sub(1)).latent_dist.mode()
    mean, deviation = (getattr(vae.config, name, None) for name in ("latents_mean", "latents_std"))
    if mean and deviation:
        mean, deviation = (torch.tensor(values, device=device).view(1, -1, 1, 1) for values in (mean, deviation))
        return (latents - mean) * vae.config.scaling_factor / deviation
    return latents * vae.config.scaling_factor
