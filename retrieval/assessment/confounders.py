"""Confounders: do the hits share slide, stain, preparation, source or scale more than by chance?

An encoder represents the stain and the scanner as well as the cells, and pathology encoders are known to encode the
centre (arXiv 2507.17845). Hits that all share the query's stain may be similar by the stain alone.

Chance is a random ranking of the patients that the search permits, without the query's patient, each represented by any
of its images. The expected number is exact. The probability that chance gives at least as many is a hypergeometric
tail: exact where each patient's images agree in the value, otherwise an approximation (their sum, rounded up). Both are
also given within the sites of the hits, because stains correlate with sites: on phantoms, the site explains most of
what the first ten share beyond chance (`benchmarks.neighbourhood`).

`Archive.facets` counts a case once for each of its stains. Chance needs patients and their images: see
`confounder_pool`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from index_store.scale import bin_name, bin_of
from retrieval.arrays import Floats, Ints

if TYPE_CHECKING:
    from index_store import Case, Image

FIELDS: Final = ("slide", "stain", "preparation", "source", "scale")
"""The last is a bin of µm a pixel (`index_store.scale.bin_of`): 40× is one, 20× another."""
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


class ConfounderValues:
    """The values of each of `FIELDS`, noted image by image: a number for each, and no records kept."""

    def __init__(self) -> None:
        self._numbers: dict[str, dict[tuple[str, ...], int]] = {field: {} for field in FIELDS}
        self._codes: dict[str, list[int]] = {field: [] for field in FIELDS}

    def add(self, case: Case, image: Image) -> None:
        """Note the next image.

        Slides are distinguished by their source, too: two laboratories may both have a slide "1".
        """
        for field, numbers in self._numbers.items():
            value = _value(field, case, image)
            self._codes[field].append(numbers.setdefault(value, len(numbers)) if value[-1] else NOT_GIVEN)

    def codes(self, order: Ints) -> dict[str, Ints]:
        """By field, int[m], in the order of the images int[m] (positions as they were noted): numbers from 0 as the
        values first occur in it; -1 where not given."""
        return {field: _by_occurrence(np.array(codes, dtype=np.int64)[order]) for field, codes in self._codes.items()}


def confounder_codes(cases: Sequence[Case], image_ids: Ints) -> dict[str, Ints]:
    """Each image's value of each of `FIELDS` as a number, int[m] in the order of `image_ids`; -1 where not given.

    Raises:
        KeyError: no case has one of the images.
    """
    row = {image.id: (case, image) for case in cases for image in case.images}
    values = ConfounderValues()
    for image_id in image_ids.tolist():
        values.add(*row[image_id])
    return values.codes(np.arange(len(image_ids)))


def _by_occurrence(codes: Ints) -> Ints:
    """Codes int[m] as numbers from 0 in the order in which they first occur; -1 stays."""
    given = codes != NOT_GIVEN
    _, firsts, back = np.unique(codes[given], return_index=True, return_inverse=True)
    numbered = codes.copy()
    numbered[given] = np.argsort(np.argsort(firsts))[back]
    return numbered


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


def _looked_up(keys: Ints, values: Ints, wanted: Ints) -> Ints:
    """The value of each wanted key, 0 where there is none; the keys ascend."""
    if not len(keys):
        return np.zeros_like(wanted)
    positions = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[positions] == wanted, values[positions], 0)


def _shown(probability: float) -> str:
    return f"{probability:.2g}" if probability >= 0.001 else "below 0.001"


def value_of(field: str, case: Case, image: Image) -> str:
    """An image's value of one of `FIELDS`; empty where it is not known."""
    if field == "scale":
        return "" if image.mpp is None else bin_name(bin_of(image.mpp))
    return case.source if field == "source" else str(getattr(image, field))


def _value(field: str, case: Case, image: Image) -> tuple[str, ...]:
    """The key by which two values of a field are distinguished; its last part is the value's name."""
    if field == "slide":
        return (case.source, image.slide)
    return (value_of(field, case, image),)
