"""What `coin slides look` prints."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ui.text.case import format_name
from ui.text.layout import page, wrapped
from ui.text.tables import name_value_table

if TYPE_CHECKING:
    from index_store import ChosenFields, FieldChoice, SlideInfo


def slide_text(
    name: str, info: SlideInfo, chosen: ChosenFields, choice: FieldChoice, written: Sequence[Path] = ()
) -> str:
    """The slide, how many fields would be cut out of it, and why its other places are left out."""
    facts = name_value_table(
        [
            ("slide", name),
            ("format", format_name(info.format)),
            ("size", f"{info.width:,} × {info.height:,} pixels, {len(info.levels)} levels"),
            ("scale", "unknown" if info.mpp is None else f"{info.mpp:.4g} µm a pixel"),
            ("objective", "" if info.objective is None else f"{info.objective:g}×"),
            ("focal planes", str(len(info.planes)) if len(info.planes) > 1 else ""),
            ("fingerprint", info.fingerprint[:16]),
        ]
    )
    lines = [
        f"{len(chosen.fields)} fields of {choice.width_um:g} µm would be cut out ({choice.most} wanted, rule "
        f"{choice.rule}), of {chosen.candidates} places of {chosen.places} that may be chosen.",
        f"Looking took {chosen.seconds:.1f} s; {chosen.read_megapixels:.0f} megapixels were read. Nothing was stored.",
    ]
    left_out = name_value_table([(reason, str(count)) for reason, count in chosen.left_out.items()])
    parts = [facts, *(wrapped(line) for line in lines)]
    if left_out:
        parts.append(f"Places left out:\n{left_out}")
    parts += [wrapped(note) for note in chosen.notes]
    parts += [f"Written: {path}" for path in written]
    return page(parts)


def slide_record(
    name: str, info: SlideInfo, chosen: ChosenFields, choice: FieldChoice, written: Sequence[Path] = ()
) -> dict[str, Any]:
    """The same for programs, with every field."""
    return {
        "slide": {"name": name, **info.as_dict()},
        "choice": dataclasses.asdict(choice),
        **dataclasses.asdict(chosen),
        "written": [str(path) for path in written],
    }
