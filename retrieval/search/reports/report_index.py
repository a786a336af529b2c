"""The archive's reports, searchable by text: by their words (BM25) and by their meaning (the encoder's text tower)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from generation.prompts.glossary import glossary as read_glossary
from index_store import LogPosition, distinct
from retrieval.arrays import Bools, Ints, Vectors
from retrieval.language.vocabulary import vocabulary
from retrieval.language.words.bm25 import ReportWords, with_meanings
from retrieval.search.fusion import Fused, FusionRule, Scores, fuse
from retrieval.search.group_by_patient import Patients, Ranking, ReportRanking
from retrieval.search.reports.report_scores import AllScores, ReciprocalRanks, ReportScores
from retrieval.search.reports.vector_parts import VectorParts

if TYPE_CHECKING:
    from index_store import Archive, Derived, DerivedName, StoredReport

ZERO_IS_NONE: Final = ("words",)
"""A score of 0 by words says that a report has no word in common with the query."""
FEW: Final = 4
"""Where at most one report in so many competes, only the vectors of those are read."""
KEPT: Final = 0.01
"""With a larger share of reports that the copy on disk lacks, it is written anew."""
WORTH_KEEPING: Final = 2_000
"""Fewer reports are read anew in a fifth of a second."""
PART: Final = 10_000
"""Reports, or vectors of them, that are read at a time: as objects they take several times what the index does."""
FULL_AT_LEAST: Final = 0.8
"""With a smaller share of rows that are not gone, the rows are numbered anew."""


@dataclass(frozen=True, eq=False)
class ReportIndex:
    """n reports of one archive as it was at `revision`, some of which may be gone. Made by `read_report_index`; never
    changes."""

    revision: int
    position: LogPosition
    """Of the archive's change log: which reports to read again."""
    fingerprint: str
    """Of the encoder of the vectors."""
    glossary: bool
    """Whether reports are also found by what their machine-translated wordings mean."""
    case_ids: Ints
    """int64[n]"""
    patients: Patients
    words: ReportWords
    """Its rows that are not `present` are reports that are gone."""
    vectors: VectorParts | None
    """n unit vectors; zeros where a report has none. None where no report has one."""
    embedded: Bools
    """bool[n]: the reports that have one."""
    unkept: int = 0
    """How many reports, or vectors of them, it has that were not given to be kept; all, where the copy was deleted."""

    @property
    def count(self) -> int:
        """How many reports there are."""
        return int(self.words.present.sum())

    @property
    def without_vector(self) -> int:
        """Reports that only their words find."""
        return int((self.words.present & ~self.embedded).sum())

    def vectors_of(self, case_ids: list[int]) -> Vectors:
        """The vectors of those of the cases that have one, float32[m, d]."""
        if self.vectors is None:
            return np.empty((0, 0), dtype=np.float32)
        return self.vectors.of(np.flatnonzero(self.embedded & np.isin(self.case_ids, case_ids)))

    def rank(
        self,
        text: str,
        vector: Vectors | None,
        rule: FusionRule,
        *,
        permitted: Ints | None,
        contained: Sequence[str] = (),
    ) -> Ranking:
        """The patients by their reports, joined by `rule` over "words" and "meaning"; `vector` is float32[1, d].

        Reports that hold all terms of `contained` come before the others, whatever the rule. `permitted` are the case
        ids that may answer, None: all. O(n d) a query.
        """
        allowed = self.words.present
        if permitted is not None:
            allowed = allowed & np.isin(self.case_ids, permitted)
        first = allowed & self.words.containing(contained)
        ways = {"words": np.where(allowed, self.words.scores(text), -np.inf)}
        if vector is not None and self.vectors is not None:
            ways["meaning"] = _cosines(self.vectors, vector[0], allowed & self.embedded)
        scores: ReportScores
        if rule.method == "rrf" and not first.any():
            scores = ReciprocalRanks(rule, ways, ZERO_IS_NONE)
        else:  # what a score is raised by, or brought to one scale by, all reports say
            ranks = fuse_reports(rule, {name: each[None] for name, each in ways.items()}, first[None], ranked=False)
            scores = AllScores(ranks.scores[0])
        return ReportRanking(self.case_ids, self.patients, scores, first)


