"""Many reports in one queue: the images of `generate`, in batches that reports share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generation import CoinGenerator, EmptyReportError, GenerationCache, Preset, SettingsError
from generation.model.pipeline import CoinPipeline
from generation.prompts.prompt import Encoded

QUICK = Preset("quick", steps=2, guidance=7.5)
REPORTS = ["Clusters of atypical cells.", "No intraepithelial lesion (NILM).", "Single small cells in urine."]


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[list[tuple[str, int]]]:
    """What is drawn together, batch by batch."""
    seen: list[list[tuple[str, int]]] = []
    draw = CoinPipeline.generate

    def watch(self: CoinPipeline, prompts: Sequence[Encoded], seeds: Sequence[int], **more: Any) -> Any:
        seen.append([(" ".join(prompt.texts), seed) for prompt, seed in zip(prompts, seeds, strict=True)])
        return draw(self, prompts, seeds, **more)

    monkeypatch.setattr(CoinPipeline, "generate", watch)
    return seen


@pytest.fixture(scope="module")
def generator(base: Path, lora: Path) -> CoinGenerator:
    return CoinGenerator(base, lora, device="cpu")


@pytest.mark.slow
def test_reports_share_batches_and_come_in_their_order(
    generator: CoinGenerator, batches: list[list[tuple[str, int]]]
) -> None:
    requests = [(REPORTS[0], [4]), (REPORTS[1], [9, 2]), (REPORTS[2], [7])]
    made = list(generator.generate_queue(requests, preset=QUICK, batch_size=3))
    assert batches == [[(REPORTS[0], 4), (REPORTS[1], 9), (REPORTS[1], 2)], [(REPORTS[2], 7)]]
    assert [one.report for one in made] == REPORTS
    assert [[image.provenance.seed for image in one.images] for one in made] == [[4], [9, 2], [7]]
    assert all(one.seconds > 0 for one in made)
    for (report, seeds), queued in zip(requests, made, strict=True):
        alone = generator.generate(report, seeds=seeds, preset=QUICK, batch_size=1)
        for one, other in zip(queued.images, alone.images, strict=True):
            assert one.provenance.report_sha256 == other.provenance.report_sha256
            # As in a batch of one report: single colour values differ by one level of 255.
            difference = np.asarray(one.image, dtype=np.int16) - np.asarray(other.image, dtype=np.int16)
            assert np.abs(difference).max() <= 1


def test_a_report_is_handed_on_before_the_next_batch_is_generated(
    generator: CoinGenerator, batches: list[list[tuple[str, int]]]
) -> None:
    queue = generator.generate_queue([(report, [0]) for report in REPORTS], preset=QUICK, batch_size=1)
    next(queue)
    assert len(batches) == 1


@pytest.mark.slow
def test_what_is_in_the_cache_is_not_generated_and_does_not_pile_up(
    base: Path, lora: Path, tmp_path: Path, batches: list[list[tuple[str, int]]]
) -> None:
    generator = CoinGenerator(base, lora, device="cpu", cache=GenerationCache(tmp_path))
    generator.generate(REPORTS[1], seeds=[0], preset=QUICK)
    batches.clear()
    # One image to draw, and then many that are there: the queue must not hold those back until its end.
    queue = generator.generate_queue(
        [(REPORTS[0], [3]), *[(REPORTS[1], [0])] * 40, (REPORTS[2], [5])], preset=QUICK, batch_size=4
    )
    first = next(queue)
    assert batches == [[(REPORTS[0], 3)]]
    rest = list(queue)
    assert batches == [[(REPORTS[0], 3)], [(REPORTS[2], 5)]]
    assert not first.images[0].cached
    assert [one.images[0].cached for one in rest] == [True] * 40 + [False]


def test_every_request_is_checked_before_anything_is_generated(
    generator: CoinGenerator, batches: list[list[tuple[str, int]]]
) -> None:
    with pytest.raises(EmptyReportError):
        generator.generate_queue([(REPORTS[0], [0]), (" ", [0])], preset=QUICK)
    with pytest.raises(SettingsError, match="list of seeds is empty"):
        generator.generate_queue([(REPORTS[0], [0]), (REPORTS[1], [])], preset=QUICK)
    with pytest.raises(SettingsError, match="batch size is 0"):
        generator.generate_queue([(REPORTS[0], [0])], preset=QUICK, batch_size=0)
    assert batches == []
    assert list(generator.generate_queue([], preset=QUICK)) == []
