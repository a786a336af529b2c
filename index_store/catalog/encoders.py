"""Which encoder an archive's vectors come from.

Embeddings are keyed by image and encoder, so that a second encoder's vectors can grow beside the first one's. The
archive's row gives two roles: one encoder compares images, one compares texts with images and with reports. They are
the same encoder unless another was given the text role. Colour histograms have a role of their own as long as there are
any (`records.COLOUR_FINGERPRINT`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import bindparam, exists, select
from sqlalchemy.orm import Session

from index_store.catalog.catalog import HAS_ROLES, once
from index_store.catalog.models import ArchiveRow, EmbeddingRow, EncoderRow
from index_store.errors import EncoderMismatchError
from index_store.records import COLOUR, COLOUR_FINGERPRINT, IMAGE, ROLES, TEXT, EncoderInfo, Role

_ENCODERS, _ARCHIVE = EncoderRow.__table__.c, ArchiveRow.__table__.c
_SERVING = {
    role: select(_ENCODERS.fingerprint, _ENCODERS.name, _ENCODERS.dim).join_from(
        EncoderRow.__table__, ArchiveRow.__table__, column == _ENCODERS.id
    )
    for role, column in ((IMAGE, _ARCHIVE.active_encoder_id), (TEXT, _ARCHIVE.text_encoder_id))
}
_OF_COLOURS = EncoderRow.fingerprint == COLOUR_FINGERPRINT, exists().where(EmbeddingRow.encoder_id == EncoderRow.id)
_KNOWN = select(_ENCODERS.id, _ENCODERS.dim).where(_ENCODERS.fingerprint == bindparam("fingerprint"))


def encoder_info_of(session: Session, role: Role) -> EncoderInfo | None:
    """`encoder_of` as a record of the API, without the object mapper: every search reads it."""
    _check_role(role)
    if role == COLOUR:
        colours = encoder_of(session, role)
        return encoder_info(colours) if colours else None

    def read(role: Role) -> Any:
        return once(session, f"encoder of {role}", lambda: session.execute(_SERVING[role]).first())

    row = read(role) if role == IMAGE or session.info.get(HAS_ROLES, True) else None
    row = row or read(IMAGE)
    return EncoderInfo(*row) if row else None


def id_and_dim(session: Session, fingerprint: str) -> tuple[int, int]:
    """Of a registered encoder. Raises as `require_known`."""
    row = session.execute(_KNOWN, {"fingerprint": fingerprint}).first()
    if row is None:
        encoder = require_known(session, fingerprint)
        return encoder.id, encoder.dim
    return row.id, row.dim


def _check_role(role: str) -> None:
    if role not in (*ROLES, COLOUR):
        raise ValueError(f"there is no role {role!r}: the roles are {', '.join((*ROLES, COLOUR))}")


def active_encoder(session: Session) -> EncoderRow | None:
    """The encoder of the image role; None before the first is registered."""
    return session.scalar(select(EncoderRow).join(ArchiveRow, ArchiveRow.active_encoder_id == EncoderRow.id))


def encoder_of(session: Session, role: Role) -> EncoderRow | None:
    """The encoder of a role; None before the first is registered, and of colours where there are none."""
    _check_role(role)
    if role == COLOUR:
        return session.scalar(select(EncoderRow).where(*_OF_COLOURS))
    if role == TEXT and session.info.get(HAS_ROLES, True):
        named = session.scalar(select(EncoderRow).join(ArchiveRow, ArchiveRow.text_encoder_id == EncoderRow.id))
        if named is not None:
            return named
    return active_encoder(session)


def serving_encoders(session: Session) -> dict[Role, EncoderRow]:
    """The encoder of each role: twice the same where it has both. Empty before the first is registered."""
    found = {role: encoder_of(session, role) for role in (*ROLES, COLOUR)}
    return {role: encoder for role, encoder in found.items() if encoder is not None}


def roles_of(session: Session, encoder: EncoderRow) -> tuple[Role, ...]:
    """The roles that an encoder has."""
    return tuple(role for role, serving in serving_encoders(session).items() if serving.id == encoder.id)


def encoder_info(encoder: EncoderRow) -> EncoderInfo:
    """The encoder as a record of the API."""
    return EncoderInfo(encoder.fingerprint, encoder.name, encoder.dim)


def known_encoder(session: Session, fingerprint: str) -> EncoderRow | None:
    """The encoder of this fingerprint, whether it answers searches or not; None where it is not registered."""
    return session.scalar(select(EncoderRow).where(EncoderRow.fingerprint == fingerprint))


def register_encoder(session: Session, *, fingerprint: str, name: str, dim: int) -> EncoderRow:
    """The encoder of this fingerprint, registered where it is not yet. It answers no searches until `activate`
    or `assign_role`."""
    encoder = known_encoder(session, fingerprint)
    if encoder is None:
        encoder = EncoderRow(
            fingerprint=fingerprint, name=name, dim=dim, created=datetime.now(UTC).isoformat(timespec="seconds")
        )
        session.add(encoder)
        session.flush()
    return encoder


def activate(session: Session, encoder: EncoderRow) -> None:
    """From this transaction on, this encoder answers all searches."""
    archive = session.scalars(select(ArchiveRow)).one()
    archive.active_encoder_id, archive.text_encoder_id = encoder.id, None


def assign_role(session: Session, encoder: EncoderRow, role: Role) -> None:
    """From this transaction on, the encoder has this role; the other stays with the encoder that has it, if any."""
    archive = session.scalars(select(ArchiveRow)).one()
    image, text = encoder_of(session, IMAGE) or encoder, encoder_of(session, TEXT) or encoder
    if role == IMAGE:
        image = encoder
    else:
        text = encoder
    archive.active_encoder_id = image.id
    archive.text_encoder_id = None if text.id == image.id else text.id


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
            f"{given}: their vectors cannot be compared. Use the archive's encoder (--encoder, COIN_ENCODER), or embed "
            "the archive anew with the encoder at hand (`coin reembed`); its own encoder answers searches until that "
            "is complete."
        )
    return encoder


def require_known(session: Session, fingerprint: str) -> EncoderRow:
    """The encoder of this fingerprint, whether it answers searches or not.

    Raises:
        EncoderMismatchError: it is not registered.
    """
    return known_encoder(session, fingerprint) or require_encoder(active_encoder(session), fingerprint=fingerprint)


def require_serving(session: Session, fingerprint: str) -> EncoderRow:
    """The encoder of this fingerprint, if it has a role in searches.

    Raises:
        EncoderMismatchError: it has none.
    """
    for encoder in serving_encoders(session).values():
        if encoder.fingerprint == fingerprint:
            return encoder
    return require_encoder(active_encoder(session), fingerprint=fingerprint)


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
