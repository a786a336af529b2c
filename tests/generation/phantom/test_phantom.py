"""Phantoms: deterministic, marked, balanced, and drawn as their morphology says."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from generation.phantom import PHANTOM_NOTICE, PROFILES, Phantom, phantom_cases, write_phantoms
from generation.phantom.wording import WORDS, Wording
from tests.generation.phantom.drawings import KEPT, measured, tables

SITES = {"cervix", "thyroid", "urine", "serous effusion", "breast", "lung", "salivary gland", "lymph node"}


def _finding(name: str, site: str, seed: int = 0) -> Phantom:
    profile = next(profile for profile in PROFILES if profile.finding == name and profile.site == site)
    return Phantom(profile, seed)


def _dark_share(phantom: Phantom) -> float:
    """Share of the field covered by nuclei (darker than any cytoplasm of the palette)."""
    grey = np.asarray(phantom.render(128).convert("L"), np.float32)
    return float((grey < 110).mean())


def test_sites_and_systems() -> None:
    assert {profile.site for profile in PROFILES} == SITES
    systems = {profile.site: profile.system for profile in PROFILES}
    assert len(set(systems.values())) == len(SITES), "one reporting system a site"
    assert set(WORDS.findings) == {(profile.site, profile.finding) for profile in PROFILES}


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: f"{profile.site}-{profile.finding}")
def test_every_finding_is_rendered_and_reported(profile) -> None:
    phantom = Phantom(profile, seed=3)
    field = np.asarray(phantom.render(128))
    assert field.shape == (128, 128, 3)
    assert field.std() > 3, "something is on the slide"
    assert phantom.report.endswith((".", ";")) and 4 <= len(phantom.report) < 900
    assert "{" not in phantom.report


def test_same_seed_same_phantom_other_seed_another() -> None:
    first, again, other = (_finding("papillary thyroid carcinoma", "thyroid", seed) for seed in (1, 1, 2))
    assert np.array_equal(first.render(), again.render()) and first.report == again.report
    assert not np.array_equal(first.render(), other.render())


def test_a_larger_drawing_is_the_same_field() -> None:
    phantom = _finding("high-grade squamous lesion", "cervix")
    large = np.asarray(phantom.render(256).resize((128, 128), Image.Resampling.BOX), np.float32)
    small = np.asarray(phantom.render(128), np.float32)
    assert np.corrcoef(large.ravel(), small.ravel())[0, 1] > 0.9


@pytest.mark.parametrize(
    ("more", "less"),
    [
        (("high-grade squamous lesion", "cervix"), ("normal squamous cells", "cervix")),
        (("high-grade urothelial carcinoma", "urine"), ("benign urothelial cells", "urine")),
        (("adenocarcinoma", "serous effusion"), ("reactive mesothelial cells", "serous effusion")),
        (("large B-cell lymphoma", "lymph node"), ("reactive lymphoid hyperplasia", "lymph node")),
    ],
)
def test_malignant_fields_have_more_nuclear_area(more, less) -> None:
    mean = {kind: np.mean([_dark_share(_finding(*kind, seed)) for seed in range(6)]) for kind in (more, less)}
    assert mean[more] > 1.3 * mean[less]


def test_cases_are_balanced_over_categories_and_sites() -> None:
    cases = phantom_cases(440, seed=5)
    per_class = Counter((case.profile.site, case.profile.category) for case in cases)
    assert set(per_class.values()) == {10}
    assert len({case.key for case in cases}) == 440
    few = phantom_cases(16, seed=5)
    assert len({case.profile.site for case in few}) >= 7, "a small archive still has every kind of specimen"


def test_held_out_reports_share_no_wording_with_training() -> None:
    said = [WORDS.openings, WORDS.conclusions, WORDS.recommendations, WORDS.comments]
    said += [*WORDS.amounts.values(), *WORDS.specimens.values(), *WORDS.backgrounds.values()]
    said += [options for described in WORDS.findings.values() for options in described]
    for options in said:
        train, held_out = ({phrase.lower() for phrase in split} for split in options)
        assert train and held_out and not train & held_out
    train, held_out = (Wording(np.random.default_rng(0), held_out=split) for split in (False, True))
    assert {train.pick(WORDS.openings) for _ in range(200)} == set(WORDS.openings.train)
    assert {held_out.pick(WORDS.openings) for _ in range(200)} == set(WORDS.openings.held_out)
    reports = {case.report for case in phantom_cases(2000, split="train")}
    assert not reports & {case.report for case in phantom_cases(400, split="held-out")}


def test_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="choose one of train, held-out"):
        phantom_cases(3, split="test")


def test_written_phantoms_say_what_they_are(tmp_path: Path) -> None:
    cases = phantom_cases(3, seed=9)
    manifest = write_phantoms(tmp_path, cases)
    with manifest.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["case"] for row in rows] == [case.key for case in cases]
    for row, case in zip(rows, cases, strict=True):
        assert row["phantom"] == "true" and row["report"] == case.report
        with Image.open(tmp_path / row["image"]) as image:
            assert image.text["Description"] == PHANTOM_NOTICE
            assert np.array_equal(np.asarray(image), np.asarray(case.render()))


def test_phantoms_are_those_that_the_starter_learned_from() -> None:
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    meant = "Is this change of the phantoms meant? tests/generation/phantom/drawings.py says what follows."
    assert tables() == kept["tables"], meant
    found = measured()
    assert found.keys() == kept["measured"].keys(), meant
    for name, expected in kept["measured"].items():
        assert found[name] == pytest.approx(expected, abs=0.03), f"{name}: {meant}"
