"""An encoder as a function from images and texts to unit vectors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Vectors
from retrieval.encoder.formats.files import first_line
from retrieval.encoder.model_files import STARTER, find_encoder
from retrieval.encoder.scale import fields_of
from retrieval.errors import EncoderLoadError, EncodingError

if TYPE_CHECKING:
    import PIL.Image
    import torch

    from retrieval.encoder.formats.files import EncoderFiles, LoadedEncoder

Progress = Callable[[int, int], None]

MAX_ASPECT: Final = 100
"""The longest side of an image in units of its shortest."""


class Encoder:
    """Images and texts become float32 unit rows of one space; their inner product is the cosine similarity.

    `model` is None or `starter` (the one that ships with the project), `hf-hub:org/name`, `local-dir:/path`, a folder
    in the format of open_clip, transformers or timm, or `adapter:argument`. Its files are checked and fingerprinted at
    once; the model itself is loaded on first use, or by `load()`. An encoder may read images only, texts only, or both.
    It computes in float32 on every device, so that vectors made on different machines agree. One encoder may be shared
    by several threads.

    Raises EncoderLoadError where the files are missing, broken or pickled, and `generation.DeviceError` on
    loading where a device is asked for that the machine does not have.
    """

    def __init__(self, model: str | Path | None = None, *, device: str = "auto", batch_size: int = 32) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        self._model_id = model
        self._files: EncoderFiles = find_encoder(model)
        self._asked_device = device
        self._batch_size = batch_size
        self._loaded: LoadedEncoder | None = None
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """For readers: the model's id, or its folder's name."""
        return self._files.name

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self._files.dim

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) over everything that decides a vector: config, weights, preprocessing, tokenizer."""
        return self._files.fingerprint

    @property
    def reads_images(self) -> bool:
        """Whether it has an image tower."""
        return self._files.reads_images

    @property
    def reads_texts(self) -> bool:
        """Whether it has a text tower, so that texts can be compared with images and by their meaning."""
        return self._files.reads_texts

    @property
    def files(self) -> EncoderFiles:
        """What is known of the model before it is loaded: format, image size, scale, weights."""
        return self._files

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
        return self._files.path == STARTER

    @property
    def batch_size(self) -> int:
        """How many items go through the model at once."""
        return self._batch_size

    @property
    def device(self) -> str:
        """Where the model computes: "cuda", "mps" or "cpu". Loads the model."""
        return self._model().device

    def require_images(self) -> None:
        """Raise EncoderLoadError for an encoder that reads texts only."""
        if not self.reads_images:
            raise EncoderLoadError(f"The encoder '{self.name}' reads texts only: it cannot compare images.")

    def load(self) -> Encoder:
        """Load the model now, not on first use. Returns itself."""
        self._model()
        return self

    @property
    def field_um(self) -> float | None:
        """The side in µm of the fields that it sees of an image whose scale is known (`scale.fields_of`); None: it sees
        every image whole."""
        return self._files.field_um

    def prepare(self, image: PIL.Image.Image, mpp: float | None = None) -> torch.Tensor:
        """One RGB image as the model wants it: float32[fields, 3, height, width].

        Small whatever the image's size, so a reader can run ahead of the model on other threads and hold little.

        Args:
            mpp: its scale in µm a pixel; None: it is not known, and the image is one field.

        Raises EncodingError for a strip: scaled to the model's size by its short side, it would fill the memory.
        """
        self.require_images()
        if max(image.size) > MAX_ASPECT * min(image.size):
            raise EncodingError(
                f"An image of {image.width} × {image.height} pixels is a strip, not a field. Cut fields out of it."
            )
        import torch

        model, fields = self._model(), fields_of(image, mpp, self.field_um)
        try:
            return torch.stack([model.prepare(field) for field in fields])
        except (
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            RuntimeError,
        ) as error:  # as its library refuses a value
            raise EncoderLoadError(
                f"The encoder '{self.name}' cannot prepare images as its configuration says ({type(error).__name__}: "
                f"{first_line(error)[:300]}) Correct its sizes, colours and interpolation there."
            ) from error

    def encode_prepared(self, prepared: Sequence[torch.Tensor]) -> Vectors:
        """The forward pass alone, over what `prepare` returned: float32[n, dim] unit rows, each the mean of its
        fields'."""
        import torch

        model = self._model()
        rows: list[npt.NDArray[np.float32]] = []
        fields = torch.cat(list(prepared)) if len(prepared) else torch.empty(0)
        for start in range(0, len(fields), self._batch_size):
            batch = fields[start : start + self._batch_size].to(model.device)
            try:
                with torch.inference_mode():
                    rows.append(model.encode_images(batch).float().cpu().numpy())
            except (AssertionError, ValueError) as error:  # a tower's own check of the size of its images
                raise EncoderLoadError(
                    f"The encoder '{self.name}' refuses images as its configuration prepares them: {first_line(error)} "
                    "Correct the image size there."
                ) from error
            except RuntimeError as error:
                if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
                    raise
                raise EncoderLoadError(
                    f"The memory does not suffice for the encoder '{self.name}', which sees images of "
                    f"{batch.shape[-1]} × {batch.shape[-2]} pixels ({first_line(error)[:200]}) Close other programs, "
                    "or take an encoder of smaller images."
                ) from error
        vectors = self._unit_rows(rows)
        counts = [len(item) for item in prepared]
        if sum(counts) == len(counts):
            return vectors
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        return self._unit_rows([np.add.reduceat(vectors, starts)])

    def encode_images(
        self,
        images: Sequence[PIL.Image.Image],
        *,
        mpp: Sequence[float | None] | None = None,
        progress: Progress | None = None,
    ) -> Vectors:
        """RGB images -> float32[n, dim] unit rows, in the order given. At most `batch_size` are prepared at
        once.

        Args:
            mpp: the scale of each image in µm a pixel, None where it is not known; None: of no image.
            progress: called with how many are done, and of how many.

        Raises EncodingError where a vector is not finite.
        """
        blocks = [np.empty((0, self.dim), dtype=np.float32)]
        for start in range(0, len(images), self._batch_size):
            batch = images[start : start + self._batch_size]
            scales = [None] * len(batch) if mpp is None else mpp[start : start + len(batch)]
            prepared = [self.prepare(image, scale) for image, scale in zip(batch, scales, strict=True)]
            blocks.append(self.encode_prepared(prepared))
            if progress is not None:
                progress(start + len(batch), len(images))
        return np.concatenate(blocks)

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Texts -> float32[n, dim] unit rows, in the order given. What exceeds the text tower's context is
        cut off.

        Raises EncoderLoadError where the model has no text tower, or its tokenizer's files are missing.
        """
        import torch

        if not self.reads_texts:
            raise EncoderLoadError(
                f"The encoder '{self.name}' reads images only: it has no text tower, or no tokenizer files for it, so "
                "that texts are compared by "
                "their words, and not with images. For that, use an encoder that reads both."
            )
        model = self._model()
        rows = []
        for start in range(0, len(texts), self._batch_size):
            try:
                with torch.inference_mode():
                    rows.append(model.encode_texts(texts[start : start + self._batch_size]).float().cpu().numpy())
            except (IndexError, RuntimeError, ValueError) as error:  # a word that the tower has no vector for
                raise EncoderLoadError(
                    f"The encoder '{self.name}' cannot encode texts: {first_line(error)} The tokenizer beside it may "
                    "be another model's: fetch both again."
                ) from error
        return self._unit_rows(rows)

    def _model(self) -> LoadedEncoder:
        from generation import choose_device

        with self._lock:
            if self._loaded is None:
                self._loaded = self._files.load(choose_device(self._asked_device))
            return self._loaded

    def _unit_rows(self, blocks: list[npt.NDArray[np.float32]]) -> Vectors:
        if blocks and blocks[0].shape[1:] != (self.dim,):
            raise EncoderLoadError(
                f"The encoder '{self.name}' makes vectors of {blocks[0].shape[-1]} numbers, and its configuration says "
                f"{self.dim}. They may belong to different models: fetch both again."
            )
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
