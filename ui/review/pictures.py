"""The pictures of an evidence sheet: within the page's own file, with what says how large they are."""

from __future__ import annotations

import base64
import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from index_store import scale_text
from ui.image_labels import EXPLAINED, PHANTOM, SYNTHETIC, image_label
from ui.pictures.sizes import fitted, png_bytes

if TYPE_CHECKING:
    import PIL.Image

    from index_store import Archive, Case, Image
    from retrieval import Query
    from ui.review.records import Found

LONGEST: Final = 1000
"""Pixels of the longer side in the file: 14 cm at 180 dots an inch."""
SMALL: Final = 512
"""Up to here a PNG, to the pixel; beyond, a JPEG."""
MOST: Final = 4
"""Pictures of a query."""
LONGEST_BAR: Final = 0.3
"""Of the picture's width."""


@dataclass(frozen=True)
class SheetPicture:
    """A picture of the sheet."""

    data: str = field(repr=False)
    """The address that holds the file itself."""
    sha256: str
    """Of the source file."""
    alt: str
    width: int
    """Of the picture itself, in pixels."""
    height: int
    mpp: float | None
    label: str = ""
    """That it shows no patient."""
    caption: str = ""

    @property
    def scale(self) -> str:
        """Its scale in words."""
        return "scale unknown" if self.mpp is None else f"{scale_text(self.mpp)}, {self.width * self.mpp:,.0f} µm wide"

    @property
    def bar(self) -> tuple[float, float] | None:
        """A scale bar: its length in µm (1, 2 or 5 times a power of ten), and its share of the width in percent; None
        where the scale is not known."""
        if self.mpp is None:
            return None
        longest = LONGEST_BAR * self.width * self.mpp
        length = max(
            digit * 10**power for digit in (1, 2, 5) for power in range(-4, 7) if digit * 10.0**power <= longest
        )
        return length, 100 * length / (self.width * self.mpp)


def case_picture(case: Case, image: Image) -> tuple[SheetPicture | None, str]:
    """A picture of a case, compared with its checksum; or None, and why it cannot be shown."""
    from index_store import ArchiveError, decode_image

    try:
        picture = decode_image(image.path, expected=image.file_sha256)
    except ArchiveError as error:
        return None, str(error)
    label = EXPLAINED[PHANTOM] if case.phantom else ""
    note = f"Note: {image.note}." if image.note else ""
    return _picture(picture, image.sha256, f"Case {case.key}", image.mpp, label, note), ""


def query_pictures(archive: Archive, query: Query, found: Found) -> tuple[tuple[SheetPicture, ...], str]:
    """What a query showed: its own picture, its case's, or the synthetic images of its text; and what is missing."""
    from index_store import ArchiveError

    try:
        if query.image:
            return (_upload(query),), ""
        if query.case:
            case = archive.case(query.case)
            images = [image for image in case.images if query.image_id in (None, image.id)]
            found_pictures = [case_picture(case, image) for image in images[:MOST]]
            more = f"{len(images) - MOST} further images are not shown." if len(images) > MOST else ""
            problems = " ".join(filter(None, [*(problem for _, problem in found_pictures), more]))
            return tuple(picture for picture, _ in found_pictures if picture), problems
    except ArchiveError as error:
        return (), str(error)
    if query.slide is not None:
        return (), "Its slide is not kept."
    pictures = [_synthetic(image.path, image.seed) for image in found.synthetic[:MOST]]
    known = tuple(picture for picture in pictures if picture is not None)
    missing = len(pictures) - len(known)
    return known, f"{missing} synthetic images are no longer in the cache: run the query again." if missing else ""


def _upload(query: Query) -> SheetPicture:
    from index_store import decode_picture

    decoded = decode_picture(query.image)
    label = EXPLAINED.get(image_label(query.image), "")
    sha256 = hashlib.sha256(query.image).hexdigest()
    mpp = query.mpp or decoded.mpp
    return _picture(decoded.image, sha256, "Query image", mpp, label)


def _synthetic(path: str, seed: int) -> SheetPicture | None:
    from index_store import ImageProblem, decode_image

    try:
        data = Path(path).read_bytes() if path else b""
        if image_label(data) != SYNTHETIC:
            return None
        picture = decode_image(data)
    except (OSError, ImageProblem):
        return None
    sha256 = hashlib.sha256(data).hexdigest()
    return _picture(picture, sha256, f"Synthetic image, seed {seed}", None, EXPLAINED[SYNTHETIC], f"Seed {seed}.")


def _picture(
    picture: PIL.Image.Image, sha256: str, alt: str, mpp: float | None, label: str, caption: str = ""
) -> SheetPicture:
    width, height = picture.size
    if max(width, height) <= SMALL:
        kind, data = "png", png_bytes(picture)
    else:
        buffer = io.BytesIO()
        small = fitted(picture, LONGEST) if max(width, height) > LONGEST else picture
        small.convert("RGB").save(buffer, "JPEG", quality=92, subsampling=0)
        kind, data = "jpeg", buffer.getvalue()
    address = f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
    return SheetPicture(address, sha256, alt, width, height, mpp, label, caption)
