"""What `coin` prints: results, cases and summaries as plain text.

Reports, names and messages come from files that others wrote. All that is printed goes through `clean`, so that no
terminal escape sequence and no bidirectional override reaches the screen.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import astuple
from typing import TYPE_CHECKING, Final

from retrieval import RESEARCH_USE
from ui.image_labels import PHANTOM, SYNTHETIC

if TYPE_CHECKING:
    from generation import GeneratedImage, Generation, Prompt
    from index_store import ArchiveStatus, Case, IndexStatus
    from retrieval import (
        AddSummary,
        ArchiveCalibration,
        ChannelPlace,
        GeneratedQuery,
        Neighbourhood,
        NuisanceAudit,
        NuisanceShare,
        RankedCase,
        SearchResult,
        SystemAgreement,
    )

WIDTH: Final = 100


def clean(text: str) -> str:
    """`text` without control and invisible formatting characters; newlines stay, tabs become spaces."""
    text = text.replace("\r\n", "\n").replace("\t", " ")
    return "".join(c for c in text if c == "\n" or unicodedata.category(c) not in ("Cc", "Cf"))


def wrapped(text: str, *, indent: str = "") -> str:
    """`text`, cleaned and wrapped to the page; its own line breaks are kept."""
    lines: list[str] = []
    for paragraph in clean(text).splitlines():
        lines += textwrap.wrap(paragraph, WIDTH - len(indent)) or [""]
    return "\n".join(f"{indent}{line}".rstrip() for line in lines)


def facts(case: Case, *, stain: str = "", preparation: str = "") -> str:
    """Site, category and how the case was stained and prepared, in one line; what is unknown is left out."""
    known = (case.site, case.category, stain or case.stain, preparation or case.preparation)
    return clean(" · ".join(word for word in known if word)) or "no details given"


def particular(case: Case, name: str) -> str:
    """The case's site, system or category, and whether it was read from the report; empty where it is not known."""
    value: str = getattr(case, name)
    return f"{value} (read from the report)" if value and name in case.derived else value


def search_text(result: SearchResult, neighbourhood: Neighbourhood | None = None, rows: str = "") -> str:
    """A result, best case first, what it was found by, and what is to be known of its neighbourhood. `rows`: the rows
    by category as text.
    """
    parts = [_asked(result)]
    if result.generated is not None:
        parts.append(generated_text(result.generated))
    parts += [_ranked(ranked) for ranked in result.cases]
    if not result.cases:
        parts.append("No case found.")
    parts.append(_joined(result))
    if neighbourhood is not None:
        parts.append(neighbourhood_text(neighbourhood))
    parts.append(rows)
    parts += [wrapped(f"Note: {note}") for note in result.notes]
    timing = result.timing
    parts.append(
        f"{timing.total_s:.2f} s: generate {timing.generate_s:.2f}, embed {timing.embed_s:.2f}, "
        f"search {timing.search_s:.3f}"
    )
    return page(parts)


def neighbourhood_text(neighbourhood: Neighbourhood) -> str:
    """Agreement, comparability and nuisance, a paragraph each."""
    found = neighbourhood.agreement
    lines = [f"{system.words}{_spread(system)}" for system in found.systems]
    if found.without_category:
        lines.append(f"{found.without_category} of the retrieved cases have no category.")
    for judged in neighbourhood.comparability:
        lines.append(f"By {channel_name(judged.channel)}: {judged.words}")
    # That reports are not judged stands in the documentation; this one can be helped.
    lines += [f"Not judged: {one.reason}" for one in neighbourhood.not_judged if one.channel != "report"]
    lines += _nuisance(neighbourhood.nuisance)
    return "\n".join(wrapped(line) for line in lines)


def _nuisance(audit: NuisanceAudit) -> list[str]:
    """What the hits share that should not matter: all in a line, and in a sentence what is more than chance."""
    if not audit.shares:
        return []
    whose = "Shared with the query" if audit.of_query else "Most frequent among the hits"
    shares = ", ".join(
        f"{share.field} '{share.value}' {share.hits} of {share.of} ({share.expected_at_sites:.1f} by chance)"
        for share in audit.shares
    )
    striking = [share.words for share in audit.shares if is_striking(share)]
    return [f"{whose}, where it should not matter: {shares}.", *striking]


def is_striking(share: NuisanceShare) -> bool:
    """Whether chance, among cases of the same sites, would bring as many in fewer than one search of a hundred."""
    return share.tail_at_sites < 0.01


def _spread(system: SystemAgreement) -> str:
    if system.entropy is None or system.patients < 2:
        return ""
    tiers = f"; tiers from {system.lowest_tier} to {system.highest_tier}" if system.tiers_apart else ""
    return f" Entropy {system.entropy_bits:.2f} bits ({system.entropy:.0%} of the most there could be){tiers}."


