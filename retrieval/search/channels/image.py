"""The query's image, the fields of its slide, or the images of its case, against the archive's images."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from retrieval.arrays import Floats, Ints, Vectors
from retrieval.encoder.vectors import mean_query
from retrieval.errors import EvaluationError, QueryError
from retrieval.search.channels.channel import CalibrationMaterials, Channel, ChannelRanking, Need, SearchMaterials
from retrieval.search.channels.kept_neighbours import (
    DEPTH,
    LEAST_IMAGES,
    keep_neighbours,
    neighbours_name,
    read_neighbours,
)
from retrieval.search.channels.own_cases import NEIGHBOURS, OwnCases, hits_as_arrays, read_own_cases
from retrieval.search.channels.own_runs import ByVectors, ChannelRun, EvaluationMaterials
from retrieval.search.slides.many_vectors import rank_by_fields
from retrieval.search.understood_query import UnderstoodQuery

if TYPE_CHECKING:
    import PIL.Image

ONE_IMAGE = "image"
WHOLE_CASE = "case"
"""The two types of query that are judged: one image (also a part of a slide), or the mean of a case's images."""
WHOLE_SLIDE = "slide"
"""Many fields against many images: their similarities are not calibrated."""


class ImageChannel(Channel):
    """Image to images."""

    name = "image"
    label = "image"
    needs = frozenset({Need.PICTURE})
    colours: ClassVar[Mapping[str, str]] = {name: "#0b5394"}
    not_judged = ""

    @property
    def query_types(self) -> Mapping[str, str]:
        """The mean of a case's images, and one image."""
        return {WHOLE_CASE: "a case", ONE_IMAGE: "an image"}

    def query_type(self, query: UnderstoodQuery) -> str:
        """Whether one image, a whole slide or a whole case is compared."""
        if query.slide is not None:
            return ONE_IMAGE if query.slide.at is not None else WHOLE_SLIDE
        return ONE_IMAGE if query.image or query.image_id is not None else WHOLE_CASE

    def encode(self, query: UnderstoodQuery, materials: SearchMaterials) -> Vectors:
        """The vector float32[1, d] of the query's image, of its case (the mean of its images), or of a region; of a
        slide's fields float32[n, d].

        Raises:
            index_store.ImageProblem: an image cannot be read.
            QueryError: the case has no such image.
        """
        encoder = materials.encoder
        if materials.slide is not None:
            return materials.slide.vectors
        picture, mpp = query_picture(query, materials)
        if picture is not None:
            return encoder.encode_images([picture], mpp=[mpp])
        return mean_query(materials.archive.vectors_of(query_images(query), encoder.fingerprint))

    def rank(self, query: UnderstoodQuery, vector: Vectors | None, materials: SearchMaterials) -> ChannelRanking | None:
        """As of `Channel`; the fields of a whole slide, float32[n, d], by their matches."""
        if vector is None or query.slide is None or query.slide.at is not None:
            return super().rank(query, vector, materials)
        ranking = rank_by_fields(
            materials.archive,
            vector,
            materials.at_least,
            pool=materials.pool,
            where=query.competing,
            fingerprint=materials.encoders.fingerprint(self.role),
            match=query.slide.match,
        )
        return ChannelRanking(ranking)

    def own_similarities(self, materials: CalibrationMaterials) -> Mapping[str, tuple[float, ...]]:
        """What cases and single images of the archive find of other patients, from the stored vectors."""
        if materials.query_type == WHOLE_SLIDE:
            raise EvaluationError(
                "Whether a whole slide has comparable cases is not calibrated: search by a part of it, which is."
            )
        own = read_own_cases(materials.archive, materials.encoder.fingerprint, where=materials.where)
        return image_similarities(own, query_types=(materials.query_type,))

    def own_run(self, materials: EvaluationMaterials) -> ChannelRun:
        """The mean of a case's images against all images."""
        return ChannelRun((ByVectors(self.name, *materials.images),))


def query_picture(query: UnderstoodQuery, materials: SearchMaterials) -> tuple[PIL.Image.Image | None, float | None]:
    """The picture that a query by an image, or by a region of a case's, shows, and its scale in µm a pixel; None where
    stored images query as they are (`query_images`). Raises as `ImageChannel.encode`."""
    from index_store import ImageProblem, decode_picture

    if query.image:
        try:
            decoded = decode_picture(query.image)
        except ImageProblem as error:
            raise ImageProblem(f"{query.label}: {error}" if query.label else str(error)) from error
        materials.noted.extend(f"The query's picture: {note}." for note in decoded.notes)
        picture, mpp = decoded.image, query.mpp or decoded.mpp
    elif query.region is not None:
        first = query_images(query)[0]
        picture, mpp = materials.archive.picture(first), materials.archive.image(first).mpp
    else:
        return None, None
    return (picture if query.region is None else query.region.cut(picture)), mpp


