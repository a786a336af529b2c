"""Labelled cases with vectors of any kind, for the tests of evaluation: no archive, no model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from index_store import Case, Image
from retrieval.evaluation.dataset import LabelledCases
from retrieval.evaluation.evaluate import evaluate_experiment
from retrieval.evaluation.experiment import Experiment, QueryType
from retrieval.evaluation.results import TaskResult
from retrieval.search.batch import Candidates, mean_queries
from retrieval.search.channels.own_runs import ByVectors


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def made_case(number: int, *, patient: str, site: str, category: str, system: str = "", images: int = 2) -> Case:
    """Case `number`, whose images are numbered after those of the cases before it."""
    return Case(
        id=number,
        key=f"case {number:04}",
        patient=patient,
        report="",
        site=site,
        system=system,
        category=category,
        images=tuple(
            Image(10 * number + i, f"case {number:04}", Path(f"{number}-{i}.png"), sha256="", width=1, height=1)
            for i in range(images)
        ),
    )


def made_cases(count: int, *, per_patient: int = 2) -> list[Case]:
    """Two sites with three and two categories, some cases a patient, one to three images a case."""
    categories = [("cervix", "NILM"), ("cervix", "LSIL"), ("cervix", "HSIL"), ("thyroid", "Benign"), ("thyroid", "AUS")]
    return [
        made_case(
            i,
            patient=f"patient {i // per_patient:04}",
            site=categories[(i // per_patient) % 5][0],
            category=categories[(i // per_patient) % 5][1],
            images=i % 3 + 1,
        )
        for i in range(count)
    ]


def random_vectors(cases: LabelledCases, seed: int, *, dim: int = 24) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(len(cases.image_ids), dim)))


def telling_vectors(cases: LabelledCases, seed: int = 0, *, noise: float = 0.7, dim: int = 24) -> np.ndarray:
    """Vectors that mostly lie by category."""
    rng = np.random.default_rng(seed)
    labels = sorted({(label.site, label.category) for label in cases.labels})
    centres = unit(rng.normal(size=(len(labels), dim)))
    at = [labels.index((cases.labels[i].site, cases.labels[i].category)) for i in cases.case_of]
    return unit(centres[at] + noise * unit(rng.normal(size=(len(at), dim))))


def leads_of(queries: np.ndarray, own: np.ndarray, references: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """The other patients' leading images for each query, best first: what the evaluation ranks by."""
    images = np.arange(len(references))
    return Candidates(images, patients, images).rank(queries @ references.T, own).ranked_images


def channel(cases: LabelledCases, vectors: np.ndarray, name: str = "image") -> ByVectors:
    return ByVectors(name, mean_queries(vectors, cases.case_of, len(cases.keys)), vectors)


def image_tasks(
    cases: LabelledCases, channels: list[ByVectors], *, asking: np.ndarray | None = None, **options: object
) -> tuple[TaskResult, ...]:
    """The tables of queries by image."""
    everyone = np.arange(len(cases.keys)) if asking is None else asking
    query_type = QueryType("by image", "", everyone, tuple(of.name for of in channels))
    (result,) = evaluate_experiment(cases, Experiment(channels, [query_type]), **options)
    return result.tasks
