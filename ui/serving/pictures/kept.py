"""Pictures that are not in the archive, uploads above all: served for as long as somebody's session holds them.

Their addresses cannot be guessed, and nothing of them is written.
"""

from __future__ import annotations

import secrets
import weakref
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, eq=False)
class KeptPicture:
    """A picture as a PNG file; its address ends when the last reference to it is gone."""

    data: bytes = field(repr=False)
    width: int
    height: int
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))

    def __post_init__(self) -> None:
        _SERVED[self.token] = self


_SERVED: Final[weakref.WeakValueDictionary[str, KeptPicture]] = weakref.WeakValueDictionary()


def kept_picture(token: str) -> KeptPicture | None:
    """The picture of an address, where a session still holds it."""
    return _SERVED.get(token)
