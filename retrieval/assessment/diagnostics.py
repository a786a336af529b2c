"""What a reviewer sees of a query's neighbourhood: agreement among the retrieved cases, whether anything comparable was
found, and what the hits share that should not matter.

These describe what was retrieved. None of them says what the query is.
"""

from __future__ import annotations

import dataclasses
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from retrieval.assessment.confounders import NuisanceAudit, NuisancePool
from retrieval.assessment.label_agreement import Agreement, agreement
from retrieval.assessment.novelty import Calibration, Comparability, Kind, nearest_similarity
from retrieval.assessment.novelty_calibration import calibrate, calibrate_generated, calibrate_texts
from retrieval.encoder.embedding_cache import VectorShelf
from retrieval.errors import EvaluationError
from retrieval.generated.batch_generation import GenerationPlan, generated_folder
from retrieval.generated.site_check import SiteCheck, measure_site_rates
from retrieval.language.label_extraction import read_report
from retrieval.language.query_text import asked_text
from retrieval.search.by_category import Gallery, gallery
from retrieval.search.query_vectors import competing

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from pathlib import Path

    from generation import CoinGenerator
    from index_store import Archive, Case
    from retrieval.arrays import Vectors
    from retrieval.encoder.encoder import Encoder
    from retrieval.search.query import Query
    from retrieval.search.results import SearchResult

TEXTS: Final = 200
"""Reports that `joint` is calibrated on: a second's work with the starter, and its false-alarm rate of 5 %
is then known to about ± 3 %."""
REMEMBERED: Final = 64
"""Calibrations kept: one for each channel and filter that was asked for."""
REPORTS_NOT_JUDGED: Final = (
    "Similarity to reports is not judged: the same findings in another laboratory's words would be called not "
    "comparable far too often."
)


@dataclass(frozen=True)
class Told:
    """What is known of the query itself: its case's record says so, or its report."""

    site: str = ""
    system: str = ""
    category: str = ""
    by: str = ""
    """ "case" or "report"; empty where nothing is known."""


@dataclass(frozen=True)
class NotJudged:
    """A channel that answered, and why it was not judged whether anything comparable was found."""

    channel: str
    reason: str


@dataclass(frozen=True)
class Neighbourhood:
    """The neighbourhood of one search."""

    told: Told
    agreement: Agreement
    comparability: tuple[Comparability, ...]
    """One for each judged channel that answered; empty where the archive is too small to calibrate."""
    not_judged: tuple[NotJudged, ...]
    """The other channels that answered."""
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
    calibrations: dict[Hashable, Calibration | str] = field(default_factory=dict)
    """By channel and all else that decides it, made when it is first asked for; or why there is none."""
    texts: dict[str, Vectors] = field(default_factory=dict)
    """Reports that were encoded to calibrate `joint`, float32[d] each: filters share them."""


