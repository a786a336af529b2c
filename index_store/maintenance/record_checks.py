"""Check whether the tables agree with each other and with the change log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sqlalchemy import Row, Select, and_, delete, select, text
from sqlalchemy.orm import Session

from index_store.catalog import report_vectors
from index_store.catalog.case_reader import in_chunks
from index_store.catalog.catalog import Catalog, advance_revision
from index_store.catalog.change_log import CHUNK, VECTOR_TYPE, log_changes
from index_store.catalog.counts.kept import differences, recount, recount_rows
from index_store.catalog.encoders import serving_encoders
from index_store.catalog.models import (
    ADDED,
    REMOVED,
    CaseRow,
    ChangeRow,
    EmbeddingRow,
    EncoderRow,
    ImageRow,
    PatientRow,
    ReportEmbeddingRow,
)
from index_store.maintenance.findings import Diagnosis, diagnosis
from index_store.records import COLOUR, IMAGE, TEXT
from index_store.vectors import UNIT_TOLERANCE

Pair = tuple[int, int]
"""Encoder id, and image or case id."""
_PAIR: Final = np.dtype([("encoder", np.int64), ("image", np.int64)])

RESTORE = "Restore the archive from a backup (`coin restore`)."
EMBED = "Embed them with the archive's encoder (`coin reembed`)."
EMBED_REPORTS = (
    "Embed them with the archive's encoder, if it reads texts (`coin reembed`). One that reads images only leaves "
    "texts to their words, unless another compares them (`coin reembed --role text --encoder …`)."
)
EMBED_COLOURS = "Read their colours (`coin reembed --colours`)."
EMBED_TEXT = "Embed them with the archive's encoder of the text role (`coin reembed --role text --encoder …`)."


def check_database(session: Session) -> list[Diagnosis]:
    """Check the database file by its engine's own means."""
    if session.get_bind().dialect.name != "sqlite":
        return []  # a server checks its own pages
    reported = [row[0] for row in session.execute(text("PRAGMA integrity_check"))]
    broken = [] if reported == ["ok"] else reported
    dangling = [f"{row[0]} row {row[1]}" for row in session.execute(text("PRAGMA foreign_key_check"))]
    found = diagnosis("database", "the database file is damaged", broken, RESTORE)
    return found + diagnosis("database", "rows refer to others that are not there", dangling, RESTORE)


def check_records(session: Session, catalog: Catalog) -> list[Diagnosis]:
    """Check for patients without cases, cases without images, and images and reports without a vector."""
    without_image = session.scalars(select(CaseRow.key).where(CaseRow.id.not_in(select(ImageRow.case_id)))).all()
    idle = session.scalars(select(PatientRow.id).where(PatientRow.id.not_in(select(CaseRow.patient_id)))).all()
    found = diagnosis(
        "records", "cases have no image, so nothing finds them", without_image, "Remove them (`coin remove`)."
    )
    found += diagnosis(
        "records",
        "patients have no case left",
        [f"patient number {patient_id}" for patient_id in idle],
        "They are taken out with --repair.",
        repair=partial(_delete_patients, catalog, idle),
    )
    serving = serving_encoders(session)
    if not serving:
        images = session.scalars(select(ImageRow.id)).all()
        return found + diagnosis("records", "images are there, but no encoder answers searches", images, EMBED)
    image, text = serving[IMAGE], serving[TEXT]
    lacking = _images_without_vector(session, image.id)
    found += diagnosis("records", "images have no vector, so no search finds them", lacking, EMBED)
    beside = {
        TEXT: ("have no vector of the text role's encoder, so no text is compared with them", EMBED_TEXT),
        COLOUR: ("have no colour histogram, so the channel `colour` does not find them", EMBED_COLOURS),
    }
    for role, (what, advice) in beside.items():
        if role in serving and serving[role].id != image.id:
            missing = _images_without_vector(session, serving[role].id)
            # Harmless: a search says how many it did not compare.
            found += diagnosis("records", f"images {what}", missing, advice, harmless=True)
    outdated = report_vectors.without_vector(session, text.id)
    return found + diagnosis(
        "records",
        "reports have no vector of their present text, and are found by their words alone",
        [f"case {report.case_key}" for report in outdated],
        EMBED_REPORTS if text.id == image.id else EMBED_TEXT,
        harmless=True,
    )


