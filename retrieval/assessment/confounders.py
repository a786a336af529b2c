"""Confounders: do the hits share slide, stain, preparation or source more than by chance?

An encoder represents the stain and the scanner as well as the cells, and pathology encoders are known to encode the
centre (arXiv 2507.17845). Hits that all share the query's stain may be similar by the stain alone.

Chance is a random ranking of the patients that the search permits, without the query's patient, each represented by any
of its images. The expected number is exact. The probability that chance gives at least as many is a hypergeometric
tail: exact where each patient's images agree in the value, otherwise an approximation (their sum, rounded up). Both are
also given within the sites of the hits, because stains correlate with sites: on phantoms, the site explains most of
what the first ten share beyond chance (`benchmarks.neighbourhood`).

`Archive.facets` counts a case once for each of its stains. Chance needs patients and their images, so these are read
once (`ConfounderPool.of`) and kept as arrays until the archive changes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from index_store import CaseFilter
from retrieval.arrays import Bools, Floats, Ints
from retrieval.language.concepts import site_concept

if TYPE_CHECKING:
    from index_store import Archive, Case, Image
    from retrieval.search.results import RankedCase


FIELDS: Final = ("slide", "stain", "preparation", "source")
NOT_GIVEN: Final = -1


@dataclass(frozen=True)
class ConfounderCount:
    """How many hits have one value of one field, against chance."""

    field: str
    value: str
    """The query's value; several of a case with several, joined by a comma."""
    hits: int
    of: int
    expected: float
    """Mean number of hits with the value under a random ranking."""
    tail: float
    """Probability that a random ranking gives at least as many."""
    expected_at_sites: float
    tail_at_sites: float
    """The same for a random ranking within each site, with the hits' number of each site: stains and sources correlate
    with sites, so that hits of the right site share them in any case."""

    @property
    def words(self) -> str:
        """In one sentence."""
        return (
            f"{self.hits} of {self.of} hits share the {self.field} '{self.value}'; by chance {self.expected:.1f} would "
            f"(probability of as many or more: {_shown(self.tail)}), and {self.expected_at_sites:.1f} among cases of "
            f"the same sites ({_shown(self.tail_at_sites)})."
        )


@dataclass(frozen=True)
class ConfounderAudit:
    """What the hits have in common beside their content."""

    of_query: bool
    """True: the shares are of the query's values. False: these are not known (a report, an uploaded image), and each
    share is of the most frequent value among the hits, its `tail` multiplied by the number of values it was selected
    from (Bonferroni)."""
    shares: tuple[ConfounderCount, ...]
    not_given: tuple[str, ...]
    """Fields that were not audited, because the query has no value (or, where it is unknown, no hit has)."""
    patients: int
    """Number of candidates: patients that the filter permits, without the query's."""


