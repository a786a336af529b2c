"""The specimen of a report: the words that say where the cells come from, and the site they name."""

from __future__ import annotations

import re

from generation.prompts.cues import alternatives
from retrieval.language.vocabulary import Site, vocabulary, word_pattern

IN_BRACKETS = re.compile(r"\s*\(((?:[^()]|\([^()]*\))*)\)")
SPECIMEN = re.compile(rf"\b(?:{alternatives('heading.site', 'labels')})\s*:\s*([^.;\n]+)", re.I)
_FINDING_BEGINS = re.compile(
    r":|\s[-–—]\s|\b(?:show(?:s|ed|ing)?|reveal\w*|contain\w*|demonstrat\w+|display\w*|consists?|yield\w*|"
    r"did|do|does|is|are|was|were|with|there|finds?|found|has|have|observed|seen|comprises?|exhibit\w*|presents?|positive|negative|suspicious|"
    r"consistent|no|not|cannot)\b",
    re.I,
)
_BESIDE = re.compile(
    r"\b(?:beside|adjacent to|next to|near|outside|lateral to|medial to|anterior to|posterior to|above|below|behind|"
    r"over) (?:the |a |an )?(?:\w+ )?$",
    re.I,
)
HEADING = re.compile(
    rf"\b(?:(?:final|cytolog\w*|patholog\w*) )?(?:{alternatives('heading.conclusion', 'labels')})\s*:", re.I
)


def read_site(text: str) -> tuple[str, str]:
    """Name and words of the site, or two empty strings."""
    specimen, certain = _specimen(text)
    found: list[tuple[Site, re.Match[str]]] = []
    for site in vocabulary().sites:
        for match in word_pattern(site.aliases).finditer(specimen):
            # "breast cancer patient" names no specimen.
            of_disease = re.match(r"\W+(?:\w+\W+)?(?:cancer|\w*carcinoma|metasta)", specimen[match.end() :], re.I)
            if not of_disease and not _BESIDE.search(specimen, 0, match.start()):
                found.append((site, match))
    # "cervical/vaginal" contains no "vaginal smear".
    found = [(s, m) for s, m in found if not any(_covers(other, m) for _, other in found)]
    if found:
        highest = max(site.rank for site, _ in found)
        if len({site.name for site, _ in found}) > 1 and re.search(r"\b(?:and|plus)\b|[&+]", specimen):
            return "", ""  # two specimens
        best = [(site, match) for site, match in found if site.rank == highest]
        if len({site.name for site, _ in best}) > 1:
            return "", ""
        return best[0][0].name, best[0][1].group()
    if certain:  # a specimen is named, but the vocabulary does not know it
        return "", ""
    implied = [(s, m) for s in vocabulary().systems if (m := word_pattern(s.site_cues).search(text))]
    return (implied[0][0].sites[0], implied[0][1].group()) if len(implied) == 1 else ("", "")


def _specimen(text: str) -> tuple[str, bool]:
    """The words about the specimen, and whether they are certain to be that."""
    brackets = IN_BRACKETS.match(text)
    if brackets:
        return brackets.group(1), True
    heading = SPECIMEN.search(text)
    if heading:
        return heading.group(1), True
    sentence = re.split(r"(?<=[.;])\s|\n", text.strip(), maxsplit=1)[0]
    if heading := HEADING.match(sentence):  # "Diagnosis: left thyroid, FNA: …"
        sentence = sentence[heading.end() :].strip()
    begins = _FINDING_BEGINS.search(sentence)
    if begins:
        return sentence[: begins.start()], False
    diagnosis = word_pattern(vocabulary().malignancy).search(sentence)
    return (sentence[: diagnosis.start()] if diagnosis else sentence), False


def _covers(outer: re.Match[str], inner: re.Match[str]) -> bool:
    return (
        outer is not inner
        and outer.start() <= inner.start()
        and inner.end() <= outer.end()
        and len(outer.group()) > len(inner.group())
    )
