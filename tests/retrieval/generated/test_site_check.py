"""The rule that judges which site an image shows, tried on an archive's own images; vectors are the test's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index_store import Archive, CaseFilter, Hit
from retrieval.generated.site_check import FEWEST_PATIENTS, NEAREST, SiteCheck, SiteRates, measure_site_rates
from tests.retrieval.labelled_archive import unit
from tests.retrieval.vector_archive import FINGERPRINT, archive_of

SITES = ("cervix", "thyroid", "urine")
EACH = FEWEST_PATIENTS + 5


def sites_archive(folder: Path, vectors: np.ndarray, *, each: int = EACH) -> Archive:
    """Cases of three sites in turn, a patient each."""
    rows = [{"case": f"case {i}", "site": SITES[i % 3]} for i in range(3 * each)]
    return archive_of(folder, rows, vectors)


def apart(each: int = EACH) -> np.ndarray:
    """Vectors by which the sites lie far from each other."""
    rng = np.random.default_rng(0)
    return unit(4 * np.tile(np.eye(3, 8), (each, 1)) + rng.normal(size=(3 * each, 8)))


def mixed(each: int = EACH) -> np.ndarray:
    """Vectors by which most images lie among those of another site, and fifteen of each among their own."""
    rng = np.random.default_rng(0)
    places = np.arange(3 * each)
    site = np.where(places < 3 * (each - 15), (places + 1) % 3, places % 3)
    return unit(4 * np.eye(3, 8)[site] + rng.normal(size=(3 * each, 8)))


def test_an_encoder_that_tells_sites_apart_is_used(tmp_path: Path) -> None:
    with sites_archive(tmp_path, apart()) as archive:
        rates = measure_site_rates(archive, fingerprint=FINGERPRINT)
        assert (rates.images, rates.asked_other) == (3 * EACH, 2 * 3 * EACH)
        assert rates.wrong == 0
        assert rates.found / rates.asked_other > 0.95
        assert rates.usable
        assert measure_site_rates(archive, fingerprint=FINGERPRINT, sample=12).images == 12
        check = SiteCheck(archive, fingerprint=FINGERPRINT, rates=rates)
        assert check.reason("thyroid") == ""
        verdicts = [shown.verdict for shown in check.judge(unit(np.eye(3, 8)), ["cervix", "cervix", ""])]
        assert verdicts == ["right", "wrong", "unknown"]


@pytest.mark.slow
def test_one_that_does_not_is_not_and_the_search_says_so(tmp_path: Path) -> None:
    vectors = mixed(2 * EACH)
    with sites_archive(tmp_path, vectors, each=2 * EACH) as archive:
        rates = measure_site_rates(archive, fingerprint=FINGERPRINT)
        assert rates.wrong > 0.1 * rates.images
        assert not rates.usable
        assert "it is not used" in rates.words
        check = SiteCheck(archive, fingerprint=FINGERPRINT, rates=rates)
        assert "does not separate the archive's sites" in check.reason("thyroid")
        trusting = SiteCheck(archive, fingerprint=FINGERPRINT)
        images = vectors[:9]
        assert {shown.verdict for shown in check.judge(images, "urine")} == {"unknown"}
        assert "wrong" in {shown.verdict for shown in trusting.judge(images, "urine")}


@pytest.mark.parametrize(
    ("images", "wrong", "usable"), [(0, 0, True), (10, 1, True), (200, 10, True), (200, 16, True), (200, 17, False)]
)
def test_more_than_chance_allows_is_too_much(images: int, wrong: int, usable: bool) -> None:
    rates = SiteRates(images, wrong, 7 * images, 6 * images)
    assert rates.usable == usable
    assert ("it is not used" in rates.words) != usable


def test_nothing_is_tried_where_only_one_site_has_enough_patients(tmp_path: Path) -> None:
    rows = [{"case": f"case {i}", "site": "cervix" if i < 30 else "vagina" if i < 60 else "lung"} for i in range(65)]
    with archive_of(tmp_path, rows, unit(np.random.default_rng(0).normal(size=(65, 8)))) as archive:
        rates = measure_site_rates(archive, fingerprint=FINGERPRINT)
        assert rates == SiteRates(0, 0, 0, 0)  # cervix and vagina are one
        assert "is not judged" in rates.words


@pytest.mark.slow
def test_the_own_patient_does_not_vote_and_is_not_counted(tmp_path: Path) -> None:
    """A patient of the thyroid with many images around the query; everybody else there is of the urine."""
    rng = np.random.default_rng(0)
    rows = [{"case": f"own {i}", "patient": "own", "site": "thyroid"} for i in range(50)]
    rows += [{"case": f"urine {i}", "site": "urine"} for i in range(30)]
    rows += [{"case": f"thyroid {i}", "site": "thyroid"} for i in range(FEWEST_PATIENTS - 1)]
    centres = np.repeat(np.eye(2, 8), (80, FEWEST_PATIENTS - 1), axis=0)
    vectors = unit(centres + 0.02 * rng.normal(size=centres.shape))
    with archive_of(tmp_path, rows, vectors) as archive:
        check = SiteCheck(archive, fingerprint=FINGERPRINT)
        query = np.eye(1, 8, dtype=np.float32)
        assert "thyroid" in check.voters(query, [""])[0]
        assert set(check.voters(query, ["own"])[0]) == {"urine"}
        assert check.reason("thyroid") == ""
        assert f"has {FEWEST_PATIENTS - 1} patients" in check.reason("thyroid", "own")
        (judged,) = check.judge(query, ["thyroid"], ["own"])
        assert (judged.site, judged.verdict) == ("urine", "unknown")
        # The same as a filter that leaves the patient out.
        without = SiteCheck(archive, fingerprint=FINGERPRINT, where=CaseFilter(exclude_patients=("own",)))
        assert without.judge(query, "thyroid") == (judged,)


@pytest.mark.slow
@pytest.mark.parametrize(("images", "depths"), [(4, [40]), (5, [40, 160])])
def test_it_searches_deeper_only_where_too_few_patients_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: int, depths: list[int]
) -> None:
    """The first 40 images are of ten patients with four images each, or of eight with five."""
    rng = np.random.default_rng(0)
    rows = [{"case": f"case {i}", "patient": f"patient {i // images}", "site": "thyroid"} for i in range(60)]
    angles = np.linspace(0.1, 1.2, 60)[:, None]  # ever farther from the query
    vectors = unit(np.hstack([np.cos(angles), np.sin(angles), 1e-3 * rng.normal(size=(60, 6))]))
    with archive_of(tmp_path, rows, vectors) as archive:
        searched, search = [], archive.search

        def counted(queries: np.ndarray, k: int, **options: Any) -> list[list[Hit]]:
            searched.append(k)
            return search(queries, k, **options)

        monkeypatch.setattr(archive, "search", counted)
        (voters,) = SiteCheck(archive, fingerprint=FINGERPRINT).voters(np.eye(1, 8, dtype=np.float32), [""])
        assert len(voters) == NEAREST
        assert searched == depths
