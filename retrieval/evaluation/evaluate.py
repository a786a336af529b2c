"""An archive evaluated on its own cases, from its stored vectors and reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from retrieval.arrays import Ints, Vectors
from retrieval.encoder.embedding_cache import VectorShelf, shelf_key
from retrieval.encoder.encoder import Encoder, Progress
from retrieval.errors import EvaluationError
from retrieval.evaluation.colour_baseline import BINS, colour_histograms
from retrieval.evaluation.dataset import LabelledCases, read_labelled
from retrieval.evaluation.experiment_rows import HISTOGRAM, IMAGE, Rows, has_report, rows_of, with_vector
from retrieval.evaluation.identical_reports import family_numbers
from retrieval.evaluation.leave_one_out import evaluate_families
from retrieval.evaluation.relevance import METRICS, Truth
from retrieval.evaluation.results import Evaluation
from retrieval.evaluation.tasks import Gain, questions_for, same_category
from retrieval.generated.batch_generation import GenerationPlan, OwnReport, generated_folder, generated_queries
from retrieval.generated.site_check import SiteCheck, measure_site_rates
from retrieval.language.query_text import asked_text, report_family
from retrieval.search.batch import mean_queries
from retrieval.search.fusion import FusionRule, default_rules
from retrieval.statistics.estimate import RESAMPLES

if TYPE_CHECKING:
    from index_store import Archive, EncoderInfo

TEXTS_AT_ONCE: Final = 256
"""Encoded and kept together."""
Watch = Callable[..., AbstractContextManager[Progress]]
"""Opens a display of progress: `watch("Evaluating", unit="queries")`."""


@dataclass(frozen=True, eq=False)
class Material:
    """What an archive's evaluation is made from."""

    cases: LabelledCases
    rows: Rows
    encoder: EncoderInfo
    unreadable: int
    generated: str
    """How images were generated, and what checking them did; empty where none were."""
    notes: tuple[str, ...]


def evaluate_archive(
    archive: Archive,
    *,
    encoder: Encoder | None = None,
    generation: GenerationPlan | None = None,
    sample: int | None = None,
    seed: int = 0,
    gain: Gain = same_category,
    histogram: bool = True,
    rules: Mapping[str, FusionRule] | None = None,
    family: Callable[[str], str] = report_family,
    work: Path | None = None,
    watch: Watch | None = None,
) -> Evaluation:
    """Leave-one-patient-out over the archive's cases: by image, by report, and by both, each channel and fused.

    Args:
        encoder: the archive's, to embed generated images, and the reports of which a search would read only a part.
            None: these ask by their whole text. Where nothing of that is to be done the model is not loaded.
        generation: how reports become images, for the row "generated". None: it is absent. Needs the encoder.
        sample: this many cases ask, drawn at random; all are asked for. None: every case asks.
        seed: of the samples, of the resampled patients, and of the random orders behind a vote's chance.
        gain: graded relevance for nDCG, such as the distance of two categories on an ordinal scale.
        histogram: also rank by colour alone. Reads every stored image once.
        rules: how channels are joined; by default those that ship.
        family: a key that reports share where they say the same.
        work: a folder that keeps what is dear to make (vectors of generated images, colour histograms), so that an
            interrupted run goes on. None: nothing is kept.
        watch: shows progress.

    The same archive and arguments give the same figures. Time and memory: `leave_one_out.evaluate_families`.
    Raises EvaluationError where the cases allow no evaluation, and what loading or running a model raises.
    """
    watch = watch or unwatched
    rules = rules or default_rules()
    made = gather(
        archive,
        encoder=encoder,
        generation=generation,
        sample=sample,
        seed=seed,
        histogram=histogram,
        rules=rules,
        work=work,
        watch=watch,
    )
    cases, rows = made.cases, made.rows
    with watch("Evaluating", unit="queries") as progress:
        families = evaluate_families(
            cases,
            rows.channels,
            rows.families,
            fusions=rows.fusions,
            seed=seed,
            gain=gain,
            family_of=family_numbers(cases.reports, family),
            progress=progress,
        )
    used = {row for family in rows.families for row in family.rows}
    return Evaluation(
        archive=archive.name,
        encoder=made.encoder.name,
        fingerprint=made.encoder.fingerprint,
        cases=len(cases.keys),
        patients=cases.patients,
        images=len(cases.image_ids),
        phantoms=cases.phantoms,
        unlabelled=cases.unlabelled,
        derived=cases.derived,
        sampled=sample if sample is not None and sample < len(cases.keys) else None,
        generated=made.generated,
        seed=seed,
        resamples=RESAMPLES,
        metrics=METRICS,
        unreadable_images=made.unreadable,
        rules={fusion.name: fusion.rule.words(tuple(fusion.of)) for fusion in rows.fusions if fusion.name in used},
        notes=made.notes,
        families=families,
    )


