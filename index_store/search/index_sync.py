"""Keeps a vector index in step with the change log.

The index is a function of the log: at position p it holds exactly the vectors whose last change up to p is an addition.
Whatever does not fit (file missing or damaged, a log that is not the one the index followed, a count that is off) is
answered by rebuilding from SQL, and said in `notes`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from index_store.catalog.change_log import CHUNK, _arrays, log_head, stored_vectors
from index_store.catalog.models import ADDED, REMOVED, ChangeRow, EmbeddingRow, ReportEmbeddingRow
from index_store.errors import IndexDriftError
from index_store.index.faiss_index import FaissIndex, no_reports
from index_store.index.recall_tuning import QUERIES
from index_store.index.storage import IndexFile, IndexFileProblem, IndexIdentity
from index_store.index.vector_file import DamagedRowsError
from index_store.vectors import Ids, LogPosition, Vectors

REBUILT_NOTE = "The vector index was rebuilt"
"""What the note on a rebuilding begins with."""
DAMAGED = "its checksum did not match"


class IndexFollower:
    """A FAISS index, the place in the log it stands at, and the way from there to the log's end.

    Not locked: `follow` needs exclusion, everything else may run side by side.
    """

    def __init__(
        self, folder: Path, identity: IndexIdentity, encoder_id: int, notes: list[str], *, spill: Path | None = None
    ) -> None:
        """`spill` is a folder for temporary files; None where nothing may be written."""
        self._spill = spill
        self.index = FaissIndex(identity.dim, spill=spill)
        self.position = LogPosition()
        self._file = IndexFile(folder, identity, spill=spill)
        self._encoder_id = encoder_id
        self._dim = identity.dim
        self._notes = notes
        self._saved: LogPosition | None = None

    def load(self, session: Session) -> None:
        """Begin with what was saved, and catch up."""
        try:
            self.index, self.position = self._file.read()
            self._saved = self.position
        except IndexFileProblem as problem:
            if log_head(session) != LogPosition():
                self.rebuild(session, str(problem))
            return
        self.follow(session)

    def follow(self, session: Session) -> None:
        """Apply what the log holds beyond our position, as `session` sees it."""
        head = log_head(session)
        if self.position != head:
            if not self._knows_this_log(session):
                self.rebuild(session, "the records are not those it had followed (restored from a backup?)")
                return
            was_saved = self._saved == self.position
            try:
                changed = self._apply_changes(session)
            except DamagedRowsError:  # met where the index changed its mode
                self.rebuild(session, DAMAGED)
                return
            self.position = head
            if was_saved and not changed:  # the log went on for another encoder: the file would hold the same vectors
                self._saved = head
        if self.index.count != self._stored_count(session):
            self.rebuild(session, "its number of vectors did not match")

    def rebuild(self, session: Session, reason: str) -> None:
        """Begin anew from the stored vectors."""
        self._notes.append(f"{REBUILT_NOTE} from the archive's records: {reason}.")
        self.index = FaissIndex.filled(
            self._dim, self._all_vectors(session), spill=self._spill, reports=lambda: self._some_reports(session)
        )
        self.position = log_head(session)
        self._saved = None
        if self.index.count != self._stored_count(session):
            raise IndexDriftError("The index does not match the records even when rebuilt. Report this.")

    @property
    def count(self) -> int:
        """Vectors in the index."""
        return self.index.count

    @property
    def is_worth_saving(self) -> bool:
        """Whether the next opening would have to do over again what this one did."""
        return self.position not in (self._saved, LogPosition())

    def save(self, session: Session | None = None) -> None:
        """Write the index file, unless it is up to date; before that, let its mode follow its size. Failing is no loss,
        and is noted: the log is the truth.

        With a `session`, an index that is not exact has its recall measured for the reports' vectors too.
        """
        if self._saved == self.position:
            return
        try:
            self._save(session)
        except DamagedRowsError:
            if session is None:
                raise
            self.rebuild(session, DAMAGED)
            self._save(session)

    def _save(self, session: Session | None) -> None:
        self.index.settle(no_reports if session is None else lambda: self._some_reports(session))
        try:
            self._file.write(self.index, self.position)
            self._saved = self.position
        except OSError as error:
            self._notes.append(
                f"The vector index could not be saved ({error.strerror}); it will be brought up to date when the "
                "archive is opened next."
            )

    def discard(self) -> None:
        """Delete the index file."""
        self._file.discard()

    def _knows_this_log(self, session: Session) -> bool:
        if self.position == LogPosition():
            return True
        token = session.scalar(select(ChangeRow.token).where(ChangeRow.sequence == self.position.sequence))
        return token == self.position.token

    def _apply_changes(self, session: Session) -> bool:
        """Returns whether there were any for this encoder."""
        changes = session.execute(
            select(ChangeRow.image_id, ChangeRow.operation)
            .where(ChangeRow.encoder_id == self._encoder_id, ChangeRow.sequence > self.position.sequence)
            .order_by(ChangeRow.sequence)
        )
        removed: set[int] = set()
        last: dict[int, str] = {}
        for image_id, operation in changes:
            last[image_id] = operation
            if operation == REMOVED:
                removed.add(image_id)
        if removed:
            self.index.remove(np.array(sorted(removed), dtype=np.int64))
        added = np.array(sorted(i for i, operation in last.items() if operation == ADDED), dtype=np.int64)
        for start in range(0, len(added), CHUNK):
            part = added[start : start + CHUNK]
            self.index.add(*stored_vectors(session, self._encoder_id, part, self._dim))
        return bool(last)

    def _some_reports(self, session: Session) -> Vectors:
        """Vectors of reports, evenly drawn: float32[n ≤ QUERIES, dim]."""
        of_encoder = ReportEmbeddingRow.encoder_id == self._encoder_id
        cases = session.scalars(select(ReportEmbeddingRow.case_id).where(of_encoder)).all()
        drawn = [cases[i] for i in np.linspace(0, len(cases) - 1, min(QUERIES, len(cases))).astype(int)]
        rows = session.execute(
            select(ReportEmbeddingRow.case_id, ReportEmbeddingRow.vector).where(
                of_encoder, ReportEmbeddingRow.case_id.in_(drawn)
            )
        )
        return _arrays(rows, self._dim)[1]

    def _stored_count(self, session: Session) -> int:
        query = select(func.count()).select_from(EmbeddingRow).where(EmbeddingRow.encoder_id == self._encoder_id)
        return session.scalar(query) or 0

    def _all_vectors(self, session: Session) -> Iterator[tuple[Ids, Vectors]]:
        rows = session.execute(
            select(EmbeddingRow.image_id, EmbeddingRow.vector)
            .where(EmbeddingRow.encoder_id == self._encoder_id)
            .order_by(EmbeddingRow.image_id)
            .execution_options(yield_per=CHUNK)
        )
        for part in rows.partitions():
            yield _arrays(part, self._dim)