def _cosines(vectors: VectorParts, query: Vectors, competing: Bools) -> Vectors:
    """The cosine of each of n vectors and the query, float32[n]; -inf where it does not compete."""
    rows = np.flatnonzero(competing)
    if FEW * len(rows) > len(vectors):
        return np.where(competing, vectors.products(query), np.float32(-np.inf))
    scores = np.full(len(vectors), -np.inf, dtype=np.float32)
    scores[rows] = vectors.of(rows) @ query
    return scores


def fuse_reports(rule: FusionRule, ways: Mapping[str, Scores], first: Bools, *, ranked: bool = True) -> Fused:
    """Join the ways to compare a text with n reports, for b queries.

    A report without a word in common with the query counts 0 among the words' scores, so that a word which all reports
    that have it hold alike still tells them from the others.

    Args:
        ways: "words", "meaning" or both, float[b, n]; -inf where a report does not compete, or has no vector.
        first: bool[b, n], reports that contain the query's words: they come before the others.
        ranked: as of `fuse`.
    """
    return fuse(
        rule,
        ways,
        pool=max(1, first.shape[1]),
        first=dict.fromkeys(ways, first),
        zero_is_none=ZERO_IS_NONE,
        ranked=ranked,
    )


def read_report_index(
    archive: Archive, fingerprint: str, *, glossary: bool = False, known: ReportIndex | None = None
) -> ReportIndex:
    """The index of the archive's reports, with the vectors that the encoder of that fingerprint gave them.

    O(total length of the reports) at first. With `known`, an index of earlier, or one that another process has kept on
    disk, only reports that were changed or added since are read, and vectors that it lacked.

    Args:
        glossary: a report is also found by what its machine-translated wordings mean (`with_meanings`).
    """
    # Before reading: what changes meanwhile makes the index outdated, never wrong unseen.
    revision, table = archive.revision, archive.image_table()
    if known is None or (known.fingerprint, known.glossary) != (fingerprint, glossary):
        known = _read_kept(archive, fingerprint, glossary)
    wanted = archive.changed_cases(known.position) if known.position != LogPosition() else None
    if wanted is None:
        known, wanted = _no_reports(fingerprint, glossary), distinct(table.cases)
    stays = np.isin(known.case_ids, table.cases) & ~np.isin(known.case_ids, wanted)
    gone, index = np.flatnonzero(known.words.present & ~stays), known
    for part in _parts(wanted):
        written = [report for report in archive.reports_of(part.tolist()) if report.text.strip()]
        patients, known_case = table.patients_of(np.array([report.case_id for report in written], dtype=np.int64))
        reports = [report for report, is_known in zip(written, known_case.tolist(), strict=True) if is_known]
        texts = [with_meanings(report.text) if glossary else report.text for report in reports]
        index = _extended(index, gone, reports, patients[known_case], texts, revision, table.position)
        gone = gone[:0]
    index = _with_vectors(archive, index)
    if index.count < FULL_AT_LEAST * len(index.case_ids):
        index = _without_gaps(index)
    if index.count >= WORTH_KEEPING and index.unkept > KEPT * index.count:
        # Later: it takes longer than the answer.
        archive.write_derived_later(_name(fingerprint, glossary), partial(_packed, index))
        return dataclasses.replace(index, unkept=0)
    return index


def _name(fingerprint: str, glossary: bool) -> DerivedName:
    """Of the copy on disk. The vocabulary and what the glossary says are parts of the key: others give reports other
    words."""
    from index_store import DerivedName

    key = f"{fingerprint} {vocabulary().version} {read_glossary() if glossary else ''}"
    return DerivedName("report-index", format=2, key=key)


def _packed(index: ReportIndex) -> Derived:
    """The index for the next process, without what is gone."""
    from index_store import Derived

    index = _without_gaps(index)
    words, arrays = index.words.packed()
    arrays |= {"case_ids": index.case_ids, "patients": index.patients.of, "embedded": index.embedded}
    if index.vectors is not None:
        arrays["vectors"] = np.concatenate(index.vectors.parts)
    return Derived(index.position, arrays, {"words": words})