class ConfounderPool:
    """The images of an archive as arrays: their patient, slide, stain, preparation and source."""

    def __init__(self, cases: Sequence[Case]) -> None:
        rows = [(case, image) for case in cases for image in case.images]
        self._images = [image for _, image in rows]
        self._cases = [case for case, _ in rows]
        self._distinct = tuple(cases)
        self._number = {patient: i for i, patient in enumerate(dict.fromkeys(case.patient for case in cases))}
        self._patients = np.array([self._number[case.patient] for case in self._cases], dtype=np.int64)
        self._codes = confounder_codes(cases, np.array([image.id for image in self._images], dtype=np.int64))
        _, self._sites = np.unique([site_concept(case.site) for case in self._cases], return_inverse=True)
        self._row_of = {image.id: i for i, image in enumerate(self._images)}

    @classmethod
    def of(cls, archive: Archive) -> ConfounderPool:
        """Read an archive, O(images). To be kept until the archive changes (`ArchiveStatus.log_sequence`)."""
        return cls(archive.cases())

    def audit(
        self,
        hits: Sequence[RankedCase],
        *,
        query: Case | None = None,
        where: CaseFilter | None = None,
        include_own_patient: bool = False,
    ) -> ConfounderAudit:
        """Audit one search's results, each by the image shown of it. O(images).

        Args:
            query: the query's case; None for a report or an uploaded image.
            where: the filter of the search.
            include_own_patient: as in `CaseSearch.by_case`; the hits of the query's patient are then a share, too.

        Raises:
            ValueError: a hit is not in the pool, because the pool was read before it was added; or the filter does not
                permit a hit.
        """
        missing = [hit.image.id for hit in hits if hit.image.id not in self._row_of]
        if missing:
            raise ValueError(f"Image {missing[0]} was added after this pool was read: read the pool again.")
        permitted = self._permitted(where)
        hit_rows = np.array([self._row_of[hit.image.id] for hit in hits], dtype=np.int64)
        if not permitted[hit_rows].all():
            raise ValueError("A hit is not permitted by the filter: give the filter of this search.")
        own = np.zeros(len(permitted), dtype=bool)
        if query is not None:
            own = self._patients == self._number.get(query.patient, NOT_GIVEN)
            permitted &= np.array([case.key != query.key for case in self._cases], dtype=bool)
            if not include_own_patient:
                permitted &= ~own
        candidates = len(np.unique(self._patients[permitted]))
        shares, not_given = [], []
        for field in FIELDS if hits else ():
            codes = self._codes[field]
            if query is None:
                wanted, choices = _most_frequent(codes[hit_rows]), len(set(codes[permitted]) - {NOT_GIVEN})
            else:
                own_rows = [self._row_of[image.id] for image in query.images if image.id in self._row_of]
                wanted, choices = np.setdiff1d(codes[np.array(own_rows, dtype=int)], [NOT_GIVEN]), 1
            if not len(wanted):
                not_given.append(field)
                continue
            having = np.isin(codes, wanted)
            names = dict.fromkeys(self._value(field, int(np.argmax(codes == code))) for code in wanted)
            shares.append(self._share(field, ", ".join(names), having, hit_rows, permitted, choices))
        if hits and query is not None and include_own_patient and own[permitted].any():
            shares.append(self._share("patient", query.patient, own, hit_rows, permitted, 1))
        return ConfounderAudit(query is not None, tuple(shares), tuple(not_given), candidates)

    def _value(self, field: str, row: int) -> str:
        return _value(field, self._cases[row], self._images[row])[-1]

    def _share(
        self, field: str, value: str, having: Bools, hit_rows: Ints, permitted: Bools, choices: int
    ) -> ConfounderCount:
        """Of the hits in `hit_rows`, those `having` the value, against all that are permitted.

        `choices` is the number of values that this one was selected from (Bonferroni).
        """
        one_stratum = np.zeros(len(permitted), dtype=np.int64)
        hits = int(having[hit_rows].sum())
        (expected, tail), (at_sites, tail_at_sites) = (
            _chance(hits, self._patients, strata, having, hit_rows, permitted) for strata in (one_stratum, self._sites)
        )
        return ConfounderCount(
            field=field,
            value=value,
            hits=hits,
            of=len(hit_rows),
            expected=expected,
            tail=min(1.0, choices * tail),
            expected_at_sites=at_sites,
            tail_at_sites=min(1.0, choices * tail_at_sites),
        )

    def _permitted(self, where: CaseFilter | None) -> Bools:
        permitted = (where or CaseFilter()).permitted_images(self._distinct)
        allowed = {image.id for _, images in permitted for image in images}
        return np.array([image.id in allowed for image in self._images], dtype=bool)


def confounder_codes(cases: Sequence[Case], image_ids: Ints) -> dict[str, Ints]:
    """Each image's value of each of `FIELDS` as a number, int[m] in the order of `image_ids`; -1 where not given.

    Slides are distinguished by their source, too: two laboratories may both have a slide "1".

    Raises:
        KeyError: no case has one of the images.
    """
    row = {image.id: (case, image) for case in cases for image in case.images}
    codes_of = {}
    for field in FIELDS:
        numbers: dict[tuple[str, ...], int] = {}
        values = [_value(field, *row[image_id]) for image_id in image_ids.tolist()]
        codes = [numbers.setdefault(value, len(numbers)) if value[-1] else NOT_GIVEN for value in values]
        codes_of[field] = np.array(codes, dtype=np.int64)
    return codes_of


def query_codes(codes: Ints, case_of: Ints, cases: int) -> Ints:
    """The one value of each case, int[cases], from its images' int[m]; -1 where it has none, or several."""
    lowest, highest = np.full(cases, np.iinfo(np.int64).max), np.full(cases, NOT_GIVEN)
    np.minimum.at(lowest, case_of, codes)
    np.maximum.at(highest, case_of, codes)
    return np.where(lowest == highest, highest, NOT_GIVEN)


