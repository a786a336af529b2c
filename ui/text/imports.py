"""Models as text: what was imported, and what is known before they are loaded."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from ui.text.layout import clean
from ui.text.tables import name_value_table, table

if TYPE_CHECKING:
    from generation import Imported
    from retrieval import EncoderFiles, ImportedEncoder
    from ui.model_check import ModelCheck

_SHOWN = 10


def import_text(made: Imported) -> str:
    """Where it is now, where it came from, what was changed and left out."""
    revision = f", revision {made.revision}" if made.revision else ""
    lines = [
        f"{made.kind} imported to {made.folder} from {made.source}{revision}.",
        f"Licence as published: {made.licence or 'none stated; ask the authors'}.",
        *made.changes,
    ]
    if made.left_out:
        further = len(made.left_out) - _SHOWN
        more = f" and {further} further (all are in README.md)" if further > 0 else ""
        lines.append(f"Left out: {', '.join(made.left_out[:_SHOWN])}{more}.")
    return "\n".join(clean(line) for line in lines)


def reads_text(files: EncoderFiles) -> str:
    """What an encoder reads, and which channels that leaves."""
    if files.reads_images and files.reads_texts:
        return "images and texts"
    if files.reads_images:
        return "images only: reports are compared by their words, and texts not with images"
    return "texts only"


def imported_encoder_text(done: ImportedEncoder) -> str:
    """What an import made, and how it is used."""
    files = done.files
    rows = [
        ("format", files.format),
        ("reads", reads_text(files)),
        ("vector", f"{files.dim} numbers"),
        ("image size", f"{files.image_size} px" if files.image_size else "-"),
        ("scale", f"{files.mpp:g} µm a pixel" if files.mpp else "not stated"),
        ("sees", f"fields of {files.field_um:g} µm where the scale is known" if files.field_um else "whole images"),
        ("fingerprint", files.fingerprint[:12]),
    ]
    parts = [f"The encoder is in {done.folder}, complete for use offline.", name_value_table(rows)]
    parts += [*done.changes, *(f"Note: {note}" for note in done.notes)]
    if files.reads_images:
        parts.append(f"Use it: coin add MANIFEST --encoder {shlex.quote(str(done.folder))}")
    else:
        parts.append("No archive can use it: the encoder of an archive reads images, for either role.")
    return "\n".join(parts)


def model_check_text(found: ModelCheck) -> str:
    """What the models are, what they take, and what can be searched with them."""
    from retrieval import channel_label

    rows: list[tuple[str, str]] = []
    if (generator := found.generator) is not None:
        on_disk = sum(part.bytes_on_disk for part in generator.parts)
        numbers = sum(part.parameters for part in generator.parts)
        rows.append(("base", f"{generator.base}: {generator.size} px, {numbers / 1e6:,.0f} million parameters"))
        rows.append(("", f"{_gb(on_disk)} on disk in {generator.folder}"))
        for lora in generator.loras:
            texts = f", {lora.text_layers} of them in the text encoders" if lora.text_layers else ""
            rows.append(("LoRA", f"{lora.name}: all its tensors fit, {lora.layers} layers are changed{texts}"))
            rows += [("", lora.note)] if lora.note else []
        if not generator.loras:
            rows.append(("LoRA", "none"))
        rows.append(("numbers", f"{generator.dtype} on {found.device}"))
    for name, encoder in (("encoder", found.encoder), ("text encoder", found.text_encoder)):
        if encoder is None:
            continue
        scale = f", {encoder.mpp:g} µm a pixel" if encoder.mpp else ""
        size = f", {encoder.image_size} px" if encoder.image_size else ""
        rows.append((name, f"{encoder.name} ({encoder.format}): {encoder.dim} numbers a vector{size}{scale}"))
        rows.append(("", f"reads {reads_text(encoder)}"))
        rows.append(("", f"{_gb(sum(path.stat().st_size for path in encoder.weights))} on disk in {encoder.path}"))
    about = "more than" if found.problems else "about"  # what a model with a problem takes is not known
    rows.append(("main memory", _memory(found.main_memory, found.main_memory_available, about)))
    if found.device == "cuda":
        rows.append(("GPU memory", _memory(found.gpu_memory, found.gpu_memory_available, about)))
    there = [channel_label(name) for name, usable in found.channels.items() if usable]
    absent = [channel_label(name) for name, usable in found.channels.items() if not usable]
    rows.append(("channels", ", ".join(there) or "none"))
    rows += [("absent", ", ".join(absent))] if absent else []
    lines = table(rows)
    lines += [f"Error: {clean(problem)}" for problem in found.problems]
    return "\n".join(lines)


def _memory(needed: int, available: int | None, about: str) -> str:
    there = "unknown" if available is None else _gb(available)
    verdict = "" if available is None or needed <= available else ": NOT ENOUGH"
    return f"{about} {_gb(needed)} needed, {there} available{verdict}"


def _gb(amount: int) -> str:
    return f"{amount / 1e9:.1f} GB" if amount >= 5e7 else f"{amount / 1e6:.1f} MB"
