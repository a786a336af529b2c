"""What a reviewer sees of a query's neighbourhood: agreement among the retrieved cases, whether anything comparable was
found, and what the hits share that should not matter.

These describe what was retrieved. None of them says what the query is.
"""

from __future__ import annotations

import dataclasses
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from retrieval.agreement import Agreement, agreement
from retrieval.calibration import calibrate, calibrate_texts
from retrieval.comparability import Calibration, Comparability, Kind, nearest_similarity
from retrieval.errors import EvaluationError
from retrieval.gallery import Gallery, gallery
from retrieval.nuisance import NuisanceAudit, NuisancePool
from retrieval.query_vectors import competing
from retrieval.report_reader import read_report
from retrieval.report_text import asked_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from index_store import Archive, Case
    from retrieval.encoder import Encoder, Vectors
    from retrieval.query import Query
    from retrieval.results import SearchResult

JUDGED: Final = ("image", "joint")
"""The channels whose similarities are judged: those that can be calibrated without drawing images."""


TEXTS: Final = 200
"""Reports that `joint` is calibrated on: a second's work with the starter, and its false-alarm rate of 5 %
is then known to about ± 3 %."""


@dataclass(frozen=True)
class Told:
    """What is known of the query itself: its case's record says so, or its report."""

    site: str = ""
    system: str = ""
    category: str = ""
    by: str = ""
    """ "case" or "report"; empty where nothing is known."""


@dataclass(frozen=True)
class Neighbourhood:
    """The neighbourhood of one search."""

    told: Told
    agreement: Agreement
    comparability: tuple[Comparability, ...]
    """One for each judged channel that answered; empty where the archive is too small to calibrate."""
    nuisance: NuisanceAudit

    @property
    def comparable(self) -> bool | None:
        """Whether every judged channel found comparable cases; None where none was judged."""
        return all(one.comparable for one in self.comparability) if self.comparability else None


@dataclass(frozen=True, eq=False)
class _Known:
    """What is read of the archive once, and again when it has changed."""

    revision: int
    cases: Sequence[Case]
    pool: NuisancePool
    calibrations: dict[str, Calibration | None] = field(default_factory=dict)
    """By channel, made when it is first asked for."""


class Neighbourhoods:
    """Describes the neighbourhoods of searches in one archive. Safe to share between threads.

    The first call reads the archive's cases and calibrates on a sample of them; later calls take milliseconds until
    the archive changes.
    """

    def __init__(self, archive: Archive, encoder: Encoder) -> None:
        self._archive = archive
        self._encoder = encoder
        self._reading = threading.Lock()
        self._known: _Known | None = None

    def of(self, result: SearchResult) -> Neighbourhood:
        """Describe a result. Agreement is among its cases, nuisance among their leading images."""
        known, told = self._read(), told_of(result.query, self._archive)
        asked_by = self._archive.case(result.query.case) if result.query.case else None
        where = result.where
        return Neighbourhood(
            told=told,
            agreement=agreement(result.cases, system=told.system, site=told.site),
            comparability=self._judged(result, known),
            nuisance=known.pool.audit(
                result.cases, query=asked_by, where=where, include_own_patient=result.query.include_own_patient
            ),
        )

    def gallery(self, result: SearchResult, *, system: str = "", m: int = 4) -> Gallery | None:
        """The nearest cases of each category of a reporting system, by the vector that the leading channel asked by.

        `system` by default is the query's, or that of most of the retrieved cases. None where neither is known, or no
        image was compared. The query's filter holds but for its categories, and its own patient stays out.
        """
        from index_store import CaseFilter

        told = told_of(result.query, self._archive)
        leading = agreement(result.cases, system=told.system, site=told.site).leading
        chosen = system or (leading.system if leading else "")
        if not chosen or result.vector is None:
            return None
        where = dataclasses.replace(competing(result.query, self._archive) or CaseFilter(), categories=())
        return gallery(
            self._archive,
            result.vector,
            fingerprint=self._encoder.fingerprint,
            system=chosen,
            category=told.category if chosen == told.system else "",
            m=m,
            where=where if where.includes or where.excludes else None,
            held=self._read().cases,
        )

    def _read(self) -> _Known:
        with self._reading:
            revision = self._archive.revision
            if self._known is None or self._known.revision != revision:
                cases = self._archive.cases()
                self._known = _Known(revision, cases, NuisancePool(cases))
            return self._known

    def _judged(self, result: SearchResult, known: _Known) -> tuple[Comparability, ...]:
        made = []
        for answer in result.channels:
            if answer.channel not in JUDGED or not answer.scores:
                continue
            with self._reading:
                if answer.channel not in known.calibrations:
                    known.calibrations[answer.channel] = self._calibrated(answer.channel)
                calibration = known.calibrations[answer.channel]
            if calibration is not None:
                made.append(calibration.judge(nearest_similarity(answer.scores), _kind(answer.channel, result.query)))
        return tuple(made)

    def _calibrated(self, channel: str) -> Calibration | None:
        fingerprint = self._encoder.fingerprint
        try:
            if channel == "image":
                return calibrate(self._archive, fingerprint)
            return calibrate_texts(self._archive, fingerprint, self._encode, sample=TEXTS, reports=False)
        except EvaluationError:  # fewer than two patients: nothing to compare with
            return None

    def _encode(self, texts: Sequence[str]) -> Vectors:
        """As a search encodes a report."""
        return self._encoder.encode_texts([asked_text(text) for text in texts])


def told_of(query: Query, archive: Archive) -> Told:
    """What the query's case, or else its report, says of itself."""
    if query.case:
        case = archive.case(query.case)
        return Told(case.site, case.system, case.category, "case")
    if query.text.strip():
        reading = read_report(query.text)
        told = Told(query.site or reading.site or "", reading.system or "", reading.category or "", "report")
        return told if told.site or told.system else Told()
    return Told()


def _kind(channel: str, query: Query) -> Kind:
    if channel == "joint":
        return "joint"
    return "image" if query.image or query.image_id is not None else "case"