def _images_without_vector(session: Session, encoder_id: int) -> list[str]:
    of_encoder = and_(EmbeddingRow.image_id == ImageRow.id, EmbeddingRow.encoder_id == encoder_id)
    rows = session.execute(
        select(CaseRow.key, ImageRow.id)
        .join(CaseRow, CaseRow.id == ImageRow.case_id)
        .outerjoin(EmbeddingRow, of_encoder)
        .where(EmbeddingRow.image_id.is_(None))
        .order_by(ImageRow.id)
    )
    return [image_name(key, image_id) for key, image_id in rows]


def check_vectors(session: Session, catalog: Catalog) -> list[Diagnosis]:
    """Check for stored vectors that are damaged, or that belong to no image or case."""
    dims = {encoder.id: encoder.dim for encoder in session.scalars(select(EncoderRow))}
    bad = [pair for part in _blocks(session, _all_vectors(EmbeddingRow.image_id)) for pair in _unusable(part, dims)]
    bad_reports = [
        pair for part in _blocks(session, _all_vectors(ReportEmbeddingRow.case_id)) for pair in _unusable(part, dims)
    ]
    lost = _pairs(
        session,
        select(EmbeddingRow.encoder_id, EmbeddingRow.image_id).where(EmbeddingRow.image_id.not_in(select(ImageRow.id))),
    )
    lost_reports = _pairs(
        session,
        select(ReportEmbeddingRow.encoder_id, ReportEmbeddingRow.case_id).where(
            ReportEmbeddingRow.case_id.not_in(select(CaseRow.id))
        ),
    )
    make_anew = "With --repair they are deleted; `coin reembed` then makes them anew."
    deleted = "With --repair they are deleted."
    drop_images, drop_reports = partial(_drop_vectors, catalog), partial(_drop_report_vectors, catalog)
    return [
        *diagnosis(
            "vectors",
            "image vectors are damaged (length, NaN)",
            _named("image", bad),
            make_anew,
            repair=partial(drop_images, bad),
        ),
        *diagnosis(
            "vectors",
            "report vectors are damaged (length, NaN)",
            _named("case number", bad_reports),
            make_anew,
            repair=partial(drop_reports, bad_reports),
        ),
        *diagnosis(
            "vectors", "vectors belong to no image", _named("image", lost), deleted, repair=partial(drop_images, lost)
        ),
        *diagnosis(
            "vectors",
            "report vectors belong to no case",
            _named("case number", lost_reports),
            deleted,
            repair=partial(drop_reports, lost_reports),
        ),
    ]


def check_log(session: Session, catalog: Catalog) -> list[Diagnosis]:
    """Check whether the stored vectors are those that result from the change log."""
    unlogged, unstored = _log_gaps(session)
    advice = "With --repair the log is completed from the records; indexes follow it."
    return [
        *diagnosis(
            "log",
            "vectors are stored that the change log does not tell of",
            _named("image", unlogged),
            advice,
            repair=partial(_complete_log, catalog),
        ),
        *diagnosis(
            "log",
            "vectors are in the change log, but not stored",
            _named("image", unstored),
            advice,
            repair=partial(_complete_log, catalog),
        ),
    ]


def check_counts(session: Session, catalog: Catalog) -> list[Diagnosis]:
    """Check whether the counts that are kept are those of the rows."""
    return diagnosis(
        "counts",
        "counts differ from the records, so that `coin status` and the values to filter by are wrong",
        differences(session),
        "With --repair they are counted anew.",
        repair=partial(recount_rows, catalog),
    )


def _log_gaps(session: Session) -> tuple[list[Pair], list[Pair]]:
    """Vectors that are stored but not in the log, and vectors that are in the log but not stored.

    Compared as arrays: joined in SQL, SQLite takes time with the square of the archive.
    """
    stored = _pair_array(session, select(EmbeddingRow.encoder_id, EmbeddingRow.image_id))
    in_order = select(ChangeRow.encoder_id, ChangeRow.image_id).order_by(ChangeRow.sequence)
    logged = _pair_array(session, in_order)
    is_addition = select(ChangeRow.operation == ADDED).order_by(ChangeRow.sequence)
    added = np.fromiter(session.scalars(is_addition.execution_options(yield_per=CHUNK)), dtype=bool)
    # The last entry of each vector counts: the first of the reversed log.
    _, last = np.unique(logged[::-1], return_index=True)
    current = logged[::-1][last][added[::-1][last]]
    return _pairs_of(np.setdiff1d(stored, current)), _pairs_of(np.setdiff1d(current, stored))


