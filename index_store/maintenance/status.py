"""The status of an archive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from index_store.archive_status import ArchiveStatus, RoleStatus
from index_store.catalog.change_log import log_head
from index_store.catalog.counts import kept
from index_store.catalog.databases.migrations import current_version, schema_version
from index_store.catalog.encoders import encoder_info, serving_encoders
from index_store.catalog.models import ArchiveRow, CaseRow, EncoderRow, ImageRow, PatientRow
from index_store.records import IMAGE, Role
from index_store.search.protocols import SyncedIndex


def counts(session: Session) -> tuple[int, int, int]:
    """The numbers of patients, cases and images, counted in the rows."""
    patients, cases, images = (
        session.scalar(select(func.count()).select_from(table)) or 0 for table in (PatientRow, CaseRow, ImageRow)
    )
    return patients, cases, images


def status_of(
    session: Session,
    path: Path,
    catalog: str,
    synced: Mapping[Role, SyncedIndex],
    notes: Sequence[str],
) -> ArchiveStatus:
    """The status as `session` sees the archive; `synced`: the index of each role, empty where there is no encoder
    yet."""
    counted = kept.counts(session)
    facets = counted.facets()
    archive = session.scalars(select(ArchiveRow)).one()
    index = synced.get(IMAGE)
    serving = serving_encoders(session)
    encoders = session.execute(select(EncoderRow.id, EncoderRow.fingerprint).order_by(EncoderRow.id))
    schema = schema_version(session.connection())
    if schema < current_version():
        notes = [
            *notes,
            f"The records are of an earlier version (schema {schema}; this one writes {current_version()}): they can "
            "be searched, and not changed until `coin migrate` was run.",
        ]
    return ArchiveStatus(
        path=path,
        name=archive.name,
        uuid=archive.uuid,
        schema_version=schema,
        patients=counted.patients,
        cases=counted.cases,
        images=counted.images,
        encoder=encoder_info(serving[IMAGE]) if serving else None,
        embeddings={fingerprint: counted.vectors(encoder_id) for encoder_id, fingerprint in encoders},
        indexed=index.count if index else 0,
        index=index.status() if index else None,
        log_sequence=log_head(session).sequence,
        index_sequence=index.position.sequence if index else 0,
        sites=facets["site"],
        categories=facets["category"],
        catalog=catalog,
        notes=tuple(notes),
        roles=_role_status(counted, serving, synced),
        derived=counted.derived(),
        scales=counted.scales(),
    )


def _role_status(
    counted: kept.Counts, serving: Mapping[Role, EncoderRow], synced: Mapping[Role, SyncedIndex]
) -> dict[Role, RoleStatus]:
    return {
        role: RoleStatus(
            encoder_info(encoder),
            counted.images - counted.vectors(encoder.id),
            counted.reports - counted.report_vectors(encoder.id),
            indexed=synced[role].count if role in synced else 0,
            index=synced[role].status() if role in synced else None,
        )
        for role, encoder in serving.items()
    }
