"""From query vectors to ranked patients: the archive ranks images, a reader wants cases.

One entry a patient: a patient with a thousand crops must not fill the page, and images of one patient are no
independent evidence. A patient ranks as its best image does; more images are searched until enough patients are found
or nothing is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Bools, Vectors

if TYPE_CHECKING:
    from index_store import Archive, CaseFilter, Hit


WIDEN: Final = 4
"""By how much more images are searched than patients are wanted."""
DEEPEST: Final = 20_000
"""Images searched for patients beyond those that are shown: a few patients with very many images would otherwise make
every search read the whole archive."""


@dataclass(frozen=True)
class PatientHit:
    """A patient in a channel's ranking, by the best of its images or reports."""

    score: float
    """Cosine similarity, from -1 to 1; of reports, standard deviations above the archive's mean (`FusionRule`)."""
    case_id: int
    """The patient's case that was compared."""
    image_id: int | None
    """The image that was; None where reports were compared."""
    image_scores: tuple[float, ...] = ()
    """Of the patient's images that were found, best first."""
    contains_words: bool = False
    """Whether the case's report contains the query's words."""


Ranking = Mapping[str, PatientHit]
"""By patient, best first: higher scores, then lower image (or, of reports, case) ids."""


def rank_images(
    archive: Archive, query: Vectors, at_least: int, *, pool: int, where: CaseFilter | None, fingerprint: str
) -> Ranking:
    """The nearest patients to one query vector float32[1, d].

    The first `at_least` are exact: no patient is missed or misplaced. Of the next, up to `pool`, as many are given as
    the nearest 20,000 images hold.
    """
    wanted = max(at_least, pool)
    depth = WIDEN * at_least if pool <= at_least else WIDEN * pool
    while True:
        hits = _ordered(archive.search(query, depth, where=where, fingerprint=fingerprint)[0])
        ranking = _by_patient(hits, archive)
        patient_hits = list(ranking.values())
        # Beyond the last patient, too: images that tie with it, or count as further images, must be among the hits.
        enough = at_least if depth >= DEEPEST else wanted
        if len(hits) < depth or (len(patient_hits) >= enough and hits[-1].score < patient_hits[enough - 1].score):
            return dict(list(ranking.items())[:wanted])
        depth *= WIDEN


def rank_reports(
    case_ids: Sequence[int], patients: Sequence[str], scores: npt.NDArray[np.floating], containing: Bools
) -> Ranking:
    """The patients of the cases by their best report, float[n]; cases with a score of -inf are left out.

    `containing`, bool[n], are the reports that contain the query's words.
    """
    ranking: dict[str, PatientHit] = {}
    for row in np.lexsort((np.asarray(case_ids), -scores)):
        if not np.isfinite(scores[row]):
            break
        if patients[row] not in ranking:
            ranking[patients[row]] = PatientHit(
                float(scores[row]), int(case_ids[row]), None, contains_words=bool(containing[row])
            )
    return ranking


def _ordered(hits: Sequence[Hit]) -> list[Hit]:
    return sorted(hits, key=lambda hit: (-hit.score, hit.image_id))


def _by_patient(hits: Sequence[Hit], archive: Archive) -> dict[str, PatientHit]:
    owners = archive.owners([hit.image_id for hit in hits])
    groups: dict[str, list[Hit]] = {}
    for hit in hits:
        if hit.image_id in owners:  # else removed since it was found
            groups.setdefault(owners[hit.image_id].patient, []).append(hit)
    return {
        patient: PatientHit(
            score=own[0].score,
            case_id=owners[own[0].image_id].case_id,
            image_id=own[0].image_id,
            image_scores=tuple(hit.score for hit in own),
        )
        for patient, own in groups.items()
    }
