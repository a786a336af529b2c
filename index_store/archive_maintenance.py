"""The maintenance calls of `Archive`: the writer's lock, vectors of several encoders, examination and backup."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from index_store.archive_queries import ArchiveQueries
from index_store.catalog import orphan_files, reembedding, report_vectors
from index_store.catalog.catalog import advance_revision
from index_store.catalog.counts.kept import following, recount_rows
from index_store.catalog.databases.database import Lock
from index_store.catalog.encoders import (
    active_encoder,
    encoder_info,
    find_encoder,
    register_encoder,
    require_encoder,
    require_known,
    roles_of,
    serving_encoders,
)
from index_store.catalog.layout import explained
from index_store.catalog.slide_tables import rows as slide_rows
from index_store.errors import EncoderMismatchError, ReadOnlyArchiveError
from index_store.maintenance.backup import back_up
from index_store.maintenance.backup_folder import BackupDescriptor
from index_store.maintenance.doctor import Doctor
from index_store.maintenance.findings import Examination
from index_store.maintenance.index_checks import RECALLED
from index_store.records import COLOUR_FINGERPRINT, ROLES, EncoderInfo, Role
from index_store.search.image_table_sync import TABLE
from index_store.vectors import checked_vectors

if TYPE_CHECKING:
    from index_store.catalog.import_plan import Progress


class ArchiveMaintenance(ArchiveQueries):
    """Base of `Archive`."""

    _writer_lock: Lock

    @contextmanager
    def writer(self, *, timeout: float = 0.0) -> Iterator[None]:
        """Hold the archive for writing over several calls; the index is saved once, at the end.

        Begins with deleting the orphaned files of a killed writer.

        Raises:
            ArchiveBusyError: another writer did not finish within `timeout` seconds; the message names it.
            ReadOnlyArchiveError: the archive was opened read-only.
        """
        self._require_writable()
        outermost = not self._writer_lock.held
        with contextlib.ExitStack() as stack:
            with explained(self.path):
                stack.enter_context(self._writer_lock.hold(timeout=timeout))
                if outermost:
                    orphan_files.collect(self._catalog, self._images)
                    self._derived.sweep()
            try:
                yield
            finally:
                if outermost:
                    self._index.save()
                    self._erase_derived()

    def _erase_derived(self) -> None:
        """Leave no trace in what is derived of what was removed or changed, by this writer or by a killed one."""
        with self._catalog.reading() as session:
            if self._derived.erase(session, but=TABLE):
                self._image_table.table(session)

    def finish_slide(self, case: str, fingerprint: str, settings: str, notes: Sequence[str] = ()) -> bool:
        """Note that all fields of a slide that these settings chose and that can be read are stored (`add`), so that
        adding it again does nothing; `notes`: what could not be read, as sentences. Raises like `add`.

        Returns whether the case has fields of it.
        """
        with self.writer(), self._catalog.writing() as session:
            known = slide_rows.finish(session, case, fingerprint, settings, notes)
            if known:
                advance_revision(session)
        return known

    # Vectors

    def add_report_vectors(
        self, case_ids: Sequence[int], texts: Sequence[str], vectors: object, *, fingerprint: str
    ) -> int:
        """Store the vectors of reports, in one transaction, and replace earlier ones.

        Args:
            case_ids: of the cases (`reports_without_vector` names those that lack one).
            texts: the reports as they were embedded. A case that was removed, or has another report by now, is skipped.
            vectors: float32[len(case_ids), dim], rows of unit length.
            fingerprint: of the encoder that made the vectors: the archive's, or one that was begun (`begin_encoder`).

        Returns how many were stored. Raises like `add`.
        """
        with self._catalog.reading() as session:
            encoder = require_known(session, fingerprint)
        rows = checked_vectors(vectors, dim=encoder.dim, count=len(case_ids), of="report")
        if len(texts) != len(case_ids):
            raise ValueError(f"{len(case_ids)} cases and {len(texts)} texts: give each case its text")
        with self.writer(), self._catalog.writing() as session:
            with following(session, case_ids=[int(case_id) for case_id in case_ids]):
                stored = report_vectors.put(session, encoder.id, case_ids, texts, rows)
            if stored:
                advance_revision(session)
        return stored

    def add_vectors(self, image_ids: Sequence[int], vectors: object, *, fingerprint: str) -> int:
        """Store vectors of images that are stored already, in one transaction: used to embed with another encoder.

        Args:
            image_ids: of the images (`images_without_vector` names those that lack one). An image that was removed, or
                has a vector of this encoder, is skipped.
            vectors: float32[len(image_ids), dim], rows of unit length.
            fingerprint: of the encoder that made the vectors: the archive's, or one that was begun (`begin_encoder`).

        Returns how many were stored. Raises like `add`.
        """
        with self._catalog.reading() as session:
            encoder = require_known(session, fingerprint)
        rows = checked_vectors(vectors, dim=encoder.dim, count=len(image_ids))
        with self.writer():
            with self._catalog.writing() as session:
                stored = reembedding.put_vectors(session, encoder.id, image_ids, rows)
                if stored:
                    advance_revision(session)
            self._index.sync()
        return stored

    # Encoders

    def begin_encoder(self, fingerprint: str, *, name: str, dim: int) -> EncoderInfo:
        """Register another encoder beside the active one, to store its vectors. Repeating the call is harmless.

        Raises:
            EncoderMismatchError: the archive has no encoder yet (`use_encoder` is for that), or knows this fingerprint
                with another dimension.
        """
        with self.writer(), self._catalog.writing() as session:
            active = active_encoder(session)
            if active is None:
                require_encoder(active, fingerprint=fingerprint)
            encoder = register_encoder(session, fingerprint=fingerprint, name=name, dim=dim)
            if encoder.dim != dim:
                raise EncoderMismatchError(
                    f"This archive knows {encoder.name} ({fingerprint[:12]}) with {encoder.dim} dimensions, and the "
                    f"encoder at hand has {dim}. Its fingerprint does not say all that it should: report this."
                )
            return encoder_info(encoder)

    def switch_encoder(self, fingerprint: str, *, role: Role | None = None, without_reports: bool = False) -> None:
        """Let this encoder answer searches, in every process, from one search to the next.

        Its index is built and saved before, so that no search waits for it. The vectors of the former encoder stay
        until `drop_encoder`; it can be made active again once it has embedded the images added since.

        Args:
            role: "image" or "text": the other role stays with the encoder that has it. None: both roles.
            without_reports: also switch if reports lack vectors, for an encoder that embeds no texts. The image role
                needs none in any case.

        Raises:
            EncoderIncompleteError: it has not embedded everything; nothing was switched.
            EncoderMismatchError: it is not registered (`begin_encoder`), or colours are all it knows. Otherwise like
                `add`.
        """
        self.switch_roles(
            dict.fromkeys(ROLES if role is None else (role,), fingerprint), without_reports=without_reports
        )

    def switch_roles(self, chosen: Mapping[Role, str], *, without_reports: bool = False) -> None:
        """`switch_encoder` for roles with the fingerprint of each, in one transaction: all or, on an error, none."""
        if COLOUR_FINGERPRINT in chosen.values():
            raise EncoderMismatchError("Colour histograms cannot take the place of an encoder: they answer beside it.")
        with self.writer():
            with self._catalog.reading() as session:
                known = {fingerprint: require_known(session, fingerprint) for fingerprint in chosen.values()}
                has = {fingerprint: roles_of(session, encoder) for fingerprint, encoder in known.items()}
                if all(role in has[fingerprint] for role, fingerprint in chosen.items()):
                    return
            for fingerprint, encoder in known.items():
                if not has[fingerprint]:
                    self._index.prepare(encoder)
            with self._catalog.writing() as session:
                for role in sorted(chosen, reverse=True):  # texts first: what lacks then names reports, too
                    encoder = require_known(session, chosen[role])
                    reembedding.give_role(session, encoder, role, without_reports=without_reports)
                advance_revision(session)
            self._index.sync()

    def drop_encoder(self, fingerprint: str) -> int:
        """Delete all vectors of an encoder that has no role in searches, and its saved index. Returns how many images
        had one. The database keeps its size, and reuses the space. Colours may be dropped at any time.

        Raises:
            EncoderMismatchError: it has a role, or is unknown. Otherwise like `add`.
        """
        with self.writer():
            with self._catalog.reading() as session:
                encoder = require_known(session, fingerprint)
                roles = roles_of(session, encoder)
                if roles and fingerprint != COLOUR_FINGERPRINT:
                    which = "" if len(roles) == len(ROLES) else f" by {roles[0]}"
                    raise EncoderMismatchError(
                        f"{encoder.name} ({fingerprint[:12]}) is the encoder that answers searches{which}; its vectors "
                        "cannot be dropped. Embed the archive with another one and switch first."
                    )
            # The saved index first: if killed in between, it is rebuilt from the vectors that are still stored. In the
            # other order it would outlive them.
            self._index.discard(encoder)
            with self._catalog.writing() as session:
                dropped = reembedding.drop_vectors(session, encoder.id)
                advance_revision(session)
            self._catalog.erase_removed()
        return dropped

    def find_encoder(self, beginning: str) -> EncoderInfo:
        """The encoder whose fingerprint begins so. Raises `EncoderMismatchError` where there is none, or several."""
        with self._catalog.reading() as session:
            return encoder_info(find_encoder(session, beginning))

    # The archive as a whole

    def examine(
        self,
        *,
        checksums: bool = True,
        recalled: int = RECALLED,
        repair: bool = False,
        progress: Progress | None = None,
    ) -> Examination:
        """Examine the archive: database, records, vectors, log, index and image files.

        Args:
            checksums: read every image file and compare its checksum; otherwise only check that it exists.
            recalled: how many stored vectors, evenly sampled, to search for; each must find itself.
            repair: repair what can be repaired (see `maintenance/doctor.py`), and examine once more.
            progress: called with how many files were read, and of how many.

        Findings raise no error. An archive that was opened read-only is not written to; in another, an index that had
        to be rebuilt is saved, as by any search.

        Raises `StorageError` where the database cannot be read at all, and with `repair` like `add`.
        """
        examiner = Doctor(self.path, self._catalog, self._images, self._index)
        if not repair:
            return examiner.examine(checksums=checksums, recalled=recalled, repair=False, progress=progress)
        with self.writer():
            return examiner.examine(checksums=checksums, recalled=recalled, repair=True, progress=progress)

    def rebuild_index(self) -> None:
        """Rebuild the index of each role's encoder from the records, and save it. Raises like `add`."""
        with self.writer():
            with self._catalog.reading() as session:
                serving = serving_encoders(session)
            for encoder in {encoder.id: encoder for encoder in serving.values()}.values():
                self._index.discard(encoder)
                self._index.prepare(encoder)

    def recount(self) -> None:
        """Count anew what `status` and `facets` say, from the records. Raises like `add`."""
        with self.writer():
            recount_rows(self._catalog)

    def back_up(
        self, target: Path | str, *, allow_damaged: bool = False, progress: Progress | None = None
    ) -> BackupDescriptor:
        """Copy the archive, as it is at one moment, into the new folder `target`; others may read and write meanwhile.

        The backup appears when it is complete. Interrupted, it is `target`.partial, and the same call resumes it.
        Images added in place are not in it. `Archive.restore` makes an archive of it.

        Args:
            allow_damaged: leave out pictures that are missing or altered, and list them in the backup.
            progress: called with how many pictures were copied, and of how many.

        Raises:
            BackupError: the target is not empty, or lies in the archive; or the archive is damaged, or its records are
                on a server, whose own tools back them up.
            StorageError: the disk refuses.
            ArchiveBusyError: another backup into the same folder is in progress.
        """
        return back_up(self.path, self._catalog, Path(target), allow_damaged=allow_damaged, progress=progress)

    def _require_writable(self) -> None:
        if self._catalog.read_only:
            raise ReadOnlyArchiveError(f"{self.path} was opened read-only. Open it for writing to change it.")
