"""From query vectors to ranked patients: the archive ranks images, a reader wants cases.

One entry a patient: a patient with a thousand crops must not fill the page, and images of one patient are no
independent evidence. A patient ranks as its best image does; more images are searched until enough patients are found
or nothing is left.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from index_store import distinct
from retrieval.arrays import Bools, Floats, Ints, Vectors
from retrieval.search.reports.report_scores import ReportScores

if TYPE_CHECKING:
    from index_store import Archive, CaseFilter, Hit, ImageTable


WIDEN: Final = 4
"""By how much more images are searched than patients are wanted."""
SPARE: Final = 16
"""More images than that are searched: beyond the last patient, one with a lower score must be seen."""
SORTED_FIRST: Final = 1_000
"""Reports that a ranking of them sorts at first."""
DEEPEST: Final = 20_000
"""Images searched for patients beyond those that are shown: a few patients with very many images would otherwise make
every search read the whole archive."""


@dataclass(frozen=True)
class FieldMatch:
    """A field of the query's slide and the patient's image that it is nearest to."""

    field: int
    """Its number among the query's fields, from 0."""
    image_id: int
    similarity: float
    """Cosine, from -1 to 1."""


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
    matches: tuple[FieldMatch, ...] = ()
    """Where many fields query: the best of their matches, each of another field and another image."""


Ranking = Mapping[int, PatientHit]
"""By the patient's id, best first: higher scores, then lower image (or, of reports, case) ids."""


def rank_images(
    archive: Archive, query: Vectors, at_least: int, *, pool: int, where: CaseFilter | None, fingerprint: str
) -> Ranking:
    """The nearest patients to one query vector float32[1, d].

    The first `at_least` are exact: no patient is missed or misplaced. Of the next, up to `pool`, as many are given as
    the nearest 20,000 images hold.
    """
    wanted = max(at_least, pool)
    table = archive.image_table()
    depth = _depth(wanted, table.images_per_patient)
    while True:
        hits = archive.search(query, depth, where=where, fingerprint=fingerprint)[0]
        if len(table.known(hit.image_id for hit in hits)) < len(hits):
            table = archive.image_table()  # with what was added meanwhile
        grouped = _grouped(hits, table)
        # Beyond the last patient, too: images that tie with it, or count as further images, must be among the hits.
        enough = at_least if depth >= DEEPEST else wanted
        if len(hits) < depth or (len(grouped.first) >= enough and hits[-1].score < grouped.best(enough)):
            return grouped.ranking(wanted)
        depth *= WIDEN


