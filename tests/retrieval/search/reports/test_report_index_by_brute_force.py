"""The ranking of reports against one that is computed report by report, in archives of a thousand cases with equal
reports: as the archive grows, shrinks and changes, and from the copy that another process has kept."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select, update

from benchmarks.bulk_archive import PAIRS, Shape, add_images, build_archive
from benchmarks.synthetic_vectors import SyntheticVectors
from index_store import Archive
from index_store.catalog.catalog import advance_revision
from index_store.catalog.change_log import log_changes
from index_store.catalog.models import ADDED, REMOVED, CaseRow, ImageRow
from retrieval.language.words import postings
from retrieval.language.words.bm25 import with_meanings
from retrieval.language.words.terms import content_words, forms, query_terms, terms_of
from retrieval.search.fusion import FusionRule
from retrieval.search.group_by_patient import head, scores_of
from retrieval.search.reports import report_index
from retrieval.search.reports.report_index import ReportIndex, read_report_index
from tests.index_store.archive_builders import records
from tests.retrieval.search.plain_fusion import plain_fusion

FINGERPRINT = "synthetic"
CASES = 1_000
SHAPE = Shape(1, 2, lambda case: PAIRS.report(case // 3))
"""Three cases each have the same report, two are of one patient."""
VECTORS = SyntheticVectors(CASES, 24)
QUERIES = (
    "Smear 7, groups of cells with enlarged nuclei; squamous carcinoma is suspected.",
    "Lymphoid smear with excess of larger cells.",
    "adenocarcinoma",
    "Lymphocytes",
    "absent word",
)
RULES = (FusionRule("rrf"), FusionRule("score", {"words": 2}))
TOLERANCE = 1e-5
"""A rank more or less makes twice as much until the 160th."""


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    build_archive(tmp_path / "archive", VECTORS, VECTORS.array(), reports=CASES - 40, shape=SHAPE)
    with Archive.open(tmp_path / "archive") as archive:
        yield archive


def plain_ranking(archive: Archive, text: str, vector: np.ndarray, rule: FusionRule) -> dict[str, tuple[float, bool]]:
    """By patient, best first, the score of the best report and whether it contains the query's words."""
    reports = [report for report in archive.reports() if report.text.strip()]
    documents = [terms_of(with_meanings(report.text)) for report in reports]
    ids, vectors = archive.report_vectors(FINGERPRINT)
    cosines = dict(zip(ids.tolist(), (vectors @ vector[0]).tolist(), strict=True))
    mean = sum(map(len, documents)) / len(documents)
    frequency = Counter(word for document in documents for word in set(document))
    words: dict[str, float] = {}
    containing = set()
    for report, document in zip(reports, documents, strict=True):
        counts, score = Counter(document), 0.0
        for word, times in query_terms(text).items():
            if count := counts[word]:
                rarity = math.log(1 + (len(documents) - frequency[word] + 0.5) / (frequency[word] + 0.5))
                score += times * rarity * count / (count + 1.5 * (0.25 + 0.75 * len(document) / mean))
        words[report.case_key] = score
        wanted = content_words(text)
        if wanted and all(not forms(word).isdisjoint(counts) for word in wanted):
            containing.add(report.case_key)
    meaning = {report.case_key: cosines[report.case_id] for report in reports if report.case_id in cosines}
    # Equal sums of the same numbers in another order are equal.
    ways = {"words": {key: round(score, 5) for key, score in words.items()}, "meaning": meaning}
    total, _, _ = plain_fusion(rule.method, rule.weights, ways, list(words), pool=len(words))
    total = {key: score for key, score in total.items() if words[key] or key in meaning}
    ordered = sorted(
        (report for report in reports if report.case_key in total),
        key=lambda report: (report.case_key not in containing, -total[report.case_key], report.case_id),
    )
    ranking: dict[str, tuple[float, bool]] = {}
    for report in ordered:
        ranking.setdefault(report.patient, (total[report.case_key], report.case_key in containing))
    return ranking


def assert_as_plain(archive: Archive, index: ReportIndex, *, queries: Sequence[str] = QUERIES) -> None:
    for number, text in enumerate(queries):
        vector = VECTORS.text_queries(1, seed=50 + number)
        for rule in RULES:
            ranking = index.rank(text, vector, rule, permitted=None, contained=content_words(text))
            expected = plain_ranking(archive, text, vector, rule)
            assert len(ranking) == len(expected)
            first = head(ranking, 40)
            keys = archive.patient_keys(first)
            _, contains = scores_of(ranking, first)
            best = list(expected.values())
            for place, (patient, contained) in enumerate(zip(first, contains.tolist(), strict=True)):
                score, plain_contained = expected[keys[patient]]
                assert contained == plain_contained
                if place < len(best):
                    assert contained == best[place][1]
                    assert score == pytest.approx(best[place][0], abs=TOLERANCE * max(1.0, abs(best[0][0]) * 60))
            assert first == list(ranking)[: len(first)]


