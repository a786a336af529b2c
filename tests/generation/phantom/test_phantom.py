"""Phantoms: deterministic, marked, balanced, and drawn as their morphology says."""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from generation.phantom import (
    FIELD,
    PHANTOM_NOTICE,
    PROFILES,
    SPLITS,
    Phantom,
    Profile,
    View,
    phantom_cases,
    reports,
    write_phantoms,
)
from generation.phantom.wording import WORDS, Wording
from index_store.files.resolution import tagged_mpp
from tests.generation.phantom.drawings import KEPT, measured, tables

SITES = {
    *("cervix", "thyroid", "urine", "serous effusion", "breast", "lung", "salivary gland", "lymph node"),
    *("blood", "cerebrospinal fluid"),
}


def _finding(name: str, site: str, seed: int = 0) -> Phantom:
    profile = next(profile for profile in PROFILES if profile.finding == name and profile.site == site)
    return Phantom(profile, seed)


def _dark_share(phantom: Phantom) -> float:
    """Share of the field covered by nuclei (darker than any cytoplasm of the palette)."""
    grey = np.asarray(phantom.render(128).convert("L"), np.float32)
    return float((grey < 110).mean())


def _correlation(one: Image.Image, other: Image.Image) -> float:
    return float(np.corrcoef(np.asarray(one, np.float32).ravel(), np.asarray(other, np.float32).ravel())[0, 1])


def test_sites_and_systems() -> None:
    assert {profile.site for profile in PROFILES} == SITES
    systems = {profile.site: profile.system for profile in PROFILES}
    assert systems["blood"] == systems["cerebrospinal fluid"] == "generic five-tier", "they have no system of their own"
    assert len(set(systems.values())) == len(SITES) - 1, "one reporting system a site"
    findings = [(profile.site, profile.finding) for profile in PROFILES]
    assert len(set(findings)) == len(findings), "a phantom's random numbers come from the two"
    assert set(WORDS.findings) == set(findings)


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: f"{profile.site}-{profile.finding}")
def test_every_finding_is_rendered_and_reported(profile) -> None:
    phantom = Phantom(profile, number=3)
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
    large = phantom.render(256).resize((128, 128), Image.Resampling.BOX)
    assert _correlation(large, phantom.render(128)) > 0.9


@pytest.mark.slow
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
    cases = phantom_cases(480, seed=5)
    per_class = Counter((case.profile.site, case.profile.category) for case in cases)
    assert set(per_class.values()) == {10}
    assert len({case.key for case in cases}) == 480
    few = phantom_cases(16, seed=5)
    assert len({case.profile.site for case in few}) >= 7, "a small archive still has every kind of specimen"


ANOTHER = replace(PROFILES[0], finding="another finding")


@pytest.mark.slow
@pytest.mark.parametrize(
    "others",
    [PROFILES[3:], (ANOTHER, *PROFILES[::-1]), (*PROFILES[:1], ANOTHER, *PROFILES[1:])],
    ids=["removed", "reordered", "added"],
)
def test_a_profile_changes_no_phantom_of_another(others: tuple[Profile, ...]) -> None:
    n = 4 * len(PROFILES)
    known, found = ({case.key: case for case in phantom_cases(n, seed=2, profiles=some)} for some in (PROFILES, others))
    common = sorted(known.keys() & found.keys())
    assert {known[key].profile for key in common} == {*PROFILES} & {*others}
    for key in common:
        assert (known[key].morphology, known[key].report) == (found[key].morphology, found[key].report)
    for key in common[::40]:
        assert np.array_equal(known[key].render(24), found[key].render(24))


def test_a_wording_of_one_finding_changes_no_report_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    first = PROFILES[0]
    before = [Phantom(profile, 4).report for profile in PROFILES]
    described = WORDS.findings[first.site, first.finding]
    more = described.diagnoses._replace(train=("another diagnosis",))
    findings = {**WORDS.findings, (first.site, first.finding): described._replace(diagnoses=more)}
    monkeypatch.setattr(reports, "WORDS", replace(WORDS, findings=findings))
    after = [Phantom(profile, 4).report for profile in PROFILES]
    assert after[0] != before[0]
    assert after[1:] == before[1:]


def test_no_two_smears_have_a_seed_in_common() -> None:
    cases = [case for split in SPLITS for case in phantom_cases(400, split=split)]
    assert len({case.seed for case in cases}) == len(cases)


def test_views_of_one_smear_show_the_same_cells() -> None:
    smear = _finding("low-grade squamous lesion", "cervix")
    near, far = (replace(smear, view=View("cell", width)) for width in (32.0, 64.0))
    half = far.render(256).crop((64, 64, 192, 192))
    assert _correlation(near.render(128), half) > 0.97
    assert near.patient == far.patient
    assert near.key != far.key
    assert near.report == far.report


@pytest.mark.slow
def test_a_wide_field_holds_the_phantoms_own_in_its_middle() -> None:
    own = _finding("adenocarcinoma", "serous effusion")
    wide = replace(own, view=View("field", 192.0)).render(256).crop((64, 64, 192, 192))
    assert _correlation(own.render(128), wide) > 0.9
    assert _dark_share(replace(own, view=View("field", 192.0))) > 0.5 * _dark_share(own), "there are others around it"


