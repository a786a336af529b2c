"""From many query vectors to ranked patients: many fields of a slide against many images of each patient.

A patient's score is made of each query field's best match among the patient's images (`joined`): it is one entry a
patient however many fields it has, and a query field counts once. With n query fields, f images searched for each and c
images compared exactly, of dimension d: O(n f) hits and n c d multiplications, where c is at most `COMPARED`, and twice
`EACH` for a patient that must be in order; memory is that of `BLOCK` vectors and their n similarities. Neither grows
with the archive, but for the look-up of the candidates' images among the columns of all, a few nanoseconds an image.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from retrieval.arrays import Floats, Ints, Vectors
from retrieval.search.group_by_patient import FieldMatch, PatientHit, Ranking
from retrieval.search.slides.slide_query import BEST, EVEN, MEDIAN

if TYPE_CHECKING:
    from index_store import Archive, CaseFilter, Hit, ImageTable

DEPTH: Final = 64
"""Images searched for each query field: candidates are the patients that have one of them."""
ROUNDS: Final = 4
"""Searches for candidates, each without the patients found before, beyond which none is made but for patients that
must be found."""
CANDIDATES: Final = 256
"""Patients of which all images are compared, at most."""
COMPARED: Final = 65_536
"""Images that are compared exactly, but for those of the patients that must be in order."""
MOST_EXCLUDED: Final = 10_000
"""Patients that a filter can leave out at once, about."""
EACH: Final = 2_048
"""Of one patient: of more, so many evenly spaced are compared, and as many that the search found."""
BLOCK: Final = 4_096
"""Images whose vectors are held at once."""
DRAWN: Final = 4
"""Images of a patient among which the best match of a field is expected by `EVEN`, at least. With more draws than the
smaller patients have images, larger ones of another kind stand above them; with two, few abnormal fields are missed
(`python -m benchmarks.unequal_cases`)."""
SMALLER: Final = 0.1
"""Share of the patients that may have fewer images than are drawn."""
KEPT: Final = 8
"""Matches that are kept of each patient."""


def joined(similarities: Floats, match: str, drawn: int = DRAWN) -> float:
    """A patient's score from float64[n, m], the similarities of n query fields to m images of the patient.

    Whoever has more images has a nearer one to anything. So `EVEN` is the mean of each field's expected best match
    among `drawn` of the images, drawn without replacement: patients of so many images and of 1,000 compete on even
    terms.
    """
    if match == BEST:
        return float(similarities.max())
    if match == MEDIAN:
        return float(np.median(similarities.max(axis=1)))
    if match == EVEN:
        return float(expected_best(similarities, drawn).mean())
    return float(similarities.max(axis=1).mean())


def even_draws(patients: Ints) -> int:
    """How many images are drawn of each patient by `EVEN`, of int64[images], whose they are: as many as nine of ten
    patients have, so that nothing is given away where all have as many; at least `DRAWN`."""
    images = np.bincount(patients)
    images = images[images > 0]
    return max(DRAWN, int(np.quantile(images, SMALLER, method="lower"))) if len(images) else DRAWN


def expected_best(similarities: Floats, drawn: int = DRAWN) -> Floats:
    """float64[n] of float64[n, m]: the expected maximum of `drawn` of the m values of each row, without replacement;
    of fewer, their maximum.

    The i-th largest of m is the maximum of c drawn values with a probability of C(m - i, c - 1) / C(m, c).
    """
    m = similarities.shape[1]
    if m <= drawn:
        return np.asarray(similarities.max(axis=1), dtype=np.float64)
    left = m - np.arange(m - drawn)  # values not larger than the i-th
    weights = drawn / m * np.cumprod(np.append(1.0, (left - drawn) / (left - 1)))
    largest = np.sort(similarities, axis=1)[:, ::-1][:, : len(weights)]
    return np.asarray(largest @ weights, dtype=np.float64)


def rank_by_fields(
    archive: Archive,
    queries: Vectors,
    at_least: int,
    *,
    pool: int,
    where: CaseFilter | None,
    fingerprint: str,
    match: str,
) -> Ranking:
    """The nearest patients to many query vectors float32[n, d].

    Candidates are patients with an image among the `DEPTH` nearest of any field; these are compared with each field by
    all of their images that `where` permits (of more than `EACH`, by some). A patient that has no image so near to any
    field is found only where fewer candidates than `at_least` are there.

    Args:
        pool: patients that the ranking should hold, where the candidates are as many.
        match: one of `slide_query.MATCHES`.
    """
    candidates = _candidates(archive, queries, at_least, pool, where, fingerprint)
    table = archive.image_table(where)
    drawn = even_draws(table.patients)
    order = sorted(
        candidates.values(), key=lambda candidate: (-joined(candidate.bound[:, None], match), candidate.patient)
    )
    ranked: dict[int, PatientHit] = {}
    compared = 0
    for found in _by_images(archive, order[: max(CANDIDATES, at_least)], table, queries, fingerprint, match, drawn):
        ranked[found.patient] = found.hit(table)
        compared += found.images
        if len(ranked) >= at_least and compared >= COMPARED:
            break
    first = sorted(ranked, key=lambda patient: (-ranked[patient].score, ranked[patient].image_id or 0))
    return {patient: ranked[patient] for patient in first[: max(at_least, pool)]}


@dataclass(frozen=True, eq=False)
class _Candidate:
    patient: int
    bound: Floats
    """float64[n]: the best match of each query field that the search found, or what it is at most."""
    hits: frozenset[int]
    """Images that were found."""


@dataclass(frozen=True, eq=False)
class _Compared:
    """A patient, and each query field's best match among its images."""

    patient: int
    score: float
    best: Floats
    """float64[n]"""
    image: Ints
    """int64[n], its image"""
    images: int
    """How many were compared."""

    def hit(self, table: ImageTable) -> PatientHit:
        """As of a ranking; the matches are of different query fields and different images, best first."""
        matches: list[FieldMatch] = []
        for field in np.argsort(-self.best, kind="stable").tolist():
            image = int(self.image[field])
            if len(matches) < KEPT and all(image != known.image_id for known in matches):
                matches.append(FieldMatch(field, image, float(self.best[field])))
        case = int(table.cases[table.rows_of([matches[0].image_id])[0]])
        return PatientHit(self.score, case, matches[0].image_id, matches=tuple(matches))