def change_report(archive: Archive, case: str, text: str) -> None:
    with archive.writer(), records(archive.path, writing=True) as session:
        session.execute(update(CaseRow).where(CaseRow.key == case).values(report=text))
        images = session.scalars(select(ImageRow.id).join(CaseRow).where(CaseRow.key == case)).all()
        for operation in (REMOVED, ADDED):
            log_changes(session, 1, images, operation)
        advance_revision(session)


def test_reports_that_are_read_in_parts_are_all_there(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read_report_index(archive, FINGERPRINT, glossary=True)
    monkeypatch.setattr(report_index, "PART", 70)
    monkeypatch.setattr(postings, "MOST_PARTS", 4)
    parts = read_report_index(archive, FINGERPRINT, glossary=True)
    assert (parts.count, parts.without_vector) == (whole.count, whole.without_vector) == (CASES, 40)
    assert np.array_equal(parts.case_ids, whole.case_ids)
    assert parts.vectors is not None
    assert whole.vectors is not None
    assert np.array_equal(np.concatenate(parts.vectors.parts), np.concatenate(whole.vectors.parts))
    for text in QUERIES:
        assert np.array_equal(parts.words.scores(text), whole.words.scores(text))


@pytest.mark.slow
def test_rankings_are_those_of_every_report_compared(archive: Archive) -> None:
    known = read_report_index(archive, FINGERPRINT, glossary=True)
    assert_as_plain(archive, known)
    add_images(archive, VECTORS.queries(60), CASES + 1, SHAPE)
    known = read_report_index(archive, FINGERPRINT, glossary=True, known=known)
    assert_as_plain(archive, known)
    for case in range(0, 60, 4):
        archive.remove(f"case-{case}")
    change_report(archive, "case-77", "Groups of cells with enlarged nuclei; squamous carcinoma is suspected.")
    change_report(archive, "case-78", " ")
    known = read_report_index(archive, FINGERPRINT, glossary=True, known=known)
    assert_as_plain(archive, known)


@pytest.mark.slow
def test_another_process_reads_what_was_kept(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_index, "WORTH_KEEPING", 1)
    change_report(archive, "case-77", "Zyxoma of Mrs Quux.")
    first = read_and_keep(archive)
    add_images(archive, VECTORS.queries(3), CASES + 1, SHAPE)
    read: list[int] = []
    with Archive.open(archive.path) as opened, monkeypatch.context() as patch:
        reports_of = opened.reports_of
        patch.setattr(opened, "reports_of", lambda ids: reports_of(read.extend(ids) or read))
        kept = read_report_index(opened, FINGERPRINT, glossary=True)
    assert read == [CASES + 1, CASES + 2, CASES + 3]
    assert (kept.count, kept.without_vector) == (CASES + 3, 43 + 1)
    anew = read_report_index(archive, FINGERPRINT, glossary=True, known=first)
    for text in (*QUERIES, "zyxoma"):
        vector = VECTORS.text_queries(1)
        for rule in RULES:
            ranked = [
                list(index.rank(text, vector, rule, permitted=None, contained=content_words(text)).items())
                for index in (kept, anew)
            ]
            assert [patient for patient, _ in ranked[0]] == [patient for patient, _ in ranked[1]]
            assert [hit.case_id for _, hit in ranked[0]] == [hit.case_id for _, hit in ranked[1]]


def read_and_keep(archive: Archive, known: ReportIndex | None = None) -> ReportIndex:
    """As another process does that ends: only closing waits for what is kept."""
    with Archive.open(archive.path) as opened:
        return read_report_index(opened, FINGERPRINT, glossary=True, known=known)


def test_what_was_removed_is_in_no_copy(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_index, "WORTH_KEEPING", 1)
    change_report(archive, "case-77", "Zyxoma of Mrs Quux.")

    def held() -> list[bool]:
        return [b"quux" in path.read_bytes() for path in (archive.path / "index").glob("report-index-*")]

    known = read_and_keep(archive)
    assert held() == [True]
    archive.remove("case-77")
    assert held() == []
    known = read_and_keep(archive, known)
    assert held() == [False], "written again for the next process, without what is gone"
    assert not known.words.knows("zyxoma")
