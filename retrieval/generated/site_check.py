"""Which site a generated image shows, judged by the references nearest to it, and whether it is the requested one.

A generator tends to the site that it was trained on most, above all where a report names none. So the patients nearest
to an image, of all sites, vote. A vote weighs the less the more cases of its site the archive holds: otherwise the
commonest site would win whatever an image shows.

All figures below are from the starter, on 176 held-out rendered phantoms, whose site is known, against 1,320 references
of 8 sites (`python -m benchmarks.generated_query --parts rule`):

- With their own site requested, 1.1 % of 176 are judged wrong; with each of the 7 others, 98.1 % of 1,232 are.
- Where half of the sites are thinned out to 50 patients each, 1.7 and 96.3 %; to 20 patients, 4.0 and 91.6 %.

In a trial with an earlier starter, 50 nearest patients instead of 10 found 87 % of what is wrong; with a single site
thinned out to 10 patients, 15 % were wrongly judged wrong, and 61 % with unweighted votes: hence `FEWEST_PATIENTS`.

The weights count cases of the whole archive, whose counts are known; a site whose patients have many more cases each
than those of other sites weighs too little.

Another encoder, or another archive, may separate sites less well. So the rule is first tried on the archive's own
images, each judged without its patient (`measure_site_rates`): where it calls more than `MOST_FALSE_ALARMS` of them
wrong, with their own site requested, it is not used, and a note says so. Generated images differ from the archive's, so
these rates are an approximation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from retrieval.arrays import Vectors
from retrieval.language.concepts import site_group

if TYPE_CHECKING:
    from index_store import Archive, CaseFilter, Hit, ImageTable

Verdict = Literal["right", "wrong", "unknown"]

NEAREST: Final = 10
"""Patients that vote on an image."""
ASKED_AT_MOST: Final = 0.2
OTHER_AT_LEAST: Final = 0.5
"""An image is wrong where the requested site has at most the first share of the vote, and another site at least the
second."""
FEWEST_PATIENTS: Final = 20
"""With fewer patients of the requested site in the archive, images are not judged."""
MOST_FALSE_ALARMS: Final = 0.05
"""Of the archive's own images; what lies above it beyond chance is too much."""
SAMPLE: Final = 200
"""Patients whose images the rule is tried on."""
_FEWEST_VOTES: Final = 5
NOBODY: Final = -1
"""No patient's id."""
_DEPTH: Final = 40
_DEEPEST: Final = 640
"""Images an image's neighbours are taken from, at first and at most: one patient may have thousands of crops."""


@dataclass(frozen=True)
class ShownSite:
    """The vote of the patients nearest to one image. Shares are of the weighted vote, in [0, 1]."""

    site: str
    """The site with the largest share, by its name in the archive; empty where too few patients name one."""
    share: float
    asked_share: float
    """The share of the requested site; 0 where none was requested."""
    verdict: Verdict
    """ "right": the requested site has the largest share. "unknown": neither so nor clearly wrong, or not judged."""


@dataclass(frozen=True)
class SiteRates:
    """The rule's error rates on the archive's images, each judged without its patient."""

    images: int
    """Of as many patients, of sites that have enough of them; 0 where fewer than two sites have."""
    wrong: int
    """Of them, called wrong with their own site requested."""
    asked_other: int
    """How often another of these sites was requested of an image."""
    found: int
    """Of these, called wrong."""

    @property
    def false_alarms(self) -> tuple[float, float, float]:
        """Share of the images that are called wrong and are not, with its exact 95 % interval."""
        from retrieval.statistics.estimate import exact_interval

        return (self.wrong / self.images, *exact_interval(self.wrong, self.images)) if self.images else (0.0, 0.0, 1.0)

    @property
    def usable(self) -> bool:
        """Whether the false alarms do not exceed `MOST_FALSE_ALARMS` beyond chance."""
        return self.false_alarms[1] <= MOST_FALSE_ALARMS

    @property
    def words(self) -> str:
        """In one sentence."""
        if not self.images:
            return (
                f"Whether an image shows the query's site is not judged: fewer than two sites have {FEWEST_PATIENTS} "
                "patients in the archive."
            )
        share, low, high = self.false_alarms
        used = "" if self.usable else f" More than {MOST_FALSE_ALARMS:.0%} are too many: it is not used."
        return (
            f"Wrong site: of {self.images} images of the archive itself, with their own site as the query's, the rule "
            f"calls {share:.1%} [{low:.1%}, {high:.1%}] wrong; with another, {self.found / self.asked_other:.1%}.{used}"
        )


