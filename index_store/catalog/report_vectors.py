"""Vectors of reports, by encoder and case, with the SHA-256 of the embedded text.

A vector is current while the report is that text. One that is not is never returned; it stays until it is replaced or
its case is removed. Blank reports have none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from sqlalchemy import and_, delete, insert, select
from sqlalchemy.orm import Session

from index_store.catalog.case_reader import in_chunks, reports_query
from index_store.catalog.change_log import VECTOR_TYPE
from index_store.catalog.models import CaseRow, ReportEmbeddingRow
from index_store.records import StoredReport
from index_store.vectors import Ids, Vectors


def text_hash(text: str) -> str:
    """SHA-256 (hex) of a report's text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def without_vector(session: Session, encoder_id: int) -> list[StoredReport]:
    """The reports with any text whose vector is missing, or was made of another text; in order of case id."""
    of_encoder = and_(ReportEmbeddingRow.case_id == CaseRow.id, ReportEmbeddingRow.encoder_id == encoder_id)
    query = reports_query(ReportEmbeddingRow.report_sha256).outerjoin(ReportEmbeddingRow, of_encoder)
    return [
        StoredReport(case_id, key, patient, text)
        for case_id, key, patient, text, made_of in session.execute(query)
        if text.strip() and made_of != text_hash(text)
    ]


def put(session: Session, encoder_id: int, case_ids: Sequence[int], texts: Sequence[str], vectors: Vectors) -> int:
    """Store vectors, float32[len(case_ids), dim], of those cases whose report still is the text in `texts`.

    Returns:
        How many were stored.
    """
    stored: dict[int, str] = {}
    for part in in_chunks(case_ids):
        stored.update(session.execute(select(CaseRow.id, CaseRow.report).where(CaseRow.id.in_(part))).all())
    rows = {
        int(case_id): {
            "encoder_id": encoder_id,
            "case_id": int(case_id),
            "report_sha256": text_hash(text),
            "vector": vector.astype(VECTOR_TYPE, copy=False).tobytes(),
        }
        for case_id, text, vector in zip(case_ids, texts, vectors, strict=True)
        if stored.get(case_id) == text
    }
    for part in in_chunks(rows):
        session.execute(
            delete(ReportEmbeddingRow).where(
                ReportEmbeddingRow.encoder_id == encoder_id, ReportEmbeddingRow.case_id.in_(part)
            )
        )
    if rows:
        session.execute(insert(ReportEmbeddingRow), list(rows.values()))
    return len(rows)


def current(session: Session, encoder_id: int, dim: int, case_ids: Iterable[int] | None = None) -> tuple[Ids, Vectors]:
    """The case ids, ascending, and vectors, float32[n, dim], of the reports that still are what was embedded: of all
    cases, or of these."""
    query = (
        select(CaseRow.id, CaseRow.report, ReportEmbeddingRow.report_sha256, ReportEmbeddingRow.vector)
        .join(ReportEmbeddingRow, ReportEmbeddingRow.case_id == CaseRow.id)
        .where(ReportEmbeddingRow.encoder_id == encoder_id)
        .order_by(CaseRow.id)
    )
    queries = [query]
    if case_ids is not None:
        queries = [query.where(CaseRow.id.in_(part)) for part in in_chunks(sorted(case_ids))]
    rows = (row for each in queries for row in session.execute(each))
    found = [(i, vector) for i, text, made_of, vector in rows if made_of == text_hash(text)]
    ids = np.array([case_id for case_id, _ in found], dtype=np.int64)
    data = np.frombuffer(b"".join(vector for _, vector in found), dtype=VECTOR_TYPE)
    return ids, data.reshape(len(found), dim).astype(np.float32, copy=False)
