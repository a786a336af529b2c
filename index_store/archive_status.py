"""An archive in figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from .encoders import active_encoder
from .index_file import LogPosition
from .index_follower import log_head
from .migrations import current_version
from .models import ArchiveRow, CaseRow, EmbeddingRow, EncoderRow, ImageRow, PatientRow
from .records import ArchiveStatus, EncoderInfo


class Followed(Protocol):
    """A vector index that follows the change log."""

    position: LogPosition

    @property
    def count(self) -> int: ...


def status_of(
    session: Session,
    path: Path,
    catalog: str,
    facets: Mapping[str, Mapping[str, int]],
    follower: Followed | None,
    notes: Sequence[str],
) -> ArchiveStatus:
    """The figures as `session` sees them; `follower` is None where there is no encoder yet."""

    def count(table: type[PatientRow | CaseRow | ImageRow]) -> int:
        return session.scalar(select(func.count()).select_from(table)) or 0

    archive = session.scalars(select(ArchiveRow)).one()
    encoder = active_encoder(session)
    embeddings = session.execute(
        select(EncoderRow.fingerprint, func.count(EmbeddingRow.image_id))
        .outerjoin(EmbeddingRow)
        .group_by(EncoderRow.id)
    )
    return ArchiveStatus(
        path=path,
        name=archive.name,
        uuid=archive.uuid,
        schema_version=current_version(),
        patients=count(PatientRow),
        cases=count(CaseRow),
        images=count(ImageRow),
        encoder=EncoderInfo(encoder.fingerprint, encoder.name, encoder.dim) if encoder else None,
        embeddings=dict(embeddings.all()),
        indexed=follower.count if follower else 0,
        log_sequence=log_head(session).sequence,
        index_sequence=follower.position.sequence if follower else 0,
        sites=facets["site"],
        categories=facets["category"],
        catalog=catalog,
        notes=tuple(notes),
    )
