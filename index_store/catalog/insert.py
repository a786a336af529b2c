"""Add images: encode what the store lacks, and insert the rows. Update the rows of those that are there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from index_store.catalog.case_reader import in_chunks
from index_store.catalog.case_writer import CaseWriter
from index_store.catalog.catalog import advance_revision
from index_store.catalog.change_log import VECTOR_TYPE, log_changes
from index_store.catalog.counts.kept import following
from index_store.catalog.models import ADDED, EmbeddingRow, ImageRow
from index_store.catalog.slide_tables.rows import SlideWriter, encoded_overview
from index_store.files.image_store import EncodedImage, ImageStore, StoredImage, encode_for_store
from index_store.vectors import Vectors

if TYPE_CHECKING:
    from index_store.catalog.catalog import Catalog
    from index_store.catalog.import_plan import PlannedImage
    from index_store.records import NewImage
    from index_store.slide_records import SlideCut


def encode_missing(
    catalog: Catalog,
    store: ImageStore,
    items: Sequence[NewImage],
    slides: Sequence[SlideCut] = (),
    *,
    in_place: bool = False,
) -> dict[str, EncodedImage]:
    """The images, and overviews of slides, that must be written to the store, by content hash; contents that it has
    already are left out, and so are images that stay in place."""
    places = {(item.row.case, item.place.slide) for item in items if item.place is not None}
    slides = [cut for cut in slides if (cut.case, cut.slide.fingerprint) in places]
    items = [item for item in items if not in_place or item.place is not None]
    with catalog.reading() as session:
        known = _stored(session, {item.sha256 for item in items})
    overviews = {image.stored.sha256: image for image in map(encoded_overview, slides) if image is not None}
    missing = {sha256: image for sha256, image in overviews.items() if not store.holds(image.stored.name)}
    return missing | {
        item.sha256: encode_for_store(item.image, item.source, item.sha256)
        for item in items
        if item.sha256 not in known or not store.holds(known[item.sha256].name)
    }


def insert_images(
    session: Session,
    encoder_id: int,
    items: Sequence[NewImage],
    vectors: Vectors,
    *,
    in_place: bool,
    encoded: Mapping[str, EncodedImage],
    slides: Sequence[SlideCut] = (),
) -> int:
    """Insert the rows of new images, with their vectors and log entries.

    Args:
        session: the transaction.
        encoder_id: of the encoder that made the vectors.
        items: the images. One that is stored already (same case, same content) is skipped.
        vectors: float32[len(items), dim], rows of unit length.
        in_place: reference the files where they are. Fields of slides have none, and are stored.
        encoded: by content hash, the images that were written to the store for this call.
        slides: those that images are fields of, unless their case has them.

    Returns:
        How many images were new.
    """
    stored = _stored(session, {item.sha256 for item in items if not in_place or item.place is not None})
    stored |= {sha256: image.stored for sha256, image in encoded.items()}
    rows = [item.row for item in items]
    with following(session, case_keys=[row.case for row in rows], patient_keys=[row.patient for row in rows]):
        return _insert(session, encoder_id, items, vectors, stored, in_place, slides)


def update_images(session: Session, items: Sequence[PlannedImage], *, drop_rescaled: bool = False) -> int:
    """Update images and their cases from their rows, and write to the change log. Images that are not there are left
    out.

    Args:
        drop_rescaled: delete the vectors of those that get another scale.

    Returns:
        How many were there.
    """
    rows = [item.row for item in items]
    applied = 0
    with following(session, case_keys=[row.case for row in rows], patient_keys=[row.patient for row in rows]):
        cases = CaseWriter(session, rows, [item.sha256 for item in items], drop_rescaled=drop_rescaled)
        for item in items:
            image = cases.image(item.row, item.sha256)
            if image is not None:
                cases.update_image(image, item.row)
                applied += 1
        cases.log_filter_changes()
    return applied


def _insert(
    session: Session,
    encoder_id: int,
    items: Sequence[NewImage],
    vectors: Vectors,
    stored: Mapping[str, StoredImage],
    in_place: bool,
    slides: Sequence[SlideCut],
) -> int:
    rows, contents = [item.row for item in items], [item.sha256 for item in items]
    cases, places = CaseWriter(session, rows, contents), SlideWriter(session, slides)
    added: list[tuple[ImageRow, bytes]] = []
    for item, vector in zip(items, vectors, strict=True):
        known = cases.image(item.row, item.sha256)
        if known is None:
            image = cases.add_image(item, None if in_place and item.place is None else stored[item.sha256])
            added.append((image, vector.astype(VECTOR_TYPE, copy=False).tobytes()))
            places.set_place(image, item.place)
        elif item.place is not None:  # the same pixels were there: the slide is the case's all the same
            places.slide(known.case, item.place.slide)
    if not added:
        return 0
    cases.log_filter_changes()
    session.flush()  # gives the images their ids
    session.add_all(EmbeddingRow(encoder_id=encoder_id, image_id=image.id, vector=data) for image, data in added)
    log_changes(session, encoder_id, [image.id for image, _ in added], ADDED)
    advance_revision(session)
    return len(added)


def _stored(session: Session, contents: Iterable[str]) -> dict[str, StoredImage]:
    """The stored files of these contents, by content hash; contents without a file are left out."""
    query = select(ImageRow.sha256, ImageRow.file, ImageRow.file_sha256).where(ImageRow.file != "")
    found: dict[str, StoredImage] = {}
    for part in in_chunks(contents):
        for sha256, file, file_sha256 in session.execute(query.where(ImageRow.sha256.in_(part))):
            found[sha256] = StoredImage(file, file_sha256)
    return found
