"""Which encoder an archive's vectors come from.

Embeddings are keyed by image and encoder, so that a second encoder's vectors can grow beside the first one's; the
archive row names the one that answers searches.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from index_store.catalog.models import ArchiveRow, EncoderRow
from index_store.errors import EncoderMismatchError


def active_encoder(session: Session) -> EncoderRow | None:
    """The encoder that answers searches; None before the first is registered."""
    return session.scalar(select(EncoderRow).join(ArchiveRow, ArchiveRow.active_encoder_id == EncoderRow.id))


def known_encoder(session: Session, fingerprint: str) -> EncoderRow | None:
    """The encoder of this fingerprint, whether it answers searches or not; None where it is not registered."""
    return session.scalar(select(EncoderRow).where(EncoderRow.fingerprint == fingerprint))


def register_encoder(session: Session, *, fingerprint: str, name: str, dim: int) -> EncoderRow:
    """The encoder of this fingerprint, registered where it is not yet. It answers no searches until `activate`."""
    encoder = known_encoder(session, fingerprint)
    if encoder is None:
        encoder = EncoderRow(
            fingerprint=fingerprint, name=name, dim=dim, created=datetime.now(UTC).isoformat(timespec="seconds")
        )
        session.add(encoder)
        session.flush()
    return encoder


def activate(session: Session, encoder: EncoderRow) -> None:
    """From this transaction on, this encoder answers searches."""
    session.scalars(select(ArchiveRow)).one().active_encoder_id = encoder.id


def require_encoder(encoder: EncoderRow | None, *, fingerprint: str, name: str = "") -> EncoderRow:
    """`encoder`, if it has this fingerprint.

    Raises:
        EncoderMismatchError: it has another, or there is none.
    """
    given = f"{name} ({fingerprint[:12]})" if name else fingerprint[:12]
    if encoder is None:
        raise EncoderMismatchError("This archive has no images yet, and so no encoder. Add a manifest first.")
    if encoder.fingerprint != fingerprint:
        raise EncoderMismatchError(
            f"This archive was embedded with {encoder.name} ({encoder.fingerprint[:12]}), and the encoder at hand is "
            f"{given}: their vectors cannot be compared. Use the archive's encoder, or embed the archive anew with "
            "the encoder at hand (`coin reembed`); its own encoder answers searches until that is complete."
        )
    return encoder


def require_known(session: Session, fingerprint: str) -> EncoderRow:
    """The encoder of this fingerprint, whether it answers searches or not.

    Raises:
        EncoderMismatchError: it is not registered.
    """
    return known_encoder(session, fingerprint) or require_encoder(active_encoder(session), fingerprint=fingerprint)


def find_encoder(session: Session, beginning: str) -> EncoderRow:
    """The one encoder whose fingerprint begins so.

    Raises:
        EncoderMismatchError: none does, or several do; names the known encoders.
    """
    known = session.scalars(select(EncoderRow).order_by(EncoderRow.id)).all()
    matching = [encoder for encoder in known if beginning and encoder.fingerprint.startswith(beginning)]
    if len(matching) != 1:
        names = ", ".join(f"{encoder.fingerprint[:12]} ({encoder.name})" for encoder in known) or "none"
        count = "Several encoders have" if matching else "No encoder has"
        raise EncoderMismatchError(
            f"{count} a fingerprint that begins with {beginning!r}. This archive knows: {names}."
        )
    return matching[0]
