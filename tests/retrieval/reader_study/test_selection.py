"""The images that a blinded reader study shows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from retrieval.reader_study.candidates import Candidate
from retrieval.reader_study.selection import select


def candidates(labels: list[tuple[str, str]], *, generated: bool = False, per_owner: int = 1) -> list[Candidate]:
    side = "g" if generated else "r"
    return [
        Candidate(Path(f"{side}{i}"), f"{side}{i}", 64, f"{side}{i // per_owner}", *label, generated=generated)
        for i, label in enumerate(labels)
    ]


def labels_of(chosen: tuple[Candidate, ...]) -> Counter[tuple[str, str]]:
    return Counter((one.site, one.category) for one in chosen)


def test_the_two_halves_have_the_same_sites_and_categories() -> None:
    real = candidates([("cervix", "NILM")] * 40 + [("cervix", "HSIL")] * 4 + [("lung", "benign")] * 9)
    made = candidates([("cervix", "NILM")] * 5 + [("cervix", "HSIL")] * 30 + [("urine", "HGUC")] * 9, generated=True)
    chosen = select(real, made, n_real=8, n_generated=8, seed=0)
    assert labels_of(chosen.real) == labels_of(chosen.generated) == {("cervix", "NILM"): 4, ("cervix", "HSIL"): 4}
    assert (chosen.by_category, chosen.by_site, chosen.all_matched) == (8, 0, True)


def test_what_has_no_counterpart_is_counted_as_such() -> None:
    real = candidates([("cervix", "NILM")] * 2 + [("cervix", "HSIL")] + [("lung", "benign")] * 3)
    made = candidates([("cervix", "NILM")] * 1 + [("cervix", "ASC-US")] * 2 + [("", "")] * 3, generated=True)
    chosen = select(real, made, n_real=5, n_generated=6, seed=0)
    assert (chosen.by_category, chosen.by_site) == (1, 2)
    assert (len(chosen.real), len(chosen.generated), chosen.all_matched) == (5, 6, False)


def test_every_patient_comes_before_anybody_s_second_image() -> None:
    real = candidates([("cervix", "NILM")] * 30, per_owner=3)
    made = candidates([("cervix", "NILM")] * 30, generated=True, per_owner=5)
    chosen = select(real, made, n_real=10, n_generated=6, seed=3)
    assert len({one.owner for one in chosen.real}) == 10
    assert len({one.owner for one in chosen.generated}) == 6


def test_the_choice_is_the_seed_s_and_not_the_order_s() -> None:
    real, made = candidates([("cervix", "NILM")] * 20), candidates([("cervix", "NILM")] * 20, generated=True)
    chosen = select(real, made, n_real=5, n_generated=5, seed=1)
    assert chosen == select(real[::-1], made[::-1], n_real=5, n_generated=5, seed=1)
    assert chosen != select(real, made, n_real=5, n_generated=5, seed=2)


def test_a_site_without_a_category_is_no_match_of_categories() -> None:
    real, made = candidates([("cervix", "")] * 3), candidates([("cervix", "")] * 3, generated=True)
    chosen = select(real, made, n_real=3, n_generated=3, seed=0)
    assert (chosen.by_category, chosen.by_site, chosen.all_matched) == (0, 3, False)
