"""What a text says in terms that its words are compared by: the words, and the concepts that the vocabulary names.

"H-SIL", "HGSIL" and "high-grade squamous intraepithelial lesion" have no word in common and mean the same: each of them
is a phrase of one concept. A text is indexed by its words and by its concepts, so that a query with one of the names
finds what holds another, without a look at the texts.

    "Pap smear: H-SIL (CIN 3)."  ─►  pap, smear, h, sil, cin, 3, #cervix, #Bethesda cervical 2014/HSIL, #CIN 3

A phrase may be of several concepts: "AUS" is a category of four systems. Of overlapping phrases the longest counts: in
"atypical squamous cells, cannot exclude HSIL" there is ASC-H and no HSIL. What is only a part of a concept (`narrower`:
CIN 3 of HSIL) is found by its name, and does not find the rest of it.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Final

from retrieval.language.english import function_words
from retrieval.language.vocabulary import vocabulary

PHRASE: Final = "="
"""Opens a term of a query that stands for a phrase; no word begins with it."""
_CONCEPT: Final = "#"
_WORD: Final = re.compile(r"\w+")
_SHORTEST_CODE: Final = 3
"""Letters of an abbreviation that is compared in any case: "C5" is a vertebra, too."""
_ALSO_WORDS: Final = frozenset({"NET"})
_SPLIT_CODE: Final = re.compile(r"[A-Za-z]{1,4}(?:-[A-Za-z]{1,4})+")
"""Its parts are no words: "H-SIL"."""
_OF_ANY_SITE: Final = frozenset({"lymph node"})
"""Sites that tell nothing of a carcinoma's name: "papillary carcinoma" in a node of the neck is of the thyroid."""
_ARTICLES: Final = frozenset({"a", "an", "the"})
"""Of which a phrase may have more or fewer."""
_BEFORE_NUMBER: Final = ("", "category", "cat", "class")
_ADJECTIVE: Final = re.compile(r"\w{1,30}(?:al|ic|ary|ar)")
"""Of a place that may be another's: "cervical lymph node"."""

Key = tuple[str, ...]


def words_of(text: str) -> list[str]:
    """The words of a text in their order: runs of letters and digits, case folded (Unicode NFKC).

    Stop words stay: BM25 gives a word that most reports hold next to no weight, and "no", "not" and "without" are
    stop words of every list.
    """
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def terms_of(text: str) -> list[str]:
    """The terms that a text is indexed by: its words, then its concepts, each as often as it is named. O(words)."""
    words = words_of(text)
    findings, specimens = _lexicons()
    named = [phrase for _, _, phrase in specimens.phrases(words)]
    sites = _sites_of(named)
    found = [*(phrase.at(sites) for _, _, phrase in findings.phrases(words)), *named]
    return words + [concept for phrase in found for concept in phrase.indexed]


def query_terms(text: str) -> dict[str, float]:
    """The terms that a query is scored by, each with how often the query says it: its words but for the parts of
    abbreviations, and its concepts. O(words)."""
    words = words_of(text)
    terms: dict[str, float] = defaultdict(float)
    split: set[int] = set()
    for start, end, phrase in _found_in_query(words):
        split |= {*range(start, end)} if phrase.is_code and end - start > 1 else set()
        for concept in phrase.queried:
            terms[concept] += 1 / len(phrase.queried)
    for at, word in enumerate(words):
        if at not in split:
            terms[word] += 1
    return dict(terms)


def content_words(text: str) -> tuple[str, ...]:
    """The different terms of a text, in their order, all of which a report must hold to contain it: its words but for
    function words, and a phrase of several words that names a concept as one ("=high grade …")."""
    words = words_of(text)
    phrases = {start: end for start, end, _ in _found_in_query(words) if end - start > 1}
    terms, at = [], 0
    while at < len(words):
        end = phrases.get(at, at + 1)
        if end > at + 1:
            terms.append(PHRASE + " ".join(_key_of(words[at:end])))
        elif words[at] not in function_words():
            terms.append(words[at])
        at = end
    return tuple(dict.fromkeys(terms))


def forms(term: str) -> frozenset[str]:
    """What a text may hold in the place of a term of `content_words`: the word in the singular or the plural, where an
    "s" makes the difference, and the concepts that word or phrase name."""
    key = tuple(term[len(PHRASE) :].split()) if term.startswith(PHRASE) else (_key(term),)
    named = frozenset(concept for lexicon in _lexicons() for concept in lexicon.queried(key))
    if term.startswith(PHRASE):
        return named
    singular = [term[:-1]] if len(term) > 3 and term.endswith("s") and not term.endswith("ss") else []
    return named | {term, f"{term}s", *singular}


def names_finding(term: str) -> bool:
    """Whether a term of `content_words` names a category or a diagnosis of the vocabulary."""
    key = tuple(term[len(PHRASE) :].split()) if term.startswith(PHRASE) else (_key(term),)
    return bool(_lexicons()[0].queried(key))


def names_specimen(term: str) -> bool:
    """Whether a term of `content_words` is a phrase that names a site, a stain or a preparation."""
    return term.startswith(PHRASE) and not names_finding(term)


@dataclass(frozen=True)
class _Phrase:
    indexed: tuple[str, ...]
    """The concepts of a text that holds it."""
    queried: tuple[str, ...]
    """The concepts that a query with it means."""
    is_code: bool
    bound: tuple[str, str] = ("", "")
    """A site, and the concept that it means there only."""

    def at(self, sites: frozenset[str]) -> _Phrase:
        """What it means in a text that names these sites."""
        site, concept = self.bound
        if not site or not sites or site in sites:
            return self
        indexed, queried = (tuple(each for each in all_ if each != concept) for all_ in (self.indexed, self.queried))
        return replace(self, indexed=indexed, queried=queried)


