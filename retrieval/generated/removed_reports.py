"""Generated images of removed cases: what a cache holds of their reports is deleted with them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from generation import text_sha256
from retrieval.generated.checked_generation import state_site
from retrieval.language.query_text import morphology_and_diagnosis, query_text
from retrieval.language.vocabulary import vocabulary

if TYPE_CHECKING:
    from generation import GenerationCache
    from index_store import Case


def forget_generated(cache: GenerationCache, cases: Iterable[Case]) -> int:
    """Delete from a cache the images that were generated from the reports of these cases: of a report as it stands, as
    a query reads it, and with a site stated before it. Returns how many.

    A cache may serve several archives, and another case may have the same report: then the images are generated anew
    when they are needed next.
    """
    hashes: set[str] = set()
    for case in cases:
        sites = {*(site.name for site in vocabulary().sites), case.site} - {""}
        texts = {case.report, case.report.strip(), query_text(case.report), morphology_and_diagnosis(case.report)}
        texts |= {state_site(text, site) for text in texts for site in sites}
        hashes.update(map(text_sha256, texts))
    return cache.forget_reports(hashes)
