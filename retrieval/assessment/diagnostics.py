"""Diagnostics of a result: agreement among the retrieved cases, the novelty check, and confounders that the hits share.

They describe what was retrieved. None of them is a statement about the query.
"""

from __future__ import annotations

import dataclasses
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from retrieval.assessment.confounder_pool import ConfounderPool
from retrieval.assessment.confounders import ConfounderAudit
from retrieval.assessment.kept_calibration import REMEMBERED, KeptCalibration, calibration_for
from retrieval.assessment.label_agreement import Agreement, agreement
from retrieval.assessment.novelty import Calibration, NoveltyCheck, nearest_similarity
from retrieval.language.archive_labels import meant_filter
from retrieval.language.concepts import system_concept
from retrieval.search.by_category import Gallery, gallery
from retrieval.search.channels.channel import CalibrationMaterials, Channel
from retrieval.search.channels.registry import CHANNELS
from retrieval.search.understood_query import QueryAttributes

if TYPE_CHECKING:
    from collections.abc import Hashable
    from pathlib import Path

    from generation import CoinGenerator
    from index_store import Archive, CaseFilter
    from retrieval.encoder.encoder import Encoder
    from retrieval.search.results import SearchResult

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(frozen=True)
class NotJudged:
    """A channel that answered, and why the query's novelty was not judged by it."""

    channel: str
    reason: str


@dataclass(frozen=True)
class ResultDiagnostics:
    """What is to be known of one result. The fields are the keys of the JSON export."""

    told: QueryAttributes
    """Site, reporting system and category of the query itself."""
    agreement: Agreement
    comparability: tuple[NoveltyCheck, ...]
    """One for each judged channel that answered; empty where the archive is too small to calibrate."""
    not_judged: tuple[NotJudged, ...]
    """The other channels that answered."""
    nuisance: ConfounderAudit
    understood: bool = True
    """Whether the query's text is understood, or there is none. Otherwise agreement is not counted: it is empty."""

    @property
    def comparable(self) -> bool | None:
        """Whether every judged channel found comparable cases; None where none was judged."""
        return all(check.comparable for check in self.comparability) if self.comparability else None