def channel_name(channel: str) -> str:
    """What people call a channel."""
    return {
        "image": "image",
        "generated": "generated images",
        "joint": "text to image",
        "report": "reports",
    }[channel]


def place_text(place: ChannelPlace) -> str:
    """Where a channel puts a case: "reports #3", or "reports –" where it is beyond the channel's first places."""
    return f"{channel_name(place.channel)} {'–' if place.rank is None else f'#{place.rank}'}"


def case_text(case: Case) -> str:
    """One case with its whole report and all its images."""
    mark = f"   {PHANTOM}: drawn, no patient" if case.phantom else ""
    rows = [
        ("patient", case.patient),
        *((name, particular(case, name)) for name in ("site", "system", "category")),
        ("source", case.source),
        ("license", case.license),
        *case.attributes.items(),
    ]
    images = [f"Images: {len(case.images)}"]
    for image in case.images:
        about = ", ".join(word for word in (image.kind, image.stain, image.preparation, image.slide) if word)
        images.append(clean(f"  {image.path}  {image.width}×{image.height}  {about}".rstrip()))
    return page([clean(f"{case.key}{mark}"), table(rows), wrapped(case.report), "\n".join(images)])


def status_text(status: ArchiveStatus) -> str:
    """What an archive holds and in what state it is."""
    encoder = status.encoder
    behind = status.log_sequence - status.index_sequence
    rows = [
        ("folder", str(status.path)),
        ("records", status.catalog),
        ("name", status.name),
        ("patients", str(status.patients)),
        ("cases", str(status.cases)),
        ("images", str(status.images)),
        ("encoder", f"{encoder.name} ({encoder.dim}-d, {encoder.fingerprint[:12]})" if encoder else "none yet"),
        ("embeddings", ", ".join(f"{count} of {print_[:12]}" for print_, count in status.embeddings.items())),
        ("index", f"{status.indexed} vectors, {f'{behind} changes behind' if behind else 'up to date'}"),
        *(("", line) for line in _index_lines(status.index)),
        ("schema", f"version {status.schema_version}"),
        ("sites", _counts(status.sites)),
        ("categories", _counts(status.categories)),
    ]
    return page([table(rows), *(wrapped(f"Note: {note}") for note in status.notes)])


def _index_lines(index: IndexStatus | None) -> list[str]:
    """How exact the index is."""
    if index is None:
        return []
    memory = f"{index.memory_bytes / 1e6:.1f} MB of memory"
    if not index.recall:
        return [f"{index.mode}: exact, {memory}"]
    recall = ", ".join(f"{value:.3f} ({kind})" for kind, value in index.recall.items())
    return [
        f"{index.mode}: exact under filters, {memory}",
        f"without a filter recall@10 {recall}, measured at {index.measured_at} vectors",
    ]


def generated_text(generated: GeneratedQuery) -> str:
    """What was generated for a query, and what was found wrong with it."""
    lines = [generation_text(generated.generation)]
    for check in generated.images:
        if check.verdict == "wrong":
            fate = "kept" if check.used else "dropped"
            lines.append(
                clean(
                    f"  seed {check.seed}, drawing {check.attempt}: {fate}; it shows {check.shown_site}, asked for "
                    f"{check.asked_site}"
                )
            )
        if check.near_copy:
            lines.append(clean(f"  seed {check.seed}: NEAR COPY of a reference image, case {check.nearest_case_key}"))
    return "\n".join(lines)


def generation_text(generation: Generation) -> str:
    """What was generated: the prompt that was read, what it left out, and a line an image."""
    prompt = generation.prompt
    lines = [
        f"{SYNTHETIC}: {len(generation.images)} generated images in {generation.seconds:.1f} s",
        wrapped(f"prompt ({prompt_length(prompt)}): {prompt.text}"),
        *(wrapped(note) for note in prompt_notes(prompt)),
    ]
    if negative := generation.images[0].provenance.negative_prompt if generation.images else "":
        lines.append(wrapped(f"negative prompt: {negative}"))
    lines += [f"  {_image_line(image)}" for image in generation.images]
    return "\n".join(lines)


def prompt_length(prompt: Prompt) -> str:
    """How much room a prompt takes in the text encoders."""
    length = f"{prompt.tokens} of {prompt.limit} tokens"
    return f"{length}, in {len(prompt.chunks)} chunks" if prompt.chunks else length


def prompt_notes(prompt: Prompt) -> list[str]:
    """What was done to the report on its way to the encoders: what was left out, and what was replaced."""
    notes = []
    if prompt.dropped:
        notes.append(f"left out of the prompt: {' | '.join(prompt.dropped)}")
    elif prompt.chunks:
        notes.append(f"the report was read in {len(prompt.chunks)} chunks; nothing was left out of the prompt")
    if prompt.replaced:
        notes.append(f"replaced by the glossary: {'; '.join(map(str, prompt.replaced))}")
    return notes


