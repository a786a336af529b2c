"""From the channels' rankings to the results: fused, cut to k, each with the image to show and who put it there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Vectors
from retrieval.encoder.nearest import NEIGHBOURS
from retrieval.encoder.vectors import mean_query
from retrieval.search.fusion import Fused, FusionRule, fuse
from retrieval.search.group_by_patient import Place, Ranking, rank_images
from retrieval.search.results import ChannelAnswer, ChannelPlace, Overlap, RankedCase

if TYPE_CHECKING:
    from index_store import Archive, Case, CaseFilter


def fused_cases(
    archive: Archive,
    rankings: Mapping[str, Ranking],
    rule: FusionRule,
    k: int,
    *,
    lead: Vectors | None,
    where: CaseFilter | None,
    fingerprint: str,
) -> tuple[RankedCase, ...]:
    """The first k patients of the channels together.

    `lead` is the leading channel's query, float32[1, d]: it picks a case's image. Equal scores go by the leading
    channels' own order, then by the lower case id.
    """
    patients = list(dict.fromkeys(patient for ranking in rankings.values() for patient in ranking))
    if not patients:
        return ()
    if len(rankings) == 1:
        (ranking,) = rankings.values()
        chosen = [(patient, ranking[patient].score) for patient in patients[:k]]
        fused = None
    else:
        fused = fuse(rule, {name: _scores(ranking, patients)[None] for name, ranking in rankings.items()})
        chosen = _best(patients, fused, rankings, k)
    places = {patient: _places(patient, patients, rankings, fused) for patient, _ in chosen}
    speaking = {patient: _speaking(places[patient], rankings, patient) for patient, _ in chosen}
    cases = archive.cases_by_id([place.case_id for place in speaking.values()])
    chosen = [(patient, score) for patient, score in chosen if speaking[patient].case_id in cases]  # else just removed
    leading = next(iter(rankings.values()))
    shown = {
        patient: _shown(archive, cases[speaking[patient].case_id], leading.get(patient), lead, where, fingerprint)
        for patient, _ in chosen
    }
    floor = min((similarity for _, similarity in shown.values() if similarity is not None), default=np.inf)
    return tuple(
        RankedCase(
            rank=rank,
            score=score,
            similarity=shown[patient][1],
            case=(case := cases[speaking[patient].case_id]),
            image=next(image for image in case.images if image.id == shown[patient][0]),
            other_images=_others(leading.get(patient), floor),
            places=places[patient],
            alone=_alone(places[patient], k),
        )
        for rank, (patient, score) in enumerate(chosen, start=1)
    )


def nearest_cases(
    archive: Archive, vectors: Vectors, k: int, *, where: CaseFilter | None, fingerprint: str
) -> tuple[RankedCase, ...]:
    """The k patients whose images are nearest to the mean of the vectors float32[n, d]: one channel, exactly."""
    query = mean_query(vectors)
    ranking = rank_images(archive, query, k, pool=k, where=where, fingerprint=fingerprint)
    return fused_cases(archive, {"image": ranking}, FusionRule(), k, lead=query, where=where, fingerprint=fingerprint)


def channel_answers(
    rankings: Mapping[str, Ranking], rule: FusionRule, k: int, query_types: Mapping[str, str]
) -> tuple[ChannelAnswer, ...]:
    """Each channel's own first k patients, and the scores of these, or of as many as novelty is judged by."""
    if not rankings:
        return ()
    shares = rule.shares(tuple(rankings))
    return tuple(
        ChannelAnswer(
            name,
            shares[name],
            tuple(list(ranking)[:k]),
            tuple(place.score for place in list(ranking.values())[: max(k, NEIGHBOURS)]),
            query_types[name],
        )
        for name, ranking in rankings.items()
    )


def overlaps(answers: Sequence[ChannelAnswer]) -> tuple[Overlap, ...]:
    """How many of their first places each two channels share."""
    return tuple(
        Overlap((a.channel, b.channel), len({*a.patients} & {*b.patients}), min(len(a.patients), len(b.patients)))
        for a, b in combinations(answers, 2)
    )


def _scores(ranking: Ranking, patients: Sequence[str]) -> npt.NDArray[np.float64]:
    return np.array([ranking[patient].score if patient in ranking else -np.inf for patient in patients])


def _best(patients: Sequence[str], fused: Fused, rankings: Mapping[str, Ranking], k: int) -> list[tuple[str, float]]:
    scores = fused.scores[0]
    # The patients stand in the order of the first channel, then of the second …: a stable sort keeps that in ties.
    order = np.argsort(-scores, kind="stable")
    return [(patients[i], float(scores[i])) for i in order[:k] if np.isfinite(scores[i])]


def _places(
    patient: str, patients: Sequence[str], rankings: Mapping[str, Ranking], fused: Fused | None
) -> tuple[ChannelPlace, ...]:
    column = patients.index(patient)
    places = []
    for name, ranking in rankings.items():
        place = ranking.get(patient)
        if fused is None:
            rank, part = column + 1, 0.0 if place is None else place.score
        else:
            rank, part = fused.ranks[name][0, column], float(fused.parts[name][0, column])
        found = place is not None and np.isfinite(rank)
        places.append(ChannelPlace(name, int(rank) if found else None, place.score if place else None, part))
    return tuple(places)


def _speaking(places: Sequence[ChannelPlace], rankings: Mapping[str, Ranking], patient: str) -> Place:
    """The place in the channel that adds most: the case that this channel compared is the one to show."""
    found = [place for place in places if patient in rankings[place.channel]]
    return rankings[max(found, key=lambda place: place.part).channel][patient]


def _shown(
    archive: Archive,
    case: Case,
    leading: Place | None,
    lead: Vectors | None,
    where: CaseFilter | None,
    fingerprint: str,
) -> tuple[int, float | None]:
    """The case's permitted image that is nearest to the leading query, and its similarity."""
    if leading is not None and leading.image_id is not None and leading.case_id == case.id:
        return leading.image_id, leading.score
    images = [image for image in case.images if where is None or where.allows_image(image)] or list(case.images)
    if lead is None:
        return images[0].id, None
    similarities = archive.vectors_of([image.id for image in images], fingerprint) @ lead[0]
    best = min(range(len(images)), key=lambda i: (-similarities[i], images[i].id))
    return images[best].id, float(similarities[best])


def _others(place: Place | None, floor: float) -> int:
    return 0 if place is None else sum(score >= floor for score in place.image_scores[1:])


def _alone(places: Sequence[ChannelPlace], k: int) -> str:
    supporting = [place.channel for place in places if place.rank is not None and place.rank <= k]
    return supporting[0] if len(places) > 1 and len(supporting) == 1 else ""