class Diagnostics:
    """Diagnoses the results of searches in one archive. Safe to share between threads.

    The first call reads the labels of the archive's images and calibrates on a sample of them, as far as no earlier
    process has; and so does the first under another filter. Later calls take milliseconds. Changes of the archive are
    respected at once, but by the calibrations (`kept_calibration`), which say how many changes they lack.
    """

    def __init__(
        self,
        archive: Archive,
        encoder: Encoder,
        generator: CoinGenerator | None = None,
        *,
        text_encoder: Encoder | None = None,
        work: Path | None = None,
    ) -> None:
        """Nothing is read before the first result.

        Args:
            encoder: compared images.
            text_encoder: compared texts, as in the search; None: `encoder`.
            generator: needed to judge generated images. Nothing is generated here.
            work: the folder in which an evaluation and `coin calibrate` keep what they generated from the archive's own
                reports; needed likewise.
        """
        self._archive = archive
        self._encoder = encoder
        self._text_encoder = encoder if text_encoder is None else text_encoder
        self._generator = generator
        self._work = work
        self._lock = threading.Lock()
        self._pools: dict[CaseFilter | None, ConfounderPool] = {}
        self._calibrations: dict[Hashable, KeptCalibration] = {}

    def describe(self, result: SearchResult) -> ResultDiagnostics:
        """Diagnose a result: agreement among its cases, confounders among the images shown of them."""
        attributes = result.attributes
        with self._archive.one_view():
            query_case = self._archive.case(result.query.case) if result.query.case else None
            where = meant_filter(self._archive, result.where)
            comparability, not_judged = self._judged(result, where)
            confounders = self._pool(where).audit(
                result.cases, query=query_case, include_own_patient=result.query.include_own_patient
            )
        return ResultDiagnostics(
            told=attributes,
            # Cases that a text found by accident agree by accident.
            agreement=(
                agreement(())
                if result.not_understood
                else agreement(result.cases, system=attributes.system, site=attributes.site)
            ),
            understood=not result.not_understood,
            comparability=comparability,
            not_judged=not_judged,
            nuisance=confounders,
        )

    def gallery(self, result: SearchResult, *, system: str = "", m: int = 4) -> Gallery | None:
        """The nearest cases of each category of a reporting system, by the vector of the primary channel.

        `system` by default is the query's, or that of most of the retrieved cases. None where neither is known, or no
        image was compared. The query's filter applies but for its categories, and its own patient is left out.
        """
        from index_store import CaseFilter

        attributes = result.attributes
        leading = agreement(result.cases, system=attributes.system, site=attributes.site).leading
        chosen = system or (leading.system if leading else "")
        if not chosen or result.vector is None:
            return None
        named = dataclasses.replace(result.where or CaseFilter(), categories=())
        spelt = meant_filter(self._archive, named) or named
        competing = result.competing or CaseFilter()
        where = dataclasses.replace(
            spelt, exclude_patients=competing.exclude_patients, exclude_cases=competing.exclude_cases
        )
        return gallery(
            self._archive,
            result.vector,
            fingerprint=result.vector_fingerprint or self._encoder.fingerprint,
            system=chosen,
            category=attributes.category if chosen == system_concept(attributes.system, attributes.site) else "",
            m=m,
            where=where if where.includes or where.excludes else None,
        )

    def _pool(self, where: CaseFilter | None) -> ConfounderPool:
        """The candidates under a filter, as the archive is now."""
        whole = self._archive.image_table()
        with self._lock:
            pool = self._pools.get(where)
            if pool is None or pool.position != whole.position:
                pool = ConfounderPool.of(self._archive, where)
                _remember(self._pools, where, pool)
            return pool

    def _judged(
        self, result: SearchResult, where: CaseFilter | None
    ) -> tuple[tuple[NoveltyCheck, ...], tuple[NotJudged, ...]]:
        judged, not_judged = [], []
        for answer in result.channels:
            if reason := CHANNELS[answer.channel].not_judged:
                not_judged.append(NotJudged(answer.channel, reason))
            elif answer.scores:
                calibrated, changes = self._calibration(CHANNELS[answer.channel], answer.query_type, result, where)
                if isinstance(calibrated, str):
                    not_judged.append(NotJudged(answer.channel, calibrated))
                else:
                    similarity = nearest_similarity(answer.scores)
                    judged.append(
                        calibrated.judge(similarity, answer.query_type, nearest=answer.scores, changes=changes)
                    )
        return tuple(judged), tuple(not_judged)

    def _calibration(
        self, channel: Channel, query_type: str, result: SearchResult, where: CaseFilter | None
    ) -> tuple[Calibration | str, int]:
        """The calibration under the search's filter, or why there is none; and how many changes of images it lacks."""
        encoder = self._text_encoder if channel.role == "text" else self._encoder
        materials = CalibrationMaterials(
            archive=self._archive,
            encoder=encoder,
            generator=self._generator,
            work=self._work,
            where=where,
            query_type=query_type,
            n_images=len(result.query.seeds),
            preset=result.query.preset,
        )
        position = self._archive.image_table().position
        with self._lock:
            key = (channel.name, query_type, where, *channel.calibration_key(materials))
            known = self._calibrations.get(key)
            if known is None or not known.is_current(position):
                known = calibration_for(channel, materials, position)
                _remember(self._calibrations, key, known)
            return known.found, max(0, known.changes(position))


def _remember(known: dict[Key, Value], key: Key, value: Value) -> None:
    """Keep the last `REMEMBERED`."""
    known.pop(key, None)
    while len(known) >= REMEMBERED:
        del known[next(iter(known))]
    known[key] = value
