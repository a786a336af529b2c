"""Light reads over many cases: reports, ids and owners, without one image's row being loaded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from sqlalchemy import Select, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from .case_reader import derived_columns, in_chunks
from .filters import CaseFilter, permitted
from .models import CaseRow, ImageRow, PatientRow
from .records import Owner, Particulars, StoredReport
from .vector_index import Ids


def reports_query(where: CaseFilter | None, *further: InstrumentedAttribute[str]) -> Select[*tuple[Any, ...]]:
    """Id, key, patient and report (and `further` columns) of the cases with a permitted image, in order of id."""
    return (
        select(CaseRow.id, CaseRow.key, PatientRow.key, CaseRow.report, *further)
        .join(PatientRow, PatientRow.id == CaseRow.patient_id)
        .where(CaseRow.id.in_(_with_images(where)))
        .order_by(CaseRow.id)
    )


def stored_reports(session: Session, where: CaseFilter | None) -> list[StoredReport]:
    """The reports of the cases with at least one permitted image, in order of case id."""
    return [StoredReport(*row) for row in session.execute(reports_query(where))]


def permitted_cases(session: Session, where: CaseFilter | None) -> Ids:
    """int64[n], ascending: the cases with at least one permitted image."""
    query = select(CaseRow.id).where(CaseRow.id.in_(_with_images(where))).order_by(CaseRow.id)
    return np.array(session.scalars(query).all(), dtype=np.int64)


def particulars(session: Session, keys: Iterable[str]) -> dict[str, Particulars]:
    """What is stored of these cases; keys that are not there are left out."""
    query = select(CaseRow.key, CaseRow.site, CaseRow.system, CaseRow.category, CaseRow.derived)
    found: dict[str, Particulars] = {}
    for part in in_chunks(keys):
        for key, site, system, category, derived in session.execute(query.where(CaseRow.key.in_(part))):
            found[key] = Particulars(site, system, category, derived_columns(derived))
    return found


def owners(session: Session, image_ids: Iterable[int]) -> dict[int, Owner]:
    """Case and patient of each image; ids that are not there are left out."""
    query = select(ImageRow.id, ImageRow.case_id, PatientRow.key).select_from(ImageRow).join(CaseRow).join(PatientRow)
    found: dict[int, Owner] = {}
    for part in in_chunks(int(image_id) for image_id in image_ids):
        rows = session.execute(query.where(ImageRow.id.in_(part)))
        found.update((image_id, Owner(case_id, patient)) for image_id, case_id, patient in rows)
    return found


def _with_images(where: CaseFilter | None) -> Select[Any]:
    return select(ImageRow.case_id).where(*permitted(where or CaseFilter()))