def _candidates(
    archive: Archive, queries: Vectors, at_least: int, pool: int, where: CaseFilter | None, fingerprint: str
) -> dict[int, _Candidate]:
    """By patient. A few with very many images do not keep the others out: these are searched for without them."""
    from index_store import CaseFilter

    wanted = max(at_least, min(max(4 * at_least, pool), CANDIDATES))
    found: dict[int, _Candidate] = {}
    others, rounds = where, 0
    while len(found) < min(at_least, MOST_EXCLUDED) or (rounds < ROUNDS and len(found) < wanted):
        hits = archive.search(queries, DEPTH, where=others, fingerprint=fingerprint)
        new = {
            patient: candidate for patient, candidate in _new_candidates(archive, hits).items() if patient not in found
        }
        found |= new
        rounds += 1
        if not new or all(len(of_field) < DEPTH for of_field in hits):
            break
        keys = archive.patient_keys(new.keys())
        base = others or CaseFilter()
        others = dataclasses.replace(base, exclude_patients=(*base.exclude_patients, *keys.values()))
    return found


def _new_candidates(archive: Archive, hits: list[list[Hit]]) -> dict[int, _Candidate]:
    table = archive.image_table()
    images = np.array([hit.image_id for of_field in hits for hit in of_field], dtype=np.int64)
    scores = np.array([hit.score for of_field in hits for hit in of_field], dtype=np.float64)
    fields = np.repeat(np.arange(len(hits)), [len(of_field) for of_field in hits])
    rows, known = table.find(images)
    images, scores, fields, patients = images[known], scores[known], fields[known], table.patients[rows[known]]
    # No image that was not found is nearer to a field than the last one that was.
    last = np.array([of_field[-1].score if of_field else -1.0 for of_field in hits])
    different, column = np.unique(patients, return_inverse=True)
    bound = np.full((len(different), len(hits)), -np.inf)
    np.maximum.at(bound, (column, fields), scores)
    bound = np.where(np.isfinite(bound), bound, last)
    order = np.argsort(column, kind="stable")
    starts = np.searchsorted(column[order], np.arange(len(different) + 1))
    return {
        patient: _Candidate(patient, bound[row], frozenset(images[order[starts[row] : starts[row + 1]]].tolist()))
        for row, patient in enumerate(different.tolist())
    }


