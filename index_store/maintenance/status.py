"""The status of an archive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from index_store.catalog.change_log import log_head
from index_store.catalog.databases.migrations import current_version
from index_store.catalog.encoders import active_encoder
from index_store.catalog.models import ArchiveRow, CaseRow, EmbeddingRow, EncoderRow, ImageRow, PatientRow
from index_store.records import ArchiveStatus, EncoderInfo
from index_store.search.protocols import SyncedIndex


def counts(session: Session) -> tuple[int, int, int]:
    """The numbers of patients, cases and images."""
    patients, cases, images = (
        session.scalar(select(func.count()).select_from(table)) or 0 for table in (PatientRow, CaseRow, ImageRow)
    )
    return patients, cases, images


def status_of(
    session: Session,
    path: Path,
    catalog: str,
    facets: Mapping[str, Mapping[str, int]],
    synced: SyncedIndex | None,
    notes: Sequence[str],
) -> ArchiveStatus:
    """The status as `session` sees the archive; `synced` is None where there is no encoder yet."""
    archive = session.scalars(select(ArchiveRow)).one()
    encoder = active_encoder(session)
    patients, cases, images = counts(session)
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
        patients=patients,
        cases=cases,
        images=images,
        encoder=EncoderInfo(encoder.fingerprint, encoder.name, encoder.dim) if encoder else None,
        embeddings=dict(embeddings.all()),
        indexed=synced.count if synced else 0,
        index=synced.status() if synced else None,
        log_sequence=log_head(session).sequence,
        index_sequence=synced.position.sequence if synced else 0,
        sites=facets["site"],
        categories=facets["category"],
        catalog=catalog,
        notes=tuple(notes),
    )
