"""The main job: a report, an image, a slide or a case of the archive becomes the nearest reference cases."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from retrieval.encoder.encoder import Encoder, Progress
from retrieval.encoder.roles import RoleEncoders, role_encoders
from retrieval.errors import QueryError
from retrieval.generated.measured_gain import GenerationDefault, generation_default
from retrieval.language.archive_labels import meant_filter
from retrieval.language.query_text import query_text
from retrieval.search.archive_readings import ArchiveReadings
from retrieval.search.channels.channel import Channel
from retrieval.search.channels.ranking import rank_channels
from retrieval.search.channels.selection import Selection, generates, select_channels
from retrieval.search.fusion import FusionRule, default_rules
from retrieval.search.query import Query, png_bytes
from retrieval.search.reports.find_cases import find_cases
from retrieval.search.results import SearchResult, Timing
from retrieval.search.results_assembly import channel_answers, count_notes, overlaps, ranked_cases
from retrieval.search.slides.slide_search import own_slide_notes, query_slide
from retrieval.search.understand import not_understood, understand, understand_text
from retrieval.search.understood_query import UnderstoodText

if TYPE_CHECKING:
    import PIL.Image

    from generation import CoinGenerator, Preset
    from index_store import Archive, CaseFilter
    from retrieval.generated.checked_generation import GeneratedQuery
    from retrieval.generated.site_check import SiteRates

ATTEMPTS: Final = 5
"""How often a search is repeated where others change the archive meanwhile. One takes a tenth of a second."""


class CaseSearch:
    """Search an archive by report text, by image, by a whole slide, by one of its cases, or by text and image together.

    Each channel of `retrieval.search.channels` that the query allows ranks the archive's patients; `rules` say how the
    rankings are fused. Results are cases, at most one a patient, exactly k of them where the archive has as many that
    the filter lets through. A query by case does not return other cases of its patient, unless it includes them.
    Generated images are queries only: nothing here writes to the archive. Safe to share between threads.

    Args:
        encoder: compares images, and texts where the archive has not given them to another encoder.
        text_encoder: compares texts with images and with reports: the archive's encoder of the role `text`. None:
            `encoder`; where the archive has another one, reports are compared by their words alone, and a note says so.
        rules: by what a query holds, in the place of those of `fusion_rules.toml`.
        site_hint: state the query's site before a report that names none, for the generator.
        glossary: understand machine-translated wordings of the query and of the archive's reports
            (`generation.prompts.glossary`; the generator has a setting of its own).
        strip: cuts a report to finding and diagnosis, for the generator and the text tower.

    Raises:
        index_store.EncoderMismatchError: the archive's vectors were made by another encoder.
        EncoderLoadError: an encoder lacks the tower that its role needs.
    """

    def __init__(
        self,
        archive: Archive,
        encoder: Encoder,
        generator: CoinGenerator | None = None,
        *,
        text_encoder: Encoder | None = None,
        rules: Mapping[str, FusionRule] | None = None,
        site_hint: bool = True,
        glossary: bool = True,
        strip: Callable[[str], str] = query_text,
    ) -> None:
        self._archive = archive
        self._encoder = encoder
        self._text_encoder = text_encoder
        self._generator = generator
        self._rules = {**default_rules(), **(rules or {})}
        self._site_hint = site_hint
        self._glossary = glossary
        self._strip = strip
        self._readings = ArchiveReadings(archive, encoder, glossary=glossary)
        self._encoders()

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
            raise QueryError(f"{n_images} images are too few: choose at least 1, or leave the channel out.")
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

            data, label = read_source(image, follow_links=True), label or image.name
        else:
            data = png_bytes(image)
        return self.run(Query(image=data, label=label, k=k, where=where))

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
        self,
        query: Query,
        *,
        preset: Preset | str | None = None,
        progress: Progress | None = None,
        generate: bool | None = None,
    ) -> SearchResult:
        """Answer a query by the channels that it names, or by all that it allows and that the rule weights.

        Args:
            preset: how images are sampled, in the place of the query's preset: one without a name.
            generate: False: by the other channels alone, without images made of the query's text. None: with them
                where the query names them, else by `generation_default`.

        Raises:
            QueryError: a channel that the query names cannot answer.
            index_store.CaseNotFoundError: the archive lacks a case that the query names.
        """
        started = time.perf_counter()
        text = understand_text(query.text, use_glossary=self._glossary, strip=self._strip)
        encoders = self._encoders()
        selection = self._select(query, encoders, generate=generate)
        channels, rule = selection.channels, selection.rule
        slide = query_slide(query, channels, self._encoder)
        generated = self._generate(query, text, channels, preset or query.preset, progress)
        generate_s = 0.0 if generated is None else generated.generation.seconds
        for _attempt in range(ATTEMPTS):
            # Records are read of one state. Index, labels and reports may be of a later one, where the archive changes
            # meanwhile: a case could be shown that the filter does not permit any more.
            with self._archive.one_view():
                revision = self._archive.revision
                # The labels that the filter names are looked up in every spelling that the archive has of them.
                spelt = dataclasses.replace(query, where=meant_filter(self._archive, query.where))
                reports = partial(self._readings.report_index, revision)
                understood = understand(spelt, text, self._archive, reports)
                ranked = rank_channels(
                    spelt,
                    understood,
                    channels,
                    self._archive,
                    encoders,
                    generated=generated,
                    slide=slide,
                    reports=reports,
                    uncompared=self._readings.uncompared_images,
                    rules=self._rules,
                )
                cases = ranked_cases(self._archive, ranked, rule, spelt, slide)
                types = {channel.name: channel.query_type(understood) for channel in channels}
                number_notes = count_notes(self._archive, spelt, len(cases))
                answers = channel_answers(self._archive, ranked.rankings, rule, query.k, types)
            if self._archive.revision == revision:
                change_notes: tuple[str, ...] = ()
                break
        else:
            change_notes = (
                "The archive changed all the time while it was searched: search again for a steady answer.",
            )
        timing = Timing(generate_s, ranked.encoded_at - started - generate_s, time.perf_counter() - ranked.encoded_at)
        generated_notes, own = () if generated is None else generated.notes, own_slide_notes(slide, cases)
        other = encoders.text if encoders.is_separate and any(c.role == "text" for c in channels) else None
        return SearchResult(
            query=query,
            cases=cases,
            channels=answers,
            overlaps=overlaps(answers) if cases else (),
            rule=rule,
            generated=generated,
            timing=timing,
            encoder=self._encoder.name,
            fingerprint=self._encoder.fingerprint,
            notes=(*selection.notes, *generated_notes, *ranked.notes, *own, *number_notes, *change_notes),
            vector=ranked.primary_vector,
            vector_fingerprint=ranked.primary_fingerprint,
            text_encoder="" if other is None else other.name,
            text_fingerprint="" if other is None else other.fingerprint,
            attributes=understood.attributes,
            competing=understood.competing,
            slide=slide,
            generation_default=selection.default,
            not_understood=not_understood(understood, query.text, (entry.case for entry in cases)),
        )

    def channels_for(self, query: Query, *, generate: bool | None = None) -> tuple[str, ...]:
        """The names of the channels that `run` would answer by."""
        return tuple(channel.name for channel in self._select(query, self._encoders(), generate=generate).channels)

    def generation_default(self) -> GenerationDefault | None:
        """Whether images are generated for a query that does not name them, and why; None without a generator."""
        if self._generator is None:
            return None
        return generation_default(self._archive, self._generator, self._encoders().fingerprints)

    def find_cases(self, text: str, *, limit: int) -> list[str]:
        """Keys of cases by the start of their key, by site, system, category, and words of the report: see there."""
        return find_cases(self._archive, self._readings.report_index(), text, limit=limit)

    # The steps of `run`

    def _select(self, query: Query, encoders: RoleEncoders, *, generate: bool | None) -> Selection:
        return select_channels(
            query,
            self._rules,
            has_generator=self._generator is not None,
            encoder_is_starter=self._encoder.is_starter and (encoders.text is None or encoders.text.is_starter),
            fingerprints=encoders.fingerprints,
            generate=generate,
            default=self.generation_default,
        )

    def _generate(
        self,
        query: Query,
        text: UnderstoodText | None,
        channels: Sequence[Channel],
        preset: str | Preset,
        progress: Progress | None,
    ) -> GeneratedQuery | None:
        """The images of the query's text, where a channel needs them."""
        if self._generator is None or not generates(channels):
            return None
        from retrieval.generated.checked_generation import generate_query
        from retrieval.generated.site_check import SiteCheck

        # Before minutes are spent: an unknown case is refused here.
        understood = understand(query, text, self._archive, self._readings.report_index)
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

    def site_rates(self) -> SiteRates:
        """How the check of a generated image's site does on the archive's own images, as the archive is now."""
        return self._readings.site_rates()

    def _encoders(self) -> RoleEncoders:
        # At every search, not only the first: another process may have embedded the archive anew meanwhile.
        with self._archive.one_view():
            return role_encoders(self._archive, self._encoder, self._text_encoder)
