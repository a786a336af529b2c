"""What `coin search --by-category` prints: the nearest cases of each category, and look-alike categories."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ui.image_labels import PHANTOM
from ui.text.case import case_summary
from ui.text.layout import clean, wrapped

if TYPE_CHECKING:
    from retrieval import CategoryRow, Gallery

NONE_KNOWN = "No reporting system is known for this query or its results, so there are no categories to compare."


def gallery_text(gallery: Gallery | None) -> str:
    """Each category in the system's order with its nearest cases, nearest first; None: no system is known."""
    if gallery is None:
        return wrapped(NONE_KNOWN)
    where = f" at {gallery.site}" if gallery.site else ""
    lines = [
        wrapped(
            f"The nearest of each category in {gallery.system}{where}. Each row shows its category's nearest cases, "
            "however dissimilar they are: a comparison and no vote."
        )
    ]
    lines += [_row(row) for row in gallery.rows if row.available]
    if gallery.without_cases:
        lines.append(wrapped(f"Without a case in this archive: {', '.join(gallery.without_cases)}."))
    if gallery.look_alikes:
        names = ", ".join(row.category for row in gallery.look_alikes)
        lines.append(wrapped(f"Look-alikes of {gallery.category}, among the rows above: {names}."))
        for source in gallery.sources:
            doi = f" doi:{source.doi}" if source.doi else ""
            lines.append(wrapped(f"{source.why} {source.source}{doi}", indent="  "))
    return "\n".join(lines)


def _row(row: CategoryRow) -> str:
    noun = "patient" if row.available == 1 else "patients"
    lines = [clean(f"  {row.category} ({row.tier}, {row.available} {noun})")]
    for entry in row.cases:
        mark = f"  [{PHANTOM}]" if entry.case.phantom else ""
        about = case_summary(entry.case, entry.image)
        lines.append(clean(f"    {entry.similarity or 0:.3f}  {entry.case.key}{mark}  {about}"))
    return "\n".join(lines)
