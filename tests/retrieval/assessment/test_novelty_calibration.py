"""Generated images are judged once they were drawn of the archive's own reports; real parts, tiny models."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from generation.phantom import phantom_cases, write_phantoms
from index_store import Archive, CaseFilter
from retrieval import CaseSearch, Encoder, EvaluationError, GenerationPlan, Query, add_manifest
from retrieval.assessment.diagnostics import Diagnostics
from retrieval.assessment.novelty_calibration import calibrate_archive
from retrieval.language.query_text import query_text
from retrieval.search.channels.generated import FEWEST
from tests.retrieval.watched_generator import WatchedGenerator

CASES = 30
TEXT = "(Fine-needle aspiration of the thyroid) Smear shows colloid. Benign follicular nodule."


@pytest.fixture
def archive(encoder: Encoder, tmp_path: Path) -> Iterator[Archive]:
    with Archive.create(tmp_path / "archive") as archive:
        add_manifest(archive, write_phantoms(tmp_path / "phantoms", phantom_cases(CASES), size=64), encoder)
        yield archive


def watched(base: Path) -> WatchedGenerator:
    return WatchedGenerator(base, device="cpu")


@pytest.mark.slow
def test_generated_images_are_judged_once_the_archives_own_reports_were_drawn(
    archive: Archive, encoder: Encoder, sdxl_base: Path, tmp_path: Path
) -> None:
    work, generator = tmp_path / "work", watched(sdxl_base)
    diagnostics = Diagnostics(archive, encoder, generator, work=work)
    search = CaseSearch(archive, encoder, generator)
    asked = search.run(Query(text=TEXT, seeds=(5,), channels=("generated", "report")))
    before = diagnostics.describe(asked)
    assert before.comparability == ()
    reasons = {one.channel: one.reason for one in before.not_judged}
    drawn = f"exist for 0 reports (1 images each, preset draft, these weights), and {FEWEST} are needed"
    assert drawn in reasons["generated"]
    assert "another laboratory's words" in reasons["report"]
    assert not work.exists(), "looking makes nothing"

    plan = GenerationPlan(drawing := watched(sdxl_base), reports=FEWEST, images=1)
    made = calibrate_archive(archive, encoder, plan, work=work)
    rules = {rule.kind: rule for rule in made.rules}
    assert list(rules) == ["case", "image", "generated"]
    assert (rules["generated"].n, rules["image"].n) == (FEWEST, CASES)
    assert rules["generated"].false_alarm_rate <= 0.05
    assert {text for text, _ in drawing.generated} <= {query_text(case.report) for case in archive.cases()}

    (judged,) = diagnostics.describe(asked).comparability
    assert (judged.kind, judged.channel, judged.n) == ("generated", "generated", FEWEST)
    assert judged.threshold == rules["generated"].threshold
    assert [one.channel for one in diagnostics.describe(asked).not_judged] == ["report"]
    # The mean of more images lies nearer: it needs drawings of its own.
    several = search.run(Query(text=TEXT, seeds=(5, 6), channels=("generated",)))
    assert "2 images each" in diagnostics.describe(several).not_judged[0].reason
    filtered = search.run(dataclasses.replace(asked.query, where=CaseFilter(sites=("thyroid",))))
    few = sum(case.site == "thyroid" for case in archive.cases())
    reason = next(one.reason for one in diagnostics.describe(filtered).not_judged if one.channel == "generated")
    assert f"has {few} patients with a report that the filter lets through" in reason

    # What was drawn is used again, also when the archive has changed.
    again, changed = watched(sdxl_base), watched(sdxl_base)
    plan = GenerationPlan(again, reports=FEWEST, images=1)
    assert calibrate_archive(archive, encoder, plan, work=work) == made
    assert again.generated == []
    gone = next(case for case in archive.cases() if query_text(case.report) == drawing.generated[3][0])
    archive.remove(gone.key)
    calibrate_archive(archive, encoder, dataclasses.replace(plan, generator=changed), work=work)
    assert len(changed.generated) == 1, "one in the place of the one that is gone"


def test_too_few_patients_are_named(archive: Archive, encoder: Encoder, sdxl_base: Path, tmp_path: Path) -> None:
    where = CaseFilter(exclude_cases=tuple(case.key for case in archive.cases()[FEWEST - 1 :]))
    plan = GenerationPlan(generator := watched(sdxl_base), images=1)
    with pytest.raises(EvaluationError, match=f"the archive has {FEWEST - 1} patients with a report that the"):
        calibrate_archive(archive, encoder, plan, work=tmp_path / "work", where=where)
    assert generator.generated == [], "said before anything is drawn"
