"""Keeps a FAISS index in step with the change log.

The index is a function of the log: at position p it holds exactly the vectors whose last change up to p is an addition.
Where something does not fit (a missing or damaged file, a log other than the one that the index followed, a wrong
number of vectors), the index is rebuilt from SQL, and `notes` says so.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from index_store.archive_status import IndexStatus
from index_store.catalog.change_log import (
    CHUNK,
    is_of_this_log,
    log_head,
    stored_count,
    stored_vectors,
    vectors_from_rows,
)
from index_store.catalog.counts.kept import kept_vectors
from index_store.catalog.models import ADDED, REMOVED, ChangeRow, EmbeddingRow, ReportEmbeddingRow
from index_store.errors import IndexDriftError
from index_store.index.faiss_index import FaissIndex, no_reports
from index_store.index.recall_tuning import QUERIES
from index_store.index.storage import IndexFile, IndexFileProblem
from index_store.index.vector_file import DamagedRowsError
from index_store.search.protocols import REBUILT_NOTE
from index_store.vectors import Ids, IndexIdentity, LogPosition, Vectors

DAMAGED = "its checksum did not match"
UNSAVED = 0.01
"""The share of additions that a saved index may lack: the next process reads these vectors from the records. To save an
index takes as long as it is large, so that a few images would be added the more slowly the larger the archive."""


class IndexSync:
    """The FAISS index of one encoder, and the last entry of the log that it has applied.

    Not locked: `follow`, `load` and `rebuild` need exclusion, everything else may run side by side.
    """

    def __init__(
        self, folder: Path, identity: IndexIdentity, encoder_id: int, notes: list[str], *, spill: Path | None = None
    ) -> None:
        """
        Args:
            folder: of the saved index.
            notes: to which what happens to the index is added, as sentences.
            spill: a folder for temporary files; None where nothing may be written.
        """
        self.index = FaissIndex(identity.dim, spill=spill)
        self.position = LogPosition()
        self._spill = spill
        self._file = IndexFile(folder, identity, spill=spill)
        self._encoder_id = encoder_id
        self._dim = identity.dim
        self._notes = notes
        self._saved_position: LogPosition | None = None
        self._unsaved = 0
        """Additions since it was saved."""
        self._removed = False
        """Whether anything was removed since: then it is saved at once, since nothing of that may stay on disk."""

    def load(self, session: Session) -> None:
        """Read the saved index, and apply what the log holds beyond it."""
        try:
            self.index, self.position = self._file.read()
            self._saved_position = self.position
        except IndexFileProblem as problem:
            if log_head(session) != LogPosition():
                self.rebuild(session, str(problem))
            return
        self._apply_log(session)
        self._compare_with_rows(session)

    def follow(self, session: Session) -> None:
        """Apply what the log, as `session` sees it, holds beyond our position. O(changes)."""
        self._apply_log(session)
        if self.index.count != kept_vectors(session, self._encoder_id):
            self._compare_with_rows(session)  # what is kept is derived: only the rows say that something is missing

    def _apply_log(self, session: Session) -> None:
        head = log_head(session)
        if self.position != head:
            if not is_of_this_log(session, self.position):
                self.rebuild(session, "the records are not those it had followed (restored from a backup?)")
                return
            was_saved = self._saved_position == self.position
            try:
                changed = self._apply_changes(session)
            except DamagedRowsError:  # met where the index changed its mode
                self.rebuild(session, DAMAGED)
                return
            self.position = head
            if was_saved and not changed:  # the log grew for another encoder: the file would hold the same vectors
                self._saved_position = head

    def _compare_with_rows(self, session: Session) -> None:
        if self.index.count != stored_count(session, self._encoder_id):
            self.rebuild(session, "its number of vectors did not match")

    def rebuild(self, session: Session, reason: str) -> None:
        """Build the index anew from the stored vectors, and note the reason.

        Raises:
            IndexDriftError: even then its number of vectors is not that of the records.
        """
        self._notes.append(f"{REBUILT_NOTE} from the archive's records: {reason}.")
        self.index = FaissIndex.filled(
            self._dim, self._all_vectors(session), spill=self._spill, reports=lambda: self._sample_reports(session)
        )
        self.position = log_head(session)
        self._saved_position, self._unsaved, self._removed = None, 0, False
        if self.index.count != stored_count(session, self._encoder_id):
            raise IndexDriftError("The index does not match the records even when rebuilt. Report this.")

    def verify(self, session: Session) -> None:
        """Read every vector of the saved index; build it anew where one is not what was saved."""
        try:
            self.index.check()
        except DamagedRowsError:
            self.rebuild(session, DAMAGED)

    def status(self) -> IndexStatus:
        """Mode, recall and memory of the index."""
        tuning = self.index.searcher.tuning
        return IndexStatus(
            mode=self.index.mode,
            recall=dict(tuning.recall) if tuning else {},
            measured_at=tuning.rows if tuning else 0,
            memory_bytes=self.index.memory_bytes(),
        )

    @property
    def count(self) -> int:
        """Number of vectors in the index."""
        return self.index.count

    @property
    def is_worth_saving(self) -> bool:
        """Whether the next process to open the archive would have to repeat much of what this one did, or would find
        what was removed."""
        if self.position in (self._saved_position, LogPosition()):
            return False
        return self._saved_position is None or self._removed or self._unsaved > UNSAVED * self.index.count

    def save(self, session: Session | None = None) -> None:
        """Write the index file, unless it lacks little, after fitting the index's mode to its size.

        A file that cannot be written is noted and is no loss: the log is the truth.

        Args:
            session: with it, the recall of an index that is not exact is measured for the reports' vectors too.
        """
        if not self.is_worth_saving:
            with contextlib.suppress(OSError):
                self._file.wipe(self.index)
            return
        try:
            self._save(session)
        except DamagedRowsError:
            if session is None:
                raise
            self.rebuild(session, DAMAGED)
            self._save(session)

    def _save(self, session: Session | None) -> None:
        self.index.settle(no_reports if session is None else lambda: self._sample_reports(session))
        try:
            self._file.write(self.index, self.position)
            self._saved_position, self._unsaved, self._removed = self.position, 0, False
        except OSError as error:
            self._notes.append(
                f"The vector index could not be saved ({error.strerror}); it will be brought up to date when the "
                "archive is opened next."
            )

    def discard(self) -> None:
        """Delete the index file."""
        self._file.discard()

    def _apply_changes(self, session: Session) -> bool:
        """Apply the log's entries for this encoder. Returns whether there were any."""
        changes = session.execute(
            select(ChangeRow.image_id, ChangeRow.operation)
            .where(ChangeRow.encoder_id == self._encoder_id, ChangeRow.sequence > self.position.sequence)
            .order_by(ChangeRow.sequence)
        )
        removed: set[int] = set()
        last_operation: dict[int, str] = {}
        for image_id, operation in changes:
            last_operation[image_id] = operation
            if operation == REMOVED:
                removed.add(image_id)
        if removed:
            self.index.remove(np.array(sorted(removed), dtype=np.int64))
            self._removed = True
        added = np.array(sorted(i for i, operation in last_operation.items() if operation == ADDED), dtype=np.int64)
        for start in range(0, len(added), CHUNK):
            part = added[start : start + CHUNK]
            self.index.add(*stored_vectors(session, self._encoder_id, part, self._dim))
        self._unsaved += len(added)
        return bool(last_operation)

    def _sample_reports(self, session: Session) -> Vectors:
        """Vectors of reports, evenly spaced by case: float32[n <= QUERIES, dim]."""
        of_encoder = ReportEmbeddingRow.encoder_id == self._encoder_id
        cases = session.scalars(select(ReportEmbeddingRow.case_id).where(of_encoder)).all()
        sample = [cases[i] for i in np.linspace(0, len(cases) - 1, min(QUERIES, len(cases))).astype(int)]
        rows = session.execute(
            select(ReportEmbeddingRow.case_id, ReportEmbeddingRow.vector).where(
                of_encoder, ReportEmbeddingRow.case_id.in_(sample)
            )
        )
        return vectors_from_rows(rows, self._dim)[1]

    def _all_vectors(self, session: Session) -> Iterator[tuple[Ids, Vectors]]:
        rows = session.execute(
            select(EmbeddingRow.image_id, EmbeddingRow.vector)
            .where(EmbeddingRow.encoder_id == self._encoder_id)
            .order_by(EmbeddingRow.image_id)
            .execution_options(yield_per=CHUNK)
        )
        for part in rows.partitions():
            yield vectors_from_rows(part, self._dim)
