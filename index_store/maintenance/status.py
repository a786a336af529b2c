"""An archive in figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from index_store.catalog.change_log import log_head
from index_store.catalog.databases.migrations import current_version
from index_store.catalog.encoders import active_encoder
from index_store.catalog.models import ArchiveRow, CaseRow, EmbeddingRow, EncoderRow, ImageRow, PatientRow
from index_store.index.faiss_index import FaissIndex
from index_store.records import ArchiveStatus, EncoderInfo, IndexStatus
from index_store.search.index_sync import IndexFollower
from index_store.search.protocols import Followed


def counts(session: Session) -> tuple[int, int, int]:
    """Patients, cases, images."""
    patients, cases, images = (
        session.scalar(select(func.count()).select_from(table)) or 0 for table in (PatientRow, CaseRow, ImageRow)
    )
    return patients, cases, images


def status_of(
    session: Session,
    path: Path,
    catalog: str,
    facets: Mapping[str, Mapping[str, int]],
    follower: Followed | None,
    notes: Sequence[str],
) -> ArchiveStatus:
    """The figures as `session` sees them; `follower` is None where there is no encoder yet."""

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
        indexed=follower.count if follower else 0,
        index=_index_status(follower),
        log_sequence=log_head(session).sequence,
        index_sequence=follower.position.sequence if follower else 0,
        sites=facets["site"],
        categories=facets["category"],
        catalog=catalog,
        notes=tuple(notes),
    )


def _index_status(follower: Followed | None) -> IndexStatus | None:
    if not isinstance(follower, IndexFollower) or not isinstance(follower.index, FaissIndex):
        return None
    tuning = follower.index.state.tuning
    return IndexStatus(
        mode=follower.index.mode,
        recall=dict(tuning.recall) if tuning else {},
        measured_at=tuning.rows if tuning else 0,
        memory_bytes=follower.index.memory_bytes(),
    )
