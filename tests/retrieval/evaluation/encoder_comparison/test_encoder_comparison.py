"""Two encoders on the same queries: the better one is named where it is better, and nobody where neither is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from index_store import Archive
from retrieval import EvaluationError, compare_encoders, evaluate_archive
from retrieval.evaluation.encoder_comparison.compare import IMAGES, JOINT, REPORTS
from retrieval.evaluation.encoder_comparison.results import COMPARED, DECIDED_BY
from tests.retrieval.labelled_archive import unit
from tests.retrieval.vector_archive import FINGERPRINT, archive_of

OTHER = "vectors of another encoder"
CASES, DIM, OTHER_DIM = 48, 12, 10
SITES = ("cervix", "thyroid")


@dataclass
class Vectors:
    """As much of an encoder as a comparison uses."""

    name: str
    fingerprint: str
    dim: int
    reads_texts: bool = True


FIRST = Vectors("no model", FINGERPRINT, DIM)
SECOND = Vectors("another", OTHER, OTHER_DIM)


def label(number: int) -> int:
    return number // 2 % 4


def row(number: int) -> dict[str, str]:
    return {
        "case": f"case {number:02}",
        "patient": f"patient {number // 2:02}",
        "report": f"Cells of kind {label(number)}.",
        "site": SITES[label(number) % 2],
        "category": ("Benign", "Malignant")[label(number) // 2],
    }


def vectors(dim: int, *, seed: int, telling: bool) -> np.ndarray:
    """Of the cases: near their category's, or anywhere."""
    rng = np.random.default_rng(seed)
    centres = unit(rng.normal(size=(4, dim)))
    noise = unit(rng.normal(size=(CASES, dim)))
    return unit(centres[[label(number) for number in range(CASES)]] + 0.6 * noise) if telling else noise


def embed(archive: Archive, encoder: Vectors, images: np.ndarray | None, reports: np.ndarray) -> None:
    archive.begin_encoder(encoder.fingerprint, name=encoder.name, dim=encoder.dim)
    if images is not None:
        ids = [case.images[0].id for case in archive.cases()]
        archive.add_vectors(ids, images, fingerprint=encoder.fingerprint)
    stored = archive.reports()
    archive.add_report_vectors(
        [report.case_id for report in stored],
        [report.text for report in stored],
        reports,
        fingerprint=encoder.fingerprint,
    )


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """The first encoder tells categories by images, the second by texts."""
    folder = tmp_path_factory.mktemp("compared")
    rows = [row(number) for number in range(CASES)]
    with archive_of(folder, rows, vectors(DIM, seed=1, telling=True)) as archive:
        embed(archive, FIRST, None, vectors(DIM, seed=2, telling=False))
        embed(archive, SECOND, vectors(OTHER_DIM, seed=3, telling=False), vectors(OTHER_DIM, seed=4, telling=True))
        yield archive


def test_the_better_encoder_is_named_for_each_role(archive: Archive) -> None:
    found = compare_encoders(archive, FIRST, SECOND)  # type: ignore[arg-type]
    assert [search.name for search in found.searches] == [IMAGES, JOINT, REPORTS]
    images, joint, reports = found.searches
    assert images.better == FINGERPRINT
    assert images.parts[0].difference[DECIDED_BY].high < 0
    assert reports.better == OTHER
    assert joint.better == "", "text and image vectors have nothing to do with each other"
    assert [(verdict.role, verdict.better) for verdict in found.verdicts] == [("image", FINGERPRINT), ("text", OTHER)]
    assert found.verdicts[0].words.startswith(f"no model ({FINGERPRINT[:12]}) is better (difference in P@10")
    assert found.roles == {"image": FINGERPRINT, "text": FINGERPRINT}
    for search in found.searches:
        assert [part.site for part in search.parts] == [None, *SITES]
        assert sum(part.queries for part in search.parts[1:]) == search.parts[0].queries == CASES
        for part in search.parts:
            for metric in COMPARED:
                expected = part.second[metric].mean - part.first[metric].mean
                assert part.difference[metric].mean == pytest.approx(expected)
                assert part.difference[metric].low <= part.difference[metric].mean <= part.difference[metric].high


