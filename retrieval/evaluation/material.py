"""What an archive's evaluation is made from: its cases, and the vectors, reports and images of an experiment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from index_store import COLOUR, COLOUR_FINGERPRINT
from retrieval.arrays import Ints, Vectors
from retrieval.encoder.colour_histogram import BINS
from retrieval.encoder.embedding_cache import EmbeddingCache, embedding_key
from retrieval.encoder.encoder import Encoder, Progress
from retrieval.encoder.roles import role_encoders
from retrieval.errors import EvaluationError
from retrieval.evaluation.colour_baseline import colour_histograms
from retrieval.evaluation.dataset import LabelledCases, read_labelled
from retrieval.evaluation.experiment import Experiment, build_experiment
from retrieval.evaluation.relevance import Relevance
from retrieval.evaluation.tasks import tasks_for
from retrieval.generated.batch_generation import GenerationPlan, OwnReport, generated_folder, generated_queries
from retrieval.generated.site_check import SiteCheck, measure_site_rates
from retrieval.language.query_text import query_text
from retrieval.search.batch import mean_queries
from retrieval.search.channels.own_runs import EvaluationMaterials, has_report, has_vector
from retrieval.search.fusion import FusionRule

if TYPE_CHECKING:
    from index_store import Archive, EncoderInfo

TEXTS_AT_ONCE: Final = 256
"""Encoded and kept together."""
COMPARISONS: Final = 1_000_000_000
"""Of queries with images, for each channel: by default no more. On two cores some 20 minutes (docs/evaluation.md)."""
READ_IMAGES: Final = 30_000
"""By default the colours of no more images are read: at 10 ms a picture five minutes."""
ProgressFactory = Callable[..., AbstractContextManager[Progress]]
"""Opens a display of progress: `progress("Evaluating", unit="queries")`."""


@contextmanager
def no_progress(label: str, *, unit: str) -> Iterator[Progress]:
    """A display of progress that shows nothing."""
    yield lambda done, total: None


@dataclass(frozen=True, eq=False)
class Material:
    """The cases of an archive, and the experiment that they allow."""

    cases: LabelledCases
    experiment: Experiment
    encoder: EncoderInfo
    """The archive's of the image role."""
    text_encoder: EncoderInfo
    """The archive's of the text role."""
    sampled: int | None
    """How many cases are queries, where not all are."""
    unreadable: int
    """Images that could not be read for the colour histogram."""
    generated: str
    """How images were generated, and the outcome of checking them; empty where none were."""
    notes: tuple[str, ...]
    """Runs that are absent, and why."""

    @property
    def fingerprints(self) -> dict[str, str]:
        """By role, the fingerprint of the encoder that the experiment compares by."""
        return {"image": self.encoder.fingerprint, "text": self.text_encoder.fingerprint}


