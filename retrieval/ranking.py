"""From query vectors to ranked patients: the archive ranks images, a reader wants cases.

One entry a patient: a patient with a thousand crops must not fill the page, and images of one patient are no
independent evidence. A patient stands where its best image stands; the archive is asked for more images until
k patients are found or nothing is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from retrieval.fusion import mean_query, reciprocal_rank_fusion
from retrieval.results import RankedCase

if TYPE_CHECKING:
    from index_store import Archive, Case, CaseFilter, Hit

Vectors = npt.NDArray[np.float32]

RRF_POOL: Final = 1000
"""Images a ranking contributes to the fusion. Fixed, so that the best 10 are the head of the best 20."""
WIDEN: Final = 4


@dataclass(frozen=True)
class _Found:
    """A patient's images among the hits, best first, and what the patient is ordered by."""

    score: float
    images: tuple[Hit, ...]

    @property
    def lead(self) -> Hit:
        return self.images[0]


def rank_by_mean(
    archive: Archive, vectors: Vectors, k: int, *, where: CaseFilter | None, fingerprint: str
) -> tuple[RankedCase, ...]:
    """The k nearest patients to the mean of the queries float32[n, d]. Exact: no patient is missed or
    misplaced.
    """
    query = mean_query(vectors)
    depth = WIDEN * k
    while True:
        hits = _ordered(archive.search(query, depth, where=where, fingerprint=fingerprint)[0])
        cases = archive.cases_of_images([hit.image_id for hit in hits])
        groups = _by_patient(hits, cases)
        found = [_Found(images[0].score, tuple(images)) for images in groups.values()][:k]
        # Beyond the last place, too: images that tie with it, or that count as further images, must be in the
        # pool.
        complete = len(found) == k and hits[-1].score < found[-1].lead.score
        if complete or len(hits) < depth:
            return _entries(found, cases)
        depth *= WIDEN


def rank_by_fused_ranks(
    archive: Archive, vectors: Vectors, k: int, *, where: CaseFilter | None, fingerprint: str
) -> tuple[RankedCase, ...]:
    """The k first patients when each query float32[n, d] ranks the patients and the reciprocal ranks are
    added.

    Each ranking is of the patients of its first 1000 images (more, where these are of fewer than k patients).
    The similarity shown is that to the mean query, so that it means the same under both fusions.
    """
    depth = max(RRF_POOL, WIDEN * k)
    while True:
        rankings = [_ordered(hits) for hits in archive.search(vectors, depth, where=where, fingerprint=fingerprint)]
        cases = archive.cases_of_images({hit.image_id for hits in rankings for hit in hits})
        scores = reciprocal_rank_fusion([list(_by_patient(hits, cases)) for hits in rankings])
        if len(scores) >= k or all(len(hits) < depth for hits in rankings):
            break
        depth *= WIDEN
    if not cases:
        return ()
    ids = sorted(cases)
    similarities = archive.vectors_of(ids, fingerprint) @ mean_query(vectors)[0]
    pool = _ordered([_hit(i, float(s)) for i, s in zip(ids, similarities, strict=True)])
    found = [_Found(scores[patient], tuple(images)) for patient, images in _by_patient(pool, cases).items()]
    # Equal scores are common here (two rankings that swap two patients): the nearer goes first, then the
    # lower id.
    found.sort(key=lambda patient: (-patient.score, -patient.lead.score, patient.lead.image_id))
    return _entries(found[:k], cases)


def _ordered(hits: Sequence[Hit]) -> list[Hit]:
    return sorted(hits, key=lambda hit: (-hit.score, hit.image_id))


def _by_patient(hits: Sequence[Hit], cases: dict[int, Case]) -> dict[str, list[Hit]]:
    groups: dict[str, list[Hit]] = {}
    for hit in hits:
        if hit.image_id not in cases:  # removed since it was found
            continue
        groups.setdefault(cases[hit.image_id].patient, []).append(hit)
    return groups


def _entries(found: Sequence[_Found], cases: dict[int, Case]) -> tuple[RankedCase, ...]:
    floor = min((patient.lead.score for patient in found), default=0.0)
    entries = []
    for rank, patient in enumerate(found, start=1):
        case = cases[patient.lead.image_id]
        entries.append(
            RankedCase(
                rank=rank,
                score=patient.score,
                similarity=patient.lead.score,
                case=case,
                image=next(image for image in case.images if image.id == patient.lead.image_id),
                other_images=sum(hit.score >= floor for hit in patient.images[1:]),
            )
        )
    return tuple(entries)


def _hit(image_id: int, score: float) -> Hit:
    from index_store import Hit

    return Hit(image_id=image_id, score=score)
