"""Which site a generated image shows, judged by the references nearest to it, and whether it is the one asked for.

A generator tends to draw the site that it saw most, above all where a report does not name one. So an image is not
taken for what was asked: the patients nearest to it, of all sites, vote. A vote counts the less the more cases of its
site the archive holds: otherwise the commonest site would win whatever an image shows.

All figures below are from the starter, on 176 held-out drawn phantoms, whose site is known, against 1,320 references of
8 sites (`python -m benchmarks.generated_query --parts rule`):

- Asked for their own site, 1.1 % of 176 are judged wrong; asked for each of the 7 others, 98.1 % of 1,232 are.
- Where half of the sites are thinned out to 50 patients each, 1.7 and 96.3 %; to 20 patients, 4.0 and 91.6 %.

In a trial with an earlier starter, 50 nearest patients in place of 10 found 87 % of what is wrong; with a single site
thinned out to 10 patients, 15 % were wrongly judged wrong, and 61 % with unweighted votes: hence `FEWEST_PATIENTS`.

The weights count cases of the whole archive, as the archive tells these at once; a site whose patients have many more
cases each than those of other sites is weighed too lightly.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import numpy.typing as npt

from retrieval.vocabulary import vocabulary

if TYPE_CHECKING:
    from index_store import Archive, Case, CaseFilter, Hit

Vectors = npt.NDArray[np.float32]
Verdict = Literal["right", "wrong", "unknown"]

NEAREST: Final = 10
"""Patients that vote on an image."""
ASKED_AT_MOST: Final = 0.2
OTHER_AT_LEAST: Final = 0.5
"""An image is wrong where the asked site has at most the one share of the vote and another site at least the other."""
FEWEST_PATIENTS: Final = 20
"""With fewer patients of the asked site in the archive, nothing is said."""
_FEWEST_VOTES: Final = 5
_DEPTH: Final = 40
_DEEPEST: Final = 640
"""Images an image's neighbours are taken from, at first and at most: one patient may have thousands of crops."""
_NOT_SAID: Final = frozenset({"", "unspecified", "unknown", "not stated", "not given", "other", "various", "n/a"})


@dataclass(frozen=True)
class ShownSite:
    """What the nearest patients say of one image. Shares are of the weighted vote, in [0, 1]."""

    site: str
    """The site with the largest share, by its name in the archive; empty where too few patients name one."""
    share: float
    asked_share: float
    """0 where no site was asked for."""
    verdict: Verdict
    """ "right": the asked site has the largest share. "unknown": neither so nor clearly wrong, or it cannot be told."""


class SiteCheck:
    """Compares images with the site that was asked for, within one archive as it is now.

    Of `where` only what is left out counts (patients, cases, phantoms): under a filter on one site every image would
    show that site. `asked` is a site by any name of the vocabulary's, or by the name it has in the archive; two sites
    that share a reporting system (cervix and vagina) are one here. `reason` says why nothing can be told; empty where
    it can.
    """

    def __init__(self, archive: Archive, asked: str, *, fingerprint: str, where: CaseFilter | None = None) -> None:
        from index_store import CaseFilter

        self._archive = archive
        self._fingerprint = fingerprint
        given = where or CaseFilter()
        self._within = CaseFilter(
            exclude_patients=given.exclude_patients, exclude_cases=given.exclude_cases, phantoms=given.phantoms
        )
        self._asked = _group(asked)
        self._cases: Counter[str] = Counter()
        named = archive.facets()["site"]
        for name, count in named.items():
            self._cases[_group(name)] += count
        self.reason = self._why_not(asked, tuple(name for name in named if _group(name) == self._asked))

    def judge(self, vectors: Vectors) -> tuple[ShownSite, ...]:
        """What each image shows: unit rows float32[n, d]. One search of the archive in most cases."""
        if self._archive.encoder is None or not len(vectors):
            return (ShownSite("", 0.0, 0.0, "unknown"),) * len(vectors)
        depth = _DEPTH
        while True:
            hits = self._archive.search(vectors, depth, where=self._within, fingerprint=self._fingerprint)
            cases = self._archive.cases_of_images({hit.image_id for found in hits for hit in found})
            voters = [_voters(found, cases) for found in hits]
            complete = all(
                len(patients) >= NEAREST or len(found) < depth for patients, found in zip(voters, hits, strict=True)
            )
            if complete or depth >= _DEEPEST:
                return tuple(self._verdict(patients[:NEAREST]) for patients in voters)
            depth *= 4

    def _verdict(self, sites: list[str]) -> ShownSite:
        if len(sites) < _FEWEST_VOTES:
            return ShownSite("", 0.0, 0.0, "unknown")
        votes: dict[str, float] = {}
        for site in sites:
            # A site with a handful of cases must not win by one neighbour: its votes count as that of 20 would.
            votes[_group(site)] = votes.get(_group(site), 0.0) + 1 / max(self._cases[_group(site)], FEWEST_PATIENTS)
        total = sum(votes.values())
        shown = max(votes, key=lambda group: votes[group])  # of equals the nearer
        share, asked = votes[shown] / total, votes.get(self._asked, 0.0) / total
        verdict: Verdict = "unknown"
        if not self.reason:
            if asked >= share:
                verdict = "right"
            elif asked <= ASKED_AT_MOST and share >= OTHER_AT_LEAST:
                verdict = "wrong"
        name = Counter(site for site in sites if _group(site) == shown).most_common(1)[0][0]
        return ShownSite(name, share, asked, verdict)

    def _why_not(self, asked: str, names: tuple[str, ...]) -> str:
        if not self._asked:
            return "The report names no site, so it was not checked which site the generated images show."
        patients: set[str] = set()
        while names and len(patients) < FEWEST_PATIENTS:
            # Leaving out whom it has, each step finds another patient, however many cases one of them has.
            known = (*self._within.exclude_patients, *patients)
            where = dataclasses.replace(self._within, sites=names, exclude_patients=known)
            more = self._archive.cases(where, limit=FEWEST_PATIENTS)
            if not more:
                break
            patients.update(case.patient for case in more)
        if len(patients) >= FEWEST_PATIENTS:
            return ""
        return (
            f"Whether the generated images show the site '{asked}' cannot be told: the archive has {len(patients)} "
            f"patients of that site, and {FEWEST_PATIENTS} are needed."
        )


def _voters(hits: list[Hit], cases: dict[int, Case]) -> list[str]:
    """The sites of the patients, nearest first, as their nearest image has it; patients without one do not vote."""
    sites: dict[str, str] = {}
    for hit in sorted(hits, key=lambda hit: (-hit.score, hit.image_id)):
        case = cases.get(hit.image_id)  # None: removed since it was found
        if case is not None and _group(case.site):
            sites.setdefault(case.patient, case.site)
    return list(sites.values())


def _group(site: str) -> str:
    """One name for all sites that a verdict does not tell apart; empty for a site that says nothing."""
    words = site.strip().casefold()
    if words in _NOT_SAID:
        return ""
    known = vocabulary()
    named = known.site(words)
    system = known.system_of(named.name) if named else None
    return system.name if system else named.name if named else words
