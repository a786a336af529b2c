"""The status of an archive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from index_store.archive_status import ArchiveStatus, RoleStatus
from index_store.catalog import report_vectors
from index_store.catalog.case_reader import derived_columns
from index_store.catalog.catalog import has_scale
from index_store.catalog.change_log import log_head
from index_store.catalog.databases.migrations import current_version, schema_version
from index_store.catalog.encoders import encoder_info, serving_encoders
from index_store.catalog.filters import LABELS
from index_store.catalog.models import ArchiveRow, CaseRow, EmbeddingRow, EncoderRow, ImageRow, PatientRow
from index_store.catalog.reembedding import count_images_without_vector
from index_store.records import IMAGE, Role
from index_store.search.protocols import SyncedIndex

UNKNOWN_SCALE = "unknown"


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
    synced: Mapping[Role, SyncedIndex],
    notes: Sequence[str],
    *,
    roles: bool,
) -> ArchiveStatus:
    """The status as `session` sees the archive; `synced`: the index of each role, empty where there is no encoder
    yet. `roles`: also count what each role's encoder lacks."""
    archive = session.scalars(select(ArchiveRow)).one()
    index = synced.get(IMAGE)
    serving = serving_encoders(session)
    found = _role_status(session, serving, synced) if roles else {}
    patients, cases, images = counts(session)
    embeddings = session.execute(
        select(EncoderRow.fingerprint, func.count(EmbeddingRow.image_id))
        .outerjoin(EmbeddingRow)
        .group_by(EncoderRow.id)
    )
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
        patients=patients,
        cases=cases,
        images=images,
        encoder=encoder_info(serving[IMAGE]) if serving else None,
        embeddings=dict(embeddings.all()),
        indexed=index.count if index else 0,
        index=index.status() if index else None,
        log_sequence=log_head(session).sequence,
        index_sequence=index.position.sequence if index else 0,
        sites=facets["site"],
        categories=facets["category"],
        catalog=catalog,
        notes=tuple(notes),
        roles=found,
        derived=_count_derived(session),
        scales=_count_scales(session),
    )


def _count_derived(session: Session) -> dict[str, int]:
    found: Counter[str] = Counter()
    for names, cases in session.execute(select(CaseRow.derived, func.count()).group_by(CaseRow.derived)):
        found.update(dict.fromkeys(derived_columns(names), cases))
    return {column: found[column] for column in LABELS}


def _count_scales(session: Session) -> dict[str, int]:
    """Images by µm a pixel, to two digits, ascending; then those whose scale is not known."""
    if not has_scale(session):
        images = session.scalar(select(func.count()).select_from(ImageRow)) or 0
        return {UNKNOWN_SCALE: images} if images else {}
    found: Counter[float] = Counter()
    unknown = 0
    for mpp, images in session.execute(select(ImageRow.mpp, func.count()).group_by(ImageRow.mpp)):
        if mpp is None:
            unknown = images
        else:
            found[float(f"{mpp:.2g}")] += images
    known = {f"{mpp:g}": images for mpp, images in sorted(found.items())}
    return {**known, **({UNKNOWN_SCALE: unknown} if unknown else {})}


def _role_status(
    session: Session, serving: Mapping[Role, EncoderRow], synced: Mapping[Role, SyncedIndex]
) -> dict[Role, RoleStatus]:
    lacking = {
        encoder.id: (
            count_images_without_vector(session, encoder.id),
            len(report_vectors.without_vector(session, encoder.id)),
        )
        for encoder in serving.values()
    }
    return {
        role: RoleStatus(
            encoder_info(encoder),
            *lacking[encoder.id],
            indexed=synced[role].count if role in synced else 0,
            index=synced[role].status() if role in synced else None,
        )
        for role, encoder in serving.items()
    }