def gather(
    archive: Archive,
    *,
    encoder: Encoder | None,
    text_encoder: Encoder | None = None,
    generation: GenerationPlan | None,
    sample: int | None,
    seed: int,
    histogram: bool | None,
    rules: Mapping[str, FusionRule],
    work: Path | None,
    progress: ProgressFactory,
) -> Material:
    """Read, embed and generate all that the experiment needs. Arguments and errors as of `evaluate_archive`."""
    cases = read_labelled(archive)
    known, for_texts = archive.encoder, archive.encoder_of("text")
    if known is None or for_texts is None:  # cases have images, and images came with vectors
        raise EvaluationError("The archive has no vectors: add its cases again with `coin add`.")
    if encoder is not None:
        text_encoder = role_encoders(archive, encoder, text_encoder).text
    if generation is not None and encoder is None:
        raise ValueError("images can be generated only where there is an encoder to embed them")
    notes: list[str] = []
    queries = query_cases(cases, sample, seed, notes)
    texts = report_vectors(cases, archive, for_texts.fingerprint, notes)
    with_text = queries[(has_report(cases.reports) if texts is None else has_vector(texts))[queries]]
    report_queries = sampled(with_text, generation.reports if generation is not None else None, seed)
    if not _answerable(cases, report_queries):
        report_queries = report_queries[:0]
        notes.append(
            "No queries by report: none of the query reports is of a category that another patient's case has."
        )
    folder = None if work is None else work / archive.uuid
    vectors = archive.vectors_of(cases.image_ids.tolist(), known.fingerprint)
    colours, unreadable = _colours(cases, archive, folder, histogram, progress, notes)
    query_texts, generated, how = None, None, ""
    if texts is not None:
        query_texts = query_vectors(cases, texts, report_queries, text_encoder, folder, progress, notes)
    if generation is not None and encoder is not None and len(report_queries):
        generated, how = _generated(cases, archive, encoder, generation, report_queries, work, progress, notes)
    elif len(report_queries):
        notes.append(
            "No run for generated images: `--generate all` makes it, or `--generate 200`, which queries by 200 reports."
        )
    materials = EvaluationMaterials(
        archive=archive,
        image_ids=cases.image_ids,
        images=(mean_queries(vectors, cases.case_of, len(cases.keys)), vectors),
        reports=cases.reports,
        rules=rules,
        texts=texts,
        query_texts=query_texts,
        text_encoder=None if for_texts == known else for_texts,
        generated=generated,
        colours=None if colours is None else (mean_queries(colours, cases.case_of, len(cases.keys)), colours),
    )
    experiment = build_experiment(
        materials,
        queries=queries,
        report_queries=report_queries,
        left_out=len(queries) - len(with_text),
    )
    count = len(queries) if len(queries) < len(cases.keys) else None
    return Material(cases, experiment, known, for_texts, count, unreadable, how, (*notes, *experiment.notes))


