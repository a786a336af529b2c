"""The images of a training as the model is shown them, decoded once and kept as one array on disk."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from generation.errors import TrainingDataError
from generation.training.encodings import Watch
from generation.training.pairs import TrainingPair
from generation.whole_file import write_whole
from retrieval.errors import EncodingError

if TYPE_CHECKING:
    from retrieval.encoder import Encoder
    from retrieval.training.trainable_clip import TrainableClip


class PixelStore:
    """`pixels` uint8[n, 3, h, w] (memory-mapped), one for each of `contents`; `skipped` says how many images could not
    be read, by reason."""

    def __init__(self, pixels: NDArray[np.uint8], contents: Sequence[str], skipped: Counter[str]) -> None:
        self.pixels = pixels
        self.skipped = skipped
        self._row = {content: row for row, content in enumerate(contents)}

    def __contains__(self, pair: TrainingPair) -> bool:
        return pair.content in self._row

    def rows(self, pairs: Sequence[TrainingPair]) -> NDArray[np.int64]:
        """Where the pairs' images are, int64[n]."""
        return np.array([self._row[pair.content] for pair in pairs], dtype=np.int64)


def decode_pixels(
    pairs: Sequence[TrainingPair], clip: TrainableClip, encoder: Encoder, folder: Path, watch: Watch
) -> PixelStore:
    """Decode every image as the encoder prepares it, or take up what an earlier run decoded."""
    import torch

    wanted = sorted({pair.content for pair in pairs})
    asked = json.dumps([wanted, encoder.fingerprint])
    path = folder / f"pixels-{hashlib.sha256(asked.encode()).hexdigest()[:16]}.npy"
    listing = path.with_suffix(".json")
    if path.is_file() and listing.is_file():
        held = json.loads(listing.read_text(encoding="utf-8"))
        return PixelStore(np.load(path, mmap_mode="r"), held["contents"], Counter(held["skipped"]))
    folder.mkdir(parents=True, exist_ok=True)
    of = {pair.content: pair for pair in pairs}
    mean, deviation = clip.mean[0].cpu(), clip.deviation[0].cpu()
    skipped: Counter[str] = Counter()
    contents: list[str] = []
    pixels: np.memmap | None = None
    unfinished = path.with_suffix(".part.npy")
    with watch("Decoding images", unit="images") as draw:
        for done, content in enumerate(wanted, start=1):
            try:
                prepared = encoder.prepare(of[content].load())
            except TrainingDataError as error:
                skipped[str(error)] += 1
                continue
            except EncodingError:
                skipped["The image is a strip, not a field."] += 1
                continue
            shown = (prepared * deviation + mean).clamp(0, 1).mul(255).round().to(torch.uint8).numpy()
            if pixels is None:
                shape = (len(wanted), *shown.shape)
                pixels = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.uint8, shape=shape)
            pixels[len(contents)] = shown
            contents.append(content)
            draw(done, len(wanted))
    if pixels is None:
        raise TrainingDataError(
            f"None of the {len(wanted)} images could be read: {'; '.join(skipped)} Check the files."
        )
    pixels.flush()
    write_whole(listing, json.dumps({"contents": contents, "skipped": skipped}).encode())
    unfinished.replace(path)
    return PixelStore(np.load(path, mmap_mode="r"), contents, skipped)
