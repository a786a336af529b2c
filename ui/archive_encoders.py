"""Where an archive's encoders are: so that a command finds them whose settings name none.

    <archive>/encoders.json     {"<fingerprint>": "<folder, hub id or adapter>", …}

The records name an encoder by its fingerprint; where its files lie is a matter of this machine, and noted by the
commands that were given them (`coin add`, `coin reembed`). What is found there counts only if its fingerprint is the
archive's.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ui.settings import Settings

if TYPE_CHECKING:
    from index_store import Archive, EncoderInfo, Role
    from retrieval import Encoder

FILE: Final = "encoders.json"


def image_encoder(archive: Archive, settings: Settings) -> Encoder:
    """The encoder that the settings name for images; else the archive's: the starter, or the one that was noted.

    Raises:
        index_store.EncoderMismatchError: the archive's is neither; names the option.
        retrieval.EncoderLoadError: the named one's files are missing or broken.
    """
    from retrieval import Encoder

    given = Encoder(settings.encoder, device=settings.device)
    known = archive.encoder
    if settings.encoder is not None or known is None or known.fingerprint == given.fingerprint:
        return given
    return _noted_or_refused(
        archive,
        known,
        settings,
        f"This archive was embedded with {known.name} ({known.fingerprint[:12]}), and no encoder is named. Name it "
        "with --encoder or COIN_ENCODER.",
    )


def text_encoder(archive: Archive, settings: Settings) -> Encoder | None:
    """The encoder that the settings name for texts; else the archive's, where texts have another one than images and
    it was noted; else None."""
    from retrieval import Encoder

    if settings.text_encoder is not None:
        return Encoder(settings.text_encoder, device=settings.device)
    image, text = archive.encoder, archive.encoder_of("text")
    if image is None or text is None or image.fingerprint == text.fingerprint:
        return None
    return _found(archive, text, settings)[0]


def embedding_encoder(archive: Archive, settings: Settings, role: Role | None) -> Encoder:
    """The encoder that the settings name for embedding anew; else the archive's of this role, where it was noted.

    Where that is the starter, also of an earlier version, it is today's. `role` None is that of images.

    Raises:
        index_store.EncoderMismatchError: the archive's is neither; names the option.
        retrieval.EncoderLoadError: the named one's files are missing or broken.
    """
    from retrieval import Encoder

    given, known = Encoder(settings.encoder, device=settings.device), archive.encoder_of(role or "image")
    if settings.encoder is not None or known is None or known.name == given.name:
        return given
    return _noted_or_refused(
        archive,
        known,
        settings,
        f"In this archive {known.name} ({known.fingerprint[:12]}) compares {'texts' if role == 'text' else 'images'}, "
        "and no encoder is named: name that one, or another, with --encoder. The starter is --encoder starter.",
    )


def _noted_or_refused(archive: Archive, known: EncoderInfo, settings: Settings, refusal: str) -> Encoder:
    """The archive's encoder where it was noted and is still there; else raises EncoderMismatchError of `refusal`."""
    from index_store import EncoderMismatchError

    found, noted = _found(archive, known, settings)
    if found is None:
        raise EncoderMismatchError(refusal + (f" It was at '{noted}'." if noted else ""))
    return found


def note_encoder(archive: Archive, encoder: Encoder | None) -> None:
    """Note where an encoder's files are. A disk that refuses stops nothing: the encoder can be named."""
    from generation import write_atomic

    if encoder is None or encoder.source is None:  # the starter is where the software is
        return
    source = str(encoder.source)
    folder = Path(source.removeprefix("local-dir:")).expanduser()
    noted = _noted(archive)
    where = str(folder.resolve()) if folder.is_dir() else source
    if noted.get(encoder.fingerprint) != where:
        text = json.dumps({**noted, encoder.fingerprint: where}, indent=1)
        with contextlib.suppress(OSError):
            write_atomic(archive.path / FILE, text.encode())


def _found(archive: Archive, known: EncoderInfo, settings: Settings) -> tuple[Encoder | None, str]:
    """The noted encoder, if it is the one that the archive knows; and where it was noted to be."""
    from retrieval import Encoder, EncoderLoadError

    noted = _noted(archive).get(known.fingerprint, "")
    if noted:
        with contextlib.suppress(EncoderLoadError, OSError):
            encoder = Encoder(noted, device=settings.device)
            if encoder.fingerprint == known.fingerprint:
                return encoder, noted
    return None, noted


def _noted(archive: Archive) -> dict[str, str]:
    try:
        values = json.loads((archive.path / FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(values, dict):
        return {}
    return {name: value for name, value in values.items() if isinstance(value, str)}
