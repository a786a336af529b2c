"""What is counted in an archive, counted from its rows: those of all cases, or of some.

Only the number of patients is not a sum over cases, and has a function of its own.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from index_store.catalog.case_reader import CHUNK, in_chunks
from index_store.catalog.catalog import has_scale
from index_store.catalog.filters import IMAGE_COLUMNS
from index_store.catalog.models import CaseRow, EmbeddingRow, ImageRow, PatientRow, ReportEmbeddingRow
from index_store.catalog.report_vectors import text_hash

Tally = Counter[tuple[str, str]]
"""How many there are of each kind and value."""

PATIENTS, CASES, IMAGES, REPORTS = TOTALS = ("patients", "cases", "images", "reports")
"""Kinds that have the one value "". Reports are those with any text, of cases with an image."""
LABELS, DERIVED, SOURCE = "labels", "derived", "source"
"""Kinds of cases: site, system and category together as a JSON list; which of them were derived; the source."""
IMAGE_KINDS = tuple(IMAGE_COLUMNS.values())
"""Kinds of cases that have an image of this value."""
SCALE = "scale"
"""Images by µm a pixel, to two digits; those whose scale is not known are in no value."""
VECTORS, REPORT_VECTORS = "vectors", "report vectors"
"""Kinds whose value is the id of an encoder: images with a vector, and reports with one of their present text."""


def tally(session: Session, case_ids: Iterable[int] | None = None) -> Tally:
    """Everything but the patients: of all cases, or of these; ids without a case are left out. Reads reports."""
    found: Tally = Counter()
    for part in [None] if case_ids is None else in_chunks(sorted(case_ids)):
        _count_cases(session, part, found)
        _count_images(session, part, found)
        _count_reports(session, part, found)
    return +found


def whole_tally(session: Session) -> Tally:
    """Everything, of the whole archive. The totals are there even where they are 0."""
    found = tally(session)
    found[PATIENTS, ""] = session.scalar(select(func.count()).select_from(PatientRow)) or 0
    return Counter({**{(kind, ""): 0 for kind in TOTALS}, **found})


def _count_cases(session: Session, part: Sequence[int] | None, found: Tally) -> None:
    columns = (CaseRow.site, CaseRow.system, CaseRow.category, CaseRow.source, CaseRow.derived)
    query = select(*columns, func.count()).group_by(*columns)
    for *labels, source, derived, cases in session.execute(_among(query, CaseRow.id, part)):
        found[CASES, ""] += cases
        found[LABELS, json.dumps(labels, ensure_ascii=False)] += cases
        for kind, value in ((SOURCE, source), (DERIVED, derived)):
            if value:
                found[kind, value] += cases


def _count_images(session: Session, part: Sequence[int] | None, found: Tally) -> None:
    columns = [getattr(ImageRow, kind) for kind in IMAGE_KINDS]
    query = select(ImageRow.case_id, *columns, func.count()).group_by(ImageRow.case_id, *columns)
    rows = session.execute(_among(query.order_by(ImageRow.case_id), ImageRow.case_id, part))
    for _, groups in groupby(rows, key=itemgetter(0)):
        values: set[tuple[str, str]] = set()
        for _, *row, images in groups:
            found[IMAGES, ""] += images
            values.update(zip(IMAGE_KINDS, row, strict=True))
        found.update((kind, value) for kind, value in values if value)
    if has_scale(session):
        known = select(ImageRow.mpp, func.count()).where(ImageRow.mpp.is_not(None)).group_by(ImageRow.mpp)
        for mpp, images in session.execute(_among(known, ImageRow.case_id, part)):
            found[SCALE, f"{float(f'{mpp:.2g}'):g}"] += images
    with_vector = (
        select(EmbeddingRow.encoder_id, func.count())
        .join(ImageRow, ImageRow.id == EmbeddingRow.image_id)
        .group_by(EmbeddingRow.encoder_id)
    )
    for encoder_id, vectors in session.execute(_among(with_vector, ImageRow.case_id, part)):
        found[VECTORS, str(encoder_id)] += vectors


def _count_reports(session: Session, part: Sequence[int] | None, found: Tally) -> None:
    embedded = ReportEmbeddingRow
    query = (
        select(CaseRow.id, CaseRow.report, embedded.encoder_id, embedded.report_sha256)
        .outerjoin(embedded, embedded.case_id == CaseRow.id)
        .where(select(ImageRow.id).where(ImageRow.case_id == CaseRow.id).exists())
        .order_by(CaseRow.id)
    )
    counted, sha256 = 0, ""
    rows = session.execute(_among(query, CaseRow.id, part).execution_options(yield_per=CHUNK))
    for case_id, text, encoder_id, made_of in rows:
        if not text.strip():
            continue
        if case_id != counted:  # a row for each of its vectors
            counted, sha256 = case_id, text_hash(text)
            found[REPORTS, ""] += 1
        if encoder_id is not None and made_of == sha256:
            found[REPORT_VECTORS, str(encoder_id)] += 1


def _among(query: Select[*tuple[Any, ...]], column: Any, part: Sequence[int] | None) -> Select[*tuple[Any, ...]]:
    return query if part is None else query.where(column.in_(part))