class SiteCheck:
    """Compares images with the requested sites, within one archive as it is now.

    Of `where` only the exclusions count (patients, cases, phantoms): under a filter on one site every image would show
    that site. A site is named by any name of the vocabulary, or as the archive names it; two sites that share a
    reporting system (cervix and vagina) count as one.
    """

    def __init__(
        self,
        archive: Archive,
        *,
        fingerprint: str,
        where: CaseFilter | None = None,
        rates: SiteRates | None = None,
    ) -> None:
        """Count the archive's sites.

        Args:
            rates: how the rule does on this archive, where that was measured (`measure_site_rates`); without them it is
                used.
        """
        from index_store import CaseFilter

        self._archive = archive
        self._fingerprint = fingerprint
        given = where or CaseFilter()
        self._within = CaseFilter(
            exclude_patients=given.exclude_patients, exclude_cases=given.exclude_cases, phantoms=given.phantoms
        )
        self._rates = rates
        self._sites = _Sites(archive.image_table())
        self._permitted = archive.image_table(self._within)
        self._patients: dict[str, frozenset[int]] = {}

    def reason(self, wanted: str, own: str = "") -> str:
        """Why images of this site are not judged; empty where they are. `own`: a patient that is left out."""
        group = site_group(wanted)
        if not group:
            return "The report names no site, so it was not checked which site the generated images show."
        patients = len(self._patients_of(group) - set(self._archive.patient_ids([own]).values()))
        if patients < FEWEST_PATIENTS:
            return (
                f"Whether the generated images show the site '{wanted}' cannot be judged: the archive has {patients} "
                f"patients of that site, and {FEWEST_PATIENTS} are needed."
            )
        if self._rates is not None and not self._rates.usable:
            return (
                f"Whether the generated images show the site '{wanted}' was not checked: this encoder does not "
                f"separate the archive's sites well enough. {self._rates.words}"
            )
        return ""

    def judge(
        self, vectors: Vectors, wanted: str | Sequence[str], own: Sequence[str] | None = None
    ) -> tuple[ShownSite, ...]:
        """Judge which site each image shows. One search of the archive in most cases.

        Args:
            vectors: float32[n, d], unit rows.
            wanted: the requested site, or one for each image; empty where none is.
            own: the patient that each image leaves out, as in leave-one-patient-out; empty: nobody.
        """
        sites = [wanted] * len(vectors) if isinstance(wanted, str) else list(wanted)
        left_out = [""] * len(vectors) if own is None else list(own)
        is_judged = {pair: not self.reason(*pair) for pair in set(zip(sites, left_out, strict=True))}
        return tuple(
            self._shown(voters, site_group(site), is_judged=is_judged[site, patient])
            for voters, site, patient in zip(self.voters(vectors, left_out), sites, left_out, strict=True)
        )

    def voters(self, vectors: Vectors, own: Sequence[str]) -> list[list[str]]:
        """The sites of the patients nearest to each image, at most `NEAREST`, without `own[i]`; nearest first."""
        ids = self._archive.patient_ids(set(own))
        return self._voters(vectors, [ids.get(key, NOBODY) for key in own])

    def _voters(self, vectors: Vectors, own: Sequence[int]) -> list[list[str]]:
        """`own`: the ids of patients."""
        if self._archive.encoder is None or not len(vectors):
            return [[] for _ in range(len(vectors))]
        depth = _DEPTH
        while True:
            hits = self._archive.search(vectors, depth, where=self._within, fingerprint=self._fingerprint)
            voters = [self._sites.of_patients(found, patient) for found, patient in zip(hits, own, strict=True)]
            complete = all(
                len(patients) >= NEAREST or len(found) < depth for patients, found in zip(voters, hits, strict=True)
            )
            if complete or depth >= _DEEPEST:
                return [patients[:NEAREST] for patients in voters]
            depth *= 4

    def _shown(self, sites: list[str], wanted: str, *, is_judged: bool) -> ShownSite:
        """`wanted`: a group."""
        if len(sites) < _FEWEST_VOTES:
            return ShownSite("", 0.0, 0.0, "unknown")
        votes: dict[str, float] = {}
        for site in sites:
            # A site with a handful of cases must not win by one neighbour: its votes count as that of 20 would.
            votes[site_group(site)] = votes.get(site_group(site), 0.0) + 1 / max(
                self._sites.cases[site_group(site)], FEWEST_PATIENTS
            )
        total = sum(votes.values())
        shown = max(votes, key=lambda group: votes[group])  # of equals the nearer
        share, asked_share = votes[shown] / total, votes.get(wanted, 0.0) / total
        verdict: Verdict = "unknown"
        if is_judged:
            if asked_share >= share:
                verdict = "right"
            elif asked_share <= ASKED_AT_MOST and share >= OTHER_AT_LEAST:
                verdict = "wrong"
        name = Counter(site for site in sites if site_group(site) == shown).most_common(1)[0][0]
        return ShownSite(name, share, asked_share, verdict)

    def _patients_of(self, group: str) -> frozenset[int]:
        """The ids of all patients of that site."""
        if group not in self._patients:
            rows = self._permitted.columns["site"].has(self._sites.names.get(group, ()))
            self._patients[group] = frozenset(np.unique(self._permitted.patients[rows]).tolist())
        return self._patients[group]


