"""The images of a training as the model receives them, decoded once by workers and kept as one array on disk."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from generation.atomic_write import open_atomic, private_folder, remove_if_abandoned, write_atomic
from generation.errors import TrainingDataError
from generation.training.data.latent_cache import ProgressFactory, no_progress
from generation.training.data.pairs import TrainingPair
from generation.worker_pool import begun_ahead, workers
from retrieval.errors import EncodingError

if TYPE_CHECKING:
    import PIL.Image

    from retrieval.encoder.encoder import Encoder
    from retrieval.training.trainable_clip import TrainableClip


class PixelStore:
    """Pixels by the images' contents: memory-mapped arrays uint8[n, 3, h, w], each with the contents of its rows;
    `skipped` counts the images that are in none, by reason."""

    def __init__(self, parts: Sequence[tuple[NDArray[np.uint8], Sequence[str]]], skipped: Counter[str]) -> None:
        self.parts, self.skipped = parts, skipped
        self._place = {content: (part, row) for part, (_, some) in enumerate(parts) for row, content in enumerate(some)}

    def __contains__(self, pair: TrainingPair) -> bool:
        return pair.content in self._place

    def pixels(self, pairs: Sequence[TrainingPair]) -> NDArray[np.uint8]:
        """Of n pairs, uint8[n, 3, h, w]."""
        places = [self._place[pair.content] for pair in pairs]
        return np.stack([self.parts[part][0][row] for part, row in places])


def decode_shared(
    pairs: Sequence[TrainingPair],
    clip: TrainableClip,
    encoder: Encoder,
    folder: Path,
    progress: ProgressFactory,
    *,
    process: tuple[int, int],
    wait: Callable[[], None],
) -> PixelStore:
    """`decode_pixels` by several processes, each of which decodes its share.

    Args:
        process: the number of this one, and how many there are.
        wait: returns when all processes have called it.
    """
    contents = sorted({pair.content for pair in pairs})
    shares = [frozenset(contents[number :: process[1]]) for number in range(process[1])]
    some = [[pair for pair in pairs if pair.content in share] for share in shares]
    decode_pixels(some[process[0]], clip, encoder, folder, progress)
    wait()
    stores = [decode_pixels(own, clip, encoder, folder, no_progress) for own in some if own]
    parts = [part for store in stores for part in store.parts]
    return PixelStore(parts, sum((store.skipped for store in stores), Counter()))


def decode_pixels(
    pairs: Sequence[TrainingPair], clip: TrainableClip, encoder: Encoder, folder: Path, progress: ProgressFactory
) -> PixelStore:
    """Decode every image as the encoder prepares it, or load what an earlier run decoded."""
    wanted = sorted({pair.content for pair in pairs})
    key = json.dumps([wanted, encoder.fingerprint])
    path = folder / f"pixels-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npy"
    listing = path.with_suffix(".json")
    if path.is_file() and listing.is_file():
        stored = json.loads(listing.read_text(encoding="utf-8"))
        return PixelStore([(np.load(path, mmap_mode="r"), stored["contents"])], Counter(stored["skipped"]))
    private_folder(folder)
    for left in folder.glob(f"{path.name}.*.tmp"):
        remove_if_abandoned(left)
    pair_of = {pair.content: pair for pair in pairs}
    prepare = _Preparation(clip, encoder)
    skipped: Counter[str] = Counter()
    contents: list[str] = []
    # Written from front to back, not through a memory map: that would end the process where the disk is full.
    loads = [pair_of[content].load for content in wanted]
    with (
        open_atomic(path) as file,
        workers(len(wanted), probe=loads[0]) as pool,
        progress("Decoding images", unit="images") as show,
    ):
        for done, (content, image) in enumerate(zip(wanted, begun_ahead(pool, loads), strict=True), start=1):
            try:
                pixels = prepare(image.result())
            except TrainingDataError as error:
                skipped[str(error)] += 1
                continue
            except EncodingError:
                skipped["The image is a strip, not a field."] += 1
                continue
            if not contents:
                _write_header(file, (len(wanted), *pixels.shape))
            file.write(pixels.tobytes())
            contents.append(content)
            show(done, len(wanted))
        if not contents:
            raise TrainingDataError(
                f"None of the {len(wanted)} images could be read: {'; '.join(skipped)} Check the files."
            )
        file.write(bytes(pixels.nbytes * (len(wanted) - len(contents))))
        write_atomic(listing, json.dumps({"contents": contents, "skipped": skipped}).encode())
    return PixelStore([(np.load(path, mmap_mode="r"), contents)], skipped)


class _Preparation:
    """Decodes images as the model receives them, before their values are normalised."""

    def __init__(self, clip: TrainableClip, encoder: Encoder) -> None:
        self._encoder = encoder
        self._mean, self._deviation = clip.mean[0].cpu(), clip.deviation[0].cpu()

    def __call__(self, image: PIL.Image.Image) -> NDArray[np.uint8]:
        """The pixels of an image, uint8[3, h, w]."""
        import torch

        (prepared,) = self._encoder.prepare(image)  # one field
        scaled = (prepared * self._deviation + self._mean).clamp(0, 1).mul(255).round()
        pixels: NDArray[np.uint8] = scaled.to(torch.uint8).numpy()
        return pixels


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
