"""The vocabulary fits together, and holds what the phantoms and the manifests say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from generation.phantom import PROFILES, Profile
from retrieval.language.vocabulary import LookAlikes, look_alikes, read_vocabulary, vocabulary


@pytest.mark.parametrize("profile", PROFILES, ids=lambda p: f"{p.site}-{p.finding}")
def test_every_phantoms_category_is_one_of_its_sites_system(profile: Profile) -> None:
    system = vocabulary().system_of(profile.site)
    assert system is not None
    assert system.name == profile.system
    assert profile.category in [category.name for category in system.categories]


def test_every_system_has_a_source_and_tiers_from_the_list() -> None:
    assert vocabulary().version >= 1
    assert len(vocabulary().systems) == 10
    for system in vocabulary().systems:
        assert system.source
        assert {"non-diagnostic", "negative", "malignant"} <= {category.tier for category in system.categories}


def test_a_reference_says_what_of_it_was_confirmed_and_no_other_doi_is_carried() -> None:
    for source in (*vocabulary().systems, *vocabulary().look_alikes):
        assert source.confirmed in ("doi", "reference", "")
        assert bool(source.doi) == (source.confirmed == "doi"), source.source
    unconfirmed = [system.name for system in vocabulary().systems if not system.confirmed]
    assert unconfirmed == ["generic five-tier"]  # ours: there is nothing to confirm


def test_lookups_by_site_system_alias_and_tier() -> None:
    known = vocabulary()
    assert known.site("Ascites").name == "serous effusion"
    assert known.site("cervical node").name == "lymph node"
    assert known.site("moon") is None
    assert known.system("paris 2.0").category("High grade urothelial carcinoma").name == "HGUC"
    assert known.system("Milan 2023").category("non-neoplastic").name == "Non-neoplastic"
    assert ("Paris 2.0", "HGUC") in [(s.name, c.name) for s, c in known.categories(tier="malignant")]
    assert known.tier_rank("Bethesda cervical 2014", "NILM") == 1
    assert known.tier_rank("Bethesda cervical 2014", "HGUC") is None


def test_parts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    known = vocabulary()
    with pytest.raises(ValueError, match="twice"):
        replace(known, systems=(*known.systems, known.systems[0]))
    with pytest.raises(ValueError, match="does not have"):
        replace(known, sites=known.sites[1:])
    for wrong in (("ASC-H", "HGUC"), ("ASC-H",)):
        group = LookAlikes("Bethesda cervical 2014", wrong, why="none", source="none")
        with pytest.raises(ValueError, match="must be two or more categories of Bethesda cervical 2014"):
            replace(known, look_alikes=(group,))
    (tmp_path / "other.toml").write_text("version = 1\n")
    with pytest.raises(ValueError, match="is no vocabulary"):
        read_vocabulary(tmp_path / "other.toml")


@pytest.mark.parametrize(
    ("system", "category", "others"),
    [
        ("Bethesda cervical 2014", "ASC-H", ("HSIL",)),
        ("Bethesda cervical 2014", "ASCUS", ("NILM", "LSIL")),
        ("Paris 2.0", "high grade urothelial carcinoma", ("AUC", "SHGUC")),
        ("Bethesda thyroid 2023", "AUS", ("Benign", "Follicular neoplasm", "Suspicious for malignancy")),
        ("Milan 2023", "SUMP", ("AUS", "Benign neoplasm", "Suspicious for malignancy")),
        ("Milan 2023", "Malignant", ()),
        ("Paris 2.0", "LSIL", ()),
        ("unheard of", "LSIL", ()),
    ],
)
def test_look_alikes_come_in_the_order_of_their_system(system: str, category: str, others: tuple[str, ...]) -> None:
    assert look_alikes(system, category) == others
    assert bool(vocabulary().groups_of(system, category)) == bool(others)


def test_look_alikes_hold_both_ways_and_name_their_source() -> None:
    for group in vocabulary().look_alikes:
        assert group.source
        assert group.why.startswith(("Measured, with ", "Described: ", "By definition: "))
        for category in group.categories:
            assert all(category in look_alikes(group.system, other) for other in group.categories if other != category)