class _Sites:
    """The sites of an archive's images, by the group that they are compared by."""

    def __init__(self, table: ImageTable) -> None:
        self.table = table
        self.codes, values = table.columns["site"].codes, table.columns["site"].values
        self.groups = [site_group(value) for value in values]
        """By the code of a site."""
        self.names: dict[str, list[str]] = {}
        for value, group in zip(values, self.groups, strict=True):
            self.names.setdefault(group, []).append(value)
        _, self.first = np.unique(table.cases, return_index=True)
        """The row of the first image of each case, by case id."""
        self.cases: Counter[str] = Counter()
        for code, count in enumerate(np.bincount(self.codes[self.first], minlength=len(values)).tolist()):
            self.cases[self.groups[code]] += count

    def of_patients(self, hits: list[Hit], own: int) -> list[str]:
        """The sites of the patients, nearest first, as their nearest image has it; patients without one do not vote."""
        ordered = sorted(hits, key=lambda hit: (-hit.score, hit.image_id))
        rows = self.table.rows_of(self.table.known(hit.image_id for hit in ordered))
        sites: dict[int, str] = {}
        for patient, code in zip(self.table.patients[rows].tolist(), self.codes[rows].tolist(), strict=True):
            if patient != own and self.groups[code]:
                sites.setdefault(patient, self.table.columns["site"].values[code])
        return list(sites.values())


def measure_site_rates(archive: Archive, *, fingerprint: str, sample: int = SAMPLE, seed: int = 0) -> SiteRates:
    """Try the rule on the archive's own images: one each of `sample` patients, judged without that patient.

    Of each, its own site is requested, and every other one that has enough patients. One batched search of the archive.
    """
    check = SiteCheck(archive, fingerprint=fingerprint)
    sites, table = check._sites, check._sites.table
    group_of = np.array([sites.groups.index(group) for group in sites.groups], dtype=np.int64)[sites.codes]
    # One of a site's patients is left out.
    requested = [group for group in sites.names if group and len(check._patients_of(group)) > FEWEST_PATIENTS]
    if archive.encoder is None or len(requested) < 2:
        return SiteRates(0, 0, 0, 0)
    rng = np.random.default_rng(seed)
    named = sites.first[np.array([bool(group) for group in sites.groups])[sites.codes[sites.first]]]
    wanted = np.isin(group_of, [sites.groups.index(group) for group in requested])
    chosen: dict[int, int] = {}
    for row in rng.permutation(named).tolist():
        if len(chosen) >= sample:
            break
        if wanted[row]:
            chosen.setdefault(int(table.patients[row]), row)
    ids = [int(rng.choice(table.images_of(table.cases[row]))) for row in chosen.values()]
    voters = check._voters(archive.vectors_of(ids, fingerprint), list(chosen))
    wrong = found = 0
    for of_image, row in zip(voters, chosen.values(), strict=True):
        for group in requested:
            is_wrong = check._shown(of_image, group, is_judged=True).verdict == "wrong"
            if group == sites.groups[sites.codes[row]]:
                wrong += is_wrong
            else:
                found += is_wrong
    return SiteRates(len(chosen), wrong, len(chosen) * (len(requested) - 1), found)