def gather(
    archive: Archive,
    *,
    encoder: Encoder | None,
    generation: GenerationPlan | None,
    sample: int | None,
    seed: int,
    histogram: bool,
    rules: Mapping[str, FusionRule],
    work: Path | None,
    watch: Watch,
) -> Material:
    """Read, embed and generate all that the rows need. Arguments and errors as of `evaluate_archive`."""
    cases = read_labelled(archive)
    known = archive.encoder
    if known is None:  # cases have images, and images came with vectors
        raise EvaluationError("The archive has no vectors: add its cases again with `coin add`.")
    if encoder is not None:
        archive.use_encoder(encoder.fingerprint, name=encoder.name, dim=encoder.dim)
    if generation is not None and encoder is None:
        raise ValueError("images can be generated only where there is an encoder to embed them")
    asking = _drawn(np.arange(len(cases.keys)), sample, seed)
    notes: list[str] = []
    texts = _texts(cases, archive, known.fingerprint, notes)
    written = asking[(has_report(cases) if texts is None else with_vector(texts))[asking]]
    by_report = _drawn(written, generation.reports if generation is not None else None, seed)
    if not _can_ask(cases, by_report):
        by_report = by_report[:0]
        notes.append(
            "No queries by report: none of the reports asked with is of a category that another patient's case has."
        )
    folder = None if work is None else work / archive.uuid
    vectors = archive.vectors_of(cases.image_ids.tolist(), known.fingerprint)
    images = {IMAGE: (mean_queries(vectors, cases.case_of, len(cases.keys)), vectors)}
    unreadable = 0
    if histogram:
        colours, unreadable = _colours(cases, folder, watch)
        images[HISTOGRAM] = (mean_queries(colours, cases.case_of, len(cases.keys)), colours)
    generated, asked_texts, words = None, None, ""
    if texts is not None:
        asked_texts = _asked_texts(cases, texts, by_report, encoder, folder, watch, notes)
    if generation is not None and encoder is not None and len(by_report):
        shelf = VectorShelf(None if work is None else generated_folder(work, archive, encoder), encoder.dim)
        with watch("Generating", unit="reports") as progress:
            asked = [OwnReport(asked_text(cases.reports[i]), cases.patient_names[i]) for i in by_report]
            held = archive.cases()
            rates = measure_site_rates(archive, fingerprint=encoder.fingerprint, held=held)
            check = SiteCheck(archive, fingerprint=encoder.fingerprint, held=held, rates=rates)
            drawn = generated_queries(asked, generation, encoder, check, shelf, progress=progress)
            generated = np.zeros((len(cases.keys), encoder.dim), dtype=np.float32)
            generated[by_report] = drawn.vectors
            words = f"{generation.words()}; {drawn.words}"
            if rates.images and not rates.usable:
                notes.append(f"Generated images were not checked for the site that they show. {rates.words}")
    elif len(by_report):
        notes.append(
            "No row for generated images: `--generate all` makes it, or `--generate 200`, which asks with 200 reports."
        )
    rows = rows_of(
        cases,
        images,
        asking=asking,
        asking_by_report=by_report,
        left_out=len(asking) - len(written),
        texts=texts,
        asked_texts=asked_texts,
        generated=generated,
        rules=rules,
    )
    return Material(cases, rows, known, unreadable, words, tuple(notes))


