"""From which words of their reports the labels of an archive's cases were read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from retrieval.language.archive_labels import meant_filter
from retrieval.language.label_extraction import read_report

if TYPE_CHECKING:
    from index_store import Archive, Case, CaseFilter

_PAGE: Final = 200


@dataclass(frozen=True)
class LabelSource:
    """A case's labels, and the words of its report that those which were derived were read from."""

    case: str
    site: str
    system: str
    category: str
    derived: tuple[str, ...]
    site_words: str
    category_words: str
    note: str
    """Why the report gives no category, where there is more to say than that it names none."""


def label_sources(
    archive: Archive, *, where: CaseFilter | None = None, derived: bool = False, limit: int = 50, offset: int = 0
) -> list[LabelSource]:
    """At most `limit` cases, in the order they were added; with `derived`, only those that labels were read for.

    The reports are read anew: where a later version of the rules reads otherwise, a label has no words.
    """
    ids = archive.case_ids(meant_filter(archive, where)).tolist()
    found: list[LabelSource] = []
    passed = 0
    for first in range(0, len(ids), _PAGE):
        page = archive.cases_by_id(ids[first : first + _PAGE])
        for case in (page[number] for number in ids[first : first + _PAGE] if number in page):
            if derived and not case.derived:
                continue
            passed += 1
            if passed > offset:
                found.append(_source(case))
            if len(found) == limit:
                return found
    return found


def _source(case: Case) -> LabelSource:
    given = {name: getattr(case, name) for name in ("site", "system") if name not in case.derived}
    reading = read_report(case.report, **given)
    site = "site" in case.derived and reading.site == case.site
    category = "category" in case.derived and reading.category == case.category
    return LabelSource(
        case=case.key,
        site=case.site,
        system=case.system,
        category=case.category,
        derived=case.derived,
        site_words=reading.site_words if site else "",
        category_words=reading.category_words if category else "",
        note="" if case.category else reading.note,
    )
