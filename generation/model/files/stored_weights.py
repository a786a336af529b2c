"""Tensors read from safetensors files one at a time, without mapping the files into memory.

A mapped file counts as the process's own memory as long as its pages are there: SDXL's UNet would be held twice while
it is loaded in another number format. Here one tensor is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import torch

DTYPES: Final[Mapping[str, str]] = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
"""torch's name of each of safetensors' number formats."""


@dataclass(frozen=True)
class NewTensor:
    """A tensor to be written: its number format (torch's name), its shape, and how it is made when its turn comes."""

    dtype: str
    shape: tuple[int, ...]
    make: Callable[[], torch.Tensor]


def write_weights(path: Path, tensors: Mapping[str, NewTensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file, one tensor at a time.

    The same tensors and metadata give the same bytes, in the order of safetensors' own writer: by falling size of an
    element, then by name. (That writer keeps metadata in no order.)
    """
    import torch

    formats = {name: code for code, name in DTYPES.items()}
    widths = {
        name: torch.empty(0, dtype=getattr(torch, tensor.dtype)).element_size() for name, tensor in tensors.items()
    }
    order = sorted(tensors, key=lambda name: (-widths[name], name))
    header: dict[str, object] = {"__metadata__": {"format": "pt", **dict(sorted((metadata or {}).items()))}}
    end = 0
    for name in order:
        new = tensors[name]
        begin, end = end, end + math.prod(new.shape) * widths[name]
        header[name] = {"dtype": formats[new.dtype], "shape": list(new.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            new = tensors[name]
            tensor = new.make().contiguous()
            assert (str(tensor.dtype), tuple(tensor.shape)) == (f"torch.{new.dtype}", new.shape), name
            if tensor.numel():
                tensor.reshape(-1).view(torch.uint8).numpy().tofile(file)


@dataclass(frozen=True)
class _Place:
    path: Path
    dtype: str
    shape: tuple[int, ...]
    begin: int
    bytes: int


class StoredWeights:
    """The tensors of some safetensors files (which were checked to be whole), by name."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._places: dict[str, _Place] = {}
        for path in paths:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(length))
            for name, entry in header.items():
                if name != "__metadata__":
                    begin, end = entry["data_offsets"]
                    place = _Place(path, entry["dtype"], tuple(entry["shape"]), 8 + length + begin, end - begin)
                    self._places[name] = place

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor."""
        return {name: place.shape for name, place in self._places.items()}

    def dtype(self, name: str) -> str:
        """The number format of a tensor, by torch's name."""
        return DTYPES[self._places[name].dtype]

    def read(self, name: str) -> torch.Tensor:
        """The tensor of that name: its shape and number format in the file, in memory of its own."""
        import torch

        place = self._places[name]
        dtype: torch.dtype = getattr(torch, DTYPES[place.dtype])
        if not math.prod(place.shape):
            return torch.empty(place.shape, dtype=dtype)
        with place.path.open("rb") as file:
            file.seek(place.begin)
            content = bytearray(place.bytes)
            if file.readinto(content) != place.bytes:
                raise OSError(f"{place.path} became shorter while it was read")
        return torch.frombuffer(content, dtype=dtype).reshape(place.shape)

    def __contains__(self, name: object) -> bool:
        return name in self._places
