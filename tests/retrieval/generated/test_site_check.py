"""The rule that judges which site an image shows, tried on an archive's own images; vectors are the test's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import beta

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


CASES_OF = {"cervix": 40, "thyroid": 20, "urine": 20, "lung": 20, "breast": 5}


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteCheck]:
    """Sites of so many cases, a patient each, of which each patient of the lung has two."""
    rows = [
        {"case": f"{site} {i}", "patient": f"{site} {i // 2 if site == 'lung' else i}", "site": site}
        for site, count in (CASES_OF | {"lung": 40}).items()
        for i in range(count)
    ]
    with archive_of(tmp_path_factory.mktemp("counted"), rows, unit(np.ones((len(rows), 8)))) as archive:
        yield SiteCheck(archive, fingerprint=FINGERPRINT)


@pytest.mark.parametrize(
    ("voters", "wanted", "site", "share", "asked", "verdict"),
    [
        ({"urine": 4}, "urine", "", 0, 0, "unknown"),
        ({"urine": 5}, "urine", "urine", 1, 1, "right"),
        ({"urine": 5}, "thyroid", "urine", 1, 0, "wrong"),
        ({"urine": 5}, "", "urine", 1, 0, "unknown"),
        ({"urine": 5}, "breast", "urine", 1, 0, "unknown"),  # of too few patients to be judged
        ({"thyroid": 5, "urine": 5}, "thyroid", "thyroid", 0.5, 0.5, "right"),
        ({"thyroid": 5, "urine": 5}, "urine", "thyroid", 0.5, 0.5, "right"),  # of equals the nearer is named
        ({"thyroid": 4, "urine": 1}, "urine", "thyroid", 0.8, 0.2, "wrong"),
        ({"thyroid": 7, "urine": 2}, "urine", "thyroid", 7 / 9, 2 / 9, "unknown"),
        ({"thyroid": 5, "breast": 4, "urine": 1}, "urine", "thyroid", 0.5, 0.1, "wrong"),
        ({"thyroid": 4, "breast": 3, "urine": 2}, "cervix", "thyroid", 4 / 9, 0, "unknown"),
        # Forty cases of the cervix weigh half as much each; five of the breast as much as twenty.
        ({"cervix": 7, "urine": 3}, "cervix", "cervix", 7 / 13, 7 / 13, "right"),
        ({"breast": 4, "urine": 6}, "urine", "urine", 0.6, 0.6, "right"),
        ({"lung": 7, "urine": 3}, "lung", "lung", 7 / 13, 7 / 13, "right"),
    ],
)
def test_the_shares_of_a_vote_and_the_verdict(
    counted: SiteCheck,
    monkeypatch: pytest.MonkeyPatch,
    voters: dict[str, int],
    wanted: str,
    site: str,
    share: float,
    asked: float,
    verdict: str,
) -> None:
    named = [name for name, count in voters.items() for _ in range(count)]
    monkeypatch.setattr(counted, "voters", lambda vectors, own: [named])
    (shown,) = counted.judge(np.eye(1, 8, dtype=np.float32), wanted)
    assert (shown.site, shown.verdict) == (site, verdict)
    assert (shown.share, shown.asked_share) == (pytest.approx(share), pytest.approx(asked))


def test_a_site_is_judged_from_twenty_patients_on(counted: SiteCheck) -> None:
    assert counted.reason("lung") == ""
    assert "'lung' cannot be judged: the archive has 19 patients of that site, and 20" in counted.reason(
        "lung", "lung 3"
    )
    assert counted.reason("lung", "urine 3") == counted.reason("lung", "nobody") == ""
    assert "has 5 patients" in counted.reason("breast")
    assert "names no site" in counted.reason("")


def test_the_rates_are_given_with_their_interval() -> None:
    """Clopper and Pearson, 1934."""
    share, low, high = SiteRates(200, 10, 1400, 1200).false_alarms
    assert (share, low, high) == pytest.approx((0.05, beta.ppf(0.025, 10, 191), beta.ppf(0.975, 11, 190)))
    assert SiteRates(200, 10, 1400, 1200).words == (
        "Wrong site: of 200 images of the archive itself, with their own site as the query's, the rule calls 5.0% "
        f"[{low:.1%}, {high:.1%}] wrong; with another, 85.7%."
    )
    assert SiteRates(0, 0, 0, 0).false_alarms == (0, 0, 1)


def test_the_rule_is_tried_on_sites_that_have_enough_without_one(counted: SiteCheck) -> None:
    """Of twenty patients one is left out; forty of the cervix alone are one site."""
    assert measure_site_rates(counted._archive, fingerprint=FINGERPRINT) == SiteRates(0, 0, 0, 0)
