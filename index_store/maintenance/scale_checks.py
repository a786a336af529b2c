"""Check whether the scales of images are such as this software stores."""

from __future__ import annotations

from sqlalchemy import and_, not_, or_, select
from sqlalchemy.orm import Session

from index_store.catalog.catalog import has_scale
from index_store.catalog.models import CaseRow, ImageRow
from index_store.maintenance.findings import Diagnosis, diagnosis
from index_store.maintenance.record_checks import image_name
from index_store.scale import MAX_MPP, MIN_MPP


def check_scales(session: Session) -> list[Diagnosis]:
    """Check for scales that no microscope's image has, and for ones without a source."""
    if not has_scale(session):
        return []
    # Spelled out for NULL, of which no comparison is true and none false.
    unsound = or_(
        and_(ImageRow.mpp.is_not(None), or_(not_(ImageRow.mpp.between(MIN_MPP, MAX_MPP)), ImageRow.mpp_source == "")),
        and_(ImageRow.mpp.is_(None), ImageRow.mpp_source != ""),
    )
    rows = session.execute(
        select(CaseRow.key, ImageRow.id)
        .join(CaseRow, CaseRow.id == ImageRow.case_id)
        .where(unsound)
        .order_by(ImageRow.id)
    )
    return diagnosis(
        "records",
        f"images have a scale that none can have ({MIN_MPP} to {MAX_MPP:g} µm a pixel), or of unknown origin",
        [image_name(key, image_id) for key, image_id in rows],
        "Add them again with the right scale in the manifest's column `mpp`.",
    )
