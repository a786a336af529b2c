"""Encoders of packages of their own (CONCH and others), which this project does not depend on.

A package, or a few lines of one's own, offers an encoder by an entry point of the group `coin.encoders`. Its object
takes what follows the colon in `--encoder NAME:ARGUMENT` and returns an `EncoderAdapter` (example: docs/models.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from generation import file_sha256
from retrieval.encoder.formats.files import EncoderFiles, LoadedEncoder, digest, first_line
from retrieval.errors import EncoderLoadError

if TYPE_CHECKING:
    import PIL.Image
    import torch

GROUP: Final = "coin.encoders"
_MEMBERS: Final = (
    "version",
    "files",
    "dim",
    "image_size",
    "reads_texts",
    "load",
    "prepare",
    "encode_images",
    "encode_texts",
)


@runtime_checkable
class EncoderAdapter(Protocol):
    """What an adapter offers. Only `load` may be slow."""

    version: str
    """Decides the vectors beside the files: change it whenever the same files give other vectors."""
    files: Sequence[Path]
    """The weights and whatever else decides a vector; hashed for the fingerprint."""
    dim: int
    """Length of a vector."""
    image_size: int | None
    """Edge in pixels of the square that an image becomes; None: it reads no images."""
    reads_texts: bool

    def load(self, device: str) -> None:
        """Load the model onto "cuda", "mps" or "cpu"."""

    def prepare(self, image: PIL.Image.Image) -> torch.Tensor:
        """One RGB image -> float32[3, height, width]."""

    def encode_images(self, images: torch.Tensor) -> torch.Tensor:
        """float32[n, 3, height, width] on the device -> float[n, dim]; need not be of unit length."""

    def encode_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """n texts -> float[n, dim]; called only where `reads_texts`."""


@dataclass(frozen=True)
class AdapterFiles(EncoderFiles):
    """An encoder that an entry point offers."""

    adapter: EncoderAdapter

    @property
    def format(self) -> str:
        """The adapter's name."""
        return f"adapter {self.name.partition(':')[0]}"

    def load(self, device: str) -> LoadedEncoder:
        """The adapter's model on a device that exists. Raises EncoderLoadError."""
        try:
            self.adapter.load(device)
        except (OSError, RuntimeError, ValueError, TypeError, KeyError, ImportError, AssertionError) as error:
            raise EncoderLoadError(f"The encoder '{self.name}' could not be loaded: {first_line(error)}") from error
        return _Loaded(self.adapter, device)


class _Loaded:
    def __init__(self, adapter: EncoderAdapter, device: str) -> None:
        self.device = device
        self.prepare = adapter.prepare
        self.encode_images = adapter.encode_images
        self.encode_texts = adapter.encode_texts


def adapters() -> dict[str, EntryPoint]:
    """The entry points of the group, by name."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def read_adapter(entry: EntryPoint, argument: str) -> AdapterFiles:
    """The encoder that an entry point offers for an argument. Raises EncoderLoadError."""
    try:
        adapter: Any = entry.load()(argument)
        if not isinstance(adapter, EncoderAdapter):
            lacks = [name for name in _MEMBERS if not hasattr(adapter, name)]
            raise TypeError(f"it lacks {', '.join(lacks)}")
        fingerprint = digest(
            {
                "format": f"adapter {entry.name}",
                "version": adapter.version,
                "files": sorted(file_sha256(Path(path)) for path in adapter.files),
            }
        )
    except (OSError, RuntimeError, ValueError, TypeError, KeyError, ImportError, AttributeError) as error:
        raise EncoderLoadError(
            f"The encoder adapter '{entry.name}' ({entry.value}) failed: {first_line(error)}"
        ) from error
    files = tuple(Path(path) for path in adapter.files)
    return AdapterFiles(
        path=files[0].parent if files else Path(argument),
        name=f"{entry.name}:{Path(argument).name}",
        dim=int(adapter.dim),
        fingerprint=fingerprint,
        reads_images=adapter.image_size is not None,
        reads_texts=bool(adapter.reads_texts),
        image_size=adapter.image_size,
        mpp=getattr(adapter, "mpp", None),
        weights=files,
        adapter=adapter,
    )
