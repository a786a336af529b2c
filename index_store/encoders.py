"""Which encoder an archive's vectors come from.

Embeddings are keyed by image and encoder, so that a second encoder's vectors can grow beside the first one's; the
archive row names the one that answers searches.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from .errors import EncoderMismatchError
from .models import ArchiveRow, EncoderRow


def active_encoder(session: Session) -> EncoderRow | None:
    """The encoder that answers searches; None before the first one is registered."""
    return session.scalar(select(EncoderRow).join(ArchiveRow, ArchiveRow.active_encoder_id == EncoderRow.id))


def register_encoder(session: Session, *, fingerprint: str, name: str, dim: int) -> None:
    """Make this the active encoder."""
    encoder = EncoderRow(
        fingerprint=fingerprint, name=name, dim=dim, created=datetime.now(UTC).isoformat(timespec="seconds")
    )
    session.add(encoder)
    session.flush()
    session.scalars(select(ArchiveRow)).one().active_encoder_id = encoder.id


def require_encoder(encoder: EncoderRow | None, *, fingerprint: str, name: str = "") -> EncoderRow:
    """`encoder`, if it has this fingerprint.

    Raises:
        EncoderMismatchError: it has another, or there is none.
    """
    asked = f"{name} ({fingerprint[:12]})" if name else fingerprint[:12]
    if encoder is None:
        raise EncoderMismatchError("This archive has no images yet, and so no encoder. Add a manifest first.")
    if encoder.fingerprint != fingerprint:
        raise EncoderMismatchError(
            f"This archive was embedded with {encoder.name} ({encoder.fingerprint[:12]}), and the encoder at hand is "
            f"{asked}: their vectors cannot be compared. Use the archive's encoder, or embed anew: create "
            "another archive and add the same manifests to it with the encoder at hand."
        )
    return encoder
