"""What a query is in the encoder's space: one unit vector for each channel that compares vectors."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from retrieval.arrays import Vectors
from retrieval.encoder.vectors import mean_query
from retrieval.errors import QueryError
from retrieval.search.query import Query
from retrieval.search.relevance_feedback import rocchio

if TYPE_CHECKING:
    from index_store import Archive, Case, CaseFilter
    from retrieval.encoder.encoder import Encoder
    from retrieval.search.report_index import ReportIndex


@dataclass(frozen=True)
class Marks:
    """The cases that a reader marked: "more like this", "less like this"."""

    more: tuple[Case, ...]
    less: tuple[Case, ...]

    def move(self, query: Vectors, archive: Archive, fingerprint: str) -> Vectors:
        """A vector float32[1, d] that is compared with images, moved by the images of the marked cases."""
        if not (self.more or self.less):
            return query
        more, less = (_of_cases(archive, cases, fingerprint) for cases in (self.more, self.less))
        return rocchio(query, more, less)

    def move_text(self, query: Vectors, reports: ReportIndex) -> Vectors:
        """A vector float32[1, d] that is compared with reports, moved by the reports of the marked cases."""
        if not (self.more or self.less):
            return query
        more, less = (reports.vectors_of([case.id for case in cases]) for cases in (self.more, self.less))
        return rocchio(query, more, less)


def read_marks(query: Query, archive: Archive) -> Marks:
    """The cases that the query names. Raises `index_store.CaseNotFoundError`."""
    more, less = (tuple(archive.case(key) for key in keys) for keys in (query.more, query.less))
    return Marks(more, less)


def competing(query: Query, archive: Archive) -> CaseFilter | None:
    """The query's filter, narrowed by what goes without saying: a case is no answer to itself, and its own patient
    none unless the query says so. None: everybody competes.
    """
    from index_store import CaseFilter

    if not query.case:
        return query.where
    case = archive.case(query.case)
    where = query.where or CaseFilter()
    where = dataclasses.replace(where, exclude_cases=(*where.exclude_cases, case.key))
    if not query.include_own_patient:
        where = dataclasses.replace(where, exclude_patients=(*where.exclude_patients, case.patient))
    return where


def picture_vector(query: Query, archive: Archive, encoder: Encoder) -> Vectors:
    """The vector float32[1, d] of the query's image, of its case (the mean of its images), or of a region.

    Raises `index_store.ImageProblem` where an image cannot be read, QueryError where the case has no such image.
    """
    from index_store import ImageProblem, decode_image

    if query.image:
        try:
            picture = decode_image(query.image).convert("RGB")
        except ImageProblem as error:
            raise ImageProblem(f"{query.label}: {error}" if query.label else str(error)) from error
        return encoder.encode_images([picture if query.region is None else query.region.cut(picture)])
    case = archive.case(query.case)
    ids = [image.id for image in case.images]
    if query.image_id is not None:
        if query.image_id not in ids:
            raise QueryError(f"The case '{case.key}' has no image {query.image_id}: open the case and choose another.")
        ids = [query.image_id]
    if query.region is not None:
        picture = decode_image(archive.image_path(ids[0])).convert("RGB")
        return encoder.encode_images([query.region.cut(picture)])
    return mean_query(archive.vectors_of(ids, encoder.fingerprint))


def _of_cases(archive: Archive, cases: tuple[Case, ...], fingerprint: str) -> Vectors:
    """One row a case, the mean of its images: a case with many images must not outvote the others."""
    if not cases:
        return np.empty((0, 0), dtype=np.float32)
    return np.concatenate(
        [mean_query(archive.vectors_of([image.id for image in case.images], fingerprint)) for case in cases]
    )