def _read_kept(archive: Archive, fingerprint: str, glossary: bool) -> ReportIndex:
    """The index that was kept, to be brought up to date; one without reports where there is none."""
    kept = archive.read_derived(_name(fingerprint, glossary))
    if kept is None:
        return _no_reports(fingerprint, glossary)
    vectors = kept.arrays.get("vectors")
    return ReportIndex(
        -1,
        kept.position,
        fingerprint,
        glossary,
        kept.arrays["case_ids"],
        Patients(kept.arrays["patients"]),
        ReportWords.unpacked(kept.values["words"], kept.arrays),
        None if vectors is None else VectorParts((vectors,)),
        kept.arrays["embedded"],
    )


def _no_reports(fingerprint: str, glossary: bool) -> ReportIndex:
    nothing = np.empty(0, dtype=np.int64)
    return ReportIndex(
        -1, LogPosition(), fingerprint, glossary, nothing, Patients(nothing), ReportWords([]), None, nothing > 0
    )


def _extended(
    known: ReportIndex,
    gone: Ints,
    reports: Sequence[StoredReport],
    owners: Ints,
    texts: Sequence[str],
    revision: int,
    position: LogPosition,
) -> ReportIndex:
    """The index without the rows `gone` and with further reports behind them, of the patients `owners`, int64[reports],
    which have no vector yet."""
    if not reports and not len(gone):
        return dataclasses.replace(known, revision=revision, position=position)
    vectors = known.vectors
    if vectors is not None:
        vectors = vectors.extended(np.zeros((len(reports), vectors.parts[0].shape[1]), dtype=np.float32))
    return dataclasses.replace(
        known,
        revision=revision,
        position=position,
        case_ids=np.concatenate([known.case_ids, np.array([r.case_id for r in reports], dtype=np.int64)]),
        patients=Patients(np.concatenate([known.patients.of, owners])),
        words=known.words.changed(gone.tolist(), texts),
        vectors=vectors,
        embedded=np.concatenate([known.embedded, np.zeros(len(reports), dtype=bool)]),
        # With what is gone, the copy is deleted: a report may have named a person.
        unkept=len(known.case_ids) + len(reports) if len(gone) else known.unkept + len(reports),
    )


def _with_vectors(archive: Archive, index: ReportIndex) -> ReportIndex:
    """The index with the vectors that it lacks, as far as the archive has them."""
    lacking = np.flatnonzero(index.words.present & ~index.embedded)
    if not len(lacking):
        return index
    vectors, embedded = index.vectors, index.embedded.copy()
    for part in _parts(lacking):
        ids, stored = archive.report_vectors(index.fingerprint, index.case_ids[part].tolist())
        order = part[np.argsort(index.case_ids[part])]
        rows, given = order[np.isin(index.case_ids[order], ids)], np.isin(ids, index.case_ids[order])
        if len(rows):
            if vectors is None:
                vectors = VectorParts((np.zeros((len(embedded), stored.shape[1]), dtype=np.float32),))
            elif vectors is index.vectors:
                vectors = vectors.copied(lacking)
            ascending = np.argsort(rows)
            vectors.fill(rows[ascending], stored[given][ascending])
            embedded[rows] = True
    found = int(embedded.sum() - index.embedded.sum())
    return dataclasses.replace(index, vectors=vectors, embedded=embedded, unkept=index.unkept + found)


def _parts(values: Ints) -> list[Ints]:
    """int64[n] in parts of `PART` at most, at least one."""
    return np.array_split(values, max(1, -(-len(values) // PART)))


def _without_gaps(index: ReportIndex) -> ReportIndex:
    rows = np.flatnonzero(index.words.present)
    return dataclasses.replace(
        index,
        case_ids=index.case_ids[rows],
        patients=Patients(index.patients.of[rows]),
        words=index.words.only(rows.tolist()),
        vectors=None if index.vectors is None else VectorParts((index.vectors.of(rows),)),
        embedded=index.embedded[rows],
    )
