"""What a site, a reporting system, a category or a stain means, however a manifest writes it.

The archive keeps what was written. Wherever labels are compared (filters, evaluation, agreement, galleries, reader
studies), it is by these concepts: "HSIL", "H-SIL", "HGSIL", "High-grade squamous intraepithelial lesion" and
"HSIL (CIN 2-3)" are one category; "LBC cervix" and "cervical smear" are one site. A concept is a name: that of the
vocabulary where it knows the label, else the label without the differences of case, spaces, hyphens and Unicode.

    site_concept      "Left breast FNA" ─► "breast";  "ascitic fluid" ─► "ascites", which is no "pleural effusion"
    system_concept    "TBSRTC", of the thyroid ─► "Bethesda thyroid 2023"
    category_concept  "Cat. V", of the thyroid ─► "Suspicious for malignancy"
    image_concept     "Pap stain" ─► "Papanicolaou";  "LBC" ─► "liquid-based"

What is merely contained ("CIN 3", "papillary carcinoma", "MAL-P") stays a label of its own, and so does a number
without its system ("5" may be the number of a class).
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from typing import Final

from retrieval.language.vocabulary import Category, ReportingSystem, vocabulary, word_pattern

GENERAL_SYSTEM: Final = "generic five-tier"
"""The system of the sites that have none of their own."""
_NOT_SAID: Final = frozenset({"", "unspecified", "unknown", "not stated", "not given", "other", "various", "n/a"})
_DASHES: Final = str.maketrans(dict.fromkeys("‐‑‒–—−", "-") | {"_": " "})
_METHOD: Final = re.compile(
    r"\b(?:fine needle aspirat(?:ion|e)s?|fnac?s?|aspirat(?:ion|e)s?|cytolog(?:y|ical|ic)|cytopatholog\w*|smears?|"
    r"samples?|specimens?|scrap(?:e|ing)s?|lbc|liquid based|thin ?prep|sure ?path|left|right|bilateral|lt|rt|lobe|site|"
    r"of|the)\b"
)
_PREFIX: Final = re.compile(r"(?:diagnosis|interpretation|result|category|cat|impression|conclusion)\s*[.:=]\s*")
_ALL_SAID: Final = frozenset({"negative", "negative for malignancy", "negative for malignant cells"})
_MALIGNANT: Final = frozenset({"malignant", "malignancy", "positive for malignancy", "positive for malignant cells"})
_SEPARATOR: Final = re.compile(r"\s*[()\[\];:|]\s*|\s+-\s+|,\s+")
_SYSTEM_WORDS: Final = frozenset(
    {
        *("the", "system", "for", "reporting", "of", "cytology", "cytopathology", "iac", "international"),
        *("category", "categories", "edition", "ed", "nd", "rd", "th"),
    }
)
_EDITION: Final = re.compile(r"\b(?:\d{4}|\d\.\d)\b")
_ROMAN: Final = re.compile(r"[ivx\W]+")
_CACHED: Final = 65_536


@lru_cache(maxsize=_CACHED)
def plain(label: str) -> str:
    """A label without the differences that mean nothing: case, spaces, hyphens within words, Unicode's forms."""
    text = unicodedata.normalize("NFKC", label).translate(_DASHES).casefold()
    text = re.sub(r"(?<=[^\W\d])-(?=\w)|(?<=\d)-(?=[^\W\d])", " ", text)  # "2-3" is a range
    return " ".join(text.split()).strip(" .;:,'\"")


@lru_cache(maxsize=_CACHED)
def site_concept(site: str) -> str:
    """The vocabulary's name of a site or specimen, or the label as `plain` leaves it; empty for an empty label."""
    written = plain(site)
    bare = _METHOD.sub(" ", re.sub(r"[,;:()]", " ", written))
    names = _site_names()
    return names.get(written.replace(" ", "")) or names.get("".join(bare.split())) or written


@lru_cache(maxsize=_CACHED)
def site_group(site: str) -> str:
    """One name for all sites that share a reporting system of their own (cervix and vagina); empty for a site that is
    not given.

    Args:
        site: any name of a site, or one that the vocabulary does not know.
    """
    written = plain(site)
    if written in _NOT_SAID:
        return ""
    known = vocabulary()
    named = known.site(site) or known.site(site_concept(site))
    system = known.system_of(named.name) if named else None
    if named is None or system is None:
        return written if named is None else named.name
    # Liver and blood have the general tiers in common, and no cells.
    return named.name if system.name == GENERAL_SYSTEM else system.name


@lru_cache(maxsize=_CACHED)
def system_concept(system: str, site: str) -> str:
    """The name of a reporting system, or the label as `plain` leaves it; of an empty label that of the site's system.

    Args:
        site: of the case: "Bethesda" is another system of the cervix than of the thyroid.
    """
    known = vocabulary()
    written = plain(system)
    for candidate in known.systems:
        if written == plain(candidate.name):
            return candidate.name
    of_site = known.site(site_concept(site)) or known.site(site)
    expected = known.system_of(of_site.name) if of_site else None
    if expected is None:
        return written
    if not written:
        return expected.name
    edition = set(re.findall(r"\b\d{4}\b|\b\d\.\d\b", written)) - set(
        re.findall(r"\b\d{4}\b|\b\d\.\d\b", expected.name)
    )
    words = {word for word in re.findall(r"[a-z]+", written) if word not in _SYSTEM_WORDS}
    names = {plain(name) for name in expected.numbered_by} | {plain(expected.name).split()[0]}
    of_cervix = {"tbs"} if "bethesda" in names else set()
    place = {word for name in (of_site.name, *of_site.names) for word in plain(name).split()} if of_site else set()
    allowed = names | of_cervix | place
    return expected.name if words and words <= allowed and words & (names | of_cervix) and not edition else written


