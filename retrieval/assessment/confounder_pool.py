"""The candidates of a search as columns, and what its hits share beside their content.

How often a value occurs among the patients of each site is counted in a few passes over arrays, so that an audit takes
milliseconds at hundreds of thousands of images. What depends on the candidates alone is counted once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from index_store.scale import bin_name, bin_of
from retrieval.arrays import Floats, Ints
from retrieval.assessment.confounders import (
    FIELDS,
    NOT_GIVEN,
    ConfounderAudit,
    ConfounderCount,
    chance_tail,
    value_of,
)
from retrieval.language.concepts import site_concept

if TYPE_CHECKING:
    from index_store import Archive, Case, CaseFilter, Column, ImageTable, LogPosition
    from retrieval.search.results import RankedCase

VALUES_KEPT: Final = 256
"""Values whose number of patients is kept."""
NOBODY = -1
"""No patient's id."""


class ConfounderPool:
    """The candidates of a search: m images with their patient, slide, stain, preparation, source and scale. Never
    changes."""

    def __init__(self, candidates: ImageTable, whole: ImageTable | None = None) -> None:
        """
        Args:
            candidates: the images that the search's filter permits.
            whole: all images of the archive, by which a query's patient is known; None: `candidates`.
        """
        self._table = candidates
        self._whole = candidates if whole is None else whole

    @classmethod
    def of(cls, archive: Archive, where: CaseFilter | None = None) -> ConfounderPool:
        """The candidates of a search in the archive as it is now. To be kept until the archive changes."""
        whole = archive.image_table()
        return cls(whole if where is None else archive.image_table(where), whole)

    @property
    def position(self) -> LogPosition:
        """The last entry of the archive's change log that is in it."""
        return self._table.position

    @property
    def sites(self) -> int:
        """How many sites the candidates are of, by what their labels mean."""
        return int((self._within_sites.candidates > 0).sum())

    def audit(
        self, hits: Sequence[RankedCase], *, query: Case | None = None, include_own_patient: bool = False
    ) -> ConfounderAudit:
        """Audit one search's results, each by the image shown of it. O(images). Hits that were removed since the search
        are left out.

        Args:
            query: the query's case; None for a report or an uploaded image.
            include_own_patient: as in `CaseSearch.by_case`; the hits of the query's patient are then a share, too.

        Raises:
            ValueError: a hit is not among the candidates, because they are those of another filter.
        """
        if query is None:
            return self._audited(hits, None, left_out=NOBODY, share=NOBODY)
        patient = self._patient(query)
        if not include_own_patient:
            return self._audited(hits, query, left_out=patient, share=NOBODY)
        others = ConfounderPool(self._table.taken(np.flatnonzero(self._table.cases != query.id)), self._whole)
        return others._audited(hits, query, left_out=NOBODY, share=patient)

    def _audited(self, hits: Sequence[RankedCase], query: Case | None, *, left_out: int, share: int) -> ConfounderAudit:
        """Without the candidates of the patient `left_out`, and with the hits of the patient `share` as one."""
        rows, shares, not_given = self._rows(hits), [], []
        own = np.flatnonzero(self._table.patients == left_out)
        for field in FIELDS if len(rows) else ():
            codes = self._codes[field]
            wanted = _most_frequent(codes[rows]) if query is None else self._values_of(field, query)
            if not wanted:
                not_given.append(field)
                continue
            choices = self._distinct(field) if query is None else 1
            value = ", ".join(dict.fromkeys(self._name(field, code) for code in wanted))
            theirs = own[np.isin(codes[own], wanted)]
            with_value = [
                patients - strata.patients(theirs)
                for patients, strata in zip(self._having(field, tuple(wanted)), self._strata, strict=True)
            ]
            hits_with = int(np.isin(codes[rows], wanted).sum())
            shares.append(self._count(field, value, hits_with, with_value, rows, own, choices))
        theirs = np.flatnonzero(self._table.patients == share)
        if query is not None and len(rows) and len(theirs):
            with_value = [strata.patients(theirs) for strata in self._strata]
            hits_with = int(np.isin(rows, theirs).sum())
            shares.append(self._count("patient", query.patient, hits_with, with_value, rows, own, 1))
        patients = int(self._everywhere.candidates.sum()) - bool(len(own))
        return ConfounderAudit(query is not None, tuple(shares), tuple(not_given), patients)

    def _having(self, field: str, wanted: tuple[int, ...]) -> list[Floats]:
        """How many patients have one of these values, by each of `_strata`; kept."""
        known = self._had.get((field, wanted))
        if known is None:
            images = np.flatnonzero(np.isin(self._codes[field], wanted))
            known = [strata.patients(images) for strata in self._strata]
            for oldest in list(self._had)[: max(0, len(self._had) + 1 - VALUES_KEPT)]:
                self._had.pop(oldest, None)
            self._had[field, wanted] = known
        return known

    @cached_property
    def _had(self) -> dict[tuple[str, tuple[int, ...]], list[Floats]]:
        return {}

    def _count(
        self, field: str, value: str, hits: int, with_value: list[Floats], rows: Ints, own: Ints, choices: int
    ) -> ConfounderCount:
        """The hits in `rows`, of which so many have the value, against all candidates without the patient's `own`, of
        whom so many have it by each of `_strata`.

        `choices` is the number of values that this one was selected from (Bonferroni).
        """
        (expected, tail), (at_sites, tail_at_sites) = (
            strata.chance(hits, patients, rows, own) for strata, patients in zip(self._strata, with_value, strict=True)
        )
        return ConfounderCount(
            field=field,
            value=value,
            hits=hits,
            of=len(rows),
            expected=expected,
            tail=min(1.0, choices * tail),
            expected_at_sites=at_sites,
            tail_at_sites=min(1.0, choices * tail_at_sites),
        )

    def _rows(self, hits: Sequence[RankedCase]) -> Ints:
        known = self._whole.known([hit.image.id for hit in hits])
        try:
            return self._table.rows_of(known)
        except KeyError as error:
            raise ValueError("A hit is not permitted by the filter: give the filter of this search.") from error

    def _patient(self, case: Case) -> int:
        rows = self._whole.rows_of(self._whole.known([image.id for image in case.images]))
        return int(self._whole.patients[rows[0]]) if len(rows) else NOBODY

    @cached_property
    def _columns(self) -> dict[str, Column]:
        """The labels by name, and the bin of each image's scale."""
        from index_store import Column

        known = np.isfinite(self._table.scalars["mpp"])
        different, rows = np.unique(self._table.scalars["mpp"][known], return_inverse=True)
        bins = np.array([bin_of(mpp) for mpp in different.tolist()], dtype=np.int32)
        numbers, indices = np.unique(bins, return_inverse=True)
        codes = np.zeros(len(known), dtype=np.int32)
        codes[known] = 1 + indices[rows]
        names = ("", *map(bin_name, numbers.tolist()))
        return {**self._table.columns, "scale": Column(codes, names)}

    @cached_property
    def _codes(self) -> dict[str, Ints]:
        """Each image's value of each of `FIELDS` as a number, int[m]; -1 where not given.

        Slides are distinguished by their source, too: two laboratories may both have a slide "1".
        """
        columns, codes_of = self._columns, {}
        for field in FIELDS:
            codes = columns[field].codes.astype(np.int64)
            if field == "slide":
                codes += columns["source"].codes * len(columns["slide"].values)
            codes_of[field] = np.where(columns[field].has([""]), NOT_GIVEN, codes)
        return codes_of

    def _values_of(self, field: str, case: Case) -> list[int]:
        """The codes of a case's values, ascending."""
        columns, codes = self._columns, set()
        for image in case.images:
            value = value_of(field, case, image)
            code, source = columns[field].code_of.get(value), columns["source"].code_of.get(case.source)
            if value and code is not None and source is not None:
                codes.add(code + source * len(columns["slide"].values) if field == "slide" else code)
        return sorted(codes)

    def _name(self, field: str, code: int) -> str:
        values = self._columns[field].values
        return values[code % len(values)]

    def _distinct(self, field: str) -> int:
        """How many values the candidates have."""
        if field not in self._counted:
            self._counted[field] = len(np.setdiff1d(self._codes[field], [NOT_GIVEN]))
        return self._counted[field]

    @cached_property
    def _counted(self) -> dict[str, int]:
        return {}

    @property
    def _strata(self) -> tuple[_Strata, _Strata]:
        return self._everywhere, self._within_sites

    @cached_property
    def _everywhere(self) -> _Strata:
        return _strata(self._table.patients, np.zeros(len(self._table), dtype=np.int64), 1)

    @cached_property
    def _within_sites(self) -> _Strata:
        sites = self._table.columns["site"]
        number: dict[str, int] = {}
        concepts = map(site_concept, sites.values)
        of_value = np.array([number.setdefault(concept, len(number)) for concept in concepts], dtype=np.int64)
        return _strata(self._table.patients, of_value[sites.codes], max(1, len(number)))


