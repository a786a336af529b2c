"""Site and category read from the text of a report, or None where it does not say.

    specimen ("(…)", "Specimen: …", what stands before "shows") ─► site ─► its reporting system
    conclusion ("consistent with …", "Diagnosis: …") ─► mentions ─► asserted how? ─► one category, or None
    category ─► plainly stated? (doubt.py) ─► category, or None

The site comes from the specimen, never from a diagnosis: "metastasis of a breast carcinoma" is no breast. Where a
report opens with its category, as cervical ones do, words that one system alone uses tell the site. The category is one
of the site's own system, never of another. Mentions that contradict each other, or are merely suggested, give no
answer.

The rules come from general knowledge of cytology reports and the train wordings of the phantoms. COIN's 20 published
reports were read meanwhile: what it does on them is no independent measurement (docs/own-archive.md has those).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from generation.prompts.cues import alternatives
from retrieval.language.doubt import doubt
from retrieval.language.english import is_english
from retrieval.language.mentions import Mention, asserted, find_mentions, of_any_malignancy, suspicion_of
from retrieval.language.negation import Assertion, is_called_abnormal, is_denied_by_value
from retrieval.language.report_scope import (
    LONGEST,
    current_findings,
    is_doubtful,
    is_undecided,
    without_history,
)
from retrieval.language.specimen import HEADING, IN_BRACKETS, SIDE, names_other_system, only_site, read_site, specimens
from retrieval.language.vocabulary import Category, ReportingSystem, vocabulary


@dataclass(frozen=True)
class ReportReading:
    """What a report says of itself. None where it does not say so clearly."""

    site: str | None = None
    site_words: str = ""
    """The words of the report that `site` was read from."""
    system: str | None = None
    """The site's reporting system."""
    category: str | None = None
    category_words: str = ""
    """The words of the report that `category` was read from."""
    note: str = ""
    """Why no category was read, where there is more to say than that the report names none."""


HISTORY = re.compile(rf"\b(?:{alternatives('heading.history', 'labels')})\s*:[^.\n]*[.\n]?", re.I)
COMMENT = re.compile(
    r"(?:^|[.;,\n]) ?;? ?(?:additional |please )?"
    rf"(?:{alternatives('heading.comment', 'labels')})\b[^:;.\n]{{0,40}}:",
    re.I,
)
CONCLUSION = re.compile(
    rf"\b(?:{alternatives('conclusion', 'labels')}|{alternatives('summary', 'labels')})\b|\b(?:judged|assumed)\b", re.I
)
_TUMOUR = re.compile(r"\b(?:tumou?r|neoplas\w+|\w+oma|phyllodes)s?\b", re.I)
_BARE_NEGATIVE = re.compile(r"\W*negative\W*", re.I)
_QUALIFIED = re.compile(r"\b(?:suspici\w+|suspect\w*|cannot|un(?:determined|certain|clear)|not)\b", re.I)


def read_report(report: str, *, site: str = "", system: str = "") -> ReportReading:
    """Site, system and category of a report.

    Args:
        site: the site where it is known; it is not read then. One that the vocabulary lacks has no category.
        system: the reporting system where it is known; the category is read within it.
    """
    text = without_comments(report)
    given, site_words = site, ""
    known = vocabulary()
    parts = specimens(text)
    each = dict(filter(lambda read: read[0], map(_site, parts))) if len(parts) > 1 else {}
    if not site:
        site, site_words = _site(text)
        if not site and each:
            site, site_words = next(iter(each.items()))
    if len({site, *each}) > 1:  # "Parotid, two sites: (1) lymph node …; (2) …"
        return ReportReading(given or None, note="several specimens of different sites")
    within = known.system(system) if system else known.system_of(site)
    if within is None:
        return ReportReading(site or None, site_words)
    if not is_english(report):
        return ReportReading(site or None, site_words, within.name, note="not in English")
    if names_other_system(text, within):
        return ReportReading(site or None, site_words, within.name, note="the report names another reporting system")
    if is_undecided(text):
        return ReportReading(site or None, site_words, within.name, note="the report leaves the diagnosis open")
    current = [current_findings(part) for part in parts]
    read = [_read_category(part, within) for part in current]
    if _denied_below(report, within):
        malignant = {category.name for category in within.of_tier("malignant")}
        read = [("", "") if name in malignant else (name, words) for name, words in read]
    named = {name: words for name, words in reversed(read) if name}
    of_specimens = [name for part, (name, _) in zip(parts, read, strict=True) if _site(part)[0] or SIDE.match(part)]
    silent = (len(of_specimens) > 1 and not all(of_specimens)) or any(
        map(_BARE_NEGATIVE.fullmatch, parts[1:] and parts)
    )
    if len(named) != 1 or silent:
        mentioned = any(find_mentions(part, within) for part in parts)
        none = "it states no single category" if mentioned else ""
        note = "several specimens, not all of one category" if named else none
        return ReportReading(site or None, site_words, within.name, note=note)
    name, category_words = next(iter(named.items()))
    category = within.category(name)
    for part, (read_name, words) in zip(current, read, strict=True):
        reason = doubt(report, part, words, category, within, site_words) if category and read_name else ""
        if reason:
            return ReportReading(site or None, site_words, within.name, note=f"{name} is in doubt: {reason}")
    return ReportReading(site or None, site_words, within.name, name, category_words)


