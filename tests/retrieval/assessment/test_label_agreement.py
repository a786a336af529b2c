"""Agreement among retrieved cases, worked out by hand, and what holds for any cases."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index_store import Case
from retrieval.assessment.label_agreement import Agreement, SystemAgreement, agreement
from retrieval.language.vocabulary import vocabulary
from retrieval.search.results import RankedCase
from tests.retrieval.labelled_archive import made_case

CERVIX, PARIS = "Bethesda cervical 2014", "Paris 2.0"


def cases_of(*categories: str, system: str = CERVIX, site: str = "cervix", first: int = 0) -> list[Case]:
    return [
        made_case(i, patient=f"patient {i}", site=site, category=category, system=system)
        for i, category in enumerate(categories, start=first)
    ]


def ranked(case: Case, similarity: float) -> RankedCase:
    return RankedCase(
        1, similarity, similarity, case, case.images[0], other_images=0, channel_ranks=(), only_channel=""
    )


def leading(found: Agreement) -> SystemAgreement:
    assert found.leading is not None
    return found.leading


def test_counts_entropy_and_spread_by_hand() -> None:
    found = leading(agreement(cases_of("HSIL", "HSIL", "ASC-H", "NILM", "Unsatisfactory")))
    assert {share.category: share.patients for share in found.categories if share.patients} == {
        "Unsatisfactory": 1,
        "NILM": 1,
        "ASC-H": 1,
        "HSIL": 2,
    }
    assert [share.category for share in found.categories] == [c.name for c in vocabulary().system(CERVIX).categories]
    assert found.entropy_bits == pytest.approx(3 * 0.2 * math.log2(5) + 0.4 * math.log2(2.5))
    assert found.entropy == pytest.approx(found.entropy_bits / math.log2(11))
    # Tiers negative 1, indeterminate 2, suspicious 4 and 4: median 3. The unsatisfactory case is left out.
    assert (found.lowest_tier, found.highest_tier, found.tiers_apart) == ("negative", "suspicious", 3)
    assert (found.tier_deviation, found.non_diagnostic) == (1.25, 1)
    assert found.words == (
        "Agreement among 5 retrieved cases reported in Bethesda cervical 2014: "
        "HSIL 2, Unsatisfactory 1, NILM 1, ASC-H 1."
    )


def test_systems_are_never_mixed_and_the_querys_own_stands_first() -> None:
    cases = cases_of("HSIL", "NILM") + cases_of("HGUC", system=PARIS, site="urine", first=2)
    unasked = agreement(cases)
    assert ([of.system for of in unasked.systems], unasked.asked) == ([CERVIX, PARIS], "")
    for asked in (agreement(cases, system=PARIS), agreement(cases, site="urine")):
        assert ([of.system for of in asked.systems], asked.asked) == ([PARIS, CERVIX], PARIS)
        assert sum(share.patients for share in leading(asked).categories) == leading(asked).patients == 1


def test_an_asked_system_that_no_case_has_is_said_to_be_empty() -> None:
    found = leading(agreement(cases_of("HSIL"), system=PARIS))
    assert (found.patients, found.entropy, found.entropy_bits, found.tiers_apart) == (0, None, None, None)
    assert found.words == "None of the retrieved cases was reported in Paris 2.0."
    assert {(share.share, share.weighted) for share in found.categories} == {(0, None)}
    one = "Agreement among 1 retrieved case reported in Bethesda cervical 2014: HSIL 1."
    assert leading(agreement(cases_of("HSIL"))).words == one
    assert leading(agreement(cases_of("Unsatisfactory"))).tier_deviation is None
    assert agreement([]).leading is None


def test_what_is_in_no_system_is_counted() -> None:
    cases = [
        *cases_of("HSIL", "", "no such category"),
        *cases_of("C5", "II", system="ours", site="breast", first=3),
        *cases_of("ASCUS", system="", first=5),  # the site tells the system, and an alias the category
    ]
    found = agreement(cases)
    assert (found.patients, found.without_category, found.unknown_system, found.unknown_category) == (6, 1, 2, 1)
    assert [share.category for share in leading(found).categories if share.patients] == ["ASC-US", "HSIL"]


def test_a_patient_counts_once_by_its_nearest_case() -> None:
    near, far = cases_of("HSIL", "NILM")
    found = leading(agreement([near, dataclasses.replace(far, patient=near.patient)]))
    assert (found.patients, found.entropy_bits) == (1, 0)
    assert leading(agreement([far, dataclasses.replace(near, patient=far.patient)])).highest_tier == "negative"


def test_similarities_weigh_and_derived_categories_are_counted() -> None:
    near, far, opposed = cases_of("HSIL", "NILM", "SCC")
    far = dataclasses.replace(far, derived=("site", "category"))
    found = leading(agreement([ranked(near, 0.9), ranked(far, 0.3), ranked(opposed, -0.5)]))
    assert found.derived == 1
    weights = {share.category: share.weighted for share in found.categories if share.patients}
    assert weights == pytest.approx({"NILM": 0.25, "HSIL": 0.75, "SCC": 0})
    assert {share.weighted for share in found.categories if not share.patients} == {0}
    assert all(share.weighted is None for share in leading(agreement([near, far])).categories)


CATEGORIES = st.sampled_from([(s.sites[0], s.name, c.name) for s in vocabulary().systems for c in s.categories])


@pytest.mark.slow
@given(st.lists(CATEGORIES, max_size=20))
def test_every_patient_is_counted_once_and_entropy_keeps_its_bounds(labels: list[tuple[str, str, str]]) -> None:
    cases = [
        made_case(i, patient=f"patient {i}", site=site, category=category, system=system)
        for i, (site, system, category) in enumerate(labels)
    ]
    found = agreement(cases)
    assert sum(of.patients for of in found.systems) == found.patients == len(cases)
    assert [of.patients for of in found.systems] == sorted((of.patients for of in found.systems), reverse=True)
    for of in found.systems:
        assert sum(share.share for share in of.categories) == pytest.approx(1)
        assert of.entropy is not None and -1e-12 <= of.entropy <= 1 + 1e-12
        assert (of.entropy_bits == 0) == (sum(share.patients > 0 for share in of.categories) == 1)
        assert agreement(cases[::-1]).systems == found.systems
