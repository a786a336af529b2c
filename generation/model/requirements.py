"""What a base and its LoRAs will take, known before anything is loaded: from the headers of their files alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from generation.model.files.stored_weights import StoredWeights
from generation.model.lora.find import Lora
from generation.model.lora.lora_file import LoraContent, read_lora
from generation.model.lora.names import PARTS, LayerNames
from generation.model.weights import Base

_BYTES: Final = {"float32": 4, "bfloat16": 2, "float16": 2}
LIBRARIES: Final = 1_400_000_000
"""Bytes of main memory beside the weights. SDXL in bfloat16 took 8.3 GB, 6.9 of them weights (256 px, two steps)."""
_ACTIVATIONS: Final = 2_100_000_000
"""Bytes that generating at 1024 px in two-byte numbers takes beside the weights (9.0 GB on an H200, 6.9 of them
weights). They grow with the area."""


@dataclass(frozen=True)
class ModelPart:
    """A component of a base on disk."""

    name: str
    files: int
    bytes_on_disk: int
    parameters: int


@dataclass(frozen=True)
class LoraFit:
    """A LoRA that fits its base."""

    name: str
    layers: int
    """Layers of the base that it changes."""
    text_layers: int
    """Those of them that are in the text encoders."""
    note: str
    """What of it is not used; empty where all is."""


@dataclass(frozen=True)
class GeneratorRequirements:
    """What loading and generating will take. The sums of memory are estimates."""

    base: str
    folder: Path
    size: int
    """Edge in pixels of the images."""
    dtype: str
    parts: tuple[ModelPart, ...]
    loras: tuple[LoraFit, ...]
    main_memory: int
    """Bytes of main memory at the highest."""
    gpu_memory: int
    """Bytes of GPU memory at the highest; 0 on a processor."""


def check_loras(base: Base, loras: Sequence[Lora]) -> tuple[LoraContent, ...]:
    """Whether every tensor of every LoRA has its place in the base. Reads headers only.

    Raises `LoraMismatchError`, naming the first tensors that do not fit.
    """
    if not loras:
        return ()
    names = LayerNames(stored_shapes(base))
    return tuple(read_lora(lora, names, base.name) for lora in loras)


def stored_shapes(base: Base) -> dict[str, dict[str, tuple[int, ...]]]:
    """The shapes of the weights of a base's layers by its files, for the names in a LoRA. Reads headers only."""
    return {
        part: {
            name.removesuffix(".weight"): shape
            for name, shape in StoredWeights(base.weights(part)).shapes.items()
            if name.endswith(".weight")
        }
        for part in PARTS
        if part in base.variants
    }


def requirements(
    base: Base, loras: Sequence[Lora], *, dtype: str, device: str, size: int | None = None, low_memory: bool = False
) -> GeneratorRequirements:
    """What a base with its LoRAs takes on a device ("cuda", "mps" or "cpu") in a number format.

    Args:
        size: edge of the images in pixels; by default the base's own.
        low_memory: only the part that computes is on the GPU.

    Raises `LoraMismatchError` for a LoRA that does not fit, `WeightsError` for unusable files.
    """
    contents = check_loras(base, loras)
    parts = tuple(_part(name, base.weights(name)) for name in sorted(base.variants))
    if base.vae is not None:
        weights_of_vae = [path for path in base.vae.files if path.suffix == ".safetensors"]  # a folder has its config
        parts = (*(part for part in parts if part.name != "vae"), _part("vae", weights_of_vae))
    width, edge = _BYTES[dtype], size or base.size
    weights = sum(part.parameters for part in parts) * width
    largest = max(part.parameters for part in parts) * width
    activations = round(_ACTIVATIONS * (edge / 1024) ** 2 * width / 2)
    on_gpu = device == "cuda"
    return GeneratorRequirements(
        base=base.name,
        folder=base.folder,
        size=edge,
        dtype=dtype,
        parts=parts,
        loras=tuple(
            LoraFit(
                lora.name,
                len(changed := {(change.part, change.layer) for change in content.changes}),
                sum(part != "unet" for part, _ in changed),
                content.note,
            )
            for lora, content in zip(loras, contents, strict=True)
        ),
        main_memory=LIBRARIES + weights + (0 if on_gpu else activations),
        gpu_memory=(largest if low_memory else weights) + activations if on_gpu else 0,
    )


def available_memory() -> int | None:
    """Bytes of main memory that this process could still take, by the kernel and its control group; None: not known."""
    found = []
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        if "MemAvailable" in lines:
            found.append(int(lines["MemAvailable"].split()[0]) * 1024)
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.is_file() and used.is_file() and (text := limit.read_text().strip()).isdecimal():
        found.append(max(0, int(text) - int(used.read_text())))
    return min(found, default=None)


def tensor_count(files: Sequence[Path]) -> tuple[int, int]:
    """Bytes on disk and numbers in the tensors of some safetensors files; headers alone are read."""
    numbers = sum(math.prod(shape) for shape in StoredWeights(files).shapes.values())
    return sum(path.stat().st_size for path in files), numbers


def _part(name: str, files: Sequence[Path]) -> ModelPart:
    on_disk, numbers = tensor_count(files)
    return ModelPart(name, len(files), on_disk, numbers)