def _pair_array(session: Session, query: Select[*tuple[Any, ...]]) -> npt.NDArray[np.void]:
    """The rows of a query of an encoder's and an image's id, as structured[n]."""
    parts = [np.array([tuple(row) for row in part], dtype=_PAIR) for part in _blocks(session, query)]
    return np.concatenate([np.zeros(0, dtype=_PAIR), *parts])


def _pairs_of(array: npt.NDArray[np.void]) -> list[Pair]:
    return [(int(encoder), int(image)) for encoder, image in array]


def image_name(case_key: str, image_id: int) -> str:
    """How a finding names an image."""
    return f"case {case_key}, image {image_id}"


def _named(kind: str, pairs: Sequence[Pair]) -> list[str]:
    return [f"{kind} {number}" for _, number in pairs]


def _pairs(session: Session, query: Select[*tuple[Any, ...]]) -> list[Pair]:
    return [(row[0], row[1]) for row in session.execute(query)]


def _all_vectors(owner: Any) -> Select[*tuple[Any, ...]]:
    row = owner.class_
    return select(row.encoder_id, owner, row.vector).order_by(row.encoder_id, owner)


def _blocks(session: Session, query: Select[*tuple[Any, ...]]) -> Iterator[Sequence[Row[*tuple[Any, ...]]]]:
    yield from session.execute(query.execution_options(yield_per=CHUNK)).partitions()


def _unusable(rows: Sequence[Row[*tuple[Any, ...]]], dims: dict[int, int]) -> list[Pair]:
    """Those whose vector has the wrong size, is not finite, or is not of length 1."""
    bad = []
    for encoder_id, number, data in rows:
        if len(data) != VECTOR_TYPE.itemsize * dims.get(encoder_id, 0):
            bad.append((encoder_id, number))
            continue
        length = np.linalg.norm(np.frombuffer(data, dtype=VECTOR_TYPE))
        if not abs(length - 1.0) <= UNIT_TOLERANCE:  # a NaN compares false
            bad.append((encoder_id, number))
    return bad


def _drop_vectors(catalog: Catalog, pairs: Sequence[Pair]) -> None:
    with catalog.writing() as session:
        for encoder_id, image_ids in _by_encoder(pairs).items():
            for part in in_chunks(image_ids):
                here = and_(EmbeddingRow.encoder_id == encoder_id, EmbeddingRow.image_id.in_(part))
                session.execute(delete(EmbeddingRow).where(here))
            log_changes(session, encoder_id, image_ids, REMOVED)
        recount(session)
        advance_revision(session)


def _drop_report_vectors(catalog: Catalog, pairs: Sequence[Pair]) -> None:
    with catalog.writing() as session:
        for encoder_id, case_ids in _by_encoder(pairs).items():
            for part in in_chunks(case_ids):
                here = and_(ReportEmbeddingRow.encoder_id == encoder_id, ReportEmbeddingRow.case_id.in_(part))
                session.execute(delete(ReportEmbeddingRow).where(here))
        recount(session)
        advance_revision(session)


def _complete_log(catalog: Catalog) -> None:
    with catalog.writing() as session:
        # Queried anew: repairs before this one have written to the log themselves.
        for pairs, operation in zip(_log_gaps(session), (ADDED, REMOVED), strict=True):
            for encoder_id, image_ids in _by_encoder(pairs).items():
                log_changes(session, encoder_id, image_ids, operation)
        advance_revision(session)


def _delete_patients(catalog: Catalog, patient_ids: Sequence[int]) -> None:
    with catalog.writing() as session:
        for part in in_chunks(patient_ids):
            session.execute(delete(PatientRow).where(PatientRow.id.in_(part)))
        recount(session)
        advance_revision(session)


def _by_encoder(pairs: Sequence[Pair]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for encoder_id, number in pairs:
        found.setdefault(encoder_id, []).append(number)
    return found
