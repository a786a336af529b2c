"""Imported models as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ui.text.layout import clean
from ui.text.tables import name_value_table

if TYPE_CHECKING:
    from generation import Imported
    from retrieval import EncoderFiles, ImportedEncoder

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
        ("fingerprint", files.fingerprint[:12]),
    ]
    parts = [f"The encoder is in {done.folder}, complete for use offline.", name_value_table(rows)]
    parts += [*done.changes, *(f"Note: {note}" for note in done.notes)]
    parts.append(f"Use it: coin add MANIFEST --encoder {done.folder}")
    return "\n".join(parts)
