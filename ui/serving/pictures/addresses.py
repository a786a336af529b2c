"""The addresses of pictures, below the view's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from index_store import CaseSlide, Image
    from ui.serving.pictures.kept import KeptPicture

ROOT: Final = "pictures"
THUMBNAIL: Final = 160
"""Pixels of the longer side of a thumbnail."""


def image_url(base: str, image: Image, *, side: int | None = None) -> str:
    """Of an archive's image at its own pixels, or with its longer side at `side` pixels at most. `base`: the view's
    path without slashes around it."""
    size = "" if side is None else f"?side={side}"
    return f"{_root(base)}/images/{image.id}.png{size}"


def kept_url(base: str, picture: KeptPicture) -> str:
    """Of a picture that a session holds."""
    return f"{_root(base)}/kept/{picture.token}.png"


def overview_url(base: str, case: str, slide: CaseSlide) -> str:
    """Of the archive's small picture of a case's slide."""
    return f"{_root(base)}/overviews/{quote(slide.fingerprint)}.jpg?{urlencode({'case': case})}"


def slide_url(base: str, fingerprint: str, plane: int = 0) -> str:
    """Of a slide: a tile's address is this with `/LEVEL/X_Y.jpg`."""
    return f"{_root(base)}/slides/{quote(fingerprint)}/{plane}"


def _root(base: str) -> str:
    return f"/{base}/{ROOT}" if base else f"/{ROOT}"
