"""Generated queries in an evaluation: nothing is generated twice, and nothing of other weights or reports is taken."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generation import CoinGenerator, Generation
from index_store import Archive
from retrieval import Encoder, GenerationPlan, add_manifest, evaluate_archive
from retrieval.archive_evaluation import gather, unwatched
from retrieval.fusion import default_rules
from retrieval.generated_queries import generated_queries
from retrieval.report_text import asked_text
from retrieval.vector_shelf import VectorShelf
from tests.models import tiny_lora, tiny_sdxl
from tests.retrieval.conftest import speckled

REPORTS = ["Clusters of cells.", "Sheets of cells.", "Clusters of cells.", "Single cells."]


class Watched(CoinGenerator):
    """Remembers what it was asked for, and is interrupted at a given report."""

    asked: list[tuple[str, tuple[int, ...]]]
    stop_at: int | None = None

    def generate_queue(self, requests: Iterable[tuple[str, Sequence[int]]], **more: Any) -> Iterator[Generation]:
        requests = list(requests)
        for (report, seeds), made in zip(requests, super().generate_queue(requests, **more), strict=True):
            if len(self.asked) == self.stop_at:
                raise KeyboardInterrupt
            self.asked.append((report, tuple(seeds)))
            yield made


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("models")
    base = tiny_sdxl(folder / "base")
    return base, tiny_lora(folder / "lora", base)


def watched(models: tuple[Path, Path], *, lora: bool = False) -> Watched:
    made = Watched(models[0], models[1] if lora else None, device="cpu")
    made.asked = []
    return made


def test_an_interrupted_run_goes_on_and_generates_nothing_twice(
    models: tuple[Path, Path], encoder: Encoder, tmp_path: Path
) -> None:
    first = watched(models)
    first.stop_at = 2
    with pytest.raises(KeyboardInterrupt):
        generated_queries(REPORTS, GenerationPlan(first, images=2), encoder, VectorShelf(tmp_path, encoder.dim))
    second = watched(models)
    seen: list[tuple[int, int]] = []
    shelf = VectorShelf(tmp_path, encoder.dim)
    resumed = generated_queries(
        REPORTS, GenerationPlan(second, images=2), encoder, shelf, progress=lambda *state: seen.append(state)
    )
    assert first.asked == [(REPORTS[0], (0, 1)), (REPORTS[1], (0, 1))]
    assert second.asked == [(REPORTS[3], (0, 1))]
    assert seen == [(2, 3), (3, 3)], "equal reports count once, and what is there is done"
    whole = generated_queries(
        REPORTS, GenerationPlan(watched(models), images=2), encoder, VectorShelf(None, encoder.dim)
    )
    np.testing.assert_allclose(resumed, whole, atol=1e-5)
    np.testing.assert_array_equal(resumed[0], resumed[2])
    np.testing.assert_allclose(np.linalg.norm(resumed, axis=1), 1, atol=1e-5)


def test_only_what_is_missing_is_generated(models: tuple[Path, Path], encoder: Encoder, tmp_path: Path) -> None:
    shelf = VectorShelf(tmp_path, encoder.dim)
    generated_queries(REPORTS[:1], GenerationPlan(watched(models), images=1), encoder, shelf)
    again, more, other, changed = (watched(models, lora=lora) for lora in (False, False, True, False))
    generated_queries(REPORTS[:1], GenerationPlan(again, images=1), encoder, shelf)
    generated_queries(REPORTS[:1], GenerationPlan(more, images=2), encoder, shelf)
    generated_queries(REPORTS[:1], GenerationPlan(other, images=1), encoder, shelf)
    generated_queries(["Clusters of cells?"], GenerationPlan(changed, images=1), encoder, shelf)
    assert again.asked == []
    assert more.asked == [(REPORTS[0], (1,))]
    assert other.asked == [(REPORTS[0], (0,))], "other weights"
    assert changed.asked == [("Clusters of cells?", (0,))]


def test_a_report_asks_without_its_advice_as_in_a_search(encoder: Encoder, tmp_path: Path) -> None:
    said = [f"Cervix: clusters of cells {number}. Colposcopy is recommended." for number in range(6)]
    lines = ["image\tcase\treport\tsite\tcategory"]
    for number, report in enumerate(said):
        speckled(number).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png\t{number}\t{report}\tcervix\t{'AB'[number % 2]}")
    (tmp_path / "manifest.tsv").write_text("\n".join(lines))
    asked = [asked_text(report) for report in said]
    assert all("recommended" not in text for text in asked)
    with Archive.create(tmp_path / "archive") as archive:
        add_manifest(archive, tmp_path / "manifest.tsv", encoder)
        plain = {"sample": None, "seed": 0, "histogram": False, "rules": default_rules(), "watch": unwatched}
        for one, texts in ((encoder, asked), (None, said)):
            made = gather(archive, encoder=one, generation=None, work=tmp_path / "work", **plain)
            joint = next(channel for channel in made.rows.channels if channel.name == "joint")
            meaning = next(channel for channel in made.rows.channels if channel.name.startswith("report: meaning"))
            np.testing.assert_allclose(joint.queries, encoder.encode_texts(texts), atol=1e-5)
            np.testing.assert_allclose(meaning.references, encoder.encode_texts(said), atol=1e-5)
            assert any("whole text" in note for note in made.notes) == (one is None)


def test_an_evaluation_resumes_with_the_same_figures(
    models: tuple[Path, Path], encoder: Encoder, tmp_path: Path
) -> None:
    lines = ["image\tcase\treport\tsite\tcategory"]
    for number in range(8):
        speckled(number).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png\t{number}\tReport {number} of cells.\tcervix\t{'AB'[number % 2]}")
    (tmp_path / "manifest.tsv").write_text("\n".join(lines))
    with Archive.create(tmp_path / "archive") as archive:
        add_manifest(archive, tmp_path / "manifest.tsv", encoder)
        stopped, resumed, whole = (watched(models) for _ in range(3))
        stopped.stop_at = 2
        plan = GenerationPlan(stopped, reports=5, images=1)
        with pytest.raises(KeyboardInterrupt):
            evaluate_archive(archive, encoder=encoder, generation=plan, work=tmp_path / "work")
        results = [
            evaluate_archive(archive, encoder=encoder, generation=dataclasses.replace(plan, generator=of), work=work)
            for of, work in ((resumed, tmp_path / "work"), (whole, None))
        ]
    assert (len(stopped.asked), len(resumed.asked), len(whole.asked)) == (2, 3, 5)
    assert results[0] == results[1]
    by_report = results[0].families[1]
    assert by_report.asked == 5
    assert by_report.tasks[0].parts[0].rows[0].channel == "generated"
    assert ("generated", "joint") in {(one.channel, one.minus) for one in by_report.tasks[0].differences}
    assert results[0].generated.startswith("1 images a report, preset draft")
