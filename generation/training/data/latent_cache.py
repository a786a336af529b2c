"""Latents of images and embeddings of reports, encoded once for all trainings on a base and kept on disk.

    work/<base>/latents/<content>-<cut>.safetensors     latents float16[views, c, h, w], time_ids int32[views, 6]
    work/<base>/texts/<prompt>.safetensors              tokens float16[t, d], pooled float16[p]

Names are hashes of the base's files, of the image file and of the prompt. So an interrupted run resumes, a second
training on the same base starts at once, and no report is in a file or its name. An image is encoded by the base's
autoencoder in float32, to the mean of its latents; a report as at inference, by the same prompt, pipeline and format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generation.atomic_write import private_folder, write_atomic
from generation.errors import TrainingDataError, TrainingError
from generation.prompts.prompt import Encoded
from generation.provenance import text_sha256
from generation.training.data.crops import views
from generation.training.data.pairs import TrainingPair
from generation.training.lora_settings import LoraSettings

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from generation.model.pipeline import CoinPipeline
    from generation.model.weights import Base

ProgressFactory = Callable[..., AbstractContextManager[Callable[..., None]]]
"""Opens a display of progress: `with progress("Training", unit="steps") as show: show(done, total)`."""
KEPT_BYTES = 2**30
"""Encodings that are kept in memory after they were read."""
MAX_ASPECT = 100
"""Longest side by shortest. A longer strip is no field of view, and scaled by its short side would fill the memory."""


def no_progress(label: str, *, unit: str) -> AbstractContextManager[Callable[..., None]]:
    """A display of progress that shows nothing."""
    return nullcontext(lambda done, total, note="": None)


@dataclass(frozen=True)
class EncodedViews:
    """`latents` float16[views, c, h, w], scaled as the denoiser sees them, and `time_ids` int32[views, 6]."""

    latents: torch.Tensor
    time_ids: torch.Tensor


@dataclass(frozen=True)
class EncodedText:
    """`tokens` float16[t, d] and `pooled` float16[p]."""

    tokens: torch.Tensor
    pooled: torch.Tensor


class Encodings:
    """The encodings of one base in the folder `work`."""

    def __init__(self, work: Path, base: Base, settings: LoraSettings) -> None:
        self._base = base
        self._settings = settings
        self._folder = work / base.fingerprint[:16]
        self._size = settings.size or base.size
        cut = f"{self._size} {settings.crop} {settings.turns}"
        self._cuts = {count: f"{text_sha256(f'{cut} {count}')[:8]}" for count in (1, settings.views)}
        self._kept: dict[Path, dict[str, torch.Tensor]] = {}
        self._kept_bytes = 0

    def encode_images(
        self,
        pairs: Sequence[TrainingPair],
        *,
        count: int,
        device: str,
        progress: ProgressFactory,
        share: tuple[int, int] = (0, 1),
    ) -> dict[str, str]:
        """Encode `count` views of each image that is not encoded yet; returns reasons of failure by content.

        Of n processes with `share` (i, n), each encodes every n-th image from the i-th on.
        """
        # Divided before the search for missing ones, which other processes are encoding meanwhile.
        mine = _each_once(pairs)[share[0] :: share[1]]
        missing = [pair for pair in mine if not _is_whole(self._latents(pair, count))]
        failed: dict[str, str] = {}
        if not missing:
            return failed
        private_folder(self._folder / "latents")
        vae = self._load_vae(device)
        with progress("Encoding images", unit="images") as show:
            for done, pair in enumerate(missing, start=1):
                try:
                    self._encode_image(vae, pair, count)
                except TrainingDataError as error:
                    failed[pair.content] = str(error)
                show(done, len(missing))
        return failed

    def encode_texts(self, prompts: Iterable[str], pipeline: CoinPipeline, *, progress: ProgressFactory) -> None:
        """Embed each prompt that is not embedded yet, and the input that replaces it where the text is dropped."""
        missing = [prompt for prompt in dict.fromkeys(prompts) if not _is_whole(self._text(prompt))]
        if not missing:
            return
        private_folder(self._folder / "texts")
        with progress("Encoding reports", unit="reports") as show:
            for done, prompt in enumerate(missing, start=1):
                tokens, dropped, pooled, dropped_pooled = (row[0] for row in pipeline.embed(Encoded.of(prompt)))
                _save(self._dropped(len(dropped)), tokens=dropped.half(), pooled=dropped_pooled.half())
                _save(self._text(prompt), tokens=tokens.half(), pooled=pooled.half())
                show(done, len(missing))

    def image(self, pair: TrainingPair, *, count: int) -> EncodedViews:
        """The views of a pair. Raises `TrainingError` if it was not encoded, or its file was damaged."""
        return EncodedViews(**self._read(self._latents(pair, count)))

    def text(self, prompt: str) -> EncodedText:
        """The embeddings of a prompt. Raises `TrainingError`, as `image`."""
        return EncodedText(**self._read(self._text(prompt)))

    def dropped_text(self, tokens: int) -> EncodedText:
        """The input of the unguided pass that replaces a prompt of so many tokens."""
        return EncodedText(**self._read(self._dropped(tokens)))

    def has_image(self, pair: TrainingPair, *, count: int) -> bool:
        """Whether a pair was encoded."""
        return self._latents(pair, count).is_file()

    def _latents(self, pair: TrainingPair, count: int) -> Path:
        return self._folder / "latents" / f"{pair.content}-{self._cuts[count]}.safetensors"

    def _text(self, prompt: str) -> Path:
        return self._folder / "texts" / f"{text_sha256(prompt)}.safetensors"

    def _dropped(self, tokens: int) -> Path:
        return self._folder / "texts" / f"dropped-{tokens}.safetensors"

    def _encode_image(self, vae: Any, pair: TrainingPair, count: int) -> None:
        import torch

        image = pair.load()
        if max(image.size) > MAX_ASPECT * min(image.size):
            raise TrainingDataError(f"An image of {image.width} × {image.height} pixels is a strip, not a field.")
        settings = self._settings
        crops = list(views(image, pair.content, size=self._size, count=count, crop=settings.crop, turns=settings.turns))
        latents = encode_pixels(vae, [view.image for view in crops])
        if not torch.isfinite(latents).all():
            raise TrainingError("The base's autoencoder gave not-a-number for an image: its weights are damaged.")
        _save(
            self._latents(pair, count),
            latents=latents.half().cpu(),
            time_ids=torch.tensor([view.time_ids for view in crops], dtype=torch.int32),
        )

    def _load_vae(self, device: str) -> Any:
        import torch
        from diffusers import AutoencoderKL

        vae = AutoencoderKL.from_pretrained(
            self._base.folder / "vae", variant=self._base.variants["vae"], dtype=torch.float32, use_safetensors=True
        )
        vae.enable_slicing()  # one view at a time: in float32 it needs the most memory of all
        return vae.to(device).eval()

    def _read(self, path: Path) -> dict[str, torch.Tensor]:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        if path not in self._kept:
            try:
                tensors = load_file(path)
            except (SafetensorError, OSError) as error:
                raise TrainingError(
                    f"What was encoded before the training is gone or damaged ({path.name}). Delete the folder "
                    f"{self._folder} and run the same command again: it is encoded again, and the training resumes."
                ) from error
            if self._kept_bytes > KEPT_BYTES:
                return tensors
            self._kept[path] = tensors
            self._kept_bytes += sum(tensor.nbytes for tensor in tensors.values())
        return self._kept[path]


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


def _each_once(pairs: Iterable[TrainingPair]) -> list[TrainingPair]:
    return list({pair.content: pair for pair in pairs}.values())


def _is_whole(path: Path) -> bool:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return False
    try:
        with safe_open(path, framework="numpy"):
            return True
    except (SafetensorError, OSError):
        return False


def _save(path: Path, **tensors: torch.Tensor) -> None:
    from safetensors.torch import save

    write_atomic(path, save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}))