def query_images(query: UnderstoodQuery) -> list[int]:
    """The ids of the stored images that a query by a case is made of. Raises QueryError: the case has no such image."""
    assert query.case is not None
    ids = [image.id for image in query.case.images]
    if query.image_id is None:
        return ids
    if query.image_id not in ids:
        raise QueryError(
            f"The case '{query.case.key}' has no image {query.image_id}: open the case and choose another."
        )
    return [query.image_id]


def image_similarities(
    own: OwnCases,
    *,
    query_types: Sequence[str] = (WHOLE_CASE, ONE_IMAGE),
    sample: int | None = None,
    seed: int = 0,
) -> dict[str, tuple[float, ...]]:
    """What cases (the mean of their images) and single images find of other patients, ascending, by query type.

    Args:
        sample: one case and image each of so many patients; None: of `OwnCases.sample_size`.
    """
    return {kind: tuple(np.sort(_similarities(own, kind, sample, seed)).tolist()) for kind in query_types}


def _similarities(own: OwnCases, kind: str, sample: int | None, seed: int) -> Floats:
    """As `image_similarities`, of one type and in no order: float64[n]."""
    rng = np.random.default_rng(seed)
    # What a search calibrates is kept without a filter, and used under one.
    keeps = sample is None and len(own.archive.image_table()) >= LEAST_IMAGES
    name = neighbours_name(own.fingerprint, kind)
    known = read_neighbours(own.archive, name) if keeps and own.where is not None else None
    chosen = own.sampled(own.sample_size if sample is None else sample, rng, known)
    images = [own.images_of(case) for case in chosen]
    single = np.array([rng.choice(of_case) for of_case in images], dtype=np.int64)
    sizes = zip(own.case_ids[chosen].tolist(), map(len, images), strict=True)
    listed = [None if known is None else known.row(case, size) for case, size in sizes]
    if known is not None:
        single = np.array([s if r is None else known.singles[r] for s, r in zip(single, listed, strict=True)])
    ids, vectors = own.archive.known_vectors(np.concatenate(images).tolist(), own.fingerprint)
    # An image may have been removed since the columns were read.
    rows = [np.flatnonzero(np.isin(ids, of_case, assume_unique=True)) for of_case in images]
    kept = [number for number, of_case in enumerate(rows) if single[number] in ids[of_case]]
    patients = own.patient_of[chosen[kept]]
    if kind == WHOLE_CASE:
        queries = np.concatenate([mean_query(vectors[rows[number]]) for number in kept])
    else:
        queries = vectors[np.searchsorted(ids, single[kept])]
    if keeps and own.where is None:
        hits = own.archive.search(queries, DEPTH, where=None, fingerprint=own.fingerprint)
        keep_neighbours(own.archive, name, own.table, own.case_ids[chosen[kept]], single[kept], hits)
        return _nearest_means(own, queries, patients, [hits_as_arrays(each) for each in hits])
    if known is None:
        return own.nearest_means(queries, patients)
    added = own.archive.known_vectors(known.added.tolist(), own.fingerprint)
    known = dataclasses.replace(known, added=added[0])
    found = [listed[number] for number in kept]
    nothing: tuple[Ints, Floats] = np.empty(0, dtype=np.int64), np.empty(0)
    lists = [
        nothing if row is None else known.hits(row, query, added[1]) for row, query in zip(found, queries, strict=True)
    ]
    return _nearest_means(own, queries, patients, lists)


def _nearest_means(own: OwnCases, queries: Vectors, patients: Ints, lists: Sequence[tuple[Ints, Floats]]) -> Floats:
    """`OwnCases.nearest_means`, from lists of the nearest images, int64[n], and their scores, float64[n], where they
    hold enough of them."""
    means = np.full(len(queries), np.nan)
    for number, (images, scores) in enumerate(lists):
        best = own.best_by_patient(images, scores, int(patients[number]))
        if len(best) == NEIGHBOURS:
            means[number] = best.mean()
    open_ = np.flatnonzero(np.isnan(means))
    if len(open_):
        means[open_] = own.nearest_means(queries[open_], patients[open_])
    return means
