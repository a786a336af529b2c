"""Generated queries in an evaluation: nothing is generated twice, and nothing of other weights or reports is taken."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from index_store import Archive, CaseFilter
from retrieval import Encoder, GenerationPlan, add_manifest, evaluate_archive, generate_query
from retrieval.encoder.embedding_cache import EmbeddingCache
from retrieval.encoder.vectors import mean_query
from retrieval.evaluation.material import gather, no_progress
from retrieval.generated.batch_generation import OwnReport, cached_queries, generated_queries
from retrieval.generated.site_check import SiteCheck
from retrieval.language.query_text import query_text
from retrieval.search.fusion import default_rules
from tests.retrieval.conftest import speckled
from tests.retrieval.watched_generator import WatchedGenerator

REPORTS = ["Clusters of cells.", "Sheets of cells.", "Clusters of cells.", "Single cells."]


@pytest.fixture
def models(sdxl_base: Path, sdxl_lora: Path) -> tuple[Path, Path]:
    return sdxl_base, sdxl_lora


def watched(
    models: tuple[Path, Path], *, lora: bool = False, stop_at: int | None = None, **options: Any
) -> WatchedGenerator:
    return WatchedGenerator(models[0], models[1] if lora else None, device="cpu", stop_at=stop_at, **options)


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[SiteCheck]:
    """A check that tells nothing: its archive is empty."""
    with Archive.create(tmp_path / "empty") as archive:
        yield SiteCheck(archive, fingerprint="none")


def asked(texts: Sequence[str], *arguments: Any, **more: Any) -> np.ndarray:
    return generated_queries([OwnReport(text, "") for text in texts], *arguments, **more).vectors


@pytest.mark.slow
def test_an_interrupted_run_goes_on_and_generates_nothing_twice(
    models: tuple[Path, Path], encoder: Encoder, empty: SiteCheck, tmp_path: Path
) -> None:
    first = watched(models, stop_at=2)
    with pytest.raises(KeyboardInterrupt):
        asked(REPORTS, GenerationPlan(first, images=2), encoder, empty, EmbeddingCache(tmp_path, encoder.dim))
    second = watched(models)
    seen: list[tuple[int, int]] = []
    shelf = EmbeddingCache(tmp_path, encoder.dim)
    resumed = asked(
        REPORTS, GenerationPlan(second, images=2), encoder, empty, shelf, progress=lambda *state: seen.append(state)
    )
    assert first.generated == [(REPORTS[0], (0, 1)), (REPORTS[1], (0, 1))]
    assert second.generated == [(REPORTS[3], (0, 1))], "an equal report is drawn once"
    assert seen == [(done, 4) for done in range(5)]
    whole = asked(REPORTS, GenerationPlan(watched(models), images=2), encoder, empty, EmbeddingCache(None, encoder.dim))
    np.testing.assert_allclose(resumed, whole, atol=1e-5)
    np.testing.assert_array_equal(resumed[0], resumed[2])
    np.testing.assert_allclose(np.linalg.norm(resumed, axis=1), 1, atol=1e-5)


@pytest.mark.slow
def test_only_what_is_missing_is_generated(
    models: tuple[Path, Path], encoder: Encoder, empty: SiteCheck, tmp_path: Path
) -> None:
    shelf = EmbeddingCache(tmp_path, encoder.dim)
    asked(REPORTS[:1], GenerationPlan(watched(models), images=1), encoder, empty, shelf)
    again, more, other, changed = (watched(models, lora=lora) for lora in (False, False, True, False))
    asked(REPORTS[:1], GenerationPlan(again, images=1), encoder, empty, shelf)
    asked(REPORTS[:1], GenerationPlan(more, images=2), encoder, empty, shelf)
    asked(REPORTS[:1], GenerationPlan(other, images=1), encoder, empty, shelf)
    asked(["Clusters of cells?"], GenerationPlan(changed, images=1), encoder, empty, shelf)
    assert again.generated == []
    assert more.generated == [(REPORTS[0], (1,))]
    assert other.generated == [(REPORTS[0], (0,))], "other weights"
    assert changed.generated == [("Clusters of cells?", (0,))]


@pytest.mark.slow
def test_vectors_of_another_reading_or_sampling_are_not_taken(
    models: tuple[Path, Path], encoder: Encoder, empty: SiteCheck, tmp_path: Path
) -> None:
    shelf = EmbeddingCache(tmp_path, encoder.dim)
    long = "(Urine) Cue cells, single. " + "Single cells, large, with dark nuclei. " * 20
    asked([long], GenerationPlan(watched(models), images=1), encoder, empty, shelf)
    ways: dict[str, dict[str, Any]] = {
        "the same": {},
        "chunks": {"long_reports": "chunk"},
        "negative": {"negative_prompt": "blurred"},
        "guidance": {"guidance": 2.5},
        "glossary": {"glossary": True},
    }
    drawn = {}
    for name, options in ways.items():
        generator = watched(models, **options)
        plan = GenerationPlan(generator, images=1)
        asked([long], plan, encoder, empty, shelf)
        drawn[name] = len(generator.generated)
    assert drawn == {"the same": 0, "chunks": 1, "negative": 1, "guidance": 1, "glossary": 1}
    assert "guidance 2.5" in GenerationPlan(watched(models, guidance=2.5)).words()


@pytest.mark.slow
def test_a_wrong_image_is_dropped_as_in_a_search(models: tuple[Path, Path], encoder: Encoder, tmp_path: Path) -> None:
    """Two of three drawings of a report look like urine, and it asks for the thyroid."""
    generator = watched(models)
    text = "(Thyroid) Clusters of cells."
    pictures = [made.image for made in generator.generate(text, seeds=(0, 1, 2), preset="draft").images]
    second = generator.generate(text, seeds=(2**31 + 1, 2**31 + 2), preset="draft").images[0].image
    sites = ("thyroid", "urine", "urine", "thyroid")
    lines = ["image\tcase\treport\tsite"]
    for group, (picture, site) in enumerate(zip((*pictures, second), sites, strict=True)):
        for number in range(24):
            name = f"{group}-{number}"
            noise = np.random.default_rng(number).integers(-6, 7, (*picture.size, 3))
            changed = np.clip(np.asarray(picture).astype(np.int16) + noise, 0, 255).astype(np.uint8)
            PIL.Image.fromarray(changed).save(tmp_path / f"{name}.png")
            lines.append(f"{name}.png\t{name}\t{text}\t{site}")
    (tmp_path / "manifest.tsv").write_text("\n".join(lines))
    plan, shelf = GenerationPlan(watched(models), images=3), EmbeddingCache(tmp_path / "work", encoder.dim)
    with Archive.create(tmp_path / "archive") as archive:
        add_manifest(archive, tmp_path / "manifest.tsv", encoder)
        check = SiteCheck(archive, fingerprint=encoder.fingerprint)
        own = archive.case("0-0").patient
        made = generated_queries([OwnReport(text, own), OwnReport(text, "")], plan, encoder, check, shelf)
        for place, where in enumerate((CaseFilter(exclude_patients=(own,)), None)):
            found = generate_query(generator, encoder, archive, text, seeds=range(3), preset="draft", where=where)
            assert [image.verdict for image in found.images if image.attempt == 1] == ["right", "wrong", "wrong"]
            assert {image.verdict for image in found.images if image.attempt == 2} >= {"right"}
            np.testing.assert_allclose(made.vectors[place], mean_query(found.vectors)[0], atol=1e-5)
        dropped = sum(not image.used for image in found.images if image.attempt == 2)
        assert (made.images, made.wrong, made.dropped) == (6, 4, 2 * dropped)
        assert f"4 of 6 showed another site and were generated again, {2 * dropped} of these dropped" == made.words
        reports = [OwnReport("Another.", ""), OwnReport(text, own)]
        there, vectors = cached_queries(reports, GenerationPlan(watched(models), images=3), encoder, check, shelf)
        assert there == [1], "what was not drawn is left out"
        np.testing.assert_array_equal(vectors[0], made.vectors[0])


@pytest.mark.slow
def test_a_report_asks_without_its_advice_as_in_a_search(encoder: Encoder, tmp_path: Path) -> None:
    said = [f"Cervix: clusters of cells {number}. Colposcopy is recommended." for number in range(6)]
    lines = ["image\tcase\treport\tsite\tcategory"]
    for number, report in enumerate(said):
        speckled(number).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png\t{number}\t{report}\tcervix\t{'AB'[number % 2]}")
    (tmp_path / "manifest.tsv").write_text("\n".join(lines))
    stripped = [query_text(report) for report in said]
    assert all("recommended" not in text for text in stripped)
    with Archive.create(tmp_path / "archive") as archive:
        add_manifest(archive, tmp_path / "manifest.tsv", encoder)
        plain = {"sample": None, "seed": 0, "histogram": False, "rules": default_rules(), "progress": no_progress}
        for one, texts in ((encoder, stripped), (None, said)):
            made = gather(archive, encoder=one, generation=None, work=tmp_path / "work", **plain)
            joint = next(channel for channel in made.experiment.scorers if channel.name == "joint")
            meaning = next(channel for channel in made.experiment.scorers if channel.name.startswith("report: meaning"))
            np.testing.assert_allclose(joint.queries, encoder.encode_texts(texts), atol=1e-5)
            np.testing.assert_allclose(meaning.references, encoder.encode_texts(said), atol=1e-5)
            assert any("whole text" in note for note in made.notes) == (one is None)


@pytest.mark.slow
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
        stopped, resumed, whole = (watched(models, stop_at=stop_at) for stop_at in (2, None, None))
        plan = GenerationPlan(stopped, reports=5, images=1)
        with pytest.raises(KeyboardInterrupt):
            evaluate_archive(archive, encoder=encoder, generation=plan, work=tmp_path / "work")
        results = [
            evaluate_archive(archive, encoder=encoder, generation=dataclasses.replace(plan, generator=of), work=work)
            for of, work in ((resumed, tmp_path / "work"), (whole, None))
        ]
    assert (len(stopped.generated), len(resumed.generated), len(whole.generated)) == (2, 3, 5)
    assert results[0] == results[1]
    by_report = results[0].families[1]
    assert by_report.asked == 5
    assert by_report.tasks[0].parts[0].rows[0].channel == "generated"
    assert ("generated", "joint") in {(one.channel, one.minus) for one in by_report.tasks[0].differences}
    assert results[0].generated.startswith("1 images a report, preset draft")