def calibration_text(made: ArchiveCalibration, generated: str) -> str:
    """What a search will judge by: the rule for each way to ask, and the check of a generated image's site."""
    names = {"image": "an image", "case": "a case", "joint": "text to image", "generated": "generated images"}
    rows = [
        (
            names.get(rule.kind, rule.kind),
            f"comparable from {rule.threshold:.3f} on; turns away {rule.false_alarm_rate:.1%} "
            f"[{rule.false_alarm_low:.1%}, {rule.false_alarm_high:.1%}] of {rule.n} cases",
        )
        for rule in made.rules
    ]
    through = " that the filter lets through" if made.rules[0].filtered else ""
    return page(
        [
            f"No comparable case: mean similarity of the nearest patients, by the archive's own cases{through}",
            table(rows),
            wrapped(f"Generated: {generated}."),
            wrapped(made.sites.words),
        ]
    )


def add_text(summary: AddSummary) -> str:
    """What `coin add` did, every row that it skipped by name, and why."""
    lines = [
        f"added {summary.added} images, updated {summary.updated}, unchanged {summary.unchanged}, "
        f"skipped {len(summary.skipped)}"
    ]
    if summary.added:
        lines[0] += f"; {summary.seconds:.1f} s, {summary.images_per_second:.1f} images/s"
    if summary.derived:
        lines[0] += f"; site or category of {summary.derived} cases read from their reports"
    if summary.reports:
        lines[0] += f"; {summary.reports} reports embedded"
    if summary.identifiers:
        done = (
            "They were replaced."
            if summary.redacted
            else ("They are stored as they came: remove them and add again, or add again with --redact.")
        )
        found = ", ".join(map(str, summary.identifiers))
        lines.append(
            wrapped(f"Direct identifiers: {found}. {done} Names that stand alone in a sentence are not found.")
        )
    lines += [clean(f"  skipped {problem}") for problem in summary.skipped]
    lines += [wrapped(f"Note: {note}") for note in summary.notes]
    return "\n".join(lines)


def _asked(result: SearchResult) -> str:
    query = result.query
    what = []
    if query.text.strip():
        what.append("the report")
    if query.image:
        what.append(f"the image {query.label}".strip())
    if query.case:
        what.append(f"the case {query.case}")
    text = f"Cases nearest to {' and '.join(what)}"
    if query.region is not None:
        text += f", within {', '.join(f'{side:g}' for side in astuple(query.region))} of the image"
    for words, keys in (("more like", query.more), ("less like", query.less)):
        if keys:
            text += f"; {words} {', '.join(keys)}"
    return f"{clean(text)}\n{wrapped(query.text, indent='  ')}" if query.text.strip() else clean(text)


def _joined(result: SearchResult) -> str:
    """How several channels were joined, and where they disagree."""
    if len(result.channels) < 2:
        return ""
    shares = ", ".join(f"{channel_name(answer.channel)} {answer.weight:.0%}" for answer in result.channels)
    joined = {"rrf": "reciprocal ranks", "score": "normalised scores"}[result.rule.method]
    lines = [f"Joined by {joined}: {shares}."]
    for overlap in result.overlaps:
        if overlap.disagree:
            first, second = (channel_name(channel) for channel in overlap.channels)
            lines.append(f"{first} and {second} disagree: they share {overlap.shared} of their first {overlap.of}.")
    return "\n".join(lines)


def _ranked(ranked: RankedCase) -> str:
    case, image = ranked.case, ranked.image
    head = f"{ranked.rank:>2}  {'' if ranked.similarity is None else f'{ranked.similarity:.3f}'}  {clean(case.key)}"
    if case.phantom:
        head += f"  [{PHANTOM}]"
    if ranked.other_images:
        head += f"  (+{ranked.other_images} more images of this patient)"
    line = facts(case, stain=image.stain, preparation=image.preparation)
    if len(ranked.places) > 1:
        line += f"\n    {' · '.join(place_text(place) for place in ranked.places)}"
        if ranked.alone:
            line += f"  (only {channel_name(ranked.alone)})"
    return f"{head}\n    {line}\n{wrapped(case.report, indent='    ')}"


def _image_line(image: GeneratedImage) -> str:
    made = image.provenance
    where = f"  {image.path}" if image.path is not None else ""
    return clean(f"seed {made.seed}, {made.preset}, {made.steps} steps, guidance {made.guidance}{where}")


def table(rows: Iterable[tuple[str, str]]) -> str:
    """Names and values in two columns; what has no value is left out."""
    known = [(name, clean(str(value))) for name, value in rows if value]
    width = max((len(name) for name, _ in known), default=0)
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in known)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name or 'not given'} {count}" for name, count in counts.items())


def page(parts: Iterable[str]) -> str:
    """The parts with a blank line between, and the research-use line at the end."""
    return "\n\n".join([*(part for part in parts if part), RESEARCH_USE])
