"""Orphaned files: stored files that may have no row. They are noted before they can exist, and deleted when safe.

    add:     note names → write files → one transaction: insert rows, clear names
    remove:  one transaction: delete rows, note names → delete files → clear names

Wherever a process is killed, the names of the files that it may have left are in the database, and `collect`, with
which every writer begins, deletes them. All functions need the writer's lock.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from index_store.catalog.case_reader import in_chunks
from index_store.catalog.catalog import Catalog
from index_store.catalog.models import ImageRow, OrphanFileRow, SlideRow
from index_store.files.image_store import ImageStore


def note(session: Session, names: Collection[str]) -> None:
    """Note that these files may exist without a row once this transaction is committed."""
    clear(session, names)  # none is noted twice
    if names:
        session.execute(insert(OrphanFileRow), [{"name": name} for name in names])


def clear(session: Session, names: Collection[str]) -> None:
    """Remove the notes on these files: they have a row now, or are deleted."""
    for part in in_chunks(names):
        session.execute(delete(OrphanFileRow).where(OrphanFileRow.name.in_(part)))


def collect(catalog: Catalog, store: ImageStore) -> None:
    """Delete the noted files that no row needs."""
    with catalog.reading() as session:
        noted = set(session.scalars(select(OrphanFileRow.name)))
        if not noted:
            return
        needed: set[str] = set()
        for part in in_chunks(noted):
            needed.update(session.scalars(select(ImageRow.file).where(ImageRow.file.in_(part))))
            needed.update(session.scalars(select(SlideRow.overview).where(SlideRow.overview.in_(part))))
    store.discard(sorted(noted - needed))
    with catalog.writing() as session:
        clear(session, noted)