class _Lexicon:
    """Phrases by their keys."""

    def __init__(self, phrases: Mapping[Key, _Phrase]) -> None:
        self._phrases = phrases
        lengths: dict[str, set[int]] = defaultdict(set)
        for key in phrases:
            lengths[key[0]].add(len(key))
        self._lengths = {first: sorted(of_first, reverse=True) for first, of_first in lengths.items()}

    def queried(self, key: Key) -> tuple[str, ...]:
        """The concepts that a query with this phrase means."""
        phrase = self._phrases.get(key)
        return () if phrase is None else phrase.queried

    def phrases(self, words: Sequence[str]) -> Iterator[tuple[int, int, _Phrase]]:
        """The phrases in a text's words, each with its [start, end): from the left, and of several the longest."""
        positions = [at for at, word in enumerate(words) if word not in _ARTICLES]
        keys = [_key(words[at]) for at in positions]
        free = 0
        for at, first in enumerate(keys):
            if at < free or first not in self._lengths:
                continue
            for length in self._lengths[first]:
                phrase = self._phrases.get(tuple(keys[at : at + length]))
                if phrase is not None and at + length <= len(keys):
                    yield positions[at], positions[at + length - 1] + 1, phrase
                    free = at + length
                    break


def _found_in_query(words: Sequence[str]) -> list[tuple[int, int, _Phrase]]:
    """What a query names: findings, and beside them specimens."""
    found: list[tuple[int, int, _Phrase]] = []
    taken: set[int] = set()
    findings, specimens = _lexicons()
    sites = _sites_of(phrase for _, _, phrase in specimens.phrases(words))
    for lexicon in (findings, specimens):
        for start, end, phrase in lexicon.phrases(words):
            phrase = phrase.at(sites)
            if phrase.queried and taken.isdisjoint(range(start, end)):
                found.append((start, end, phrase))
                taken |= {*range(start, end)}
    return found


def _sites_of(named: Iterable[_Phrase]) -> frozenset[str]:
    """The sites that phrases name, but for those where a carcinoma of any other may be met."""
    concepts = {concept.removeprefix(_CONCEPT) for phrase in named for concept in phrase.indexed}
    return frozenset(site.name for site in vocabulary().sites if site.name in concepts) - _OF_ANY_SITE


@lru_cache(maxsize=65_536)  # the words of reports are not a closed list
def _key(word: str) -> str:
    """A word without what makes no difference within a phrase: the plural, the British spelling."""
    word = word.replace("tumour", "tumor").replace("favour", "favor").replace("aemia", "emia").replace("haem", "hem")
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _key_of(words: Sequence[str]) -> Key:
    return tuple(_key(word) for word in words if word not in _ARTICLES)


@cache
def _lexicons() -> tuple[_Lexicon, _Lexicon]:
    """The phrases for findings, and those for sites, stains and preparations."""
    known = vocabulary()
    findings = _Collected()
    for system in known.systems:
        for category in system.categories:
            concept = f"{system.name}/{category.name}"
            for name in (*category.codes, *category.aliases, *category.synonyms):
                if name not in category.codes or (len(name) >= _SHORTEST_CODE and name not in _ALSO_WORDS):
                    findings.add(name, concept, is_part=name in category.narrower)
            for title in system.numbered_by:
                for number in category.numbers:
                    for between in _BEFORE_NUMBER:
                        findings.add(f"{title} {between} {number}", concept)
    for names in known.synonyms:
        for name in names:
            findings.add(name, names[0])
    for place, groups in known.names_at_site.items():
        for group in groups:
            for name in group:
                findings.bind(name, place)
                findings.add(name, group[0])
    specimens = _Collected()
    for site in known.sites:
        for names in ((site.name, *site.names), *site.specimens):
            for name in names:
                if not _ADJECTIVE.fullmatch(name) and (" " in name or known.site(name) == site):
                    specimens.add(name, names[0])
                    specimens.add(name, site.name, is_part=names[0] != site.name)
    for values in (known.stains, known.preparations):
        for value, others in values.items():
            for name in (value, *others):
                if len(name) >= _SHORTEST_CODE and name != "pap":
                    specimens.add(name, value)
    return findings.lexicon(), specimens.lexicon()


class _Collected:
    """Names with their concepts, of which a lexicon is made."""

    def __init__(self) -> None:
        self._indexed: dict[Key, dict[str, None]] = defaultdict(dict)
        self._queried: dict[Key, dict[str, None]] = defaultdict(dict)
        self._codes: set[Key] = set()
        self._bound: dict[Key, tuple[str, str]] = {}

    def add(self, name: str, concept: str, *, is_part: bool = False) -> None:
        """`is_part`: the name is of a part of the concept, which a query with it does not mean."""
        if "*" in name:
            return
        for written in {name, name.replace("-", "")} if _SPLIT_CODE.fullmatch(name) else {name}:
            key = _key_of(words_of(written))
            self._indexed[key][_CONCEPT + concept] = None
            if not is_part:
                self._queried[key][_CONCEPT + concept] = None
            if _SPLIT_CODE.fullmatch(name):
                self._codes.add(key)

    def bind(self, name: str, site: str) -> None:
        """The one concept that the name has so far is meant at this site only."""
        key = _key_of(words_of(name))
        (concept,) = self._indexed[key]
        self._bound[key] = site, concept

    def lexicon(self) -> _Lexicon:
        return _Lexicon(
            {
                key: _Phrase(
                    tuple(indexed),
                    tuple(self._queried.get(key, ())),
                    key in self._codes,
                    self._bound.get(key, ("", "")),
                )
                for key, indexed in self._indexed.items()
            }
        )
