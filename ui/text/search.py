"""What `coin search` prints: the cases found, where each channel ranks them, and the diagnostics of the result."""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING

from ui.image_labels import PHANTOM
from ui.text.case import case_summary, place_text
from ui.text.generation import generated_text
from ui.text.layout import clean, page, wrapped
from ui.text.score import ScoreScale, channel_name, score_scale

if TYPE_CHECKING:
    from index_store import Case
    from retrieval import (
        ChannelRank,
        ConfounderAudit,
        ConfounderCount,
        FusionRule,
        GenerationDefault,
        MatchedField,
        RankChanges,
        RankedCase,
        ResultDiagnostics,
        SavedAnswer,
        SearchResult,
        SystemAgreement,
    )


def search_text(
    result: SearchResult, report_rule: FusionRule, diagnostics: ResultDiagnostics | None = None, rows: str = ""
) -> str:
    """A result: query, cases (best first) and diagnostics.

    Args:
        report_rule: as of `score_scale`.
        rows: the nearest cases of each category, as text.
    """
    scale = score_scale(result, report_rule)
    parts = [_query_line(result), wrapped(result.warning)]
    if result.generated is not None:
        parts.append(generated_text(result.generated))
    parts += [_ranked(ranked, scale) for ranked in result.cases]
    if not result.cases:
        parts.append("No case found.")
    else:
        parts.append("\n".join([wrapped(scale.words), *_disagreements(result)]))
    if diagnostics is not None:
        parts.append(diagnostics_text(diagnostics))
    parts.append(rows)
    parts += [wrapped(f"Note: {note}") for note in result.notes]
    if result.generation_default is not None:
        parts.append(wrapped(f"Note: {generation_words(result.generation_default)}"))
    timing = result.timing
    parts.append(
        f"{timing.total_s:.2f} s: generate {timing.generate_s:.2f}, embed {timing.embed_s:.2f}, "
        f"search {timing.search_s:.3f}"
    )
    return page(parts)


def generation_words(default: GenerationDefault) -> str:
    """Why images were generated, or not, and what to do about it."""
    if not default.is_measured:
        return f"{default.words} `coin evaluate --generate 200` measures it."
    return default.words if default.generates else f"{default.words} `--generate` generates them all the same."


def changes_words(changes: RankChanges) -> str:
    """How many cases came, went and moved; empty where none did."""
    parts = [
        f"{len(cases)} {word}"
        for cases, word in ((changes.came, "came"), (changes.went, "went"), (changes.moved, "moved"))
        if cases
    ]
    return f"{', '.join(parts)}; {changes.kept} kept their place" if parts else ""


def changes_list(changes: RankChanges) -> list[str]:
    """The cases of `changes_words`, a line each."""
    return [
        *(f"#{change.after} {change.case} came" for change in changes.came),
        *(f"{change.case} went, it was #{change.before}" for change in changes.went),
        *(f"#{change.after} {change.case} was #{change.before}" for change in changes.moved),
    ]


def since_saved(before: SavedAnswer, now: SavedAnswer) -> tuple[str, list[str]]:
    """In a sentence what changed since a query was saved, and the cases that came, went and moved."""
    from retrieval import ranks_changed

    changes = ranks_changed(before.ranks, now.ranks)
    by = before.differs_by(now)
    what = f"{' and '.join(by)} changed" if by else "nothing changed"
    words = changes_words(changes)
    said = f"Of the cases, {words}." if words else "The cases and their order are the same."
    return f"Since this query was saved, {what}. {said}", changes_list(changes)


def diagnostics_text(diagnostics: ResultDiagnostics) -> str:
    """Label agreement, the novelty check and possible confounders, a paragraph each."""
    agreement = diagnostics.agreement
    agreeing = [f"{system.words}{_spread(system)}" for system in agreement.systems]
    if agreement.without_category:
        agreeing.append(f"{agreement.without_category} of the retrieved cases have no category.")
    judgements = [f"By {channel_name(judged.channel)}: {judged.words}" for judged in diagnostics.comparability]
    # Cases that are not comparable agree by accident.
    lines = judgements if diagnostics.comparable is False else agreeing + judgements
    lines += [f"Not judged: {missing.reason}" for missing in diagnostics.not_judged if _is_calibrated(missing.channel)]
    lines += _confounders(diagnostics.nuisance)
    return "\n".join(wrapped(line) for line in lines)


