"""Sheets of sample images during the training of a LoRA: the same reports and seeds each time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from generation.atomic_write import private_folder
from generation.model.presets import PRESETS
from generation.prompts.prompt import Encoded
from generation.provenance import Provenance, save_png, text_sha256

if TYPE_CHECKING:
    from generation.model.pipeline import CoinPipeline
    from generation.model.weights import Base

PRESET = "draft"
NOTICE = "No patient's image. Research use only. Not for diagnosis."
TILE = 256
Row = tuple[int, str, list[Image.Image]]
_GAP = 8
_LABEL = 22
_HEAD = 50
_WIDTH = 430


class SampleSheets:
    """Makes the sheets of one training: a row of images for each prompt, of which only the title is shown."""

    def __init__(
        self, pipeline: CoinPipeline, base: Base, prompts: dict[str, str], *, seeds: Sequence[int], size: int
    ) -> None:
        """`prompts` maps prompts to titles. They are embedded now, before the text encoders are retired."""
        self._pipeline, self._base, self._prompts = pipeline, base, prompts
        self._seeds, self._size = seeds, size
        for prompt in prompts:
            pipeline.embed(Encoded.of(prompt))

    def rows(self, process: tuple[int, int] = (0, 1)) -> list[Row]:
        """Generate every n-th row from the i-th on, of `process` (i, n): its number, title and images."""
        preset = PRESETS[PRESET]
        self._pipeline.unet.eval()
        rows: list[Row] = []
        for number, (prompt, title) in list(enumerate(self._prompts.items(), start=1))[process[0] :: process[1]]:
            images = self._pipeline.generate(
                [Encoded.of(prompt)] * len(self._seeds),
                self._seeds,
                preset=preset,
                size=self._size,
                on_step=lambda _done: None,
            )
            rows.append((number, title or f"held-out report {number}", images))
        return rows

    def save(self, path: Path, rows: Sequence[Row], *, step: int, device: str, dtype: str) -> Path:
        """Write a sheet of all rows as a PNG with provenance; returns the path."""
        preset = PRESETS[PRESET]
        in_order = [(title, images) for _, title, images in sorted(rows, key=lambda row: row[0])]
        sheet = sample_sheet(in_order, step=step, seeds=self._seeds)
        provenance = Provenance(
            report_sha256=text_sha256("\0".join(self._prompts)),
            prompt="",  # reports of held-out patients
            seed=self._seeds[0],
            preset=preset.name,
            steps=preset.steps,
            guidance=preset.guidance,
            scheduler=preset.scheduler,
            width=sheet.width,
            height=sheet.height,
            model=self._base.name,
            model_fingerprint=self._base.fingerprint,
            lora=f"in training, step {step}",
            lora_fingerprint="",
            software="coin-retrieval",
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            device=device,
            dtype=dtype,
        )
        private_folder(path.parent)
        return save_png(sheet, path, provenance)


def sample_sheet(rows: Sequence[tuple[str, Sequence[Image.Image]]], *, step: int, seeds: Sequence[int]) -> Image.Image:
    """Lay out a row of images for each title; every image is marked as synthetic, and the step is shown above."""
    tile = min(TILE, rows[0][1][0].width)
    width = max(len(seeds) * (tile + _GAP) + _GAP, _WIDTH)
    sheet = Image.new("RGB", (width, _HEAD + len(rows) * (tile + _LABEL + _GAP)), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, 6), f"SYNTHETIC · training step {step} · seeds {', '.join(map(str, seeds))}", "black", _font(15))
    draw.text((_GAP, 28), NOTICE, "#9b1c1c", _font(13))
    for number, (title, images) in enumerate(rows):
        top = _HEAD + number * (tile + _LABEL + _GAP)
        draw.text((_GAP, top + 3), title[:60], "black", _font(13))
        for column, image in enumerate(images):
            left = _GAP + column * (tile + _GAP)
            sheet.paste(image.resize((tile, tile), Image.Resampling.LANCZOS), (left, top + _LABEL))
            draw.rectangle((left, top + _LABEL, left + 58, top + _LABEL + 12), fill="black")
            draw.text((left + 2, top + _LABEL + 1), "SYNTHETIC", "white", _font(9))
    return sheet


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
