"""The main job: a report, an image or a case of the archive becomes the nearest reference cases."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from generation.prompts.glossary import glossary, in_words
from retrieval.arrays import Vectors
from retrieval.encoder.encoder import Encoder, Progress
from retrieval.encoder.nearest import NEIGHBOURS
from retrieval.encoder.vectors import mean_query
from retrieval.errors import EncoderLoadError, QueryError
from retrieval.language.bm25 import with_meanings
from retrieval.language.query_text import asked_text
from retrieval.search.fusion import POOL, FusionRule, default_rules
from retrieval.search.group_by_patient import Ranking, rank_images
from retrieval.search.query import Query
from retrieval.search.query_vectors import Marks, competing, picture_vector, read_marks
from retrieval.search.report_index import ReportIndex, read_report_index
from retrieval.search.results import SearchResult, Timing
from retrieval.search.results_assembly import channel_answers, fused_cases, overlaps

if TYPE_CHECKING:
    import PIL.Image

    from generation import CoinGenerator, Preset
    from index_store import Archive, CaseFilter
    from retrieval.generated.checked_generation import GeneratedQuery
    from retrieval.generated.site_check import SiteRates

ATTEMPTS: Final = 5
"""How often to read anew where others change the archive meanwhile. A reading takes a tenth of a second."""


class CaseSearch:
    """Search an archive by report text, by image, by one of its cases, or by text and image together.

    Four channels can answer: `image` (image to images), `generated` (the text becomes COIN images, and these are
    compared), `joint` (the encoder's text tower to images) and `report` (the text to the archive's reports). `rules`
    say how they are joined; by default those of `fusion_rules.toml`. `site_hint`: a site that is asked for is stated
    before a report that tells none. `glossary`: machine-translated wordings of the query and of the archive's
    reports are understood (`generation.prompts.glossary`; the generator has a setting of its own).

    Results are cases, at most one a patient, exactly k of them where the archive has as many that the filter
    lets through. Whoever asks by a case is not shown that case's own patient, unless they ask for it.
    Generated images are queries only: nothing here writes to the archive. Safe to share between threads.

    Raises `index_store.EncoderMismatchError` where the archive's vectors were made by another encoder.
    """

    def __init__(
        self,
        archive: Archive,
        encoder: Encoder,
        generator: CoinGenerator | None = None,
        *,
        rules: Mapping[str, FusionRule] | None = None,
        site_hint: bool = True,
        glossary: bool = True,
    ) -> None:
        self._site_hint = site_hint
        self._glossary = glossary
        self._archive = archive
        self._encoder = encoder
        self._generator = generator
        self._rules = {**default_rules(), **(rules or {})}
        self._reports: ReportIndex | None = None
        self._site_rates: tuple[int, SiteRates] | None = None
        self._reading = threading.Lock()
        self._check_encoder()

    def by_report(
        self,
        report: str,
        *,
        k: int = 10,
        where: CaseFilter | None = None,
        n_images: int = 4,
        seed: int = 0,
        seeds: Sequence[int] | None = None,
        preset: str | Preset = "draft",
        channels: Sequence[str] = (),
        progress: Progress | None = None,
    ) -> SearchResult:
        """The cases nearest to a report, by `channels` (all that there are). See `run`."""
        if n_images < 1:
            raise QueryError(f"{n_images} images were asked for: ask for at least 1, or leave the channel out.")
        asked = Query(
            text=report,
            seeds=tuple(range(seed, seed + n_images)) if seeds is None else tuple(seeds),
            preset=preset if isinstance(preset, str) else preset.name,
            channels=tuple(channels),
            k=k,
            where=where,
        )
        return self.run(asked, preset=preset, progress=progress)

    def by_image(
        self, image: PIL.Image.Image | Path, *, k: int = 10, where: CaseFilter | None = None, label: str = ""
    ) -> SearchResult:
        """The cases nearest to one image: a file (decoded under the archive's limits) or a decoded RGB image.

        Raises `index_store.ImageProblem` where the file is no image that can be read.
        """
        if isinstance(image, Path):
            from index_store import read_source

            return self.run(
                Query(image=read_source(image, follow_links=True), label=label or image.name, k=k, where=where)
            )
        return self.run(Query(image=_png(image), label=label, k=k, where=where))

    def by_case(
        self,
        case_key: str,
        *,
        k: int = 10,
        where: CaseFilter | None = None,
        include_own_patient: bool = False,
    ) -> SearchResult:
        """The cases nearest to a case of the archive, by the mean of its images' stored vectors.

        The case itself is never a result; the other cases of its patient are only with `include_own_patient`.
        Raises `index_store.CaseNotFoundError`.
        """
        return self.run(Query(case=case_key, k=k, where=where, include_own_patient=include_own_patient))

    def run(
        self, query: Query, *, preset: Preset | str | None = None, progress: Progress | None = None
    ) -> SearchResult:
        """Answer a query. `progress` counts the generator's steps; `preset` may be one that has no name of its own.

        Where the query names no channels, those answer that it allows, that this search has, and that the rule gives
        a weight. Raises QueryError where a channel that it names cannot answer.
        """
        self._check_encoder()
        started = time.perf_counter()
        read_marks(query, self._archive)  # what cannot be asked is refused before images are generated
        said: list[str] = []
        rule = self._rule(query)
        channels = self._channels(query, rule, said)
        if len(channels) > 1 and not query.weights and self._measured_elsewhere(query.rule):
            said.append(
                "The channels' weights were measured with the starter, and this archive has another encoder: "
                "`coin evaluate --choose-fusion` chooses them for it."
            )
        generated, generate_s = None, 0.0
        if "generated" in channels:
            generated = self._generate(query, preset or query.preset, progress)
            generate_s = generated.generation.seconds
            said += generated.notes
        for _attempt in range(ATTEMPTS):
            # Index, cases and reports are read one after the other. Where the archive was changed in between, the
            # parts may be of two states: a case could be shown that the filter does not permit any more.
            revision = self._archive.revision
            notes = list(said)
            marks = read_marks(query, self._archive)
            queries, text = self._encode(query, channels, generated, marks, notes)
            embedded = time.perf_counter()
            rankings = self._rank(query, channels, queries, text, marks, notes)
            lead = next((queries[name] for name in rankings if name in queries), None)
            cases = fused_cases(
                self._archive,
                rankings,
                rule,
                query.k,
                lead=lead,
                where=query.where,
                fingerprint=self._encoder.fingerprint,
            )
            notes += self._notes(len(cases), query)
            if self._archive.revision == revision:
                break
        else:
            notes.append("The archive changed all the time while it was searched: search again for a steady answer.")
        answers = channel_answers(rankings, rule, query.k)
        return SearchResult(
            query=query,
            cases=cases,
            channels=answers,
            overlaps=overlaps(answers) if cases else (),
            rule=rule,
            generated=generated,
            timing=Timing(generate_s, embedded - started - generate_s, time.perf_counter() - embedded),
            encoder=self._encoder.name,
            fingerprint=self._encoder.fingerprint,
            notes=tuple(notes),
            vector=lead,
        )

    # Channels

    def _measured_elsewhere(self, rule: str) -> bool:
        """Whether the weights are those that ship, and the encoder is not the one that they were measured with."""
        return not self._encoder.is_starter and self._rules[rule] == default_rules().get(rule)

    def _rule(self, query: Query) -> FusionRule:
        rule = self._rules[query.rule]
        weights = {**rule.weights, **dict(query.weights)}
        if query.channels and not query.weights and not any(weights.get(name, 1.0) for name in query.channels):
            weights |= dict.fromkeys(query.channels, 1.0)  # asked for by name: what the rule leaves out
        return FusionRule(query.fusion or rule.method, weights)

    def _channels(self, query: Query, rule: FusionRule, notes: list[str]) -> tuple[str, ...]:
        """The channels that answer, the leading one first."""
        asked = query.channels or tuple(name for name in query.possible_channels if rule.weights.get(name, 1.0) > 0)
        if "generated" in asked and self._generator is None:
            if query.channels:
                raise QueryError(
                    "This search has no generator, so a report cannot become images: leave `generated` out."
                )
            notes.append("No images were generated from the report: this search has no generator.")
            asked = tuple(name for name in asked if name != "generated")
        return tuple(name for name in query.possible_channels if name in asked)

    def _generate(self, query: Query, preset: str | Preset, progress: Progress | None) -> GeneratedQuery:
        from retrieval.generated.checked_generation import generate_query
        from retrieval.generated.site_check import SiteCheck

        assert self._generator is not None
        fingerprint = self._encoder.fingerprint
        check = SiteCheck(self._archive, fingerprint=fingerprint, where=query.where, rates=self.site_rates())
        return generate_query(
            self._generator,
            self._encoder,
            self._archive,
            self._read(query.text),
            seeds=query.seeds,
            preset=preset,
            where=query.where,
            site=query.site,
            site_hint=self._site_hint,
            check=check,
            progress=progress,
        )

    def site_rates(self) -> SiteRates:
        """How the check of a generated image's site does on the archive's own images, as the archive is now."""
        from retrieval.generated.site_check import measure_site_rates

        with self._reading:
            revision = self._archive.revision
            if self._site_rates is None or self._site_rates[0] != revision:
                self._site_rates = revision, measure_site_rates(self._archive, fingerprint=self._encoder.fingerprint)
            return self._site_rates[1]

    def _encode(
        self,
        query: Query,
        channels: tuple[str, ...],
        generated: GeneratedQuery | None,
        marks: Marks,
        notes: list[str],
    ) -> tuple[dict[str, Vectors], Vectors | None]:
        """By channel, the vector that is compared with images; and the one that is compared with reports."""
        queries: dict[str, Vectors] = {}
        if "image" in channels:
            queries["image"] = picture_vector(query, self._archive, self._encoder)
        if generated is not None:
            queries["generated"] = mean_query(generated.vectors)
        text = self._text_vector(query, channels, notes)
        if text is not None and "joint" in channels:
            queries["joint"] = text
        fingerprint = self._encoder.fingerprint
        return {name: marks.move(vector, self._archive, fingerprint) for name, vector in queries.items()}, text

    def _text_vector(self, query: Query, channels: tuple[str, ...], notes: list[str]) -> Vectors | None:
        if not {"joint", "report"} & set(channels):
            return None
        text, replaced = glossary().apply(query.text) if self._glossary else (query.text, ())
        if replaced:
            notes.append(f"Understood by the glossary, where reports are compared: {in_words(replaced)}.")
        try:
            return self._encoder.encode_texts([self._read(text)])
        except EncoderLoadError as error:
            if "joint" in query.channels:
                raise
            notes.append(f"The text was not compared by its meaning. {error}")
            return None

    @staticmethod
    def _read(text: str) -> str:
        """What the generator and the text tower read. `benchmarks.report_text` varies it."""
        return asked_text(text)

    def _rank(
        self,
        query: Query,
        channels: tuple[str, ...],
        queries: Mapping[str, Vectors],
        text: Vectors | None,
        marks: Marks,
        notes: list[str],
    ) -> dict[str, Ranking]:
        """Each channel's patients, in the order of the channels."""
        if self._archive.encoder is None:  # nothing was ever embedded
            return {}
        where = competing(query, self._archive)
        least = max(query.k, NEIGHBOURS)  # by so many is judged whether anything comparable was found
        pool = POOL if len(channels) > 1 else least
        rankings: dict[str, Ranking] = {}
        for name in channels:
            if name in queries:
                rankings[name] = rank_images(
                    self._archive, queries[name], least, pool=pool, where=where, fingerprint=self._encoder.fingerprint
                )
            elif name == "report":
                reports = self._report_index()
                if text is not None and reports.without_vector:
                    counted = f"{reports.without_vector} of {len(reports.case_ids)} reports"
                    notes.append(f"{counted} are compared by their words alone: run `coin add` again to embed them.")
                vector = None if text is None or reports.vectors is None else marks.move_text(text, reports)
                permitted = None if where is None else self._archive.case_ids(where)
                words = with_meanings(query.text) if self._glossary else query.text
                rankings[name] = reports.rank(words, vector, self._rules["report"], permitted=permitted)
        return rankings

    def _report_index(self) -> ReportIndex:
        with self._reading:
            if self._reports is None or self._reports.revision != self._archive.revision:
                self._reports = read_report_index(self._archive, self._encoder.fingerprint, glossary=self._glossary)
            return self._reports

    def _notes(self, found: int, query: Query) -> tuple[str, ...]:
        if found == query.k:
            return ()
        if not self._archive.cases(limit=1):
            return ("The archive is empty: add reference cases with `coin add`.",)
        if found:
            return (f"Only {found} of the {query.k} cases asked for: the archive has no more patients that match.",)
        if query.where is not None:
            return ("No case matches the filters: remove one of them.",)
        return ("The archive holds no case of another patient.",)

    def _check_encoder(self) -> None:
        # At every search, not only the first: another process may have embedded the archive anew meanwhile.
        if self._archive.encoder is not None:
            self._archive.use_encoder(self._encoder.fingerprint, name=self._encoder.name, dim=self._encoder.dim)


def _png(image: PIL.Image.Image) -> bytes:
    import io

    file = io.BytesIO()
    image.convert("RGB").save(file, "PNG", compress_level=1)
    return file.getvalue()