def _denied_below(report: str, system: ReportingSystem) -> bool:
    """Whether a comment denies any malignancy: beside "positive for malignancy" a contradiction."""
    comment = COMMENT.search(report[:LONGEST])
    if comment is None:
        return False
    below = current_findings(report[comment.end() : LONGEST])
    return any(
        asserted(mention) is Assertion.NEGATED and of_any_malignancy(mention)
        for mention in find_mentions(below, system)
    )


def _site(text: str) -> tuple[str, str]:
    """Name and words of the site; a history and the name of a clinic before the specimen are passed over."""
    name, words = read_site(without_history(text) or text)
    if name:
        return name, words
    now = current_findings(text).strip()
    name, words = read_site(now)
    return (name, words) if name else only_site(now)


def without_comments(report: str) -> str:
    """The report up to its first comment, without the clinical history: what was said before this specimen, or is
    added as a comment, says nothing of its category.
    """
    lines = (" ".join(line.split()) for line in report[:LONGEST].splitlines())
    text = HISTORY.sub(" ", "\n".join(filter(None, lines)))
    if comment := COMMENT.search(text):
        text = text[: comment.start() + 1] if comment.start() else ""
    return text


def _read_category(text: str, system: ReportingSystem) -> tuple[str | None, str]:
    """Name and words of the category that `text` states, or None and nothing."""
    if is_doubtful(text):
        return None, ""
    parts = list(parts_of(text))
    if not any(concludes for _, concludes in parts):
        return _resolve([mention for part, _ in parts for mention in find_mentions(part, system)], system)
    concluded = [mention for part, concludes in parts if concludes for mention in find_mentions(part, system)]
    if not concluded:  # "malignant, consistent with a primary of the lung" concludes something else
        described = (mention for part, _ in parts for mention in find_mentions(part, system))
        return _resolve([m for m in described if m.category and m.category.tier != "indeterminate"], system)
    mentions = [
        mention
        for part, concludes in parts
        for mention in find_mentions(part, system)
        # Beside a conclusion, a description states a category only by its name, and "atypical cells" is no name there.
        if concludes or (mention.explicit and mention.category and mention.category.tier != "indeterminate")
    ]
    return _resolve(mentions, system)


def parts_of(text: str) -> Iterator[tuple[str, bool]]:
    """The report in parts, and of each whether a conclusion is drawn in it."""
    if brackets := IN_BRACKETS.match(text):
        text = text[brackets.end() :] if len(text) > brackets.end() + 1 else text
    if heading := HEADING.search(text):
        yield text[: heading.start()], False
        yield text[heading.end() :], True
        return
    for sentence in re.split(r"(?<=[.!])(?<!\.\.)\s+|\n+", text):
        cue = CONCLUSION.search(sentence)
        if cue is None:
            yield sentence, False
        elif cue.group().lower() in ("judged", "assumed") or _QUALIFIED.search(sentence, 0, cue.start()):
            yield sentence, True
        else:
            yield sentence[: cue.start()], False
            yield sentence[cue.start() :], True


def _only(categories: tuple[Category, ...]) -> Category | None:
    return categories[0] if len(categories) == 1 else None


