"""A search by a slide: the slide is read where a channel compares it, and results say which field met which image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from retrieval.encoder.encoder import Encoder
from retrieval.search.channels.channel import Channel, Need
from retrieval.search.results import MatchedField, RankedCase
from retrieval.search.slides.read_slide import QueriedSlide, read_query_slide

if TYPE_CHECKING:
    from index_store import Archive, Case, Image
    from retrieval.search.group_by_patient import PatientHit
    from retrieval.search.query import Query

SHOWN: Final = 3
"""Matches of a case."""


def query_slide(query: Query, channels: Iterable[Channel], encoder: Encoder) -> QueriedSlide | None:
    """The query's slide as it is now, where it has one and a channel compares it. Raises as `read_query_slide`."""
    if query.slide is None or not any(Need.PICTURE in channel.needs for channel in channels):
        return None
    return read_query_slide(query.slide, encoder, mpp=query.mpp)


def matched_fields(
    archive: Archive, slide: QueriedSlide, case: Case, image: Image, hit: PatientHit | None
) -> tuple[MatchedField, ...]:
    """The best matches of a patient.

    Args:
        case: the case that is shown of the patient, whose images need not be read again.
        image: the image that is shown of it; what a part of a slide, which is one image, has met.
        hit: the patient's in the channel that compares the slide.
    """
    if hit is None:
        return ()
    if len(slide.fields) == 1:
        return (MatchedField(slide.fields[0], image, hit.score),) if hit.image_id == image.id else ()
    known = {image.id: image for image in case.images}
    found = []
    for match in hit.matches[:SHOWN]:
        met = known.get(match.image_id) or _stored(archive, match.image_id)
        if met is not None:  # else just removed
            found.append(MatchedField(slide.fields[match.field], met, match.similarity))
    return tuple(found)


def own_slide_notes(slide: QueriedSlide | None, cases: Sequence[RankedCase]) -> tuple[str, ...]:
    """That the query's slide is itself in the archive, where it is among the cases found."""
    if slide is None:
        return ()
    own = [
        ranked.case
        for ranked in cases
        if any(of_case.fingerprint == slide.fingerprint for of_case in ranked.case.slides)
    ]
    return tuple(
        f"The query's slide is in the archive itself, of the case {case.key}: leave its patient out "
        f"(--exclude-patient {case.patient}) to find others."
        for case in own
    )


def _stored(archive: Archive, image_id: int) -> Image | None:
    """An image of another of the patient's cases."""
    from index_store import ImageNotFoundError

    try:
        return archive.image(image_id)
    except ImageNotFoundError:
        return None
