"""`coin generate --manifest`: a synthetic data set, checked for duplicates, with its dataset card."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from ui.commands.output import echo, echo_json
from ui.commands.progress import progress
from ui.pictures.synthetic_sheet import set_sheet
from ui.service import make_generator
from ui.settings import Settings
from ui.text.evaluation.synthetic import copy_record, copy_text, set_text, share_text
from ui.text.json_text import json_text

if TYPE_CHECKING:
    from retrieval import CopyReport, Share


def generate_set(
    settings: Settings,
    manifest: Path,
    out: Path,
    *,
    per_report: int,
    share: Share | None,
    batch_size: int,
    against: Path | None,
    images: Path | None,
    size: int | None,
    as_json: bool,
) -> None:
    """Generate the images that are missing, with a share only these, else complete the set; print a summary."""
    from generation import write_atomic
    from index_store import read_manifest, read_report_table
    from retrieval import SyntheticSet, card_text, finish_set

    table = read_report_table(manifest)
    if against is not None:  # hours of generating must not be lost to a mistyped name
        read_manifest(against, images=images)
    generator = make_generator(settings, cached=False)
    dataset = SyntheticSet(
        out, table, generator, preset=settings.preset, per_report=per_report, seed=settings.seed, size=size
    )
    started = time.perf_counter()
    with progress("Generating", unit="images") as update:
        generated = dataset.generate(share=share, batch_size=batch_size, progress=update)
    seconds = time.perf_counter() - started
    if share is not None:
        if as_json:
            echo_json({"drawn": generated, "seconds": seconds, "share": share, "skipped": dataset.problems})
        else:
            echo(share_text(share, generated, seconds, dataset.problems))
        return
    with progress("Comparing", unit="images") as update:
        summary = finish_set(dataset, generated=generated, seconds=seconds, progress=update)
    set_sheet(out, summary)
    copies = None if against is None else _copies(settings, out, against, images)
    if copies is not None:
        write_atomic(out / "README.md", card_text(dataset, summary, copies).encode())
    if as_json:
        record = None if copies is None else copy_record(copies)
        echo_json({"set": summary, "images_per_second": summary.images_per_second, "copies": record})
    else:
        echo(set_text(summary) + ("" if copies is None else f"\n\n{copy_text(copies)}"))


def _copies(settings: Settings, out: Path, against: Path, images: Path | None) -> CopyReport:
    from generation import write_atomic
    from retrieval import Encoder, check_copies, images_of, manifest_references

    encoder = Encoder(settings.encoder, device=settings.device)
    with progress("Reading the training images", unit="images") as update:
        references = manifest_references(against, encoder, images=images, work=settings.work_folder, progress=update)
    with progress("Checking for copies", unit="images") as update:
        report = check_copies(images_of(out), references, encoder, progress=update)
    write_atomic(out / "copy-report.json", f"{json_text(copy_record(report))}\n".encode())
    return report
