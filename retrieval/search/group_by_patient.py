"""From query vectors to ranked patients: the archive ranks images, a reader wants cases.

One entry a patient: a patient with a thousand crops must not fill the page, and images of one patient are no
independent evidence. A patient ranks as its best image does; more images are searched until enough patients are found
or nothing is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Bools, Vectors

if TYPE_CHECKING:
    from index_store import Archive, CaseFilter, Hit


WIDEN: Final = 4
"""By how much more images are searched than patients are wanted."""
SORTED_FIRST: Final = 1_000
"""Reports that a ranking of them sorts at first."""
DEEPEST: Final = 20_000
"""Images searched for patients beyond those that are shown: a few patients with very many images would otherwise make
every search read the whole archive."""


@dataclass(frozen=True)
class PatientHit:
    """A patient in a channel's ranking, by the best of its images or reports."""

    score: float
    """Cosine similarity, from -1 to 1; of reports, in the unit of the rule "report" (`FusionRule`)."""
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


def head(ranking: Ranking, pool: int) -> list[str]:
    """The first `pool` patients of a ranking, and those that tie with the last of them."""
    found: list[str] = []
    floor = -np.inf
    for patient in ranking:
        if len(found) >= pool and ranking[patient].score < floor:
            break
        found.append(patient)
        floor = ranking[patient].score if len(found) == pool else floor
    return found


@dataclass(frozen=True, eq=False)
class Patients:
    """Whose the n reports of an index are."""

    of: npt.NDArray[np.int64]
    """int64[n], numbers of patients"""
    names: tuple[str, ...]
    """By number."""

    @cached_property
    def number(self) -> dict[str, int]:
        """By name."""
        return {name: number for number, name in enumerate(self.names)}

    def rows(self, number: int) -> npt.NDArray[np.int64]:
        """The rows of a patient's reports, int64[m]."""
        start, end = np.searchsorted(self._in_order, [number, number + 1])
        return self._order[start:end]

    @cached_property
    def _order(self) -> npt.NDArray[np.int64]:
        return np.argsort(self.of, kind="stable")

    @cached_property
    def _in_order(self) -> npt.NDArray[np.int64]:
        return self.of[self._order]


class ReportRanking(Mapping[str, PatientHit]):
    """Patients by their best report. Only as many are sorted as are looked at."""

    def __init__(
        self,
        case_ids: npt.NDArray[np.int64],
        patients: Patients,
        scores: npt.NDArray[np.floating],
        containing: Bools,
    ) -> None:
        """
        Args:
            case_ids: int64[n], whose reports are compared.
            patients: whose the cases are.
            scores: float[n]; cases with -inf are left out. Of equal scores the lower case id comes first.
            containing: bool[n], the reports that contain the query's words.
        """
        self._case_ids = case_ids
        self._patients = patients
        self._scores = scores
        self._containing = containing

    def __getitem__(self, patient: str) -> PatientHit:
        number = self._patients.number.get(patient)
        if number is not None:
            rows = self._patients.rows(number)
            row = min(rows.tolist(), key=lambda row: (-self._scores[row], self._case_ids[row]))
            if np.isfinite(self._scores[row]):
                score, case_id = float(self._scores[row]), int(self._case_ids[row])
                return PatientHit(score, case_id, None, contains_words=bool(self._containing[row]))
        raise KeyError(patient)

    def __iter__(self) -> Iterator[str]:
        seen: set[int] = set()
        done, wanted = 0, SORTED_FIRST
        while True:
            order = self._first(wanted)
            for number in self._patients.of[order[done:]].tolist():
                if number not in seen:
                    seen.add(number)
                    yield self._patients.names[number]
            if len(order) < wanted:
                return
            done, wanted = len(order), WIDEN * len(order)

    def __len__(self) -> int:
        return len(np.unique(self._patients.of[np.isfinite(self._scores)]))

    def _first(self, wanted: int) -> npt.NDArray[np.int64]:
        """The rows of the first reports, `wanted` and those that tie with the last; all, where there are fewer."""
        rows = np.flatnonzero(np.isfinite(self._scores))
        if len(rows) > wanted:
            floor = -np.partition(-self._scores[rows], wanted - 1)[wanted - 1]
            rows = rows[self._scores[rows] >= floor]
        return rows[np.lexsort((self._case_ids[rows], -self._scores[rows]))]


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