def _depth(wanted: int, images_per_patient: float) -> int:
    """How many images are searched at first: `WIDEN` a patient, fewer where patients have fewer."""
    each = math.ceil(images_per_patient)
    return min(WIDEN * wanted, each * wanted + max(SPARE, wanted // SPARE))


def head(ranking: Ranking, pool: int) -> list[int]:
    """The first `pool` patients of a ranking, and those that tie with the last of them."""
    if isinstance(ranking, ReportRanking):
        return ranking.head(pool)
    found: list[int] = []
    floor = -np.inf
    for patient, hit in ranking.items():
        if len(found) >= pool and hit.score < floor:
            break
        found.append(patient)
        floor = hit.score if len(found) == pool else floor
    return found


def scores_of(ranking: Ranking, patients: Sequence[int]) -> tuple[Floats, Bools]:
    """What a ranking gives to patients, float64[m], -inf where it lacks one; and bool[m], whose case contains the
    query's words."""
    if isinstance(ranking, ReportRanking):
        return ranking.scores_of(patients)
    hits = [ranking.get(patient) for patient in patients]
    return (
        np.array([-np.inf if hit is None else hit.score for hit in hits]),
        np.array([hit is not None and hit.contains_words for hit in hits], dtype=bool),
    )


def only(ranking: Ranking, patients: Sequence[int]) -> Ranking:
    """What a ranking says of these patients."""
    if isinstance(ranking, ReportRanking):
        return ranking.only(patients)
    return {patient: ranking[patient] for patient in patients if patient in ranking}


@dataclass(frozen=True, eq=False)
class Patients:
    """Whose the n reports of an index are."""

    of: Ints
    """int64[n], ids of patients"""

    def rows(self, patients: Ints) -> tuple[Ints, Ints]:
        """The rows of the reports of these patients, int64[r], one patient's after the other's; and, int64[r], which of
        the patients each belongs to."""
        starts, ends = (np.searchsorted(self._in_order, patients, side=side) for side in ("left", "right"))
        counts = ends - starts
        owner = np.repeat(np.arange(len(patients)), counts)
        before = np.cumsum(counts) - counts
        return self._order[starts[owner] + np.arange(len(owner)) - before[owner]], owner

    @cached_property
    def _order(self) -> Ints:
        return np.argsort(self.of, kind="stable")

    @cached_property
    def _in_order(self) -> Ints:
        return self.of[self._order]


class ReportRanking(Mapping[int, PatientHit]):
    """Patients by their best report. Only as many are sorted as are looked at."""

    def __init__(self, case_ids: Ints, patients: Patients, scores: ReportScores, containing: Bools) -> None:
        """
        Args:
            case_ids: int64[n], whose reports are compared.
            patients: whose the cases are.
            scores: theirs. Of equal scores the lower case id comes first.
            containing: bool[n], the reports that contain the query's words.
        """
        self._case_ids = case_ids
        self._patients = patients
        self._scores = scores
        self._containing = containing
        self._sorted: dict[int, tuple[Ints, npt.NDArray[np.floating]]] = {}

    def __getitem__(self, patient: int) -> PatientHit:
        return self.only([patient])[patient]

    def only(self, patients: Sequence[int]) -> dict[int, PatientHit]:
        """Those of these patients that it ranks."""
        if not len(self._case_ids):
            return {}
        rows = self._best(patients)
        hits = (self._scores.of(rows).tolist(), self._case_ids[rows].tolist(), self._containing[rows].tolist())
        return {
            patient: PatientHit(score, case_id, None, contains_words=contains)
            for patient, row, score, case_id, contains in zip(patients, rows.tolist(), *hits, strict=True)
            if row >= 0
        }

    def __iter__(self) -> Iterator[int]:
        seen: set[int] = set()
        done, wanted = 0, SORTED_FIRST
        while True:
            order, _ = self._first(wanted)
            for patient in self._patients.of[order[done:]].tolist():
                if patient not in seen:
                    seen.add(patient)
                    yield patient
            if len(order) < wanted:
                return
            done, wanted = len(order), WIDEN * len(order)

    def __len__(self) -> int:
        return len(distinct(self._patients.of[self._scores.results()]))

    def head(self, pool: int) -> list[int]:
        """See `head`."""
        wanted = max(pool, SORTED_FIRST)
        while True:
            order, scores = self._first(wanted)
            patients = self._patients.of[order]
            first = np.sort(np.unique(patients, return_index=True)[1])
            if len(first) >= pool or len(order) < wanted:
                # All reports that are as good as the last sorted one are sorted, too.
                floor = scores[first[pool - 1]] if len(first) >= pool else -np.inf
                found: list[int] = patients[first[scores[first] >= floor]].tolist()
                return found
            wanted = WIDEN * len(order)

    def scores_of(self, patients: Sequence[int]) -> tuple[Floats, Bools]:
        """See `scores_of`: float64[m] and bool[m]. O(their reports), beside a search for each patient."""
        if not len(self._case_ids):
            return np.full(len(patients), -np.inf), np.zeros(len(patients), dtype=bool)
        rows = self._best(patients)
        has = rows >= 0
        return np.where(has, self._scores.of(rows), -np.inf).astype(np.float64), has & self._containing[rows]

    def _best(self, patients: Sequence[int]) -> Ints:
        """The row of each patient's best report, int64[m]; -1 where it has none that competes."""
        rows, owners = self._patients.rows(np.array(patients, dtype=np.int64))
        scores = self._scores.of(rows)
        order = np.lexsort((self._case_ids[rows], -scores, owners))
        rows, owners, scores = rows[order], owners[order], scores[order]
        _, first = np.unique(owners, return_index=True)
        first = first[np.isfinite(scores[first])]
        best = np.full(len(patients), -1, dtype=np.int64)
        best[owners[first]] = rows[first]
        return best

    def _first(self, wanted: int) -> tuple[Ints, npt.NDArray[np.floating]]:
        """The rows of the first reports and their scores, `wanted` and those that tie with the last; all, where there
        are fewer."""
        if wanted not in self._sorted:
            rows = self._scores.first(wanted)
            scores = self._scores.of(rows)
            order = np.lexsort((self._case_ids[rows], -scores))
            self._sorted[wanted] = rows[order], scores[order]
        return self._sorted[wanted]


@dataclass(frozen=True, eq=False)
class _Grouped:
    """Images, best first, by patient."""

    images: Ints
    """int64[m]"""
    scores: Floats
    """float64[m]"""
    cases: Ints
    """int64[m]"""
    patients: Ints
    """int64[m]"""
    first: Ints
    """int64[p], ascending: the best image of each patient."""

    def best(self, rank: int) -> float:
        """The score of the patient at this rank, from 1."""
        return float(self.scores[self.first[rank - 1]])

    def ranking(self, wanted: int) -> Ranking:
        """The first so many patients."""
        order = np.argsort(self.patients, kind="stable")
        in_order, scores = self.patients[order], self.scores[order].tolist()
        first = self.first[:wanted]
        starts, ends = (np.searchsorted(in_order, self.patients[first], side=side) for side in ("left", "right"))
        return {
            patient: PatientHit(scores[start], case, image, tuple(scores[start:end]))
            for patient, case, image, start, end in zip(
                *(each.tolist() for each in (self.patients[first], self.cases[first], self.images[first])),
                starts.tolist(),
                ends.tolist(),
                strict=True,
            )
        }


def _grouped(hits: Sequence[Hit], table: ImageTable) -> _Grouped:
    images = np.array([hit.image_id for hit in hits], dtype=np.int64)
    scores = np.array([hit.score for hit in hits], dtype=np.float64)
    order = np.lexsort((images, -scores))
    rows, known = table.find(images[order])  # what it lacks was removed since it was found
    patients = table.patients[rows[known]]
    first = np.sort(np.unique(patients, return_index=True)[1])
    return _Grouped(images[order][known], scores[order][known], table.cases[rows[known]], patients, first)
