"""Embed an archive with another encoder, beside the vectors that answer searches.

    register → vectors, batch by batch, each in one transaction with its log entries → a role, when none is missing

What is missing is read from the tables, so that an interrupted run resumes where it stopped, and images that were added
or removed meanwhile are respected. Only `give_role` changes the results of searches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from sqlalchemy import and_, delete, func, insert, select
from sqlalchemy.orm import Session

from index_store.catalog import report_vectors
from index_store.catalog.case_reader import in_chunks
from index_store.catalog.change_log import VECTOR_TYPE, log_changes
from index_store.catalog.counts.kept import Counts, change, forget_encoder
from index_store.catalog.counts.tally import VECTORS
from index_store.catalog.encoders import assign_role, encoder_info, serving_encoders
from index_store.catalog.models import ADDED, REMOVED, EmbeddingRow, EncoderRow, ImageRow, ReportEmbeddingRow
from index_store.errors import EncoderIncompleteError
from index_store.records import IMAGE, EncoderCoverage, Role
from index_store.vectors import Ids, Vectors


def images_without_vector(session: Session, encoder_id: int, *, after: int, limit: int) -> Ids:
    """int64[n ≤ limit], ascending: images with an id above `after` that have no vector of this encoder."""
    of_encoder = and_(EmbeddingRow.image_id == ImageRow.id, EmbeddingRow.encoder_id == encoder_id)
    query = (
        select(ImageRow.id)
        .outerjoin(EmbeddingRow, of_encoder)
        .where(ImageRow.id > after, EmbeddingRow.image_id.is_(None))
        .order_by(ImageRow.id)
        .limit(limit)
    )
    return np.array(session.scalars(query).all(), dtype=np.int64)


def put_vectors(session: Session, encoder_id: int, image_ids: Sequence[int], vectors: Vectors) -> int:
    """Store vectors, float32[len(image_ids), dim], of those images that exist and have none of this encoder.

    Returns:
        How many were stored.
    """
    lacking: set[int] = set()
    has_one = select(EmbeddingRow.image_id).where(EmbeddingRow.encoder_id == encoder_id)
    for part in in_chunks(int(image_id) for image_id in image_ids):
        query = select(ImageRow.id).where(ImageRow.id.in_(part), ImageRow.id.not_in(has_one))
        lacking.update(session.scalars(query))
    rows = {
        int(image_id): {
            "encoder_id": encoder_id,
            "image_id": int(image_id),
            "vector": vector.astype(VECTOR_TYPE, copy=False).tobytes(),
        }
        for image_id, vector in zip(image_ids, vectors, strict=True)
        if int(image_id) in lacking
    }
    if rows:
        session.execute(insert(EmbeddingRow), list(rows.values()))
        log_changes(session, encoder_id, rows, ADDED)
        change(session, Counter({(VECTORS, str(encoder_id)): len(rows)}))
    return len(rows)


def coverage(session: Session, counted: Counts) -> tuple[EncoderCoverage, ...]:
    """How much each encoder has embedded, in the order of registration."""
    serving = serving_encoders(session)
    return tuple(
        EncoderCoverage(
            encoder=encoder_info(encoder),
            active=IMAGE in serving and encoder.id == serving[IMAGE].id,
            images=counted.images,
            vectors=counted.vectors(encoder.id),
            reports=counted.reports,
            report_vectors=counted.report_vectors(encoder.id),
            roles=tuple(role for role, of_role in serving.items() if of_role.id == encoder.id),
        )
        for encoder in session.scalars(select(EncoderRow).order_by(EncoderRow.id))
    )


def give_role(session: Session, encoder: EncoderRow, role: Role, *, without_reports: bool) -> None:
    """Give this encoder a role, if it has embedded everything that the role compares: the images, and for texts the
    reports.

    Raises:
        EncoderIncompleteError: images, or (unless `without_reports`) reports, have no vector of it.
    """
    images = _count_images_without_vector(session, encoder.id)  # the rows themselves: what is derived decides nothing
    without_reports = without_reports or role == IMAGE
    reports = 0 if without_reports else len(report_vectors.without_vector(session, encoder.id))
    if images or reports:
        of_a_report = select(ReportEmbeddingRow.case_id).where(ReportEmbeddingRow.encoder_id == encoder.id).limit(1)
        no_report = reports > 0 and session.scalar(of_a_report) is None
        raise EncoderIncompleteError(
            f"{images} images and {reports} reports have no vector of {encoder.name} ({encoder.fingerprint[:12]}) yet, "
            "so searches are still answered by the encoder before. Embed the rest (`coin reembed`), then switch."
            + " An encoder that reads images only embeds no report: it can have the role `image`."
            * no_report
        )
    assign_role(session, encoder, role)


def drop_vectors(session: Session, encoder_id: int) -> int:
    """Delete all image and report vectors of an encoder, and write it to the log. Returns how many images had one.

    The encoder stays registered, since the log refers to it.
    """
    ids = session.scalars(select(EmbeddingRow.image_id).where(EmbeddingRow.encoder_id == encoder_id)).all()
    log_changes(session, encoder_id, ids, REMOVED)
    session.execute(delete(EmbeddingRow).where(EmbeddingRow.encoder_id == encoder_id))
    session.execute(delete(ReportEmbeddingRow).where(ReportEmbeddingRow.encoder_id == encoder_id))
    forget_encoder(session, encoder_id)
    return len(ids)


def _count_images_without_vector(session: Session, encoder_id: int) -> int:
    images = session.scalar(select(func.count()).select_from(ImageRow)) or 0
    with_vector = select(func.count()).select_from(EmbeddingRow).join(ImageRow, ImageRow.id == EmbeddingRow.image_id)
    return images - (session.scalar(with_vector.where(EmbeddingRow.encoder_id == encoder_id)) or 0)
