"""The process that opens pickled weights: run as a script by `pickled`, and imported by nothing.

    python -P pickled_child.py SOURCE TARGET MEMORY SECONDS LARGEST

It lowers its own limits (bytes of memory beyond what PyTorch itself takes, seconds of processor time, bytes of the
largest file), reads SOURCE with `torch.load(weights_only=True)`, writes every tensor to TARGET as safetensors, one at
a time, and prints one line of JSON: the entries left out, or why there is no file.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_AVERAGES = ("state_dict_ema", "model_ema", "ema_state_dict", "ema")
"""Keys of the moving average of the weights. It is what a training with one evaluates, and what timm loads."""
_WRAPPERS = (*_AVERAGES, "state_dict", "model_state_dict", "model", "module", "weights", "params")
"""Keys under which a training keeps the weights beside its own state (optimizer, epoch), by preference."""
_DTYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
_LONGEST_PATH = 8  # nested mappings; weights have at most three


class NotWrittenError(Exception):
    """The disk is full, or the file would be larger than the limit."""


def limit(memory: int, seconds: int, largest: int) -> None:
    """Lower the limits of this process, as far as the system knows them; Windows knows none of them."""
    try:
        import resource
    except ImportError:
        return
    wanted = {"RLIMIT_CPU": seconds, "RLIMIT_FSIZE": largest, "RLIMIT_CORE": 0}
    statm = Path("/proc/self/statm")
    if statm.exists():  # elsewhere (macOS) nobody says how much address space PyTorch's libraries took
        wanted["RLIMIT_AS"] = int(statm.read_text(encoding="ascii").split()[0]) * resource.getpagesize() + memory
    for name, value in wanted.items():
        number = getattr(resource, name)
        hard = resource.getrlimit(number)[1]
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(number, (value, value) if hard == resource.RLIM_INFINITY else (min(value, hard),) * 2)


def unwrap(content: Any) -> tuple[Mapping[Any, Any], list[str]]:
    """The mapping that holds the weights, and the names of what stands beside it."""
    import torch

    left_out: list[str] = []
    while isinstance(content, Mapping) and not any(isinstance(value, torch.Tensor) for value in content.values()):
        name = next((name for name in _WRAPPERS if _holds_tensors(content.get(name))), None)
        if name is None:
            break
        for other in content:
            average = name in _AVERAGES and other in _WRAPPERS and _holds_tensors(content[other])
            said = f"{other} (its moving average, {name}, was taken)" if average else str(other)
            left_out += [said] if other != name else []
        content = content[name]
    if not isinstance(content, Mapping):
        raise ValueError(f"it holds a {type(content).__name__}, and no mapping of names to tensors")
    return content, left_out


def _holds_tensors(content: Any) -> bool:
    import torch

    return isinstance(content, Mapping) and any(isinstance(value, torch.Tensor) for _, value in leaves(content))


def leaves(content: Mapping[Any, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every value with its name; names of nested mappings are joined by dots."""
    for name, value in content.items():
        here = (*path, str(name))
        if isinstance(value, Mapping) and len(here) < _LONGEST_PATH:
            yield from leaves(value, here)
        else:
            yield ".".join(here), value


def write(tensors: Mapping[str, Any], target: Path) -> None:
    """Write safetensors: the length of the header, the header, the tensors by falling element size and by name."""
    import torch

    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # transformers insists on it
    end = 0
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    for name in order:
        tensor = tensors[name]
        begin, end = end, end + tensor.numel() * tensor.element_size()
        dtype = _DTYPES[str(tensor.dtype).removeprefix("torch.")]
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    try:
        with target.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for name in order:
                tensor = tensors[name].detach().contiguous().reshape(-1)
                if tensor.numel():
                    tensor.view(torch.uint8).numpy().tofile(file)
    except OSError as error:  # also of the end of the block, which writes what is buffered
        raise NotWrittenError from error


def load(source: Path) -> Any:
    """Whatever is pickled, if it consists of tensors and plain values. Mapped into memory where the format allows.

    The options of a training (`argparse.Namespace`, as in the checkpoints of DINO and MAE) count as plain values: the
    class holds attributes and runs nothing.
    """
    import torch

    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                # Mapped into memory, the compressed bytes themselves would count as the numbers.
                raise ValueError("it is a compressed archive, as PyTorch writes none")
    with torch.serialization.safe_globals([argparse.Namespace]):
        try:
            return torch.load(source, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:
            if "mmap" not in str(error):
                raise
            return torch.load(source, map_location="cpu", weights_only=True)  # PyTorch before 1.6 wrote no zip


def convert(source: Path, target: Path) -> list[str]:
    """Write the tensors of `source` to `target`; returns the names of what was left out."""
    import torch

    content, left_out = unwrap(load(source))
    tensors: dict[str, Any] = {}
    for name, value in leaves(content):
        plain = isinstance(value, torch.Tensor) and value.layout == torch.strided
        if plain and str(value.dtype).removeprefix("torch.") in _DTYPES:
            tensors[name] = value
        else:
            left_out.append(name)
    if not tensors:
        raise ValueError("it holds no tensor")
    write(tensors, target)
    return left_out


def main(source: str, target: str, memory: str, seconds: str, largest: str) -> None:
    """Convert under limits, and print what came of it."""
    import torch  # noqa: F401  # before the limits: its libraries map gigabytes

    limit(int(memory), int(seconds), int(largest))
    try:
        result: dict[str, Any] = {"left_out": convert(Path(source), Path(target))}
    except MemoryError:
        result = {"memory": True}
    except NotWrittenError:
        result = {"disk": True}
    except Exception as error:  # noqa: BLE001  # whatever the file provokes is the parent's to report
        message = str(error)
        result = {"memory": True} if "allocate memory" in message else {"error": [f"{type(error).__name__}: {message}"]}
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
