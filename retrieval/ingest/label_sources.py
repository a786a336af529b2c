"""From which words of their reports the labels of an archive's cases were read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from retrieval.language.label_extraction import read_report

if TYPE_CHECKING:
    from index_store import Archive, CaseFilter

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
    found: list[LabelSource] = []
    passed = offset if not derived else 0
    skip = offset if derived else 0
    while len(found) < limit and (page := archive.cases(where, limit=_PAGE, offset=passed)):
        passed += len(page)
        for case in page:
            if derived and not case.derived:
                continue
            if skip:
                skip -= 1
                continue
            given = {name: getattr(case, name) for name in ("site", "system") if name not in case.derived}
            reading = read_report(case.report, site=given.get("site", ""), system=given.get("system", ""))
            site = "site" in case.derived and reading.site == case.site
            category = "category" in case.derived and reading.category == case.category
            found.append(
                LabelSource(
                    case.key,
                    case.site,
                    case.system,
                    case.category,
                    case.derived,
                    reading.site_words if site else "",
                    reading.category_words if category else "",
                    reading.note if not case.category else "",
                )
            )
            if len(found) == limit:
                break
    return found
