"""The archive's revision: a number that grows by one in the transaction of every change.

What is derived from the records and kept in memory (a word index over reports, a matrix of report vectors) compares it
to learn whether it is out of date. It grows for cases, images, reports and report vectors, in whichever process; not
for the encoder's registration.
"""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from index_store.catalog.models import ArchiveRow


def current_revision(session: Session) -> int:
    """The revision as `session` sees it; 0 before the first change."""
    return session.scalars(select(ArchiveRow.revision)).one()


def advance(session: Session) -> None:
    """The revision after this transaction is one more."""
    session.execute(update(ArchiveRow).values(revision=ArchiveRow.revision + 1))