def _confounders(audit: ConfounderAudit) -> list[str]:
    """What the hits share that should not matter: all in a line, then a sentence for each beyond chance."""
    if not audit.shares:
        return []
    whose = "Shared with the query" if audit.of_query else "Most frequent among the hits"
    shares = ", ".join(
        f"{share.field} '{share.value}' {share.hits} of {share.of} ({share.expected_at_sites:.1f} by chance)"
        for share in audit.shares
    )
    exceeding = [share.words for share in audit.shares if exceeds_chance(share)]
    return [f"{whose}, where it should not matter: {shares}.", *exceeding]


def exceeds_chance(share: ConfounderCount) -> bool:
    """Whether chance, among cases of the same sites, gives as many with a probability below 1 %."""
    return share.tail_at_sites < 0.01


def _spread(system: SystemAgreement) -> str:
    if system.entropy is None or system.patients < 2:
        return ""
    tiers = f"; tiers from {system.lowest_tier} to {system.highest_tier}" if system.tiers_apart else ""
    return f" Entropy {system.entropy_bits:.2f} bits ({system.entropy:.0%} of the most there could be){tiers}."


def _is_calibrated(channel: str) -> bool:
    """Whether something can be done about a channel that was not judged: that texts never are, is documented."""
    from retrieval import CHANNELS

    return not CHANNELS[channel].not_judged


def rank_text(channel_rank: ChannelRank) -> str:
    """A case's rank in a channel: "reports #3", or "reports –" where the channel's hits do not include it."""
    return f"{channel_name(channel_rank.channel)} {'–' if channel_rank.rank is None else f'#{channel_rank.rank}'}"


def _query_line(result: SearchResult) -> str:
    query = result.query
    what = []
    if query.text.strip():
        what.append("the report")
    if query.image:
        what.append(f"the image {query.label}".strip())
    if query.slide is not None:
        what.append(_slide_words(result))
    if query.case:
        what.append(f"the case {query.case}")
    text = f"Cases nearest to {' and '.join(what)}"
    if query.region is not None:
        text += f", within {', '.join(f'{side:g}' for side in astuple(query.region))} of the image"
    for words, keys in (("more like", query.more), ("less like", query.less)):
        if keys:
            text += f"; {words} {', '.join(keys)}"
    return f"{clean(text)}\n{wrapped(query.text, indent='  ')}" if query.text.strip() else clean(text)


def _slide_words(result: SearchResult) -> str:
    """The slide that queries: "the slide S by 64 of its fields (mean of best matches)"."""
    query, slide = result.query.slide, result.slide
    name = "" if slide is None else f" {slide.name}"
    if query is None or slide is None:
        return f"the slide{name}"
    if query.at is not None:
        return f"the region {query.at} of the slide{name}"
    ways = {"mean": "mean", "median": "median", "even": "mean, on even terms,"}
    way = f"{ways[query.match]} of best matches" if query.match in ways else "best pair"
    return f"the slide{name} by {len(slide.fields)} of its fields ({way})"


def _disagreements(result: SearchResult) -> list[str]:
    """A line for each two channels that disagree."""
    lines = []
    for overlap in result.overlaps:
        if overlap.disagree:
            left, right = (channel_name(channel) for channel in overlap.channels)
            lines.append(f"{left} and {right} disagree: they share {overlap.shared} of their first {overlap.of}.")
    return lines


def _ranked(ranked: RankedCase, scale: ScoreScale) -> str:
    case, image = ranked.case, ranked.image
    head = f"{ranked.rank:>2}  {scale.text(ranked.score)}  {clean(case.key)}"
    if case.phantom:
        head += f"  [{PHANTOM}]"
    if ranked.other_images:
        head += f"  (+{ranked.other_images} more image{'' if ranked.other_images == 1 else 's'} of this patient)"
    line = case_summary(case, image)
    if len(ranked.channel_ranks) > 1:
        line += f"\n    {' · '.join(rank_text(channel_rank) for channel_rank in ranked.channel_ranks)}"
        if ranked.only_channel:
            line += f"  (only {channel_name(ranked.only_channel)})"
    lines = [head, *(f"    {_match_line(match, case)}" for match in ranked.matches), f"    {line}"]
    return "\n".join([*lines, wrapped(case.report, indent="    ")])


def _match_line(match: MatchedField, case: Case) -> str:
    """ "0.912  query field at 12,300, 4,512 ~ image 17": a field of the query's slide and the image it met."""
    field, image = match.field, match.image
    where = place_text(case, image) or f"image {image.id}"
    other = "" if image.case_key == case.key else f" of the case {image.case_key}"
    return clean(f"{match.similarity:.3f}  query field at {field.x:,}, {field.y:,} ~ {where}{other}")
