"""Small archives, generated images and studies for the tests of blinded reader studies."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import PIL.Image

from generation import Provenance, save_png
from index_store import Archive, read_manifest
from retrieval import ReaderStudy, create_reader_study

SITES = (("cervix", "HSIL"), ("cervix", "NILM"), ("thyroid", "Benign"))
SIDE = 48


def field(seed: int, *, width: int = SIDE, height: int = SIDE) -> PIL.Image.Image:
    """An RGB image of its own for each seed, smooth enough that JPEG leaves it recognisable."""
    rng = np.random.default_rng(seed)
    small = PIL.Image.fromarray(rng.integers(0, 256, size=(6, 6, 3), dtype=np.uint8))
    return small.resize((width, height), PIL.Image.Resampling.BICUBIC)


def report_of(number: int) -> str:
    site, category = SITES[number % len(SITES)]
    return f"({site}) smear number {number}, consistent with {category}."


def made_archive(folder: Path, count: int = 12, *, quality: int = 70, size: tuple[int, int] = (80, 60)) -> Archive:
    """An archive of `count` cases, one image each: JPEGs larger than what is generated, with camera metadata."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["image,case,site,category,report"]
    for number in range(count):
        site, category = SITES[number % len(SITES)]
        exif = PIL.Image.Exif()
        exif[0x010F] = "Camera of the laboratory"
        image = field(1000 + number, width=size[0], height=size[1])
        image.save(folder / f"{number}.jpg", quality=quality, exif=exif)
        lines.append(f'{number}.jpg,case-{number},{site},{category},"{report_of(number)}"')
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    archive = Archive.create(folder / "archive", name="Ours")
    archive.use_encoder("f", name="none", dim=4)
    items = [item.load() for item in archive.pending(read_manifest(folder / "manifest.csv").rows).new]
    vectors = np.eye(4, dtype=np.float32)[np.arange(count) % 4]
    archive.add(items, vectors, fingerprint="f")
    return archive


def made_generated(folder: Path, count: int = 12, *, side: int = SIDE, first: int = 0) -> Path:
    """`count` generated images with provenance, of the reports of `made_archive`."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        text = report_of(number)
        provenance = Provenance(
            report_sha256=hashlib.sha256(text.encode()).hexdigest(),
            prompt=text,
            seed=number,
            preset="draft",
            steps=20,
            guidance=4.0,
            scheduler="dpm++",
            width=side,
            height=side,
            model="starter",
            model_fingerprint="abc",
            lora="",
            lora_fingerprint="",
            software="coin",
            created="2026-01-01T00:00:00Z",
        )
        save_png(field(number, width=side, height=side), folder / f"seed-{number}.png", provenance)
    return folder


def made_study(folder: Path, *, n: int = 6, name: str = "pilot") -> ReaderStudy:
    """A study of `n` real and `n` generated pictures."""
    with made_archive(folder / "material") as archive:
        generated = made_generated(folder / "generated")
        return create_reader_study(folder / "readings", name, archive, generated, n_real=n, n_generated=n)
