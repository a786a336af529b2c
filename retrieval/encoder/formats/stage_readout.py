"""An image tower's stages, read beside its last layer.

    image ─► stage ─► stage ─► … ─► last layer ─► the model's own vector ─────────────────────┐
               └── mean and deviation ──┴──► a unit row each ─► projection ─► the stages' part ┴─► one unit row

A last layer lets out what told the findings of its training apart; of another laboratory's cells the stages before it
say more (`benchmarks.transfer`). Texts have zeros in the place of the stages' part, so that the order of images by a
text stays that of the model's own vectors.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from retrieval.encoder.formats.files import check_safetensors
from retrieval.errors import EncoderLoadError

if TYPE_CHECKING:
    import torch

READOUT: Final = "stage_readout.safetensors"
"""Beside open_clip's files: the tensor `projection` float16[c, k], and `stages` and `share` in the metadata."""


@dataclass(frozen=True)
class StageReadout:
    """Which stages are read, and how they join the model's own vector."""

    path: Path
    stages: tuple[int, ...]
    """Places in what timm's `forward_intermediates` returns."""
    share: float
    """The stages' part of a similarity of two images, 0 to 1; the rest is the model's own."""
    channels: int
    """Length of the row that is projected: twice the channels of all stages."""
    dim: int
    """Length of the stages' part."""

    def projection(self, device: str) -> torch.Tensor:
        """float32[channels, dim]."""
        from safetensors.torch import load_file

        return load_file(self.path, device=device)["projection"].float()


def read_stage_readout(folder: Path) -> StageReadout | None:
    """The read-out of a model's folder, without its weights; None where there is none. Raises EncoderLoadError."""
    path = folder / READOUT
    if not path.is_file():
        return None
    check_safetensors(path)
    with path.open("rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    try:
        described = header["__metadata__"]
        stages, share = tuple(int(stage) for stage in described["stages"].split()), float(described["share"])
        channels, dim = header["projection"]["shape"]
    except (KeyError, ValueError) as error:
        raise EncoderLoadError(
            f"{path} is no read-out of stages: it needs the tensor 'projection', and 'stages' and 'share' in its "
            "metadata. Fetch the model again."
        ) from error
    if not stages or min(stages) < 0 or not 0 < share < 1:
        raise EncoderLoadError(f"{path} names no stages, or a share of {share} that is not between 0 and 1.")
    return StageReadout(path, stages, share, channels, dim)


def stage_rows(visual: Any, images: torch.Tensor, stages: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """An image tower's own vectors float32[n, d], and mean and deviation of its stages float32[n, channels], of each
    stage as two unit rows; of images float32[n, 3, h, w].

    `visual` is open_clip's wrapper of a tower of timm.
    """
    import torch
    import torch.nn.functional as F

    last, maps = visual.trunk.forward_intermediates(images, indices=list(stages))
    parts = [
        F.normalize(part, dim=-1)
        for each in maps
        for part in (each.mean((2, 3)), each.std((2, 3), correction=0))
    ]  # fmt: skip
    return visual.head(visual.trunk.forward_head(last)), torch.cat(parts, dim=1)


class StageReader:
    """The read-out on its device: images and texts in the joined space."""

    def __init__(self, readout: StageReadout, visual: Any, device: str) -> None:
        """Raises EncoderLoadError where the image tower has no such stages."""
        trunk = getattr(visual, "trunk", None)
        counts = [level["num_chs"] for level in getattr(trunk, "feature_info", [])]
        known = hasattr(trunk, "forward_intermediates") and max(readout.stages) < len(counts)
        if not known or 2 * sum(counts[stage] for stage in readout.stages) != readout.channels:
            raise EncoderLoadError(
                f"{readout.path} reads stages that the image tower does not have: it belongs to another model. Fetch "
                "both again."
            )
        self._readout, self._visual, self._projection = readout, visual, readout.projection(device)

    def images(self, images: torch.Tensor) -> torch.Tensor:
        """float32[n, 3, h, w] -> unit rows float32[n, d + k]."""
        import torch
        import torch.nn.functional as F

        own, rows = stage_rows(self._visual, images, self._readout.stages)
        share = self._readout.share
        return torch.cat(
            [(1 - share) ** 0.5 * F.normalize(own, dim=-1), share**0.5 * F.normalize(rows @ self._projection, dim=-1)],
            dim=1,
        )

    def texts(self, own: torch.Tensor) -> torch.Tensor:
        """The model's own vectors of texts float32[n, d] -> unit rows float32[n, d + k]."""
        import torch.nn.functional as F

        return F.pad(F.normalize(own, dim=-1), (0, self._readout.dim))