def _by_images(
    archive: Archive,
    candidates: list[_Candidate],
    table: ImageTable,
    queries: Vectors,
    fingerprint: str,
    match: str,
    drawn: int,
) -> Iterator[_Compared]:
    """The candidates compared by their images, in their order."""
    wanted = np.array([candidate.patient for candidate in candidates], dtype=np.int64)
    rows = np.flatnonzero(np.isin(table.patients, wanted))
    rows = rows[np.argsort(table.patients[rows], kind="stable")]
    for block in _blocks(candidates, table.ids[rows], table.patients[rows]):
        owned = np.concatenate([ids for _, ids, _ in block])
        ids, vectors = archive.known_vectors(owned.tolist(), fingerprint)
        for candidate, own, scored in block:
            mine = np.flatnonzero(np.isin(ids, own, assume_unique=True))
            compared = _compared(candidate.patient, ids[mine], vectors[mine], queries, scored, match, drawn)
            if compared is not None:
                yield compared


def _blocks(candidates: list[_Candidate], ids: Ints, of_patient: Ints) -> Iterator[list[tuple[_Candidate, Ints, Ints]]]:
    """Candidates with their images, int64[m], and those of them that count for the score, int64[c]; so many candidates
    at once that their images are `BLOCK` or few more."""
    block: list[tuple[_Candidate, Ints, Ints]] = []
    size = 0
    for candidate in candidates:
        start, end = np.searchsorted(of_patient, [candidate.patient, candidate.patient + 1])
        own, scored = _spaced(ids[start:end], candidate.hits)
        block.append((candidate, own, scored))
        size += len(own)
        if size >= BLOCK:
            yield block
            block, size = [], 0
    if block:
        yield block


def _spaced(ids: Ints, hits: frozenset[int]) -> tuple[Ints, Ints]:
    """Of a patient's images int64[m] those to be compared, and those of them that stand for all of its images."""
    if len(ids) <= EACH:
        return ids, ids
    spaced = ids[np.linspace(0, len(ids) - 1, EACH).astype(np.int64)]
    near = ids[np.isin(ids, list(hits))][:EACH]
    return np.union1d(near, spaced), spaced


def _compared(
    patient: int, ids: Ints, vectors: Vectors, queries: Vectors, scored: Ints, match: str, drawn: int
) -> _Compared | None:
    """A patient by its images int64[m], ascending, and their vectors float32[m, d]; None where it has none."""
    if not len(ids):
        return None
    similarities = (queries @ vectors.T).astype(np.float64)
    nearest = similarities.argmax(axis=1)  # of equal ones that of the lowest id
    best = similarities[np.arange(len(queries)), nearest]
    # A sample of the images is no sample any more where the nearest ones are added.
    counted = similarities[:, np.isin(ids, scored, assume_unique=True)] if match == EVEN else similarities
    if not counted.shape[1]:
        return None
    return _Compared(patient, joined(counted, match, drawn), best, ids[nearest], len(ids))
