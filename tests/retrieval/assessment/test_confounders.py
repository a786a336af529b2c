"""The nuisance audit over a real archive, against counting by hand and against random orders."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from index_store import Archive, Case, CaseFilter
from retrieval.assessment.confounder_pool import ConfounderPool
from retrieval.assessment.confounders import (
    ConfounderAudit,
    ConfounderCount,
    chance_tail,
    confounder_codes,
    query_codes,
    shared_with_query,
)
from retrieval.search.results import RankedCase
from retrieval.search.results_assembly import nearest_cases
from tests.retrieval.labelled_archive import leads_of, unit
from tests.retrieval.vector_archive import FINGERPRINT, archive_of

PATIENTS = 30


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """Vectors that lie by stain, and by nothing else. Every fifth patient has an image of either stain."""
    rng = np.random.default_rng(0)
    rows, stains = [], []
    for patient in range(PATIENTS):
        for number in range(1 + (patient % 5 == 0)):
            stain = ("Pap", "MGG")[(patient + number) % 2]
            rows.append(
                {
                    "case": f"case {patient}",
                    "stain": stain,
                    "slide": str(patient // 2 % 5),
                    "source": ("north", "south")[patient % 2],
                    "preparation": "" if patient % 3 else "liquid-based",
                    "site": ("cervix", "thyroid")[patient % 2],
                    "mpp": ("0.25", "0.26", "0.5")[patient % 3],
                }
            )
            stains.append(["Pap", "MGG"].index(stain))
    vectors = unit(np.eye(2, 12)[stains] + 0.1 * rng.normal(size=(len(rows), 12)))
    with archive_of(tmp_path_factory.mktemp("nuisance"), rows, vectors) as archive:
        yield archive


def found(archive: Archive, query: Case, k: int = 10, where: CaseFilter | None = None) -> tuple[RankedCase, ...]:
    vectors = archive.vectors_of([image.id for image in query.images], FINGERPRINT)
    within = dataclasses.replace(where or CaseFilter(), exclude_patients=(query.patient,))
    return nearest_cases(archive, vectors, k, where=within, fingerprint=FINGERPRINT)


def share(audit: ConfounderAudit, field: str) -> ConfounderCount:
    return next(share for share in audit.shares if share.field == field)


def test_hits_that_lie_by_stain_are_seen_to(archive: Archive) -> None:
    query = archive.case("case 2")
    hits = found(archive, query)
    audit = ConfounderPool.of(archive).audit(hits, query=query)
    stain = share(audit, "stain")
    assert (stain.value, stain.hits, stain.of) == ("Pap", 10, 10)
    # Of the 29 others, 11 have Pap alone and 6 one image of each stain.
    assert stain.expected == pytest.approx(10 * (11 + 6 / 2) / 29)
    assert stain.tail == pytest.approx(hypergeom.sf(9, 29, 14, 10))
    assert stain.tail < 0.001
    assert (
        "10 of 10 hits share the stain 'Pap'; by chance 4.8 would (probability of as many or more: below 0.001), and "
        in stain.words
    )
    assert (audit.of_query, audit.patients, audit.not_given) == (True, 29, ("preparation",))


def test_a_slide_is_one_of_its_source(archive: Archive) -> None:
    query = archive.case("case 2")
    slide = share(ConfounderPool.of(archive).audit(found(archive, query), query=query), "slide")
    # "1" is the slide of patients 2, 12 and 22 in the north; those of the south are others.
    assert slide.value == "1"
    assert slide.expected == pytest.approx(10 * 2 / 29)


def test_the_filter_says_who_competes(archive: Archive) -> None:
    query = archive.case("case 2")
    for where in (
        CaseFilter(sites=("cervix",)),
        CaseFilter(stains=("Pap",)),
        CaseFilter(sources=("north",), exclude_cases=("case 4",), exclude_patients=("case 6",)),
        CaseFilter(phantoms=False),
    ):
        hits = found(archive, query, k=5, where=where)
        audit = ConfounderPool.of(archive, where).audit(hits, query=query)
        patients = {case.patient for case in archive.cases(where)} - {query.patient}
        assert audit.patients == len(patients)
    of_stain = CaseFilter(stains=("Pap",))
    by_stain = ConfounderPool.of(archive, of_stain).audit(found(archive, query, where=of_stain), query=query)
    assert (share(by_stain, "stain").expected, share(by_stain, "stain").tail) == (10, 1)
    assert ConfounderPool.of(archive).audit((), query=query).shares == ()


def test_an_unknown_query_is_audited_by_what_the_hits_have_in_common(archive: Archive) -> None:
    hits = found(archive, archive.case("case 2"))
    audit = ConfounderPool.of(archive).audit(hits)
    stain = share(audit, "stain")
    assert not audit.of_query
    assert (stain.value, stain.hits, audit.patients) == ("Pap", 10, PATIENTS)
    assert stain.expected == pytest.approx(10 * (12 + 6 / 2) / 30)
    assert stain.tail == pytest.approx(2 * hypergeom.sf(9, 30, 15, 10))  # the more frequent of two was picked


def test_the_own_patient_is_a_share_where_it_competes(archive: Archive, tmp_path: Path) -> None:
    query = archive.case("case 2")
    pool = ConfounderPool.of(archive)
    alone = pool.audit(found(archive, query), query=query, include_own_patient=True)
    assert "patient" not in [share.field for share in alone.shares]  # it has no second case that could be found
    rows = [{"case": f"case {i}", "patient": f"patient {i // 2}", "site": "cervix"} for i in range(3)]
    with archive_of(tmp_path, rows, unit(np.ones((3, 12)))) as other:
        first, *others = other.cases()
        hits = [RankedCase(i, 0.5, 0.5, case, case.images[0], 0, (), "") for i, case in enumerate(others)]
        audit = ConfounderPool.of(other).audit(hits[:1], query=first, include_own_patient=True)
    assert audit.shares == (ConfounderCount("patient", "patient 0", 1, 1, 0.5, 0.5, 0.5, 0.5),)
    assert audit.not_given == ("slide", "stain", "preparation", "source", "scale")


def test_a_hit_that_is_gone_is_not_counted_and_another_filter_is_refused(archive: Archive) -> None:
    hits = found(archive, archive.case("case 2"))
    gone = [*hits, dataclasses.replace(hits[0], image=dataclasses.replace(hits[0].image, id=999_999))]
    assert ConfounderPool.of(archive).audit(gone) == ConfounderPool.of(archive).audit(hits)
    with pytest.raises(ValueError, match="give the filter of this search"):
        ConfounderPool.of(archive, CaseFilter(sites=("urine",))).audit(hits)


@pytest.mark.slow
def test_many_queries_at_once_agree_with_one_at_a_time(archive: Archive) -> None:
    cases = archive.cases()
    ids = np.array(sorted(image.id for case in cases for image in case.images))
    number = {case.key: i for i, case in enumerate(cases)}
    case_of = np.array([number[archive.image(int(i)).case_key] for i in ids])
    vectors = archive.vectors_of(ids.tolist(), FINGERPRINT)
    codes = confounder_codes(cases, ids)
    queries = np.stack([unit(vectors[case_of == i].mean(axis=0)) for i in range(len(cases))])
    leads = leads_of(queries, np.arange(PATIENTS), vectors, case_of)[:, :10]
    pool = ConfounderPool.of(archive)
    sites = np.array([cases[i].site == "thyroid" for i in case_of]).astype(np.int64)
    for field, values in codes.items():
        wanted = query_codes(values, case_of, len(cases))
        shares, expected = shared_with_query(values, case_of, leads, wanted, np.arange(PATIENTS))
        _, at_sites = shared_with_query(values, case_of, leads, wanted, np.arange(PATIENTS), strata=sites)
        for i, case in enumerate(cases):
            one = [s for s in pool.audit(found(archive, case), query=case).shares if s.field == field]
            several = len({getattr(image, field, "") for image in case.images}) > 1
            assert np.isnan(shares[i]) == (several or not one)
            if not np.isnan(shares[i]):
                assert (shares[i], expected[i]) == pytest.approx((one[0].hits / 10, one[0].expected / 10))
                assert at_sites[i] == pytest.approx(one[0].expected_at_sites / 10)


def test_what_goes_with_the_site_is_no_surprise_within_it(archive: Archive) -> None:
    """Cases of the cervix come from the north alone: hits of the cervix share the source whatever else they are."""
    query = archive.case("case 2")
    hits = [hit for hit in found(archive, query, k=PATIENTS) if hit.case.site == "cervix"][:5]
    source = share(ConfounderPool.of(archive).audit(hits, query=query), "source")
    assert (source.value, source.hits, source.expected_at_sites, source.tail_at_sites) == ("north", 5, 5, 1)
    assert source.expected == pytest.approx(5 * 14 / 29)
    assert source.tail == pytest.approx(hypergeom.sf(4, 29, 14, 5))


@given(st.data())
def test_the_tail_is_scipys(data: st.DataObject) -> None:
    competing = data.draw(st.integers(1, 400))
    with_it, drawn = data.draw(st.integers(0, competing)), data.draw(st.integers(0, min(competing, 50)))
    hits = data.draw(st.integers(0, drawn))
    tail = chance_tail(hits, [(drawn, with_it, competing)])
    assert tail == pytest.approx(hypergeom.sf(hits - 1, competing, with_it, drawn), rel=1e-9, abs=1e-300)
    # Two groups of which one always gives its one hit: the tail of the other, one further.
    assert chance_tail(hits + 1, [(1, 3, 3), (drawn, with_it, competing)]) == pytest.approx(tail, rel=1e-9, abs=1e-300)


@pytest.mark.slow
@settings(max_examples=10)
@given(st.integers(0, 10_000), st.integers(2, 6), st.booleans())
def test_a_random_order_reaches_what_is_expected(seed: int, values: int, some_missing: bool) -> None:
    rng = np.random.default_rng(seed)
    patients = np.sort(rng.integers(12, size=40))
    patients[:12] = np.arange(12)
    codes = rng.integers(-1 if some_missing else 0, values, size=40)
    draws = 1500
    images = [np.flatnonzero(patients == patient) for patient in range(12)]
    leads = np.stack([[rng.choice(images[p]) for p in 1 + rng.permutation(11)[:3]] for _ in range(draws)])
    wanted, own = np.full(draws, codes[0]), np.zeros(draws, dtype=np.int64)
    shares, expected = shared_with_query(codes, patients, leads, wanted, own)
    if codes[0] < 0:
        assert np.isnan(shares).all()
    else:
        assert shares.mean() == pytest.approx(expected[0], abs=5 * 0.5 / np.sqrt(3 * draws))


def test_a_mixture_of_scales_is_counted_in_bins(archive: Archive) -> None:
    query = archive.case("case 0")
    hits = found(archive, query)
    scale = share(ConfounderPool.of(archive).audit(hits, query=query), "scale")
    assert scale.value == "about 0.25 µm a pixel"  # 0.26 is of the same bin, and 0.5 is not
    assert scale.hits == sum(abs((hit.image.mpp or 0) - 0.25) < 0.02 for hit in hits) < len(hits)
