"""An open_clip model as a function from images and texts to unit vectors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Vectors
from retrieval.encoder.model_files import HUB_PREFIX, LOCAL_PREFIX, ClipFolder, find_clip
from retrieval.errors import EncoderLoadError, EncodingError

if TYPE_CHECKING:
    import PIL.Image
    import torch

Progress = Callable[[int, int], None]

MAX_ASPECT: Final = 100
"""The longest side of an image in units of its shortest."""


class Encoder:
    """Images and texts become float32 unit rows of one space; their inner product is the cosine similarity.

    `model` is None (the starter that ships with the project), `hf-hub:org/name`, `local-dir:/path`, or a
    folder in open_clip's format. Its files are checked and fingerprinted at once; the model itself is loaded
    on first use, or by `load()`. It computes in float32 on every device, so that vectors made on different
    machines agree. One encoder may be shared by several threads.

    Raises EncoderLoadError where the files are missing, broken or pickled, and `generation.DeviceError` on
    loading where a device is asked for that the machine does not have.
    """

    def __init__(self, model: str | Path | None = None, *, device: str = "auto", batch_size: int = 32) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        self._model_id = model
        self._folder: ClipFolder = find_clip(model)
        self._asked_device = device
        self._batch_size = batch_size
        self._loaded: LoadedModel | None = None
        self._tokenizer: Any = None
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """For readers: the model's id, or its folder's name."""
        return self._folder.name

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self._folder.dim

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) over everything that decides a vector: config, weights, preprocessing, tokenizer."""
        return self._folder.fingerprint

    @property
    def source(self) -> str | Path | None:
        """What it was made from, as it was given: another `Encoder(source)` is the same where the files are."""
        return self._model_id

    @property
    def device_asked_for(self) -> str:
        """As it was given: "auto" where it was left open."""
        return self._asked_device

    @property
    def is_starter(self) -> bool:
        """Whether it is the model that ships with the project."""
        return self._model_id is None

    @property
    def batch_size(self) -> int:
        """How many items go through the model at once."""
        return self._batch_size

    @property
    def device(self) -> str:
        """Where the model computes: "cuda", "mps" or "cpu". Loads the model."""
        return self._model().device

    def load(self) -> Encoder:
        """Load the model now, not on first use. Returns itself."""
        self._model()
        return self

    def prepare(self, image: PIL.Image.Image) -> torch.Tensor:
        """One RGB image as the model wants it: float32[3, height, width].

        Small whatever the image's size, so a reader can run ahead of the model on other threads and hold little.
        Raises EncodingError for a strip: scaled to the model's size by its short side, it would fill the memory.
        """
        if max(image.size) > MAX_ASPECT * min(image.size):
            raise EncodingError(
                f"An image of {image.width} × {image.height} pixels is a strip, not a field. Cut fields out of it."
            )
        return self._model().transform(image)

    def encode_prepared(self, prepared: Sequence[torch.Tensor]) -> Vectors:
        """The forward pass alone, over what `prepare` returned: float32[n, dim] unit rows."""
        import torch

        model = self._model()
        rows = []
        for start in range(0, len(prepared), self._batch_size):
            batch = torch.stack(list(prepared[start : start + self._batch_size])).to(model.device)
            with torch.inference_mode():
                rows.append(model.network.encode_image(batch).float().cpu().numpy())
        return self._unit_rows(rows)

    def encode_images(self, images: Sequence[PIL.Image.Image], *, progress: Progress | None = None) -> Vectors:
        """RGB images -> float32[n, dim] unit rows, in the order given. At most `batch_size` are prepared at
        once.

        Raises EncodingError where a vector is not finite.
        """
        blocks = [np.empty((0, self.dim), dtype=np.float32)]
        for start in range(0, len(images), self._batch_size):
            batch = images[start : start + self._batch_size]
            blocks.append(self.encode_prepared([self.prepare(image) for image in batch]))
            if progress is not None:
                progress(start + len(batch), len(images))
        return np.concatenate(blocks)

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Texts -> float32[n, dim] unit rows, in the order given. What exceeds the text tower's context is
        cut off.

        Raises EncoderLoadError where the model's tokenizer files are missing.
        """
        import torch

        model = self._model()
        rows = []
        for start in range(0, len(texts), self._batch_size):
            tokens = self._tokenize(texts[start : start + self._batch_size]).to(model.device)
            with torch.inference_mode():
                rows.append(model.network.encode_text(tokens).float().cpu().numpy())
        return self._unit_rows(rows)

    def _model(self) -> LoadedModel:
        with self._lock:
            if self._loaded is None:
                self._loaded = load_model(self._folder, self._asked_device)
            return self._loaded

    def _tokenize(self, texts: Sequence[str]) -> torch.Tensor:
        # Under the lock: a fast tokenizer keeps its padding as state and fails when two threads borrow it.
        with self._lock:
            if self._tokenizer is None:
                self._tokenizer = load_tokenizer(self._folder)
            tokens: torch.Tensor = self._tokenizer(list(texts))
            return tokens

    def _unit_rows(self, blocks: list[npt.NDArray[np.float32]]) -> Vectors:
        vectors = np.concatenate([np.empty((0, self.dim), dtype=np.float32), *blocks])
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        broken = np.flatnonzero(~np.isfinite(lengths[:, 0]) | (lengths[:, 0] == 0))
        if broken.size:
            raise EncodingError(
                f"The encoder '{self.name}' gave no usable vector for item {broken[0] + 1} of {len(vectors)} "
                "(not finite, or of length 0). Its weights may be damaged: fetch them again, or use another "
                "encoder."
            )
        return (vectors / lengths).astype(np.float32)


@dataclass(frozen=True)
class LoadedModel:
    """A network on its device, in evaluation mode, with the image preparation its config asks for."""

    network: Any
    transform: Callable[[PIL.Image.Image], torch.Tensor]
    device: str


def load_model(folder: ClipFolder, asked_device: str) -> LoadedModel:
    """The network of a checked folder on its device. Raises EncoderLoadError, `generation.DeviceError`."""
    from generation import choose_device

    device = choose_device(asked_device)
    import open_clip

    try:
        network, transform = open_clip.create_model_from_pretrained(f"{LOCAL_PREFIX}{folder.path}", device=device)
    except (RuntimeError, ValueError, TypeError, KeyError, AssertionError) as error:
        raise EncoderLoadError(
            f"{folder.path} could not be loaded as an open_clip model: {_first_line(error)} The weights and "
            f"open_clip_config.json may belong to different models: fetch both again."
        ) from error
    network.eval()
    return LoadedModel(network, transform, device)


def load_tokenizer(folder: ClipFolder) -> Any:
    """Texts -> int[n, context]. Raises EncoderLoadError where its files are missing."""
    import open_clip

    known = not folder.needs_tokenizer_files or folder.has_tokenizer_files
    if known or folder.name.startswith(HUB_PREFIX):  # there its config names another hub entry for the tokenizer
        try:
            return open_clip.get_tokenizer(f"{LOCAL_PREFIX}{folder.path}" if known else folder.name)
        except (OSError, ImportError, RuntimeError, ValueError, TypeError, KeyError, AssertionError) as error:
            raise EncoderLoadError(
                f"The tokenizer of '{folder.name}' could not be loaded, so it can encode images but no texts: "
                f"{_first_line(error)} Fetch its files anew, or connect to the hub once."
            ) from error
    raise EncoderLoadError(
        f"{folder.path} holds no tokenizer files (tokenizer.json, or vocab.json and merges.txt …), so it can "
        "encode images but no texts. Copy them there from the model's source."
    )


def _first_line(error: Exception) -> str:
    line = str(error).strip().partition("\n")[0].strip() or type(error).__name__
    return line if line.endswith((".", ":")) else f"{line}."
