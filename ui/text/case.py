"""What `coin show` prints, and one line that describes a case."""

from __future__ import annotations

from typing import TYPE_CHECKING

from index_store import scale_text
from ui.image_labels import PHANTOM
from ui.text.layout import clean, page, wrapped
from ui.text.tables import name_value_table

if TYPE_CHECKING:
    from index_store import Case, CaseSlide, Image


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
    where = image.slide if image.place is None else place_text(case, image)
    return ", ".join(word for word in (where, image.kind, image.stain, image.preparation, scale) if word)


def natural_size_text(image: Image) -> str:
    """What a picture is and how large it is by itself: "crop, 128 × 96 pixels, 64 × 48 µm"."""
    kind = image.kind or ("field of a slide" if image.place is not None else "")
    size = f"{image.width:,} × {image.height:,} pixels"
    real = "" if image.mpp is None else f"{image.width * image.mpp:.0f} × {image.height * image.mpp:.0f} µm"
    return ", ".join(filter(None, (kind, size, real)))


def place_text(case: Case, image: Image) -> str:
    """Where on its slide a field lies: "field at 12,300, 4,512 of slide S, 128 µm"; empty where it is none."""
    place = image.place
    if place is None:
        return ""
    slide = next((slide for slide in case.slides if slide.fingerprint == place.slide), None)
    width = f", {place.width * slide.mpp:.0f} µm" if slide is not None and slide.mpp else ""
    plane = f", focal plane {place.plane + 1} of {slide.planes}" if slide is not None and slide.planes > 1 else ""
    return f"field at {place.x:,}, {place.y:,} of slide {image.slide or place.slide[:12]}{width}{plane}"


def slide_summary(case: Case, slide: CaseSlide) -> str:
    """A slide of a case in one line: its name, size, scale, and how many of the case's images are fields of it."""
    fields = [image for image in case.images if image.place is not None and image.place.slide == slide.fingerprint]
    names = dict.fromkeys(image.slide for image in fields if image.slide)
    name = ", ".join(names) or slide.fingerprint[:12]
    unfinished = "" if all(slide.choices.values()) else ", not all that were chosen: add it again"
    return (
        f"{name}: {format_name(slide.format)}, {slide.width:,} × {slide.height:,} px, {scale_text(slide.mpp)}, "
        f"{len(fields)} fields{unfinished}"
    )


def format_name(name: str) -> str:
    """A slide's format as people write it, of the reader's name for it: "Aperio" of "aperio"."""
    return {"mirax": "MIRAX", "generic-tiff": "TIFF"}.get(name, name[:1].upper() + name[1:])


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
    slides = [f"Slides: {len(case.slides)}"] if case.slides else []
    for slide in case.slides:
        slides.append(clean(f"  {slide_summary(case, slide)}"))
        slides += [wrapped(f"Note: {note}") for note in slide.notes]
    images = [f"Images: {len(case.images)}"]
    for image in case.images:
        about = image_summary(case, image)
        images.append(clean(f"  {image.path}  {image.width}×{image.height}  {about}".rstrip()))
        if image.note:
            images.append(wrapped(f"Note: {image.note}."))
    return page(
        [clean(f"{case.key}{mark}"), name_value_table(rows), wrapped(case.report), *_joined(slides), "\n".join(images)]
    )


def _joined(lines: list[str]) -> list[str]:
    return ["\n".join(lines)] if lines else []