@dataclass(frozen=True, eq=False)
class _Strata:
    """The candidates by stratum. A patient is one candidate of each stratum that it has images in, represented by any
    of them."""

    of_image: Ints
    """int64[m], from 0: the stratum of each image."""
    weights: Floats
    """float64[m]: one over the patient's images in the stratum."""
    candidates: Ints
    """int64[strata]: patients with images there."""

    def patients(self, images: Ints) -> Floats:
        """How many patients of each stratum these images are, float64[strata], each image a part of its patient.

        `images`: rows, int64[n].
        """
        of_image, weights = self.of_image[images], self.weights[images]
        return np.bincount(of_image, weights, minlength=len(self.candidates)).astype(np.float64)

    def chance(self, hits: int, with_value: Floats, rows: Ints, own: Ints) -> tuple[float, float]:
        """The expected number of hits, and the probability of at least `hits`, sampling within each stratum as many
        patients as the hits have there.

        Args:
            with_value: float64[strata], the patients with the value, without the query's.
            rows: int64[k], the hits. own: int64[n], the images of the query's patient, who is left out.
        """
        candidates = self.candidates.copy()
        candidates[np.unique(self.of_image[own])] -= 1
        expected, samples = 0.0, []
        for stratum, size in Counter(self.of_image[rows].tolist()).items():
            weight, available = float(with_value[stratum]), int(candidates[stratum])
            expected += size * weight / available
            samples.append((size, min(available, math.ceil(weight - 1e-9)), available))
        return expected, chance_tail(hits, samples)


def _strata(patients: Ints, of_image: Ints, count: int) -> _Strata:
    units, unit_of, images_of = np.unique(patients * count + of_image, return_inverse=True, return_counts=True)
    return _Strata(of_image, 1.0 / images_of[unit_of], np.bincount(units % count, minlength=count))


def _most_frequent(codes: Ints) -> list[int]:
    counts = Counter(code for code in codes.tolist() if code != NOT_GIVEN)
    return [code for code, _ in counts.most_common(1)]
