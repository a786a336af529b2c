"""Direct identifiers in a manifest's rows, before any of it is stored: counted, and on request replaced.

Searched are the report, the attributes (site, system, category, stain, preparation, kind) and further columns; the keys
of case, patient and slide; and the image's file name where it would be stored: where it is the key of its own case, or
the file stays in place. A whole slide that has no name but its file's is called after its fingerprint where that name
holds an identifier. `license` and `source` are left alone: they name whom to credit.

In texts, identifiers are replaced by their kind ("[date]"). Further columns whose name is that of an identifier
("patient_name", "dob") are removed. Keys that hold one, and every key that is a file name, become a pseudonym: a keyed
hash. The same key gives the same pseudonym in the same archive, so that adding again finds the same case. The hash's
key is the archive's own id: whoever holds the archive can test a guess, and all record numbers of a hospital are soon
tested.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from retrieval.ingest.identifiers import (
    ADDRESS,
    DATE,
    E_MAIL,
    NAME,
    RECORD,
    TELEPHONE,
    Identifier,
    find_identifiers,
    redact,
)
from retrieval.ingest.listed_names import is_listed_name

if TYPE_CHECKING:
    from index_store import ManifestRow

ATTRIBUTES: Final = ("site", "system", "category", "stain", "preparation", "kind")
KEYS: Final = ("case", "patient", "slide")
LINES_NAMED: Final = 10

_COLUMNS: Final = {
    NAME: r"(?:(?:patient|first|last|given|family|full|maiden)[ _.-]?)?name|surname|forename|"
    r"(?:referring[ _.-]?)?physician|doctor|pathologist|clinician|referrer",
    DATE: r"dob|birth[ _.-]?da(?:te|y)|date[ _.-]?of[ _.-]?birth",
    RECORD: r"mrn|ssn|nhs(?:[ _.-]?(?:no|number|id))?|accession(?:[ _.-]?(?:no|number|id))?|"
    r"(?:(?:medical[ _.-]?)?record|hospital|insurance)[ _.-]?(?:no|number|id)",
    TELEPHONE: r"(?:tele)?phone(?:[ _.-]?(?:no|number))?|mobile|fax",
    E_MAIL: r"e-?mail(?:[ _.-]?address)?",
    ADDRESS: r"(?:home[ _.-]?)?address|street|zip(?:[ _.-]?code)?|post(?:al)?[ _.-]?code",
}
_PERSONAL_COLUMNS: Final = {kind: re.compile(pattern, re.I) for kind, pattern in _COLUMNS.items()}
_LONG_NUMBER: Final = re.compile(r"\d{6,}")


@dataclass(frozen=True)
class IdentifierCount:
    """The number of identifiers of one kind in one place of the rows; never what they are."""

    place: str
    """"reports", "particulars", "further columns", "keys" or "file names"."""
    kind: str
    """As of `Identifier`."""
    count: int
    """Those of a report that several rows share count once."""
    lines: tuple[int, ...]
    """The first `LINES_NAMED` lines of the manifest that hold one."""

    def __str__(self) -> str:
        kind = self.kind if self.count == 1 else _plural(self.kind)
        more = " …" if len(self.lines) == LINES_NAMED else ""
        word = "line" if len(self.lines) == 1 else "lines"
        return f"{self.count} {kind} in {self.place} ({word} {', '.join(map(str, self.lines))}{more})"


@dataclass(frozen=True)
class Screening:
    """Searched rows, as they may be stored."""

    rows: tuple[ManifestRow, ...]
    """With identifiers replaced where that was requested, else unchanged."""
    counts: tuple[IdentifierCount, ...]
    """The identifiers in the rows as given."""
    unsafe: tuple[ManifestRow, ...] = ()
    """Rows that are left out: the path of a file that stays in place holds one and cannot be replaced."""


def screen_rows(
    rows: Sequence[ManifestRow], *, pseudonyms: Callable[[str], str] | None = None, in_place: bool = False
) -> Screening:
    """Find identifiers in `rows`, and replace them where `pseudonyms` are given (see `pseudonyms_of`).

    Args:
        in_place: the files stay where they are, so that their paths are stored. (Those of whole slides are not.)
    """
    counts = _Counts()
    kept: list[ManifestRow] = []
    unsafe: list[ManifestRow] = []
    for row in rows:
        changes: dict[str, object] = {"report": counts.replaced(row, "reports", row.report, once=row.case)}
        for name in ATTRIBUTES:
            changes[name] = counts.replaced(row, "particulars", getattr(row, name), once=row.case)
        changes["attributes"] = counts.attributes(row)
        personal = [name for name in KEYS if counts.add_key(row, name)]
        stays = in_place and not row.is_slide
        if row.stands_alone or stays:
            counts.add(row, "file names", identifiers_in_key(row.image))
        if row.is_slide and row.slide == row.path.stem and (pseudonyms or identifiers_in_key(row.slide)):
            row = dataclasses.replace(row, slide="")
        if pseudonyms is None:
            kept.append(row)
        elif stays and identifiers_in_key(str(row.path)):
            unsafe.append(row)
        else:
            changes |= {name: f"{name}-{pseudonyms(getattr(row, name))}" for name in personal}
            if row.stands_alone:  # its case has the image's name, also afterwards
                changes |= dict.fromkeys(("image", "case"), f"image-{pseudonyms(row.image)}")
            if not row.names_patient:
                changes["patient"] = changes.get("case", row.case)
            kept.append(dataclasses.replace(row, **changes))  # type: ignore[arg-type]
    return Screening(tuple(kept), counts.all(), tuple(unsafe))


def pseudonyms_of(archive_id: str) -> Callable[[str], str]:
    """The pseudonyms of an archive: 64 bits of HMAC-SHA256 of a key under the archive's id, as 16 hex digits."""
    return lambda key: hmac.new(archive_id.encode(), key.encode(), hashlib.sha256).hexdigest()[:16]


