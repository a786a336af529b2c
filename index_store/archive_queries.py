"""The queries of `Archive`, safe from many threads and processes at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from index_store.archive_columns import ArchiveColumns
from index_store.archive_status import ArchiveStatus
from index_store.catalog import case_reader, report_vectors
from index_store.catalog.case_reader import CaseReader
from index_store.catalog.catalog import Catalog, current_revision
from index_store.catalog.change_log import stored_vectors
from index_store.catalog.counts.kept import counts
from index_store.catalog.encoders import encoder_info_of, id_and_dim, require_known
from index_store.catalog.reembedding import coverage, images_without_vector
from index_store.errors import ArchiveReplacedError, ImageNotFoundError
from index_store.files.decode import decode_image
from index_store.files.image_store import ImageStore
from index_store.maintenance.status import status_of
from index_store.records import (
    IMAGE,
    Case,
    CaseLabels,
    EncoderCoverage,
    EncoderInfo,
    Hit,
    Image,
    Role,
    StoredReport,
)
from index_store.search.protocols import VectorSearch
from index_store.vectors import Ids, Vectors

if TYPE_CHECKING:
    import PIL.Image

    from index_store.catalog.filters import CaseFilter


PAGE = 2_000
"""Cases that `each_case` reads at once."""


class ArchiveQueries(ArchiveColumns):
    """Base of `Archive`, which sets these attributes: searching, and reading records."""

    path: Path
    name: str
    uuid: str
    _catalog: Catalog
    _images: ImageStore
    _index: VectorSearch

    @property
    def encoder(self) -> EncoderInfo | None:
        """The encoder that compares images (the image role); None before the first is registered."""
        return self.encoder_of(IMAGE)

    def encoder_of(self, role: Role) -> EncoderInfo | None:
        """The encoder of a role: "image" compares images with images, "text" texts with images and with reports.

        They are the same encoder unless `switch_encoder` gave the text role to another. None before the first is
        registered.
        """
        with self._catalog.reading() as session:
            return encoder_info_of(session, role)

    @property
    def revision(self) -> int:
        """A number that grows with every change of cases, images, reports or report vectors, by whichever process; 0 in
        a new archive. What was read at one revision is out of date at the next."""
        with self._catalog.reading() as session:
            return current_revision(session)

    def one_view(self) -> AbstractContextManager[None]:
        """Within it, what this thread reads of the records is of one state, whoever changes them meanwhile, and is read
        in one transaction. What `search` and `image_table` give may be of a later state: compare `revision`
        afterwards. Keep it short: on some databases others wait for its end to give room back."""
        return self._catalog.one_view()

    @property
    def is_replaced(self) -> bool:
        """Whether the folder was moved, or holds another archive by now: then every call raises
        `ArchiveReplacedError`."""
        try:
            self._catalog.check_place()
        except ArchiveReplacedError:
            return True
        return False

    def search(self, vectors: object, k: int, *, where: CaseFilter | None = None, fingerprint: str) -> list[list[Hit]]:
        """The `k` nearest permitted images of each query, best first; fewer where there are fewer.

        The filter is applied before ranking, and under a filter by value the result is exact. Without one it is exact
        up to about 200,000 images, and beyond has the recall that `status` reports (docs/search-speed.md). Equal scores
        are ordered by image id. Every change that was committed before the call, by whichever process, is respected.

        Args:
            vectors: float32[n, dim], rows of unit length.
            fingerprint: of the encoder that made them: that of one of the two roles. What it has not embedded is not
                found (`count_images_without_vector`).

        Raises:
            VectorError, EncoderMismatchError: these vectors cannot be compared with the archive's.
            IndexDriftError: the index returned an image that is removed or not permitted.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        return self._index.search(vectors, k, where=where, fingerprint=fingerprint)

    def case(self, key: str) -> Case:
        """The case with this key. Raises `CaseNotFoundError`, which names similar keys."""
        with self._reader() as reader:
            return reader.case(key)

    def cases(self, where: CaseFilter | None = None, *, limit: int | None = None, offset: int = 0) -> list[Case]:
        """Cases with at least one image that `where` permits, in the order they were added."""
        with self._reader() as reader:
            return reader.cases(where, limit=limit, offset=offset)

    def cases_of_images(self, image_ids: Iterable[int]) -> dict[int, Case]:
        """The case of each image. An image that was removed meanwhile is left out."""
        with self._reader() as reader:
            return reader.cases_of_images(image_ids)

    def cases_by_id(self, case_ids: Iterable[int]) -> dict[int, Case]:
        """The cases with these ids. A case that was removed meanwhile is left out."""
        with self._reader() as reader:
            return reader.cases_by_id(case_ids)

    def each_case(self) -> Iterator[Case]:
        """Every case in the order they were added, read page by page: one page is in memory. A case that is removed
        meanwhile is left out."""
        ids = self.case_ids()
        for start in range(0, len(ids), PAGE):
            yield from self.cases_by_id(ids[start : start + PAGE].tolist()).values()

    def keys_beginning(self, text: str, *, limit: int) -> list[str]:
        """The first keys of cases, in the order of their characters, that begin with a text. The cost grows with the
        answer and not with the archive."""
        with self._catalog.reading() as session:
            return case_reader.keys_beginning(session, text, limit)

    def case_labels(self, case_keys: Iterable[str]) -> dict[str, CaseLabels]:
        """Site, system and category of the cases with these keys, and which were derived. Loads neither report nor
        image; unknown keys are left out."""
        with self._catalog.reading() as session:
            return case_reader.case_labels(session, case_keys)

    def unknown_exclusions(self, where: CaseFilter) -> tuple[str, ...]:
        """The keys of patients and cases that `where` leaves out and that the archive does not have: misspelt, or
        removed."""
        with self._reader() as reader:
            return reader.unknown_exclusions(where)

    def reports(self, where: CaseFilter | None = None) -> list[StoredReport]:
        """The reports of the cases with at least one image that `where` permits, in order of case id. Loads no
        image."""
        with self._catalog.reading() as session:
            return case_reader.stored_reports(session, where)

    def reports_of(self, case_ids: Iterable[int]) -> list[StoredReport]:
        """The reports of these cases, in order of case id. A case that was removed meanwhile is left out."""
        with self._catalog.reading() as session:
            return case_reader.reports_of(session, case_ids)

    def reports_without_vector(self, fingerprint: str) -> list[StoredReport]:
        """The reports, blank ones left out, that have no vector of this encoder or one of another text: what
        `Archive.add_report_vectors` is for. In order of case id.

        Raises:
            EncoderMismatchError: it is neither the archive's encoder nor one that was begun.
        """
        with self._catalog.reading() as session:
            encoder = require_known(session, fingerprint)
            return report_vectors.without_vector(session, encoder.id)

    def images_without_vector(self, fingerprint: str, *, after: int = 0, limit: int = 1_000) -> Ids:
        """The ids, int64[n ≤ limit], ascending and above `after`, of images that have no vector of this encoder: what
        `Archive.add_vectors` is for.

        Raises:
            EncoderMismatchError: it is neither the archive's encoder nor one that was begun.
        """
        with self._catalog.reading() as session:
            encoder = require_known(session, fingerprint)
            return images_without_vector(session, encoder.id, after=after, limit=limit)

    def count_images_without_vector(self, fingerprint: str) -> int:
        """How many images no search with this encoder finds, because they have no vector of it.

        Raises:
            EncoderMismatchError: it is not registered.
        """
        with self._catalog.reading() as session:
            known = counts(session)
            return known.images - known.vectors(require_known(session, fingerprint).id)

    def encoders(self) -> tuple[EncoderCoverage, ...]:
        """Every encoder the archive knows and how much it has embedded, in the order of their registration."""
        with self._catalog.reading() as session:
            return coverage(session, counts(session))

    def report_vectors(self, fingerprint: str, case_ids: Iterable[int] | None = None) -> tuple[Ids, Vectors]:
        """The reports' vectors that are of the text as it is now, of all cases or of these: case ids int64[n],
        ascending, and float32[n, dim].

        Raises:
            EncoderMismatchError: the encoder is not registered.
        """
        with self._catalog.reading() as session:
            encoder = require_known(session, fingerprint)
            return report_vectors.current(session, encoder.id, encoder.dim, case_ids)

    def image(self, image_id: int) -> Image:
        """Raises `ImageNotFoundError`."""
        with self._reader() as reader:
            return reader.image(image_id)

    def image_path(self, image_id: int) -> Path:
        """Where the image's file is. One added in place is as it came: show it through `decode_image`.

        Raises:
            ImageNotFoundError: no such image, or its file is gone.
        """
        path = self.image(image_id).path
        if not path.is_file():
            raise ImageNotFoundError(f"The file of image {image_id} is gone: {path}. Put it back, or remove its case.")
        return path

    def picture(self, image_id: int) -> PIL.Image.Image:
        """The image as it was added, decoded: RGB, upright, without metadata. Its file's checksum is compared first.

        Raises:
            ImageNotFoundError: no such image, or its file is gone.
            ImageProblem: the file is not what was added, or cannot be decoded.
        """
        image = self.image(image_id)
        return decode_image(self.image_path(image_id), expected=image.file_sha256)

    def vectors_of(self, image_ids: Sequence[int], fingerprint: str) -> Vectors:
        """The stored vectors, float32[len(image_ids), dim], in the order given.

        Raises:
            ImageNotFoundError: one of them has no vector.
            EncoderMismatchError: the encoder is not registered.
        """
        wanted = np.array(image_ids, dtype=np.int64)
        ids, vectors = self.known_vectors(image_ids, fingerprint)
        missing = np.setdiff1d(wanted, ids)
        if missing.size:
            raise ImageNotFoundError(f"Image {missing[0]} has no vector in this archive. It may have been removed.")
        return vectors[np.searchsorted(ids, wanted)]

    def known_vectors(self, image_ids: Sequence[int], fingerprint: str) -> tuple[Ids, Vectors]:
        """The vectors of those of the images that have one of this encoder: ids int64[n], ascending, each once, and
        float32[n, dim].

        Raises:
            EncoderMismatchError: the encoder is not registered.
        """
        with self._catalog.reading() as session:
            encoder_id, dim = id_and_dim(session, fingerprint)
            return stored_vectors(session, encoder_id, np.unique(np.array(image_ids, dtype=np.int64)), dim)

    @property
    def notes(self) -> tuple[str, ...]:
        """What happened to the index since opening (such as "rebuilt, because …"). Loads it where it is not yet."""
        self._index.sync()
        return tuple(self._index.notes)

    def status(self) -> ArchiveStatus:
        """The archive in figures, which are kept and not counted: O(1)."""
        synced = self._index.sync()
        with self._catalog.reading() as session:
            return status_of(session, self.path, self._catalog.name, synced, self._index.notes)

    @contextmanager
    def _reader(self) -> Iterator[CaseReader]:
        with self._catalog.reading() as session:
            yield CaseReader(session, self._images)
