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
from typing import TYPE_CHECKING, BinaryIO, Final

from generation.errors import WeightsError

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

_PIECE = 1 << 23  # bytes; a multiple of every element's size


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


class StoredWeights:
    """The tensors of some safetensors files (which were checked to be whole), by name."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._places: dict[str, _Place] = {}
        self._buffer: torch.Tensor | None = None
        for path in paths:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(length))
            for name, entry in header.items():
                if name != "__metadata__":
                    if entry["dtype"] not in DTYPES:
                        raise WeightsError(
                            f"{path} holds {name} in the number format {entry['dtype']}, which is not read. Ask for "
                            "float16, bfloat16 or float32."
                        )
                    begin = entry["data_offsets"][0]
                    place = _Place(path, entry["dtype"], tuple(entry["shape"]), 8 + length + begin)
                    self._places[name] = place

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor."""
        return {name: place.shape for name, place in self._places.items()}

    def dtype(self, name: str) -> str:
        """The number format of a tensor, by torch's name."""
        return DTYPES[self._places[name].dtype]

    def read(self, name: str, dtype: torch.dtype | None = None) -> torch.Tensor:
        """The tensor of that name, in its shape and in memory of its own; `dtype` None is the file's number format.

        Another number format is written piece by piece: whole tensors in two formats would leave holes in the process's
        memory, of a gigabyte for SDXL.
        """
        import torch

        place = self._places[name]
        own: torch.dtype = getattr(torch, DTYPES[place.dtype])
        made = torch.empty(place.shape, dtype=dtype or own)
        if not made.numel():
            return made
        with place.path.open("rb") as file:
            file.seek(place.begin)
            if made.dtype == own:
                _read_into(file, made.view(-1).view(torch.uint8))
                return made
            if self._buffer is None:
                self._buffer = torch.empty(_PIECE, dtype=torch.uint8)
            flat, step = made.view(-1), _PIECE // own.itemsize
            for begin in range(0, flat.numel(), step):
                piece = flat[begin : begin + step]
                content = self._buffer[: piece.numel() * own.itemsize]
                _read_into(file, content)
                piece.copy_(content.view(own))
        return made

    def __contains__(self, name: object) -> bool:
        return name in self._places


def _read_into(file: BinaryIO, memory: torch.Tensor) -> None:
    """Fill uint8[n] from a file."""
    if file.readinto(memory.numpy()) != memory.numel():  # type: ignore[attr-defined]
        raise OSError(f"{file.name} became shorter while it was read")
