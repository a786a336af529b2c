"""The main job: a report, an image or a case of the archive becomes the nearest reference cases."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from retrieval.arrays import Vectors
from retrieval.encoder.encoder import Encoder, Progress
from retrieval.encoder.nearest import NEIGHBOURS
from retrieval.errors import EncoderLoadError, QueryError
from retrieval.language.query_text import query_text
from retrieval.search.channels.channel import Channel, Need, SearchMaterials
from retrieval.search.channels.registry import CHANNELS
from retrieval.search.fusion import POOL, FusionRule, default_rules
from retrieval.search.group_by_patient import Ranking
from retrieval.search.query import Query
from retrieval.search.report_index import ReportIndex, read_report_index
from retrieval.search.results import RankedCase, SearchResult, Timing
from retrieval.search.results_assembly import channel_answers, fused_cases, overlaps
from retrieval.search.understand import understand, understand_text
from retrieval.search.understood_query import UnderstoodQuery, UnderstoodText

if TYPE_CHECKING:
    import PIL.Image

    from generation import CoinGenerator, Preset
    from index_store import Archive, CaseFilter
    from retrieval.generated.checked_generation import GeneratedQuery
    from retrieval.generated.site_check import SiteRates

ATTEMPTS: Final = 5
"""How often a search is repeated where others change the archive meanwhile. One takes a tenth of a second."""


class CaseSearch:
    """Search an archive by report text, by image, by one of its cases, or by text and image together.

    Each channel of `retrieval.search.channels` that the query allows ranks the archive's patients; `rules` say how the
    rankings are fused. Results are cases, at most one a patient, exactly k of them where the archive has as many that
    the filter lets through. A query by case does not return other cases of its patient, unless it includes them.
    Generated images are queries only: nothing here writes to the archive. Safe to share between threads.

    Args:
        rules: by what a query holds, in the place of those of `fusion_rules.toml`.
        site_hint: state the query's site before a report that names none, for the generator.
        glossary: understand machine-translated wordings of the query and of the archive's reports
            (`generation.prompts.glossary`; the generator has a setting of its own).
        strip: cuts a report to finding and diagnosis, for the generator and the text tower.

    Raises:
        index_store.EncoderMismatchError: the archive's vectors were made by another encoder.
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
        strip: Callable[[str], str] = query_text,
    ) -> None:
        self._archive = archive
        self._encoder = encoder
        self._generator = generator
        self._rules = {**default_rules(), **(rules or {})}
        self._site_hint = site_hint
        self._glossary = glossary
        self._strip = strip
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
        """The cases nearest to a report, by `channels` (by default all that can answer). See `run`."""
        if n_images < 1:
            raise QueryError(f"{n_images} images were asked for: ask for at least 1, or leave the channel out.")
        query = Query(
            text=report,
            seeds=tuple(range(seed, seed + n_images)) if seeds is None else tuple(seeds),
            preset=preset if isinstance(preset, str) else preset.name,
            channels=tuple(channels),
            k=k,
            where=where,
        )
        return self.run(query, preset=preset, progress=progress)

    def by_image(
        self, image: PIL.Image.Image | Path, *, k: int = 10, where: CaseFilter | None = None, label: str = ""
    ) -> SearchResult:
        """The cases nearest to one image: a file (decoded under the archive's limits) or a decoded RGB image.

        Raises:
            index_store.ImageProblem: the file is no image that can be read.
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

        Raises:
            index_store.CaseNotFoundError: the archive has no such case.
        """
        return self.run(Query(case=case_key, k=k, where=where, include_own_patient=include_own_patient))

    def run(
        self, query: Query, *, preset: Preset | str | None = None, progress: Progress | None = None
    ) -> SearchResult:
        """Answer a query.

        Where it names no channels, those answer that it allows, that this search has, and that the rule weights.

        Args:
            preset: how images are sampled, in the place of the query's preset: one that has no name of its own.
            progress: counts the generator's steps.

        Raises:
            QueryError: a channel that the query names cannot answer.
            index_store.CaseNotFoundError: the archive lacks a case that the query names.
        """
        self._check_encoder()
        started = time.perf_counter()
        text = understand_text(query.text, use_glossary=self._glossary, strip=self._strip)
        understood = understand(query, text, self._archive)  # an unknown case is refused before images are generated
        rule = self._rule(query)
        channels, notes = self._channels(query, rule)
        generated = self._generate(query, understood, channels, preset or query.preset, progress)
        generate_s = 0.0 if generated is None else generated.generation.seconds
        for _attempt in range(ATTEMPTS):
            # Index, cases and reports are read one after the other. Where the archive was changed in between, the
            # parts may be of two states: a case could be shown that the filter does not permit any more.
            revision = self._archive.revision
            understood = understand(query, text, self._archive)
            ranked = self._rank(query, understood, channels, generated)
            cases = self._fuse(query, ranked, rule)
            count_notes = self._count_notes(len(cases), query)
            if self._archive.revision == revision:
                change_notes: tuple[str, ...] = ()
                break
        else:
            change_notes = (
                "The archive changed all the time while it was searched: search again for a steady answer.",
            )
        types = {channel.name: channel.query_type(understood) for channel in channels}
        answers = channel_answers(ranked.rankings, rule, query.k, types)
        generated_notes = () if generated is None else generated.notes
        return SearchResult(
            query=query,
            cases=cases,
            channels=answers,
            overlaps=overlaps(answers) if cases else (),
            rule=rule,
            generated=generated,
            timing=Timing(
                generate_s, ranked.encoded_at - started - generate_s, time.perf_counter() - ranked.encoded_at
            ),
            encoder=self._encoder.name,
            fingerprint=self._encoder.fingerprint,
            notes=(*notes, *generated_notes, *ranked.notes, *count_notes, *change_notes),
            vector=ranked.primary_vector,
            attributes=understood.attributes,
            competing=understood.competing,
        )

    # The steps of `run`

    def _rule(self, query: Query) -> FusionRule:
        rule = self._rules[query.rule]
        weights = {**rule.weights, **dict(query.weights)}
        if query.channels and not query.weights and not any(weights.get(name, 1.0) for name in query.channels):
            weights |= dict.fromkeys(query.channels, 1.0)  # named by the query: what the rule leaves out
        return FusionRule(query.fusion or rule.method, weights)

    def _channels(self, query: Query, rule: FusionRule) -> tuple[tuple[Channel, ...], tuple[str, ...]]:
        """The channels that answer, the primary one first; and notes."""
        possible = [CHANNELS[name] for name in query.possible_channels]
        wanted = [
            channel
            for channel in possible
            if (channel.name in query.channels if query.channels else rule.weights.get(channel.name, 1.0) > 0)
        ]
        notes: tuple[str, ...] = ()
        without = [channel for channel in wanted if Need.GENERATOR in channel.needs and self._generator is None]
        if without and query.channels:
            raise QueryError(
                f"This search has no generator, so a report cannot become images: leave `{without[0].name}` out."
            )
        if without:
            notes = ("No images were generated from the report: this search has no generator.",)
        answering = tuple(channel for channel in wanted if channel not in without)
        if len(answering) > 1 and not query.weights and self._measured_elsewhere(query.rule):
            notes += (
                "The channels' weights were measured with the starter, and this archive has another encoder: "
                "`coin evaluate --choose-fusion` chooses them for it.",
            )
        return answering, notes

    def _measured_elsewhere(self, rule: str) -> bool:
        """Whether the weights are those that ship, and the encoder is not the one that they were measured with."""
        return not self._encoder.is_starter and self._rules[rule] == default_rules().get(rule)

    def _generate(
        self,
        query: Query,
        understood: UnderstoodQuery,
        channels: Sequence[Channel],
        preset: str | Preset,
        progress: Progress | None,
    ) -> GeneratedQuery | None:
        """The images of the query's text, where a channel needs them."""
        if self._generator is None or not any(Need.GENERATOR in channel.needs for channel in channels):
            return None
        from retrieval.generated.checked_generation import generate_query
        from retrieval.generated.site_check import SiteCheck

        assert understood.text is not None
        fingerprint = self._encoder.fingerprint
        check = SiteCheck(self._archive, fingerprint=fingerprint, where=query.where, rates=self.site_rates())
        return generate_query(
            self._generator,
            self._encoder,
            self._archive,
            understood.text.generator,
            seeds=query.seeds,
            preset=preset,
            where=query.where,
            site=understood.site,
            site_hint=self._site_hint,
            reading=understood.text.reading,
            check=check,
            progress=progress,
        )

    def _rank(
        self, query: Query, understood: UnderstoodQuery, channels: Sequence[Channel], generated: GeneratedQuery | None
    ) -> _Ranked:
        """Each channel encodes the query and ranks the archive's patients."""
        text_vector, notes = self._encode_text(query, understood.text, channels)
        at_least = max(query.k, NEIGHBOURS)  # novelty is judged by so many
        materials = SearchMaterials(
            archive=self._archive,
            encoder=self._encoder,
            generated=generated,
            text_vector=text_vector,
            reports=self._report_index,
            report_rule=self._rules["report"],
            at_least=at_least,
            pool=POOL if len(channels) > 1 else at_least,
        )
        vectors: dict[str, Vectors] = {}
        for channel in channels:
            vector = channel.encode(understood, materials)
            if vector is not None:
                vectors[channel.name] = understood.feedback.move(vector, self._archive, self._encoder.fingerprint)
        encoded_at = time.perf_counter()
        rankings: dict[str, Ranking] = {}
        if self._archive.encoder is not None:  # else nothing was ever embedded
            for channel in channels:
                ranked = channel.rank(understood, vectors.get(channel.name), materials)
                if ranked is not None:
                    rankings[channel.name] = ranked.ranking
                    notes += ranked.notes
        primary = next((vectors[name] for name in rankings if name in vectors), None)
        return _Ranked(rankings, primary, encoded_at, notes)

    def _encode_text(
        self, query: Query, text: UnderstoodText | None, channels: Sequence[Channel]
    ) -> tuple[Vectors | None, tuple[str, ...]]:
        """The text by the text tower, float32[1, d], where a channel uses it and the encoder has one; and notes."""
        if text is None or not any(Need.TEXT_TOWER in channel.needs | channel.uses for channel in channels):
            return None, ()
        try:
            return self._encoder.encode_texts([text.tower]), text.notes
        except EncoderLoadError as error:
            if any(Need.TEXT_TOWER in CHANNELS[name].needs for name in query.channels):
                raise
            return None, (*text.notes, f"The text was not compared by its meaning. {error}")

    def _fuse(self, query: Query, ranked: _Ranked, rule: FusionRule) -> tuple[RankedCase, ...]:
        return fused_cases(
            self._archive,
            ranked.rankings,
            rule,
            query.k,
            primary_vector=ranked.primary_vector,
            where=query.where,
            fingerprint=self._encoder.fingerprint,
        )

    def _count_notes(self, found: int, query: Query) -> tuple[str, ...]:
        """Why there are fewer cases than the query's k."""
        if found == query.k:
            return ()
        if not self._archive.cases(limit=1):
            return ("The archive is empty: add reference cases with `coin add`.",)
        if found:
            return (f"Only {found} of the {query.k} cases asked for: the archive has no more patients that match.",)
        if query.where is not None:
            return ("No case matches the filters: remove one of them.",)
        return ("The archive holds no case of another patient.",)

    # What is read of the archive once, and again when it has changed

    def site_rates(self) -> SiteRates:
        """How the check of a generated image's site does on the archive's own images, as the archive is now."""
        from retrieval.generated.site_check import measure_site_rates

        with self._reading:
            revision = self._archive.revision
            if self._site_rates is None or self._site_rates[0] != revision:
                self._site_rates = revision, measure_site_rates(self._archive, fingerprint=self._encoder.fingerprint)
            return self._site_rates[1]

    def _report_index(self) -> ReportIndex:
        with self._reading:
            if self._reports is None or self._reports.revision != self._archive.revision:
                self._reports = read_report_index(self._archive, self._encoder.fingerprint, glossary=self._glossary)
            return self._reports

    def _check_encoder(self) -> None:
        # At every search, not only the first: another process may have embedded the archive anew meanwhile.
        if self._archive.encoder is not None:
            self._archive.use_encoder(self._encoder.fingerprint, name=self._encoder.name, dim=self._encoder.dim)


@dataclass(frozen=True, eq=False)
class _Ranked:
    """The channels' rankings in one state of the archive."""

    rankings: Mapping[str, Ranking]
    """By channel, the primary one first."""
    primary_vector: Vectors | None
    """float32[1, d]: the first channel's that compares images."""
    encoded_at: float
    """`time.perf_counter` between encoding and ranking."""
    notes: tuple[str, ...]


def _png(image: PIL.Image.Image) -> bytes:
    import io

    file = io.BytesIO()
    image.convert("RGB").save(file, "PNG", compress_level=1)
    return file.getvalue()
