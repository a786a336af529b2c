"""Reports of an archive as queries by generated images: generated, checked and averaged as in a search, many at a time.

    report ─► images, one a seed ─► vectors, cached ─► site shown? ─► wrong ones generated once more ─► mean

An evaluation measures with them, and the novelty check is calibrated on them. A report's patient is left out of the
check, as it is left out of the candidates. Copies of references are not sought: a search flags such an image, and uses
it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from retrieval.arrays import Vectors
from retrieval.encoder.embedding_cache import EmbeddingCache, embedding_key
from retrieval.encoder.encoder import Encoder, Progress
from retrieval.encoder.thumbnails import Thumbnails
from retrieval.encoder.vectors import mean_query
from retrieval.generated.checked_generation import kept_positions, second_attempt
from retrieval.generated.site_check import SiteCheck, Verdict
from retrieval.language.label_extraction import read_report

if TYPE_CHECKING:
    from generation import CoinGenerator, Prompt
    from index_store import Archive


REPORTS_AT_ONCE: Final = 64
"""Reports whose images are checked in one search."""


@dataclass(frozen=True, eq=False)
class GenerationPlan:
    """How reports become images in an evaluation."""

    generator: CoinGenerator
    reports: int | None = None
    """How many reports query, sampled at random; None: all."""
    images: int = 4
    """For each report, with the seeds 0, 1 …"""
    preset: str = "draft"

    def words(self) -> str:
        """In words, for the record of an evaluation."""
        generator, options = self.generator, []
        if generator.guidance is not None:
            options.append(f"guidance {generator.guidance:g}")
        if generator.negative_prompt:
            options.append("with a negative prompt")
        if generator.long_reports != "condense":
            options.append("long reports in chunks")
        settings = "".join(f", {words}" for words in options)
        return f"{self.images} images a report, preset {self.preset}{settings}, weights {generator.fingerprint[:12]}"


def generated_folder(work: Path, archive: Archive, encoder: Encoder) -> Path:
    """Where the vectors of images generated from an archive's own reports are kept."""
    return work / archive.uuid / f"generated-{encoder.fingerprint[:16]}"


@dataclass(frozen=True)
class OwnReport:
    """A report of the archive as a query, and its patient, who is left out."""

    text: str
    """As the generator reads it."""
    patient: str


@dataclass(frozen=True, eq=False)
class GeneratedQueries:
    """The query vectors of n reports."""

    vectors: Vectors
    """float32[n, d]: the normalised mean of the vectors of the images used."""
    images: int
    """How many images were generated at first."""
    wrong: int
    """How many of them showed another site than the report's, and were generated again."""
    dropped: int
    """How many of those did so again, and were dropped."""

    @property
    def words(self) -> str:
        """What the check of the site did, in words."""
        if not self.wrong:
            return "none showed another site than the query's"
        regenerated = f"{self.wrong} of {self.images} showed another site and were generated again"
        return f"{regenerated}, {self.dropped} of these dropped"


class GeneratedVectors:
    """The vectors of the images that a plan generates from texts, each made once and cached.

    A vector's key is a hash of all that decides it: the text, the weights, the sampling, the seed and the encoder.
    """

    def __init__(self, plan: GenerationPlan, encoder: Encoder | Thumbnails, cache: EmbeddingCache) -> None:
        self._plan = plan
        self._encoder = encoder
        self._cache = cache
        self._prompts: dict[str, Prompt] = {}

    def are_cached(self, text: str, seeds: Sequence[int]) -> bool:
        """Whether the vectors of all of these images are cached."""
        return all(self._key(text, seed) in self._cache for seed in seeds)

    def generate(self, requests: Sequence[tuple[str, Sequence[int]]]) -> Iterator[None]:
        """Generate what is missing of these texts and seeds, and cache it at once. Yields after each text.

        As one queue: batches are full also where a text has few images.

        Raises:
            What `CoinGenerator.generate_queue` and `Encoder.encode_images` raise.
        """
        missing: dict[str, list[int]] = {}  # an equal text once, with all of its seeds
        for text, seeds in requests:
            for seed in seeds:
                if seed not in missing.get(text, ()) and self._key(text, seed) not in self._cache:
                    missing.setdefault(text, []).append(seed)
        queue = self._plan.generator.generate_queue(list(missing.items()), preset=self._plan.preset)
        for text, _ in requests:
            if seeds := missing.pop(text, []):
                vectors = self._encoder.encode_images([image.image for image in next(queue).images])
                self._cache.put([self._key(text, seed) for seed in seeds], vectors)
            yield

    def vectors(self, text: str, seeds: Sequence[int]) -> Vectors:
        """The cached vectors of these images, float32[seeds, d]."""
        return self._cache.take([self._key(text, seed) for seed in seeds])

    def _key(self, text: str, seed: int) -> str:
        generator = self._plan.generator
        preset = generator.sampling(self._plan.preset)
        if text not in self._prompts:
            self._prompts[text] = generator.prompt(text)
        prompt = self._prompts[text]
        # In the key only where they are used: the keys of vectors without them stay as they were.
        options: dict[str, object] = {"chunks": prompt.encoded} if prompt.chunks else {}
        if generator.negative_prompt:
            options["negative_prompt"] = generator.negative_prompt
        return embedding_key(
            {
                **options,
                "report": text,
                "prompt": prompt.text,
                "seed": seed,
                "preset": [preset.steps, preset.guidance, preset.scheduler, sorted(preset.scheduler_options.items())],
                "weights": generator.fingerprint,
                "computed": [generator.device, str(generator.dtype)],
                "encoder": self._encoder.fingerprint,
            }
        )


