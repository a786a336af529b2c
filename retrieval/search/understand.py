"""From a `Query` to what the channels read: the only place that reads its text and looks up its cases."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from generation.prompts.glossary import glossary
from retrieval.language.concepts import known_category
from retrieval.language.label_extraction import read_report
from retrieval.language.query_text import query_text
from retrieval.language.words.bm25 import append_meanings
from retrieval.language.words.query_problem import denied_category, opposite_of, query_problem
from retrieval.language.words.terms import content_words
from retrieval.search.query import Query
from retrieval.search.relevance_feedback import RelevanceFeedback
from retrieval.search.understood_query import QueryAttributes, UnderstoodQuery, UnderstoodText

if TYPE_CHECKING:
    from index_store import Archive, Case, CaseFilter
    from retrieval.search.reports.report_index import ReportIndex


def understand_text(
    text: str, *, use_glossary: bool = True, strip: Callable[[str], str] = query_text
) -> UnderstoodText | None:
    """Read a query's text for each of its readers; None where it is blank.

    Args:
        use_glossary: whether machine-translated wordings are understood.
        strip: cuts what is neither finding nor diagnosis, for the generator and the text tower.
    """
    if not text.strip():
        return None
    meant, replaced = glossary().apply(text) if use_glossary else (text, ())
    stripped = strip(text)
    return UnderstoodText(
        generator=stripped,
        tower=strip(meant) if replaced else stripped,
        words=append_meanings(text, replaced),
        contained=content_words(meant),
        reading=read_report(stripped),
        replaced=replaced,
    )


def understand(
    query: Query, text: UnderstoodText | None, archive: Archive, reports: Callable[[], ReportIndex]
) -> UnderstoodQuery:
    """Look up what the query names, as the archive is now.

    Args:
        text: what `understand_text` made of the query's text. It does not depend on the archive.
        reports: gives the index of the archive's reports; called where the query has a text.

    Raises:
        index_store.CaseNotFoundError: the query names a case that the archive does not have.
    """
    case = archive.case(query.case) if query.case else None
    more, less = (tuple(archive.case(key) for key in keys) for keys in (query.more, query.less))
    return UnderstoodQuery(
        text=text,
        site=query.site,
        image=query.image,
        label=query.label,
        case=case,
        image_id=query.image_id,
        mpp=query.mpp,
        slide=query.slide,
        region=query.region,
        feedback=RelevanceFeedback(more, less),
        where=query.where,
        competing=_competing(query, case),
        attributes=_attributes(query, text, case),
        problem=_problem(text, reports),
    )


def not_understood(query: UnderstoodQuery, text: str, found: Iterable[Case]) -> str:
    """Why the query's text is not understood, given the cases that it found: half a sentence, or nothing."""
    if query.problem or query.text is None:
        return query.problem
    categories = [known_category(case.site, case.system, case.category) for case in found]
    tiers = [category.tier for category in categories if category is not None]
    return opposite_of(text, tiers) or denied_category(text, categories)


def _problem(text: UnderstoodText | None, reports: Callable[[], ReportIndex]) -> str:
    if text is None:
        return ""
    return query_problem(text.words, reports().words, is_labelled=text.reading.category is not None)


def _competing(query: Query, case: Case | None) -> CaseFilter | None:
    """The query's filter, without the query's own case and, unless the query includes them, its patient's others."""
    from index_store import CaseFilter

    if case is None:
        return query.where
    where = query.where or CaseFilter()
    where = dataclasses.replace(where, exclude_cases=(*where.exclude_cases, case.key))
    if not query.include_own_patient:
        where = dataclasses.replace(where, exclude_patients=(*where.exclude_patients, case.patient))
    return where


def _attributes(query: Query, text: UnderstoodText | None, case: Case | None) -> QueryAttributes:
    if case is not None:
        return QueryAttributes(case.site, case.system, case.category, "case")
    if text is not None:
        reading = text.reading
        stated = QueryAttributes(
            query.site or reading.site or "", reading.system or "", reading.category or "", "report"
        )
        if stated.site or stated.system:
            return stated
    return QueryAttributes()