class Neighbourhoods:
    """Describes the neighbourhoods of searches in one archive. Safe to share between threads.

    The first call reads the archive's cases and calibrates on a sample of them, and so does the first under another
    filter; later calls take milliseconds until the archive changes.
    """

    def __init__(
        self,
        archive: Archive,
        encoder: Encoder,
        generator: CoinGenerator | None = None,
        *,
        work: Path | None = None,
    ) -> None:
        """`generator` and `work`, the folder in which an evaluation and `coin calibrate` keep what they drew of the
        archive's own reports, are needed to judge generated images. Nothing is drawn here.
        """
        self._archive = archive
        self._encoder = encoder
        self._generator = generator
        self._work = work
        self._reading = threading.Lock()
        self._known: _Known | None = None

    def of(self, result: SearchResult) -> Neighbourhood:
        """Describe a result. Agreement is among its cases, nuisance among their leading images."""
        known, told = self._read(), told_of(result.query, self._archive)
        asked_by = self._archive.case(result.query.case) if result.query.case else None
        where = result.where
        comparability, not_judged = self._judged(result, known)
        return Neighbourhood(
            told=told,
            agreement=agreement(result.cases, system=told.system, site=told.site),
            comparability=comparability,
            not_judged=not_judged,
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

    def _judged(self, result: SearchResult, known: _Known) -> tuple[tuple[Comparability, ...], tuple[NotJudged, ...]]:
        judged, not_judged = [], []
        for answer in result.channels:
            if answer.channel == "report":
                not_judged.append(NotJudged("report", REPORTS_NOT_JUDGED))
            elif answer.scores:
                calibration = self._calibration(answer.channel, result, known)
                if isinstance(calibration, str):
                    not_judged.append(NotJudged(answer.channel, calibration))
                else:
                    similarity = nearest_similarity(answer.scores)
                    judged.append(calibration.judge(similarity, _kind(answer.channel, result.query)))
        return tuple(judged), tuple(not_judged)

    def _calibration(self, channel: str, result: SearchResult, known: _Known) -> Calibration | str:
        """The calibration under the search's filter, or why there is none."""
        made_by: tuple[Hashable, ...] = ()
        if channel == "generated":
            made_by = (len(result.query.seeds), result.query.preset, self._drawn_when())
        with self._reading:
            key = (channel, result.where, *made_by)
            if key not in known.calibrations:
                while len(known.calibrations) >= REMEMBERED:
                    del known.calibrations[next(iter(known.calibrations))]
                try:
                    known.calibrations[key] = self._calibrated(channel, result, known)
                except EvaluationError as error:  # too few patients or drawings: nothing to compare with
                    known.calibrations[key] = str(error)
            return known.calibrations[key]

    def _calibrated(self, channel: str, result: SearchResult, known: _Known) -> Calibration:
        fingerprint, where = self._encoder.fingerprint, result.where
        if channel == "image":
            return calibrate(self._archive, fingerprint, where=where, held=known.cases)
        if channel == "generated":
            return self._calibrated_generated(result.query, known)

        def encode(texts: Sequence[str]) -> Vectors:
            return self._encode(texts, known.texts)

        return calibrate_texts(
            self._archive, fingerprint, encode, sample=TEXTS, where=where, held=known.cases, reports=False
        )

    def _calibrated_generated(self, query: Query, known: _Known) -> Calibration:
        from generation import PRESETS

        if self._generator is None or self._work is None or query.preset not in PRESETS:
            raise EvaluationError("Generated images are not judged here: nothing says by what they were made.")
        fingerprint = self._encoder.fingerprint
        folder = generated_folder(self._work, self._archive, self._encoder)
        rates = measure_site_rates(self._archive, fingerprint=fingerprint, held=known.cases)
        return calibrate_generated(
            self._archive,
            self._encoder,
            GenerationPlan(self._generator, images=len(query.seeds), preset=query.preset),
            SiteCheck(self._archive, fingerprint=fingerprint, where=query.where, held=known.cases, rates=rates),
            VectorShelf(folder if folder.is_dir() else None, self._encoder.dim),  # read alone: nothing is made
            where=query.where,
            held=known.cases,
        )

    def _drawn_when(self) -> int:
        """When something was last drawn of the archive's own reports, in nanoseconds; 0: never."""
        if self._work is None:
            return 0
        folder = generated_folder(self._work, self._archive, self._encoder)
        return folder.stat().st_mtime_ns if folder.is_dir() else 0

    def _encode(self, texts: Sequence[str], encoded: dict[str, Vectors]) -> Vectors:
        """As a search encodes a report, each text once."""
        if new := [text for text in dict.fromkeys(texts) if text not in encoded]:
            made = self._encoder.encode_texts([asked_text(text) for text in new])
            encoded.update(zip(new, made, strict=True))
        return np.stack([encoded[text] for text in texts])


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
    if channel == "image":
        return "image" if query.image or query.image_id is not None else "case"
    return "joint" if channel == "joint" else "generated"
