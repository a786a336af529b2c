"""Pictures of cases, uploads and slides as the viewer takes them: addresses, sizes, scales and words."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import streamlit as st

from ui.image_labels import EXPLAINED, PHANTOM, image_label
from ui.pictures.sizes import png_bytes
from ui.serving.pictures.addresses import THUMBNAIL, image_url, kept_url
from ui.serving.pictures.kept import KeptPicture
from ui.text.case import image_summary
from ui.view.viewer.component import Picture

if TYPE_CHECKING:
    import PIL.Image

    from index_store import Case, Image

_Held = tuple[KeptPicture, float | None]
KEPT: Final = 16
"""Pictures of uploads and of generated images that a session keeps."""


def base_path() -> str:
    """The view's path, without slashes around it."""
    return str(st.get_option("server.baseUrlPath")).strip("/")


def case_picture(case: Case, image: Image, *, alt: str) -> Picture:
    """An image of a case, at its own pixels."""
    note = f"Note: {image.note}." if image.note else ""
    words = (f"{alt}. {size_text(image.width, image.height)}.", _about(case, image), note)
    return Picture(
        str(image.id),
        image_url(base_path(), image),
        image.width,
        image.height,
        alt,
        image.mpp,
        label=EXPLAINED[PHANTOM] if case.phantom else "",
        caption=" ".join(filter(None, words)),
        thumb=image_url(base_path(), image, side=THUMBNAIL),
        on_slide=image.place is not None,
    )


def upload_picture(data: bytes, *, name: str, mpp: float | None = None) -> Picture:
    """An uploaded picture, at its own pixels. Raises `index_store.ImageProblem`.

    `mpp`: µm a pixel, where it was given; else what its file says.
    """
    kept, said = _kept(data)
    return Picture(
        "query",
        kept_url(base_path(), kept),
        kept.width,
        kept.height,
        "Query image",
        mpp or said,
        label=EXPLAINED.get(image_label(data), ""),
        caption=f"{name}, {size_text(kept.width, kept.height)}",
    )


def made_picture(image: PIL.Image.Image, *, alt: str, label: str) -> Picture:
    """A picture that was made here, and is in no archive."""
    data = png_bytes(image)
    kept, _ = _held(hashlib.sha256(data).hexdigest(), lambda: (KeptPicture(data, *image.size), None))
    address = kept_url(base_path(), kept)
    return Picture(kept.token, address, *image.size, alt, label=label, caption=f"{alt}.", thumb=address)


def size_text(width: int, height: int) -> str:
    """A picture's size in words."""
    return f"{width:,} × {height:,} pixels"


def _about(case: Case, image: Image) -> str:
    about = image_summary(case, image)
    return f"{about[0].upper()}{about[1:]}." if about else ""


def _kept(data: bytes) -> _Held:
    """The decoded upload, as long as this session looks at it, and the scale that its file states."""

    def made() -> _Held:
        from index_store import decode_picture

        decoded = decode_picture(data)
        return KeptPicture(png_bytes(decoded.image), *decoded.image.size), decoded.mpp

    return _held(hashlib.sha256(data).hexdigest(), made)


def _held(digest: str, make: Callable[[], _Held]) -> _Held:
    held: dict[str, _Held] = st.session_state.setdefault("pictures", {})
    held[digest] = held.pop(digest) if digest in held else make()  # the last looked at comes last
    for old in list(held)[:-KEPT]:
        del held[old]
    return held[digest]