def has_identifier(name: str) -> bool:
    """Whether a file's name (without its ending) or another key holds a direct identifier."""
    return bool(identifiers_in_key(name))


def total(counts: Iterable[IdentifierCount]) -> str:
    """The counts as text: "2 dates in reports (lines 3, 8), 1 name in further columns (line 3)"."""
    return ", ".join(map(str, counts))


class _Counts:
    def __init__(self) -> None:
        self._found: dict[tuple[str, str], list[int]] = {}
        self._seen: set[tuple[str, str, str]] = set()

    def add(self, row: ManifestRow, place: str, found: Sequence[Identifier], *, once: str = "", text: str = "") -> None:
        if once and found:
            if (place, once, text) in self._seen:
                return
            self._seen.add((place, once, text))
        for item in found:
            self._found.setdefault((place, item.kind), []).append(row.line)

    def add_key(self, row: ManifestRow, name: str) -> bool:
        """Count the identifiers of a key; whether there are any. A key that only repeats the image's name or the case's
        key is not searched."""
        key = getattr(row, name)
        if (name == "case" and row.stands_alone) or (name == "patient" and not row.names_patient):
            return False
        if name == "slide" and row.is_slide and key == row.path.stem:
            return False  # the file's name, which is not stored where it holds one
        found = identifiers_in_key(key)
        self.add(row, "keys", found, once=f"{name} {key}")
        return bool(found)

    def replaced(self, row: ManifestRow, place: str, text: str, *, once: str) -> str:
        found = _in_text(text)
        self.add(row, place, found, once=once, text=text)
        return redact(text, found) if found else text

    def attributes(self, row: ManifestRow) -> dict[str, str]:
        kept: dict[str, str] = {}
        for name, value in row.attributes.items():
            kind = next((kind for kind, pattern in _PERSONAL_COLUMNS.items() if pattern.fullmatch(name.strip())), None)
            if kind is not None:
                self.add(row, "further columns", (Identifier(kind, 0, len(value)),))
            else:
                kept[name] = self.replaced(row, "further columns", value, once="")
        return kept

    def all(self) -> tuple[IdentifierCount, ...]:
        return tuple(
            IdentifierCount(place, kind, len(lines), tuple(dict.fromkeys(lines))[:LINES_NAMED])
            for (place, kind), lines in self._found.items()
        )


@lru_cache(maxsize=4096)  # cells repeat: a case's report on every row, a few sites on all of them
def _in_text(text: str) -> tuple[Identifier, ...]:
    return find_identifiers(text) if text else ()


def identifiers_in_key(key: str) -> tuple[Identifier, ...]:
    """As in a text, with underscores between words; a key that is only a long number is a record number, and one that
    is a surname and a given name ("DOE, JANE") a name."""
    if _LONG_NUMBER.fullmatch(key):
        return (Identifier(RECORD, 0, len(key)),)
    if is_listed_name(key):
        return (Identifier(NAME, 0, len(key)),)
    return _in_text(key.replace("_", " "))


def _plural(kind: str) -> str:
    return f"{kind}es" if kind.endswith("s") else f"{kind}s"
