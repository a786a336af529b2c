"""The words of a report that describe the specimen or conclude on it, without what stands around them.

A report also holds headings, advice ("repeat sampling is recommended"), adequacy, clinical history and signatures. As
query text these draw a search to reports of the same form rather than of the same finding; whether they do, and for
which channel, is for the evaluation to say.

Rules, in the manner of `label_extraction`: what is recognised as something else is left out, everything else stays.
Advice in one sentence with a diagnosis ("HSIL, suggest colposcopy") is cut off by the clause. The cues are those of
`generation/prompts/cues.toml`, diagnoses those of the vocabulary. (`generation.prompts.condensing` ranks clauses for a
token limit, and keeps advice where there is room: that is another task.)
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache

from generation.prompts.clauses import split_sentences
from generation.prompts.cues import alternatives
from retrieval.language.label_extraction import COMMENT, CONCLUSION, HISTORY, parts_of, without_comments
from retrieval.language.negation import Assertion, assertion
from retrieval.language.specimen import HEADING, IN_BRACKETS, SPECIMEN, read_site
from retrieval.language.vocabulary import vocabulary, word_pattern

_FURTHER_HEADING = re.compile(
    rf"(?:(?:cytolog\w*|patholog\w*|please|additional)\s+)?(?:{alternatives('heading.morphology', 'query')})"
    r"(?:\s+of\s+the\s+[\w ]{1,30})?\s*:",
    re.I,
)
_ADVICE = re.compile(rf"\b(?:{alternatives('advice', 'query')})", re.I)
# Leads to an advice that follows: "if malignancy is suspected, repeat", "to exclude HSIL, colposcopy is advised".
_CONDITION = re.compile(r"\s*(?:if|when|should|in\s+order\s+to|to|for|because)\b", re.I)
_ADMINISTRATION = re.compile(
    r"\b(?:(?<!un)satisfactory\s+for\s+(?:evaluation|interpretation|assessment)|"
    r"adequate\s+(?:for\s+\w+|sample|specimen|material|smear)|"
    r"(?:endocervical|transformation\s+zone|metaplastic)\s+(?:\w+\s+){0,3}components?|"
    r"(?:slides?|smears?|blocks?|tubes?|vials?)\s+(?:were\s+|was\s+)?(?:received|submitted|prepared|examined|stained)|"
    r"(?:stain(?:ed|ing)?\s+(?:with|by)|fixed\s+in|received\s+in)\b|"
    r"(?:accession|report|specimen|lab(?:oratory)?|case)\s+(?:no\.?|number|id)\s*:?\s*\w*\d|"
    r"screening\s+test\s+with)"
    rf"|^\W*(?:{alternatives('heading.other', 'query')}|{alternatives('heading.recommendation', 'query')})\s*:",
    re.I,
)
_SIGNATURE = re.compile(
    r"(?:(?:^|(?<=[.;\n])\s{0,20})(?:dr|prof|professor)\b\.?\s|"
    r"\b(?:electronically\s+)?(?:signed|verified|reported|screened|authori[sz]ed|dictated)\s+(?:out\s+)?(?:by|on)\b)[^\n]*",
    re.I,
)
_SENTENCE = re.compile(r"(?<!\b[Nn]o\.)(?<=[.;!?])\s+|\n+")
_CLAUSE = re.compile(r"(?:(?<=,)\s+|\s+[-–—]\s+|\s+(?=(?:and|therefore|hence|thus|so)\b))(?![^()]{0,300}\))")

_ANY_WORD = re.compile(r"[^\W_]").search
_LEAD_IN = re.compile(r"\s*(?:(?:to\s+be|as|of|with)\b|[:,])", re.I)
_FILLED_UP = re.compile(
    r"^\s*combined\s+with\s+the\s+(?:cell\s+)?morphology\b|"
    r"\b(?:is|are)\s+(?:to\s+be\s+)?(?:judged|assumed)\b(?:\s+in\s+the\s+first\s+place)?",
    re.I,
)
_SIDE = frozenset(("left", "right", "bilateral", "sided", "side", "l", "r"))
_EMPTY_WORDS = frozenset(("the", "a", "an", "is", "are", "was", "were", "and"))
_GRADED_BY = frozenset(("cin", "vain", "ain", "category", "cat", "class", "grade", "type", "tier"))


def morphology_and_diagnosis(report: str, *, headings: bool = False) -> str:
    """The report without headings, advice, adequacy, administration, history and signatures.

    With `headings`, what stands before a finding ("Cytological diagnosis: …") stays: a text tower that has read such
    reports leans on it. The specimen stays: the same words conclude differently at another site. Sentences come in
    their order, on one line, each with a mark at its end. Applied twice it changes nothing more. Where nothing else is
    in the report, it stays whole (but for its spaces): the text is empty only for a report without any character to
    show.
    """
    text = report
    while (shorter := _stripped(text, headings)) != text:  # cutting may bring a heading to the front of its sentence
        text = shorter
    return text


def query_text(report: str) -> str:
    """What the generator and the text tower read of a report that queries. Both were measured to suffer from advice,
    signatures and the like, and the text tower from losing its headings (`benchmarks.report_text`); BM25 was not, and
    reads reports whole.
    """
    return morphology_and_diagnosis(report, headings=True)


def conclusion_key(report: str) -> str:
    """A key that reports share where they conclude the same of the same site, in the same words.

    Case, spaces, headings, advice, comments, the side of the body, numbers (but those that grade, as in "CIN 2"), the
    marks between clauses and the order of clauses make no difference; a synonym does. Empty only for an empty report.
    """
    text = without_comments(_unsigned(report))
    if not any(map(str.isalnum, text)):
        text = report
    site, _ = read_site(text)
    parts = list(parts_of(text))
    concluding = [part for part, concludes in parts if concludes]
    words = morphology_and_diagnosis(" ".join(concluding or [part for part, _ in parts]))
    graded = _GRADED_BY | {name.casefold() for system in vocabulary().systems for name in system.numbered_by}
    clauses = set(re.split(r"[,;.:!?()\[\]\n]|\s[-–—]\s", _opened(words)))
    keys = {_key(clause, graded) for clause in clauses} - {""}
    return ": ".join(filter(None, (site, "; ".join(sorted(keys))))) or " ".join(report.casefold().split())


def _unsigned(report: str) -> str:
    """The report without the lines, or ends of lines, that say who signed it."""
    text = _SIGNATURE.sub(lambda found: found.group() if _states(found.group()) else "", report)
    return text if any(map(str.isalnum, text)) else report


def _stripped(text: str, headings: bool) -> str:
    whole = " ".join(text.split())
    text = _unsigned(text)
    specimen = IN_BRACKETS.match(text)
    rest = HISTORY.sub(" \n", text[specimen.end() :] if specimen else text)
    kept = [specimen.group().strip()] if specimen else []
    for sentence in filter(_ANY_WORD, split_sentences(rest, _SENTENCE)):
        words = " ".join(_described(" ".join(sentence.split()), headings)).strip(" ;,.:")
        if any(map(str.isalnum, words)):
            kept.append(words if words.endswith(("!", "?")) else f"{words}.")
    return " ".join(kept) if any(map(str.isalnum, "".join(kept))) else whole


def _described(sentence: str, headings: bool) -> Iterator[str]:
    """The clauses of a sentence that say something of the specimen."""
    if _ADMINISTRATION.search(sentence) and not _states(sentence):
        return
    body = _without_heading(sentence)
    if headings and body:
        # "Additional recommendation: dark crowded groups …" is no advice: what a heading says is not judged.
        heading = sentence[: sentence.rindex(body)]
        described = list(_undirected(body))
        if described:
            yield from (f"{heading}{described[0]}", *described[1:])
        return
    yield from _undirected(body)


def _undirected(sentence: str) -> Iterator[str]:
    """The clauses of a sentence that are no advice."""
    if not _ADVICE.search(sentence):
        yield sentence
        return
    advised = False
    clauses = _CLAUSE.split(sentence)
    for clause in clauses:
        if _ADVICE.search(clause):
            advised = True
        elif not _CONDITION.match(clause) and (not advised or _states(clause)):
            yield clause


def _without_heading(sentence: str) -> str:
    while True:
        ends = [match.end() for pattern in (HEADING, _FURTHER_HEADING, COMMENT) if (match := pattern.match(sentence))]
        if specimen := SPECIMEN.match(sentence):
            ends.append(specimen.start(1))
        if not ends:
            return sentence
        sentence = sentence[max(ends) :].strip(" ;,.")


def _states(clause: str) -> bool:
    """Whether the clause states a category, or a disease, of this specimen."""
    return any(
        assertion(clause, match.start(), match.end()) is not Assertion.VOID
        for pattern in _diagnoses()
        for match in pattern.finditer(clause)
    )


@cache
def _diagnoses() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """The vocabulary's words for categories and diseases, and its codes."""
    known = vocabulary()
    categories = [category for system in known.systems for category in system.categories]
    words = {word for category in categories for word in (*category.aliases, *category.findings)}
    codes = {code for category in categories for code in category.codes}
    return word_pattern((*sorted(words), *known.malignancy)), word_pattern(tuple(sorted(codes)), exact_case=True)


def _opened(words: str) -> str:
    """Conclusions without the words that introduce them: "consistent with X" and "in summary, X" both say X."""
    kept = []
    for sentence in _SENTENCE.split(_FILLED_UP.sub(" ", words)):
        opening, colon, rest = sentence.partition(":")
        if colon and _states(rest) and not _states(opening):  # "Lymph node, FNA: metastatic carcinoma"
            sentence = rest
        while (cue := CONCLUSION.search(sentence)) and not _states(sentence[: cue.start()]):
            sentence = sentence[cue.end() :]
            while more := _LEAD_IN.match(sentence):
                sentence = sentence[more.end() :]
        kept.append(sentence)
    return "\n".join(kept)


def _key(clause: str, graded: frozenset[str] | set[str]) -> str:
    tokens = re.findall(r"\w+", unicodedata.normalize("NFKC", clause).casefold())
    kept: list[str] = []
    for before, token in zip(["", *tokens], tokens, strict=False):
        if token not in _SIDE and token not in _EMPTY_WORDS and not (token.isdigit() and before not in graded):
            kept.append(token)
    return " ".join(kept)
