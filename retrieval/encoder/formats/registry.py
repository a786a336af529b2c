"""Which formats there are, and which one a folder has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from retrieval.encoder.formats import open_clip_folder, timm_folder, transformers_folder
from retrieval.encoder.formats.files import EncoderFiles


@dataclass(frozen=True)
class EncoderFormat:
    """How a layout is recognised by its files, and read."""

    name: str
    recognises: Callable[[Path], bool]
    read: Callable[..., EncoderFiles]
    """(folder, *, name) -> the files, checked; raises EncoderLoadError."""


FORMATS: Final = (
    EncoderFormat("open_clip", open_clip_folder.recognises, open_clip_folder.read_open_clip),
    EncoderFormat("timm", timm_folder.recognises, timm_folder.read_timm),
    EncoderFormat("transformers", transformers_folder.recognises, transformers_folder.read_transformers),
)
"""In the order in which they are tried: open_clip's folders often hold a `config.json` too."""


def format_of(folder: Path) -> EncoderFormat | None:
    """The format of a folder; None where its files show none."""
    return next((format_ for format_ in FORMATS if format_.recognises(folder)), None)
