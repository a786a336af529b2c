"""What `coin show` prints, and one line that describes a case."""

from __future__ import annotations

from typing import TYPE_CHECKING

from index_store import scale_text
from ui.image_labels import PHANTOM
from ui.text.layout import clean, page, wrapped
from ui.text.tables import name_value_table

if TYPE_CHECKING:
    from index_store import Case, Image


def case_summary(case: Case, image: Image | None = None) -> str:
    """Site, category and how the case (or one image of it) was stained, prepared and scaled, in one line; what is
    unknown is left out."""
    stain, preparation, mpp = (image.stain, image.preparation, image.mpp) if image else ("", "", None)
    known = (case.site, case.category, stain or case.stain, preparation or case.preparation, scale_text(mpp))
    return clean(" · ".join(word for word in known if word)) or "no details given"


def image_summary(case: Case, image: Image) -> str:
    """What is known of one image of a case, in one line. That its scale is not known is said where another's is."""
    scale = f"{scale_text(image.mpp)} ({image.mpp_source})" if image.mpp is not None else ""
    if not scale and any(other.mpp is not None for other in case.images):
        scale = "scale unknown"
    return ", ".join(word for word in (image.kind, image.stain, image.preparation, image.slide, scale) if word)


def label_text(case: Case, name: str) -> str:
    """The case's site, system or category, marked where it was extracted from the report; empty where unknown."""
    value: str = getattr(case, name)
    return f"{value} (extracted from the report)" if value and name in case.derived else value


def case_text(case: Case) -> str:
    """One case with its whole report and all its images."""
    mark = f"   {PHANTOM}: rendered, no patient" if case.phantom else ""
    rows = [
        ("patient", case.patient),
        *((name, label_text(case, name)) for name in ("site", "system", "category")),
        ("source", case.source),
        ("license", case.license),
        *case.attributes.items(),
    ]
    images = [f"Images: {len(case.images)}"]
    for image in case.images:
        about = image_summary(case, image)
        images.append(clean(f"  {image.path}  {image.width}×{image.height}  {about}".rstrip()))
        if image.note:
            images.append(wrapped(f"Note: {image.note}."))
    return page([clean(f"{case.key}{mark}"), name_value_table(rows), wrapped(case.report), "\n".join(images)])