def _resolve(mentions: list[Mention], system: ReportingSystem) -> tuple[str | None, str]:
    """The one category that the mentions agree on, and the words that say so."""
    explicit: dict[str, Mention] = {}
    found: dict[str, Mention] = {}
    derived: dict[str, Mention] = {}
    negative: Mention | None = None
    suggested: list[str] = []
    ambiguous = denied = in_prose = False
    open_: dict[str | None, list[Mention]] = {}
    by_name = {category.name: category for category in system.categories}
    for mention in mentions:
        how = asserted(mention)
        if how is Assertion.ALTERNATIVE:
            open_.setdefault(mention.category.name if mention.category else None, []).append(mention)
            continue
        if how is Assertion.SUGGESTED and mention.explicit and mention.category:
            suggested.append(mention.category.name)
        meaning = _meaning(mention, how, system)
        if meaning == "negative":
            negative = negative or mention
            denied |= of_any_malignancy(mention)
            in_prose |= not is_denied_by_value(mention.text, mention.end)
        elif meaning == "ambiguous":
            ambiguous = True
        elif isinstance(meaning, tuple):
            name, changed = meaning
            (derived if changed else explicit if mention.explicit else found).setdefault(name, mention)
    for either, choices in open_.items():  # "reactive or reparative" is one category, "carcinoma or adenoma" none
        first = choices[0]
        benign_alone = first.category is not None and first.category.tier == "negative" and not first.numbered
        benign_alone = benign_alone and not _TUMOUR.search(first.words.replace(first.text[first.start : first.end], ""))
        if either and len(open_) == 1 and (len(choices) > 1 or benign_alone):
            (explicit if first.explicit else found).setdefault(either, first)
        else:
            ambiguous = True

    def rank(name: str) -> int:
        return vocabulary().tiers.index(by_name[name].tier)

    severe = {name: m for name, m in found.items() if by_name[name].tier == "malignant"}
    if severe and denied:  # "no malignant cells" here and "adenocarcinoma" there: of two samples, or a contradiction
        return None, ""
    if len(severe) > 1:  # "carcinoma" beside the name of a carcinoma that has its own category
        severe = {name: m for name, m in severe.items() if not by_name[name].any_malignancy}
    if explicit:
        name, mention = next(iter(explicit.items()))
        # An inadequate specimen excludes nothing: that is no finding beside it.
        beside_it = () if by_name[name].tier == "non-diagnostic" else derived
        # "NILM. Sheets of severely dyskaryotic cells." contradicts itself.
        described = found if by_name[name].tier == "negative" else severe
        # "LSIL with cells suggestive of HSIL" has no single category.
        graver = any(rank(other) > rank(name) for other in (*described, *beside_it, *suggested))
        # "LSIL; cannot exclude HSIL" has no single category; "follicular neoplasm, carcinoma not excluded" has.
        beside = any(m.category and m.category.if_not_excluded and other != name for other, m in derived.items())
        return (name, mention.words) if len(explicit) == 1 and not graver and not beside else (None, "")
    if severe:
        clear = len(severe) == 1 and not derived
        return next(((name, m.words) for name, m in severe.items()), (None, "")) if clear else (None, "")
    if ambiguous:
        return None, ""
    if negative and derived and not found:  # "no malignant cells; malignancy cannot be excluded"
        return None, ""
    rest = {**found, **derived}
    if len(rest) > 1:  # the graver of two: "atypical, benign cells", "suspicious … cannot be excluded"
        highest = max(map(rank, rest))
        rest = {name: mention for name, mention in rest.items() if rank(name) == highest}
    if len(rest) == 1:
        name, mention = next(iter(rest.items()))
        return name, mention.words
    if negative and not rest and is_called_abnormal(negative.text):  # "dysplastic cells, not carcinoma"
        return None, ""
    fields = sum(mention.explicit and is_denied_by_value(mention.text, mention.end) for mention in mentions)
    if fields > 1 and not (denied or in_prose):  # a table that denies each category states none
        return None, ""
    benign = _only(system.of_tier("negative"))
    return (benign.name, negative.words) if negative and benign and not rest else (None, "")


def _meaning(mention: Mention, how: Assertion, system: ReportingSystem) -> tuple[str, bool] | str | None:
    """A category with whether it is another than the mentioned one; "negative", "ambiguous", or None for nothing."""
    category = mention.category
    tier = category.tier if category else "malignant"
    if how is Assertion.VOID:
        return None
    if tier in ("non-diagnostic", "negative"):
        holds = how in (Assertion.AFFIRMED, Assertion.SUGGESTED, Assertion.UNCLEAR)
        return (category.name, False) if holds and category else None
    if tier == "indeterminate":
        return (category.name, False) if how not in (Assertion.NEGATED, Assertion.NOT_EXCLUDED) and category else None
    if how is Assertion.NEGATED:
        return "negative" if tier == "malignant" or category is suspicion_of(system) else None
    if how is Assertion.AFFIRMED:
        return (category.name, False) if category else "ambiguous"
    if category is not None and category is suspicion_of(system):
        return (category.name, False) if how is not Assertion.NOT_EXCLUDED else "ambiguous"
    if how is Assertion.SUSPECTED and tier != "low-grade neoplasm":
        instead = system.category(category.if_suspected) if category and category.if_suspected else suspicion_of(system)
        return (instead.name, True) if instead else "ambiguous"
    if how is Assertion.NOT_EXCLUDED and tier != "low-grade neoplasm":
        unsure = _only(system.of_tier("indeterminate"))
        instead = system.category(category.if_not_excluded) if category and category.if_not_excluded else unsure
        return (instead.name, True) if instead else "ambiguous"
    return "ambiguous"
