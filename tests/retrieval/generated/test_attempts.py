"""Second attempts at a generated image: their text, their seeds, and what is used in the end; without a generator."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from retrieval.generated.batch_generation import GeneratedQueries
from retrieval.generated.checked_generation import (
    kept_positions,
    names_site,
    second_attempt,
    state_site,
    with_site_hint,
)

Verdict = Literal["right", "wrong", "unknown"]


@pytest.mark.parametrize(
    ("report", "site", "named"),
    [
        ("Thyroid FNA: colloid.", "thyroid", True),
        ("THYROID: colloid.", "thyroid", True),
        ("Pap smear: HSIL.", "cervix", True),
        ("Colloid.", "thyroid", False),
        ("Colloid.", "no such site", False),
        ("Of no such site.", "no such site", True),
    ],
)
def test_a_second_attempt_states_the_site_or_has_another_seed(report: str, site: str, named: bool) -> None:
    assert names_site(report, site) is named
    text, seeds = second_attempt(report, site, [0, 5, 2**31 + 1])
    if named:
        assert (text, seeds) == (report, [2**31, 2**31 + 5, 1])
    else:
        assert (text, seeds) == (f"({site.capitalize()}) {report}", [0, 5, 2**31 + 1])


@pytest.mark.parametrize(
    ("report", "site", "hinted"),
    [
        ("Colloid.", "thyroid", "(Thyroid) Colloid."),
        ("Colloid.", "", "Colloid."),
        ("Thyroid: colloid.", "thyroid", "Thyroid: colloid."),
        ("NILM.", "thyroid", "NILM."),  # tells its site by other words
        ("Urine: cells.", "thyroid", "Urine: cells."),
    ],
)
def test_a_hint_is_given_where_the_report_tells_no_site(report: str, site: str, hinted: str) -> None:
    assert with_site_hint(report, site) == hinted
    assert state_site("x", "urine") == "(Urine) x"


@pytest.mark.parametrize(
    ("verdicts", "kept", "none_right"),
    [
        (["right", "wrong", "unknown"], [0, 2], False),
        (["wrong", "wrong"], [0, 1], True),
        (["right"], [0], False),
        (["wrong", "unknown"], [1], False),
    ],
)
def test_what_is_wrong_is_dropped_unless_all_is(verdicts: list[Verdict], kept: list[int], none_right: bool) -> None:
    assert kept_positions(verdicts) == (kept, none_right)


def test_a_batch_says_what_became_of_its_images() -> None:
    nothing = np.zeros((0, 4), np.float32)
    assert GeneratedQueries(nothing, 8, 0, 0).words == "none showed another site than the query's"
    told = "3 of 8 showed another site and were generated again, 1 of these dropped"
    assert GeneratedQueries(nothing, 8, 3, 1).words == told
