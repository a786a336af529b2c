"""The ways to read a report and to generate from it that `prompts` compares."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.generated_query import without_site
from benchmarks.long_reports import long_report
from generation import PRESETS, CoinGenerator, Prompt
from generation.model.embeddings import PromptEmbeddings
from generation.phantom import Phantom
from generation.prompts.clauses import longest_head
from generation.prompts.glossary import glossary
from retrieval.generated.checked_generation import state_site, with_site_hint
from retrieval.language.query_text import query_text

if TYPE_CHECKING:
    import torch

FOR_PHOTOGRAPHS = "blurry, low quality, jpeg artifacts, watermark, text, deformed"
FOR_SMEARS = "out of focus, air-drying artefact, crush artefact, stain precipitate, debris"


@dataclass(frozen=True)
class Way:
    """One way to generate: the form of the report, and the generator's options."""

    name: str
    report: Callable[[Phantom], str]
    options: dict[str, Any] = field(default_factory=dict)
    kind: type[CoinGenerator] = CoinGenerator
    pooled: str = "condensed"
    """Whose pooled embedding goes with chunks: the condensed report's, the first chunk's, or the chunks' mean."""
    against: str = ""
    """The way that it is compared with."""


class Truncated(CoinGenerator):
    """Uses the beginning of a report, as SDXL does with a text that is too long."""

    def prompt(self, report: str) -> Prompt:
        text, tokens = " ".join(report.split()), self._files.tokens
        if tokens.count(text) > tokens.limit:
            text = text[: longest_head(text, tokens.count, tokens.limit)]
        return Prompt(report, text, tokens.count(text), tokens.limit)


def ways_of(table: str, generator: CoinGenerator) -> list[Way]:
    """The ways of a table; of two that are compared, the one compared with comes first."""
    plain: Callable[[Phantom], str] = lambda phantom: phantom.report  # noqa: E731
    if table == "glossary":
        wrong: Callable[[Phantom], str] = lambda phantom: mistranslated(phantom.report)  # noqa: E731
        return [
            Way("usual wording", plain, {"glossary": False}),
            Way("machine-translated wording", wrong, {"glossary": False}, against="usual wording"),
            Way("the same, with the glossary", wrong, {"glossary": True}, against="machine-translated wording"),
        ]
    if table == "settings":
        nameless: Callable[[Phantom], str] = lambda phantom: without_site(phantom.report)  # noqa: E731
        hinted: Callable[[Phantom], str] = lambda phantom: with_site_hint(nameless(phantom), phantom.morphology.site)  # noqa: E731
        stated: Callable[[Phantom], str] = lambda phantom: state_site(nameless(phantom), phantom.morphology.site)  # noqa: E731
        default = f"guidance {PRESETS['draft'].guidance:g}, no negative prompt"
        return [
            Way(default, plain),
            *(Way(f"guidance {g:g}", plain, {"guidance": g}, against=default) for g in (2.5, 7.5)),
            Way("negative prompt for photographs", plain, {"negative_prompt": FOR_PHOTOGRAPHS}, against=default),
            Way("negative prompt for smears", plain, {"negative_prompt": FOR_SMEARS}, against=default),
            Way("reports without their site", nameless, against=default),
            Way("the same, with a site hint", hinted, against="reports without their site"),
            Way("the same, the site stated in all", stated, against="reports without their site"),
        ]

    def long(phantom: Phantom) -> str:
        return long_report(phantom, generator._files.tokens.count, generator._files.tokens.limit)

    def stripped(phantom: Phantom) -> str:
        return query_text(long(phantom))

    return [
        Way("the phantom's own short report", plain),
        Way("long: truncated", long, kind=Truncated),
        Way("long: condensed", long, {"long_reports": "condense"}, against="long: truncated"),
        Way("long: chunks", long, {"long_reports": "chunk"}, against="long: condensed"),
        *(
            Way(f"long: chunks, pooled by {by}", long, {"long_reports": "chunk"}, pooled=by, against="long: chunks")
            for by in ("first", "mean")
        ),
        Way("long, as a search reads it: condensed", stripped, {"long_reports": "condense"}),
        Way(
            "long, as a search reads it: chunks",
            stripped,
            {"long_reports": "chunk"},
            against="long, as a search reads it: condensed",
        ),
    ]


def mistranslated(report: str) -> str:
    """The report with the glossary's wordings instead of the usual ones, and an aspirate "transpired"."""
    report = re.sub(r"\baspirat(?:e|ion) of\b", "transpiration of", report)
    for entry in glossary().entries:
        if "{" not in entry.wording:
            report = re.sub(rf"\b{re.escape(entry.meaning)}\b", entry.wording, report, flags=re.IGNORECASE)
    return report


@contextmanager
def pooled(by: str) -> Iterator[None]:
    """Another pooled embedding instead of the condensed report's."""
    shipped = PromptEmbeddings.pool
    ways: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "condensed": shipped,
        "first": lambda rows: rows[:1],
        "mean": lambda rows: rows[: max(1, len(rows) - 1)].mean(dim=0, keepdim=True),
    }
    PromptEmbeddings.pool = staticmethod(ways[by])  # type: ignore[method-assign]
    try:
        yield
    finally:
        PromptEmbeddings.pool = staticmethod(shipped)  # type: ignore[method-assign]