@pytest.mark.slow
def test_the_figures_are_those_of_an_evaluation_with_either_encoder(archive: Archive) -> None:
    found = compare_encoders(archive, FIRST, SECOND)  # type: ignore[arg-type]
    evaluation = evaluate_archive(archive, histogram=False)
    by_image = evaluation.families[0].tasks
    task = next(task for task in by_image if task.name.startswith("category"))
    for part, compared in zip(task.parts, found.searches[0].parts, strict=True):
        (image,) = [run for run in part.rows if run.channel == "image"]
        assert (part.site, part.queries, part.categories) == (compared.site, compared.queries, compared.categories)
        for metric in COMPARED:
            assert compared.first[metric] == image.scores[metric]
    by_report = next(of_type for of_type in evaluation.families[1].tasks if of_type.name == task.name)
    for name, search in (("joint", found.searches[1]), ("report: meaning (text tower)", found.searches[2])):
        (run,) = [run for run in by_report.parts[0].rows if run.channel == name]
        assert {metric: run.scores[metric] for metric in COMPARED} == search.parts[0].first


def test_equal_vectors_are_no_difference(archive: Archive, tmp_path: Path) -> None:
    rows = [row(number) for number in range(CASES)]
    made = vectors(DIM, seed=1, telling=True)
    with archive_of(tmp_path, rows, made) as twice:
        embed(twice, FIRST, None, made)
        embed(twice, Vectors("the same", OTHER, DIM), made, made)
        found = compare_encoders(twice, FIRST, Vectors("the same", OTHER, DIM))  # type: ignore[arg-type]
    assert {verdict.better for verdict in found.verdicts} == {""}
    assert all("Neither is better: the interval holds 0" in verdict.words for verdict in found.verdicts)
    for search in found.searches:
        assert {tuple(vars(part.difference["mAP"]).values()) for part in search.parts} == {(0.0, 0.0, 0.0)}


def test_an_encoder_without_a_text_tower_is_compared_by_images_alone(archive: Archive) -> None:
    images_only = Vectors("another", OTHER, OTHER_DIM, reads_texts=False)
    found = compare_encoders(archive, FIRST, images_only)  # type: ignore[arg-type]
    assert [search.name for search in found.searches] == [IMAGES]
    assert found.notes == ("Searches by text were not compared: another cannot read texts.",)
    assert found.verdicts[1].words == "Only no model can have the role text."


@pytest.mark.slow
def test_what_was_not_embedded_is_refused_with_the_command_that_does_it(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="Both encoders are no model"):
        compare_encoders(archive, FIRST, FIRST)  # type: ignore[arg-type]
    unknown = Vectors("unknown", "f" * 64, 8)
    with pytest.raises(EvaluationError, match=r"has not embedded this archive \(0 images\).*reembed --no-switch"):
        compare_encoders(archive, FIRST, unknown)  # type: ignore[arg-type]
    rows = [row(number) for number in range(CASES)]
    with archive_of(tmp_path, rows, vectors(DIM, seed=1, telling=True)) as partly:
        partly.begin_encoder(OTHER, name="another", dim=OTHER_DIM)
        partly.add_vectors([1, 2], vectors(OTHER_DIM, seed=3, telling=False)[:2], fingerprint=OTHER)
        with pytest.raises(EvaluationError, match=rf"2 of {CASES} images and 0 of {CASES} reports"):
            compare_encoders(partly, Vectors("no model", FINGERPRINT, DIM, reads_texts=False), SECOND)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_sample_is_compared_on_fewer_queries(archive: Archive) -> None:
    found = compare_encoders(archive, FIRST, SECOND, sample=20, seed=3)  # type: ignore[arg-type]
    assert found.sampled == 20
    assert found.searches[0].parts[0].queries == 20
    assert found == compare_encoders(archive, FIRST, SECOND, sample=20, seed=3)  # type: ignore[arg-type]