@lru_cache(maxsize=_CACHED)
def category_concept(site: str, system: str, category: str) -> str:
    """The name of a category within its system, or the label as `plain` leaves it; empty for an empty label."""
    known = known_category(site, system, category)
    return plain(category) if known is None else known.name


@lru_cache(maxsize=_CACHED)
def known_category(site: str, system: str, category: str) -> Category | None:
    """The category of the vocabulary that a label names; None where it names none, or only a part of one.

    Args:
        site, system: of the case, as written. Where they tell no reporting system, the label has to name the same
            category in every system that knows it.
    """
    if not plain(category):
        return None
    within = vocabulary().system(system_concept(system, site))
    if within is not None:
        return _named(within, plain(category))
    if plain(system):  # another system than those of the vocabulary
        return None
    found = [named for every in vocabulary().systems if (named := _named(every, plain(category)))]
    return found[0] if len(found) == 1 else None


@lru_cache(maxsize=_CACHED)
def image_concept(field: str, value: str) -> str:
    """The vocabulary's name of a "stain", "preparation" or "kind" of images, or the value as `plain` leaves it.

    So of any other field, such as "source".
    """
    return _image_names(field).get(_image_word(value), plain(value))


def _image_word(value: str) -> str:
    return re.sub(r"\b(?:stain(?:ed|ing)?)\b", " ", plain(value)).replace(" ", "")


@cache
def _image_names(field: str) -> dict[str, str]:
    """Concept by plain name, without its spaces."""
    known = vocabulary()
    names = {"stain": known.stains, "preparation": known.preparations, "kind": known.kinds}.get(field, {})
    return {_image_word(name): concept for concept, others in names.items() for name in (concept, *others)}


@cache
def _site_names() -> dict[str, str]:
    """Concept by plain name, without its spaces."""
    names: dict[str, str] = {}
    for site in vocabulary().sites:
        for concept, *others in (*site.specimens, (site.name, *site.names)):
            names |= {plain(name).replace(" ", ""): concept for name in (concept, *others)}
    return names


def _named(system: ReportingSystem, label: str) -> Category | None:
    """The one category that every part of a plain label names, such as "hsil (cin 2-3)" and "tbs: ascus"."""
    label = _PREFIX.sub("", label)
    for form in (
        label,
        re.sub(r"\s*\(([^()]*)\)", r", \1", label),
    ):  # "AGC (favor neoplastic)" is "AGC, favor neoplastic"
        if (whole := _part(system, form)) is not None:
            return whole
    parts = [part.strip(" .") for part in _SEPARATOR.split(label) if part.strip(" .")]
    titles = {plain(name) for name in (system.name, *system.numbered_by)} | {plain(system.name).split()[0], "tbs"}
    named = {part: _part(system, part) for part in parts if part not in titles}
    stated = {category.name: category for category in named.values() if category}
    if len(stated) != 1:
        return None
    (category,) = stated.values()
    rest = [part for part, found in named.items() if found is None]
    return category if all(_finding(category, part) for part in rest) else None


def _part(system: ReportingSystem, label: str) -> Category | None:
    """The category that a label is a name, code, alias or number of."""
    squeezed = "" if _ROMAN.fullmatch(label) else re.sub(r"[\s\-]", "", label)
    for category, names, numbers, codes in _patterns(system.name):
        if names.fullmatch(label) or numbers.fullmatch(label) or squeezed in codes:
            return category
    for labels, tier in ((_ALL_SAID, "negative"), (_MALIGNANT, "malignant")):
        of_tier = system.of_tier(tier)
        if label in labels and len(of_tier) == 1:
            return of_tier[0]
    return None


@cache
def _patterns(system_name: str) -> tuple[tuple[Category, re.Pattern[str], re.Pattern[str], frozenset[str]], ...]:
    """Of each category of a system, the patterns of its names and numbers in a plain label, and its codes squeezed."""
    system = vocabulary().system(system_name)
    assert system is not None
    by = "|".join(re.escape(plain(name)) for name in (*system.numbered_by, "category", "cat", "class"))
    found = []
    for category in system.categories:
        words = [word for word in (*category.codes, *category.aliases) if word not in category.narrower]
        forms = {form for word in (category.name, *words) for form in (word, plain(word), plain(word).replace(",", ""))}
        names = word_pattern(tuple(sorted(forms)))
        joined = "|".join(re.escape(number.casefold()) for number in category.numbers) or r"(?!)"
        romans = "|".join(number.casefold() for number in category.numbers if not number[0].isdigit()) or r"(?!)"
        numbers = re.compile(rf"(?:(?:{by})[\s.:]*)+(?:system\s+)?(?:{joined})|(?:{romans})")
        codes = {re.sub(r"[\s\-]", "", plain(word)) for word in (category.name, *words) if word not in category.aliases}
        found.append((category, names, numbers, frozenset(codes)))
    return tuple(found)


def _finding(category: Category, part: str) -> bool:
    """Whether a part of a label tells a finding that belongs in the category: "cin 2/3" beside HSIL."""
    pattern = word_pattern(category.findings)
    if pattern.fullmatch(part):
        return True
    ends = re.fullmatch(r"(.*?)(\w+)[/ -](\w+)", part)
    return bool(ends and all(pattern.fullmatch(f"{ends[1]}{end}") for end in ends.groups()[1:]))