def query_cases(cases: LabelledCases, sample: int | None, seed: int, notes: list[str]) -> Ints:
    """The cases that are queries, int[q]: `sample` of them, sampled at random; by default all, or as many as are
    compared with all images `COMPARISONS` times together, which `notes` then says."""
    n = len(cases.keys)
    most = max(1, COMPARISONS // len(cases.image_ids))
    if sample is None and most < n:
        notes.append(
            f"{most} of the {n} cases, sampled at random (seed {seed}), are queries: more would take longer than half "
            f"an hour. `--sample {n}` queries with all of them."
        )
        sample = most
    return sampled(np.arange(n), sample, seed)


def sampled(cases: Ints, count: int | None, seed: int) -> Ints:
    """`count` of the cases int[n], sampled at random, ascending: int[count]; all where None or where they are fewer."""
    if count is None or count >= len(cases):
        return cases
    return np.sort(np.random.default_rng(seed).choice(cases, size=count, replace=False))


def _answerable(cases: LabelledCases, queries: Ints) -> bool:
    return all(len(Relevance(task, cases).answerable(queries)) for task in tasks_for(cases))


def report_vectors(cases: LabelledCases, archive: Archive, fingerprint: str, notes: list[str]) -> Vectors | None:
    """The stored vectors of the reports, float32[cases, d], zeros where a case has none; None where no case has one."""
    ids, stored = archive.report_vectors(fingerprint)
    known = np.isin(cases.ids, ids)
    written = has_report(cases.reports)
    lacking = int((written & ~known).sum())
    if not known.any():
        if lacking:
            notes.append(
                "No runs for the encoder's text tower: no report has a vector. `coin add` makes them, if the encoder "
                "can encode texts."
            )
        return None
    if lacking:
        notes.append(
            f"{lacking} reports have no vector and are no queries: run `coin add` again with the archive's encoder."
        )
    vectors = np.zeros((len(cases.ids), stored.shape[1]), dtype=np.float32)
    vectors[known] = stored[np.searchsorted(ids, cases.ids[known])]
    return vectors


def query_vectors(
    cases: LabelledCases,
    texts: Vectors,
    queries: Ints,
    encoder: Encoder | None,
    folder: Path | None,
    progress: ProgressFactory,
    notes: list[str],
) -> Vectors:
    """The query vectors of the reports, float32[cases, d]: the stored ones where a search reads all of a report."""
    shortened = [i for i in queries.tolist() if query_text(cases.reports[i]) != cases.reports[i]]
    if not shortened:
        return texts
    if encoder is None:
        notes.append(
            f"{len(shortened)} reports query by their whole text. A search would leave advice and the like out of "
            "them; the archive's encoder, set with --encoder (for texts, --text-encoder), is needed for that."
        )
        return texts
    cache = EmbeddingCache(_cache_folder(folder, "texts", encoder.fingerprint), encoder.dim)
    wanted = {embedding_key({"text": text}): text for text in (query_text(cases.reports[i]) for i in shortened)}
    missing = [key for key in wanted if key not in cache]
    with progress("Reading reports", unit="reports") as count:
        for start in range(0, len(missing), TEXTS_AT_ONCE):
            count(len(wanted) - len(missing) + start, len(wanted))
            keys = missing[start : start + TEXTS_AT_ONCE]
            cache.put(keys, encoder.encode_texts([wanted[key] for key in keys]))
    vectors = texts.copy()
    vectors[shortened] = cache.take([embedding_key({"text": query_text(cases.reports[i])}) for i in shortened])
    return vectors


def _generated(
    cases: LabelledCases,
    archive: Archive,
    encoder: Encoder,
    plan: GenerationPlan,
    queries: Ints,
    work: Path | None,
    progress: ProgressFactory,
    notes: list[str],
) -> tuple[Vectors, str]:
    """The query vectors of images generated from the reports, float32[cases, d], and in words how they were made."""
    cache = EmbeddingCache(None if work is None else generated_folder(work, archive, encoder), encoder.dim)
    with progress("Generating", unit="reports") as count:
        reports = [OwnReport(query_text(cases.reports[i]), cases.patient_names[i]) for i in queries]
        rates = measure_site_rates(archive, fingerprint=encoder.fingerprint)
        check = SiteCheck(archive, fingerprint=encoder.fingerprint, rates=rates)
        generated = generated_queries(reports, plan, encoder, check, cache, progress=count)
    vectors = np.zeros((len(cases.keys), encoder.dim), dtype=np.float32)
    vectors[queries] = generated.vectors
    if rates.images and not rates.usable:
        notes.append(f"Generated images were not checked for the site that they show. {rates.words}")
    return vectors, f"{plan.words()}; {generated.words}"


def _colours(
    cases: LabelledCases,
    archive: Archive,
    folder: Path | None,
    histogram: bool | None,
    progress: ProgressFactory,
    notes: list[str],
) -> tuple[Vectors | None, int]:
    """The histograms float32[images, 512], stored ones where the archive has all, and how many images could not be
    read; None where they are not wanted, or by default would be too many to read."""
    images = len(cases.image_ids)
    if histogram is False:
        return None, 0
    if archive.encoder_of(COLOUR) is not None:
        ids, stored = archive.known_vectors(cases.image_ids.tolist(), COLOUR_FINGERPRINT)
        if len(ids) == images:
            return stored, 0
    if histogram is None and images > READ_IMAGES:
        notes.append(f"No run by colour: it would read {images} pictures (`--histogram` makes it).")
        return None, 0
    cache = EmbeddingCache(_cache_folder(folder, "colours", str(BINS)), BINS**3)
    keys = [embedding_key({"image": sha256, "bins": BINS}) for sha256 in cases.hashes]
    with progress("Reading colours", unit="images") as count:
        files = zip(cases.paths, cases.checksums, strict=True)
        return colour_histograms(dict(zip(keys, files, strict=True)), keys, cache, progress=count)


def _cache_folder(folder: Path | None, kind: str, key: str) -> Path | None:
    return None if folder is None else folder / f"{kind}-{key[:16]}"