def shared_with_query(
    codes: Ints, patients: Ints, representatives: Ints, wanted: Ints, own: Ints, *, strata: Ints | None = None
) -> tuple[Floats, Floats]:
    """For many queries, the share of the first k that has the query's value, and the share expected by chance.

    Args:
        codes: int[m], each reference image's value (`confounder_codes`).
        patients: int[m], each reference image's patient, from 0.
        representatives: int64[q, k], rows of the images that represent the first k patients
            (`BatchRanking.ranked_images`).
        wanted: int[q], the query's value (`query_codes`).
        own: int[q], the query's patient, which was left out.
        strata: int[m], such as each image's site, from 0: chance is then a random ranking within each stratum, with the
            hits' number of each stratum. None: a random ranking of all.

    Returns:
        Two float[q], NaN where the query has no single value. Time O(m log m + q k log m).
    """
    strata = np.zeros(len(codes), dtype=np.int64) if strata is None else strata
    values, n_strata = max(1, int(codes.max(initial=0)) + 1), int(strata.max(initial=0)) + 1
    units, unit_of, images_of = np.unique(patients * n_strata + strata, return_inverse=True, return_counts=True)
    known = codes != NOT_GIVEN
    cells = strata[known] * values + codes[known]  # a row of a stratum × value table
    having = np.bincount(cells, 1.0 / images_of[unit_of[known]], minlength=n_strata * values)
    candidates = np.bincount(units % n_strata, minlength=n_strata)
    triples, images_with = np.unique(units[unit_of[known]] * values + codes[known], return_counts=True)
    given = wanted != NOT_GIVEN
    value, stratum = np.where(given, wanted, 0)[:, None], strata[representatives]
    own_unit = own[:, None] * n_strata + stratum
    own_images = _looked_up(units, images_of, own_unit)
    own_share = _looked_up(triples, images_with, own_unit * values + value) / np.maximum(1, own_images)
    expected = (having[stratum * values + value] - own_share) / (candidates[stratum] - (own_images > 0))
    observed = (codes[representatives] == wanted[:, None]).mean(axis=1)
    return np.where(given, observed, np.nan), np.where(given, expected.mean(axis=1), np.nan)


def chance_tail(hits: int, samples: Sequence[tuple[int, int, int]]) -> float:
    """Probability of at least `hits` patients with a value, where each stratum is sampled without replacement.

    For one stratum this is the hypergeometric tail; the distributions of several are convolved. Counted in whole
    numbers: importing scipy.stats takes longer than everything else that a first audit does.

    Args:
        hits: number of patients with the value.
        samples: of each stratum the sample size, the candidates with the value, and all candidates.
    """
    total = np.ones(1)
    for size, with_value, candidates in samples:
        ways = math.comb(candidates, size)
        stratum = [
            math.comb(with_value, i) * math.comb(candidates - with_value, size - i) / ways for i in range(size + 1)
        ]
        total = np.convolve(total, stratum)
    return float(min(1.0, total[hits:].sum()))


def _chance(
    hits: int, patients: Ints, strata: Ints, having: Bools, hit_rows: Ints, permitted: Bools
) -> tuple[float, float]:
    """The expected number of hits, and the probability of at least `hits`, sampling within each stratum."""
    expected, samples = 0.0, []
    for stratum, size in Counter(strata[hit_rows].tolist()).items():
        members = np.flatnonzero(permitted & (strata == stratum))
        candidates, patient_of, images_of = np.unique(patients[members], return_inverse=True, return_counts=True)
        weight = float((having[members] / images_of[patient_of]).sum())
        expected += size * weight / len(candidates)
        samples.append((size, min(len(candidates), math.ceil(weight - 1e-9)), len(candidates)))
    return expected, chance_tail(hits, samples)


def _looked_up(keys: Ints, values: Ints, wanted: Ints) -> Ints:
    """The value of each wanted key, 0 where there is none; the keys ascend."""
    if not len(keys):
        return np.zeros_like(wanted)
    positions = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[positions] == wanted, values[positions], 0)


def _shown(probability: float) -> str:
    return f"{probability:.2g}" if probability >= 0.001 else "below 0.001"


def _value(field: str, case: Case, image: Image) -> tuple[str, ...]:
    """The key by which two values of a field are distinguished; its last part is the value's name."""
    if field == "slide":
        return (case.source, image.slide)
    return (case.source if field == "source" else str(getattr(image, field)),)


def _most_frequent(codes: Ints) -> Ints:
    counts = Counter(code for code in codes.tolist() if code != NOT_GIVEN)
    return np.array([code for code, _ in counts.most_common(1)], dtype=np.int64)
