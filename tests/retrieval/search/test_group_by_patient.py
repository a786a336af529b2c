"""Patients by their best image, against a plain count: many images a patient, many ties, and a search that is cut."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from index_store import Hit, ImageTable, LogPosition
from retrieval.search import group_by_patient
from retrieval.search.group_by_patient import PatientHit, Patients, ReportRanking, head, only, rank_images, scores_of
from retrieval.search.reports.report_scores import AllScores

QUERY = np.zeros((1, 1), dtype=np.float32)


class Images:
    """An archive whose image i has scores[i] and belongs to patients[i]; of equal scores the higher id comes first."""

    def __init__(self, scores: Sequence[float], patients: Sequence[int]) -> None:
        self.hits = sorted(
            (Hit(image_id, score) for image_id, score in enumerate(scores)), key=lambda hit: (-hit.score, -hit.image_id)
        )
        self.patients = patients
        self.depths: list[int] = []

    def search(self, query: np.ndarray, depth: int, **_: object) -> list[list[Hit]]:
        self.depths.append(depth)
        return [self.hits[:depth]]

    def image_table(self) -> ImageTable:
        patients = np.array(self.patients)
        ids = np.arange(len(patients))
        return ImageTable(LogPosition(), ids, 10 * patients, patients, {}, {})

    def ranked(self, count: int) -> dict[int, PatientHit]:
        """All patients in order, by every image that there is."""
        hits = sorted(self.hits, key=lambda hit: (-hit.score, hit.image_id))
        ranking: dict[int, PatientHit] = {}
        for number in dict.fromkeys(self.patients[hit.image_id] for hit in hits):
            own = [hit for hit in hits if self.patients[hit.image_id] == number]
            scores = tuple(hit.score for hit in own)
            ranking[number] = PatientHit(own[0].score, 10 * number, own[0].image_id, scores)
        return dict(list(ranking.items())[:count])


def rank(images: Images, at_least: int, pool: int) -> dict[int, PatientHit]:
    return dict(rank_images(images, QUERY, at_least, pool=pool, where=None, fingerprint=""))  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(30))
def test_the_first_patients_are_exact(seed: int) -> None:
    rng = np.random.default_rng(seed)
    patients = np.where(rng.random(80) < 0.5, 0, rng.integers(0, 12, 80)).tolist()  # one patient has half of them
    images = Images(rng.choice([0.1, 0.2, 0.3, 0.4], 80).tolist(), patients)
    for at_least, pool in ((1, 1), (3, 3), (3, 6), (12, 5)):
        count = max(at_least, pool)
        found = rank(images, at_least, pool)
        expected = images.ranked(count)
        assert list(found) == list(expected)
        for patient, hit in list(found.items())[:count]:
            other = expected[patient]
            assert (hit.score, hit.case_id, hit.image_id) == (other.score, other.case_id, other.image_id)
            # Further images count as far as they are no less similar than the last patient.
            floor = list(expected.values())[-1].score
            assert [s for s in hit.image_scores if s >= floor] == [s for s in other.image_scores if s >= floor]


@pytest.mark.parametrize("deepest", [32, 64])
def test_beyond_the_deepest_search_only_as_many_as_must_be_exact(deepest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Patient 0 has the first 40 images: the pool of 4 is not filled, the first 2 are."""
    assert group_by_patient.DEEPEST == 20_000, "as the search says"
    monkeypatch.setattr(group_by_patient, "DEEPEST", deepest)
    scores = [1 - i / 100 for i in range(60)]
    images = Images(scores, [0] * 40 + [1] * 10 + [2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    assert list(rank(images, 2, 4)) == [0, 1, 2, 3]  # 16, then all 60 of 64
    assert images.depths == [16, 64]
    images = Images([1 - i / 1000 for i in range(300)], [0] * 40 + [1] * 200 + list(range(2, 62)))
    assert list(rank(images, 1, 4)) == [0, 1]
    assert images.depths == [16, 64], "the pool is not sought beyond the deepest search"
    assert list(rank(images, 3, 4)) == [0, 1, 2, 3]
    assert images.depths == [16, 64, 16, 64, 256], "what must be exact is"


def test_reports_rank_patients_by_their_best_and_equals_by_the_lower_case() -> None:
    scores = np.array([0.5, -np.inf, 0.7, 0.7, 0.5])
    patients = Patients(np.array([5, 1, 2, 3, 5]))
    ranking = ReportRanking(np.array([7, 1, 9, 4, 2]), patients, AllScores(scores), np.zeros(5, dtype=bool))
    assert dict(ranking) == {
        3: PatientHit(0.7, 4, None),
        2: PatientHit(0.7, 9, None),
        5: PatientHit(0.5, 2, None),
    }
    assert list(ranking) == [3, 2, 5]


@pytest.mark.parametrize("seed", range(5))
def test_a_ranking_of_reports_is_the_same_however_much_of_it_is_sorted(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(seed)
    of, scores = rng.integers(0, 40, 200), rng.integers(0, 12, 200).astype(float)
    scores[rng.random(200) < 0.3] = -np.inf
    case_ids = rng.permutation(200)
    containing = rng.random(200) < 0.2
    best: dict[int, PatientHit] = {}
    for row in sorted(range(200), key=lambda row: (-scores[row], case_ids[row])):
        if np.isfinite(scores[row]):
            hit = PatientHit(scores[row], int(case_ids[row]), None, contains_words=bool(containing[row]))
            best.setdefault(int(of[row]), hit)
    for first in (1, 7, 1_000):
        monkeypatch.setattr(group_by_patient, "SORTED_FIRST", first)
        ranking = ReportRanking(case_ids, Patients(of), AllScores(scores), containing)
        assert list(ranking.items()) == list(best.items())
        assert len(ranking) == len(best)
        assert ranking.get(40) is None
        heads = head(ranking, 10)
        assert heads == [patient for patient, hit in best.items() if hit.score >= list(best.values())[9].score]
        given, contains = scores_of(ranking, [40, *best])
        assert given.tolist() == [-np.inf, *(hit.score for hit in best.values())]
        assert contains.tolist() == [False, *(hit.contains_words for hit in best.values())]


@pytest.mark.parametrize(
    ("wanted", "images_per_patient", "depth"),
    [
        (1, 1.0, 4),  # four a patient
        (5, 1.0, 20),
        (6, 1.0, 22),  # one a patient, and 16
        (10, 1.0, 26),
        (10, 1.01, 36),
        (10, 2.5, 40),
        (271, 1.0, 287),
        (272, 1.0, 289),  # a sixteenth
        (1000, 3.0, 3062),
        (1000, 4.0, 4000),
    ],
)
def test_how_deep_images_are_searched_at_first(wanted: int, images_per_patient: float, depth: int) -> None:
    assert group_by_patient._depth(wanted, images_per_patient) == depth


@pytest.mark.parametrize(("pool", "count"), [(1, 1), (2, 3), (3, 3), (4, 4), (5, 5), (9, 5)])
def test_the_head_of_a_ranking_ends_with_those_that_tie(pool: int, count: int) -> None:
    scores = (0.9, 0.5, 0.5, -0.5, -0.75)
    ranking = {10 + i: PatientHit(score, i, i, contains_words=i == 1) for i, score in enumerate(scores)}
    assert head(ranking, pool) == [10, 11, 12, 13, 14][:count]
    given, contains = scores_of(ranking, [14, 3, 11])
    assert given.tolist() == [-0.75, -np.inf, 0.5]
    assert contains.tolist() == [False, False, True]
    assert only(ranking, [14, 3, 11]) == {14: ranking[14], 11: ranking[11]}
    assert head({}, pool) == []


def test_a_ranking_of_no_reports_ranks_nobody() -> None:
    nothing = np.empty(0, dtype=np.int64)
    ranking = ReportRanking(nothing, Patients(nothing), AllScores(np.empty(0)), nothing > 0)
    assert (len(ranking), list(ranking), head(ranking, 3), only(ranking, [1])) == (0, [], [], {})
    given, contains = scores_of(ranking, [1, 2])
    assert (given.tolist(), contains.tolist()) == ([-np.inf, -np.inf], [False, False])
