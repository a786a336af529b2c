"""Stored files that may have no row: noted before they can come to be, deleted as soon as it is safe.

    add:     note names → write files → one transaction: rows, and names crossed out
    remove:  one transaction: rows gone, and names noted → delete files → cross out

Wherever a process is killed, the names of what it may have left behind are in the database, and `collect` (which
every writer begins with) finishes the work. Needs the writer's lock.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from index_store.catalog.case_reader import in_chunks
from index_store.catalog.catalog import Catalog
from index_store.catalog.models import ImageRow, OrphanFileRow
from index_store.files.image_store import ImageStore


def note(session: Session, names: Collection[str]) -> None:
    """These files may lie in the store without a row once this transaction is committed."""
    clear(session, names)  # so that none is noted twice
    if names:
        session.execute(insert(OrphanFileRow), [{"name": name} for name in names])


def clear(session: Session, names: Collection[str]) -> None:
    """These files have their row now, or are gone."""
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
    store.discard(sorted(noted - needed))
    with catalog.writing() as session:
        clear(session, noted)