@pytest.mark.parametrize("finding", [("normal squamous cells", "cervix"), ("normal leukocytes", "blood")])
def test_a_cell_is_in_the_middle(finding: tuple[str, str]) -> None:
    for number in range(4):
        cell = replace(_finding(*finding, number), view=View("cell", 24.0))
        grey = np.asarray(cell.render(96).convert("L"), np.float32)
        assert grey[32:64, 32:64].min() < 0.7 * np.median(grey), "its nucleus"
        assert cell.morphology.kind == "cell"


def test_a_report_of_one_cell_says_so_and_describes_no_field() -> None:
    profiles = [profile for profile in PROFILES if profile.site == "serous effusion"]
    told = [case.report for case in phantom_cases(40, profiles=profiles, views=[View("cell", 24.0)])]
    assert sum(any(phrase in report for phrase in WORDS.single_cell.train) for report in told) > 0.7 * len(told)
    seen = [phrase for element in WORDS.backgrounds.values() for phrase in element.train]
    assert not any(phrase in report for phrase in seen for report in told)


def test_views_take_turns_where_they_show_the_finding() -> None:
    views = (FIELD, View("cell", 24.0), View("field", 48.0))
    cases = phantom_cases(6 * len(PROFILES), views=views)
    of_one = [case.view for case in cases if case.profile.finding == "high-grade squamous lesion"]
    assert of_one[:4] == [*views, FIELD]
    acellular = [case.view.kind for case in cases if case.profile.finding == "acellular fluid"]
    assert set(acellular) == {"field"}, "no cell is cut out of a field that may have none"
    with pytest.raises(ValueError, match=r"no cell 24\.0 µm wide shows 'acellular fluid'"):
        replace(_finding("acellular fluid", "serous effusion"), view=View("cell", 24.0))
    nothing = [profile for profile in PROFILES if profile.finding == "acellular fluid"]
    with pytest.raises(ValueError, match="none of the views"):
        phantom_cases(3, profiles=nothing, views=[View("cell", 24.0)])


def test_a_cytospin_is_called_one() -> None:
    fluids = [profile for profile in PROFILES if profile.preparations == ("cytospin",)]
    told = [case.report.lower() for case in phantom_cases(60, profiles=fluids)]
    called = sum("cytospin" in report or "cytocentrifug" in report for report in told)
    assert called > 0.75 * len(told), "some reports are a specimen and a diagnosis"
    assert not any("smear shows" in report for report in told)


def test_held_out_reports_share_no_wording_with_training() -> None:
    said = [WORDS.conclusions, WORDS.recommendations, WORDS.comments, WORDS.single_cell]
    said += [*WORDS.openings.values(), *WORDS.amounts.values(), *WORDS.specimens.values(), *WORDS.backgrounds.values()]
    said += [options for described in WORDS.findings.values() for options in described]
    for options in said:
        train, held_out = ({phrase.lower() for phrase in split} for split in options)
        assert train and held_out and not train & held_out
    train, held_out = (Wording(np.random.default_rng(0), held_out=split) for split in (False, True))
    assert {train.pick(WORDS.conclusions) for _ in range(200)} == set(WORDS.conclusions.train)
    assert {held_out.pick(WORDS.conclusions) for _ in range(200)} == set(WORDS.conclusions.held_out)
    reports = {case.report for case in phantom_cases(2000, split="train")}
    assert not reports & {case.report for case in phantom_cases(400, split="held-out")}


def test_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="choose one of train, held-out"):
        phantom_cases(3, split="test")


def test_written_phantoms_say_what_they_are(tmp_path: Path) -> None:
    cases = phantom_cases(3, seed=9, views=(FIELD, View("cell", 24.0)))
    cases += [replace(cases[0], view=View("cell", 24.0))]
    manifest = write_phantoms(tmp_path, cases)
    with manifest.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["case"] for row in rows] == [case.key for case in cases]
    for row, case in zip(rows, cases, strict=True):
        assert row["phantom"] == "true" and row["report"] == case.report
        assert (row["kind"], row["mpp"]) == (("field", "0.75") if case.view == FIELD else ("cell", "0.1875"))
        with Image.open(tmp_path / row["image"]) as image:
            assert image.text["Description"] == PHANTOM_NOTICE
            assert np.array_equal(np.asarray(image), np.asarray(case.render()))
            assert tagged_mpp(image, None) == pytest.approx(float(row["mpp"]), rel=1e-4)
    assert rows[0]["patient"] == rows[3]["patient"] != rows[1]["patient"]


@pytest.mark.slow
def test_phantoms_are_those_that_the_starter_learned_from() -> None:
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    meant = "Is this change of the phantoms meant? tests/generation/phantom/drawings.py says what follows."
    assert tables() == kept["tables"], meant
    found = measured()
    assert found.keys() == kept["measured"].keys(), meant
    for name, expected in kept["measured"].items():
        assert found[name] == pytest.approx(expected, abs=0.03), f"{name}: {meant}"