def _drawn(cases: Ints, count: int | None, seed: int) -> Ints:
    if count is None or count >= len(cases):
        return cases
    return np.sort(np.random.default_rng(seed).choice(cases, size=count, replace=False))


def _can_ask(cases: LabelledCases, asking: Ints) -> bool:
    return all(len(Truth(question, cases).answerable(asking)) for question in questions_for(cases))


def _texts(cases: LabelledCases, archive: Archive, fingerprint: str, notes: list[str]) -> Vectors | None:
    """The stored vectors of the reports by case, zeros where a case has none; None where no case has one."""
    ids, stored = archive.report_vectors(fingerprint)
    known = np.isin(cases.ids, ids)
    written = has_report(cases)
    lacking = int((written & ~known).sum())
    if not known.any():
        if lacking:
            notes.append(
                "No rows for the encoder's text tower: no report has a vector. `coin add` makes them, if the encoder "
                "can encode texts."
            )
        return None
    if lacking:
        notes.append(
            f"{lacking} reports have no vector and ask for nothing: run `coin add` again with the archive's encoder."
        )
    vectors = np.zeros((len(cases.ids), stored.shape[1]), dtype=np.float32)
    vectors[known] = stored[np.searchsorted(ids, cases.ids[known])]
    return vectors


def _asked_texts(
    cases: LabelledCases,
    texts: Vectors,
    asking: Ints,
    encoder: Encoder | None,
    folder: Path | None,
    watch: Watch,
    notes: list[str],
) -> Vectors:
    """What the reports ask by, float32[cases, d]: the stored vector, where a search would leave nothing out of them."""
    shortened = [i for i in asking.tolist() if asked_text(cases.reports[i]) != cases.reports[i]]
    if not shortened:
        return texts
    if encoder is None:
        notes.append(
            f"{len(shortened)} reports ask by their whole text. A search would leave advice and the like out of them; "
            "the archive's encoder, set with --encoder, is needed for that."
        )
        return texts
    shelf = VectorShelf(_shelf(folder, "texts", encoder.fingerprint), encoder.dim)
    wanted = {shelf_key({"text": text}): text for text in (asked_text(cases.reports[i]) for i in shortened)}
    missing = [key for key in wanted if key not in shelf]
    with watch("Reading reports", unit="reports") as progress:
        for start in range(0, len(missing), TEXTS_AT_ONCE):
            progress(len(wanted) - len(missing) + start, len(wanted))
            keys = missing[start : start + TEXTS_AT_ONCE]
            shelf.put(keys, encoder.encode_texts([wanted[key] for key in keys]))
    asked = texts.copy()
    asked[shortened] = shelf.take([shelf_key({"text": asked_text(cases.reports[i])}) for i in shortened])
    return asked


def _colours(cases: LabelledCases, folder: Path | None, watch: Watch) -> tuple[Vectors, int]:
    shelf = VectorShelf(_shelf(folder, "colours", str(BINS)), BINS**3)
    keys = [shelf_key({"image": sha256, "bins": BINS}) for sha256 in cases.hashes]
    with watch("Reading colours", unit="images") as progress:
        return colour_histograms(dict(zip(keys, cases.paths, strict=True)), keys, shelf, progress=progress)


def _shelf(folder: Path | None, kind: str, of: str) -> Path | None:
    return None if folder is None else folder / f"{kind}-{of[:16]}"


@contextmanager
def unwatched(label: str, *, unit: str) -> Iterator[Progress]:
    """A display of progress that shows nothing."""
    yield lambda done, total: None