def generated_queries(
    reports: Sequence[OwnReport],
    plan: GenerationPlan,
    encoder: Encoder,
    check: SiteCheck,
    cache: EmbeddingCache,
    *,
    progress: Progress | None = None,
) -> GeneratedQueries:
    """What each report queries by. What is cached is not generated again, so that an interrupted run resumes.

    Time beside generating: a search of the archive for every 64 reports, and one more where images of these are
    generated again.

    Args:
        progress: counts reports.

    Raises:
        What `CoinGenerator.generate_queue` and `Encoder.encode_images` raise; what was made before is cached.
    """
    generated = GeneratedVectors(plan, encoder, cache)
    means = [np.empty((0, encoder.dim), dtype=np.float32)]
    images = wrong = dropped = 0
    if progress is not None:
        progress(0, len(reports))
    for start in range(0, len(reports), REPORTS_AT_ONCE):
        block = reports[start : start + REPORTS_AT_ONCE]
        requests = [(report.text, range(plan.images)) for report in block]
        for done, _ in enumerate(generated.generate(requests), start=start + 1):
            if progress is not None:
                progress(done, len(reports))
        for query in _checked(block, plan.images, generated, check):
            means.append(mean_query(query.used))
            images += plan.images
            wrong += len(query.wrong)
            dropped += plan.images - len(query.used)
    return GeneratedQueries(np.concatenate(means), images, wrong, dropped)


def cached_queries(
    reports: Sequence[OwnReport], plan: GenerationPlan, encoder: Encoder, check: SiteCheck, cache: EmbeddingCache
) -> tuple[list[int], Vectors]:
    """As `generated_queries`, of those reports alone whose images are all cached: nothing is generated.

    Returns:
        Which reports these are, and what they query by, float32[n, d].
    """
    generated = GeneratedVectors(plan, encoder, cache)
    seeds = range(plan.images)
    cached = [number for number, report in enumerate(reports) if generated.are_cached(report.text, seeds)]
    complete, means = [], [np.empty((0, encoder.dim), dtype=np.float32)]
    for start in range(0, len(cached), REPORTS_AT_ONCE):
        numbers = cached[start : start + REPORTS_AT_ONCE]
        block = [reports[number] for number in numbers]
        for number, query in zip(numbers, _checked(block, plan.images, generated, check, generate=False), strict=True):
            if query.complete:
                complete.append(number)
                means.append(mean_query(query.used))
    return complete, np.concatenate(means)


@dataclass(eq=False)
class _Checking:
    """One report's images while they are checked. The i-th image has seed i."""

    report: OwnReport
    site: str
    """The site that its images are to show; empty where the report names none."""
    vectors: Vectors
    """float32[images, d], those of a wrong site replaced by their second attempt."""
    verdicts: list[Verdict]
    """On these."""
    wrong: list[int]
    """The images whose first attempt showed another site, ascending."""
    complete: bool = True
    """False: a second attempt is missing."""

    @property
    def second(self) -> tuple[str, list[int]]:
        """Text and seeds of the second attempt."""
        return second_attempt(self.report.text, self.site, self.wrong)

    def replace_wrong(self, vectors: Vectors, verdicts: Sequence[Verdict]) -> None:
        """Replace the wrong first attempts by the second ones, float32[wrong, d]."""
        self.vectors[self.wrong] = vectors
        for image, verdict in zip(self.wrong, verdicts, strict=True):
            self.verdicts[image] = verdict

    @property
    def used(self) -> Vectors:
        """float32[n, d]: the images that a search would use."""
        kept, _ = kept_positions(self.verdicts)
        return self.vectors[kept]


def _checked(
    block: Sequence[OwnReport], images: int, generated: GeneratedVectors, check: SiteCheck, *, generate: bool = True
) -> list[_Checking]:
    """The images of each report as a search would use them: those of a wrong site replaced, then dropped.

    The archive is searched once for the first attempts of all reports, and once for their second ones.
    """
    seeds = range(images)
    sites = [read_report(report.text).site or "" for report in block]
    vectors = [generated.vectors(report.text, seeds) for report in block]
    checking = []
    for report, site, of_report, verdicts in zip(
        block, sites, vectors, _verdicts(check, vectors, sites, block), strict=True
    ):
        wrong = [image for image, verdict in enumerate(verdicts) if verdict == "wrong"]
        checking.append(_Checking(report, site, of_report.copy(), verdicts, wrong))
    to_replace = [query for query in checking if query.wrong]
    if generate:
        deque(generated.generate([query.second for query in to_replace]), maxlen=0)
    for query in to_replace:
        query.complete = generated.are_cached(*query.second)
    replaced = [query for query in to_replace if query.complete]
    retries = [generated.vectors(*query.second) for query in replaced]
    retry_verdicts = _verdicts(check, retries, [query.site for query in replaced], [query.report for query in replaced])
    for query, second_vectors, second_verdicts in zip(replaced, retries, retry_verdicts, strict=True):
        query.replace_wrong(second_vectors, second_verdicts)
    return checking


def _verdicts(
    check: SiteCheck, vectors: Sequence[Vectors], sites: Sequence[str], reports: Sequence[OwnReport]
) -> list[list[Verdict]]:
    """Which images show the site of their report, by one search of the archive.

    Args:
        vectors: float32[n, d] a report.
    """
    counts = [len(of_report) for of_report in vectors]
    if not sum(counts):
        return [[] for _ in reports]
    sites_of = [site for site, count in zip(sites, counts, strict=True) for _ in range(count)]
    own = [report.patient for report, count in zip(reports, counts, strict=True) for _ in range(count)]
    judged = iter(check.judge(np.concatenate(list(vectors)), sites_of, own))
    return [[next(judged).verdict for _ in range(count)] for count in counts]
