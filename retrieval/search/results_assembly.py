"""From the channels' rankings to the results: fused, cut to k, each with the image to show and who put it there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, islice
from typing import TYPE_CHECKING, Final

import numpy as np

from retrieval.arrays import Vectors
from retrieval.encoder.vectors import mean_query
from retrieval.language.archive_labels import values_without_cases
from retrieval.search.channels.own_cases import NEIGHBOURS
from retrieval.search.fusion import POOL, Fused, FusionRule, fuse
from retrieval.search.group_by_patient import PatientHit, Ranking, head, only, rank_images, scores_of
from retrieval.search.results import ChannelAnswer, ChannelRank, Overlap, RankedCase
from retrieval.search.slides.slide_search import matched_fields

if TYPE_CHECKING:
    from index_store import Archive, Case, CaseFilter
    from retrieval.search.channels.ranking import ChannelRankings
    from retrieval.search.query import Query
    from retrieval.search.slides.read_slide import QueriedSlide

SHOWN_KEYS: Final = 3
SHOWN_VALUES: Final = 10


def ranked_cases(
    archive: Archive, ranked: ChannelRankings, rule: FusionRule, query: Query, slide: QueriedSlide | None
) -> tuple[RankedCase, ...]:
    """The first `query.k` patients of the channels together, as `fused_cases` gives them."""
    return fused_cases(
        archive,
        ranked.rankings,
        rule,
        query.k,
        primary_vector=ranked.primary_vector,
        where=query.where,
        fingerprint=ranked.primary_fingerprint,
        slide=slide,
    )


def fused_cases(
    archive: Archive,
    rankings: Mapping[str, Ranking],
    rule: FusionRule,
    k: int,
    *,
    primary_vector: Vectors | None,
    where: CaseFilter | None,
    fingerprint: str,
    slide: QueriedSlide | None = None,
) -> tuple[RankedCase, ...]:
    """The first k patients of the channels together.

    Patients with a report that contains the query's words come before the others, where the channel that compares
    reports has any weight. Equal scores are ordered as the first channel orders them, patients that it lacks as the
    second does, and so on.

    Args:
        rankings: by channel, the primary one first: it picks the image shown of a case.
        primary_vector: float32[1, d], what the first channel that compares images queries by; None: none does.
        where: the query's filter, which a shown image passes.
        fingerprint: of the encoder of that vector.
        slide: the query's slide, whose matches are part of the results.
    """
    # Beyond the pool of every channel nothing is a result; rankings of reports can hold the whole archive.
    patients = list(dict.fromkeys(patient for ranking in rankings.values() for patient in head(ranking, max(k, POOL))))
    if not patients:
        return ()
    if len(rankings) == 1:
        (ranking,) = rankings.values()
        chosen = [(patient, ranking[patient].score) for patient in patients[:k]]
        fused = None
    else:
        compared = {name: scores_of(ranking, patients) for name, ranking in rankings.items()}
        fused = fuse(
            rule,
            {name: scores[None] for name, (scores, _) in compared.items()},
            first={name: containing[None] for name, (_, containing) in compared.items()},
        )
        chosen = _best(patients, fused, k)
    rankings = {name: only(ranking, [patient for patient, _ in chosen]) for name, ranking in rankings.items()}
    ranks = {patient: _channel_ranks(patient, patients, rankings, fused) for patient, _ in chosen}
    hits = {patient: _representative(ranks[patient], rankings, rule, patient) for patient, _ in chosen}
    cases = archive.cases_by_id([hit.case_id for hit in hits.values()])
    chosen = [(patient, score) for patient, score in chosen if hits[patient].case_id in cases]  # else just removed
    primary = next(iter(rankings.values()))
    shown = {patient: cases[hits[patient].case_id] for patient, _ in chosen}
    images = _shown_images(archive, shown, primary, primary_vector, where, fingerprint)
    floor = min((similarity for _, similarity in images.values() if similarity is not None), default=np.inf)
    return tuple(
        RankedCase(
            rank=rank,
            score=score,
            similarity=images[patient][1],
            case=(case := cases[hits[patient].case_id]),
            image=(image := next(image for image in case.images if image.id == images[patient][0])),
            other_images=_other_images(primary.get(patient), floor),
            channel_ranks=ranks[patient],
            only_channel=_only_channel(ranks[patient], k),
            contains_words=hits[patient].contains_words,
            matches=() if slide is None else matched_fields(archive, slide, case, image, primary.get(patient)),
        )
        for rank, (patient, score) in enumerate(chosen, start=1)
    )


def nearest_cases(
    archive: Archive, vectors: Vectors, k: int, *, where: CaseFilter | None, fingerprint: str
) -> tuple[RankedCase, ...]:
    """The k patients whose images are nearest to the mean of the vectors float32[n, d]: one channel, exactly."""
    query = mean_query(vectors)
    ranking = rank_images(archive, query, k, pool=k, where=where, fingerprint=fingerprint)
    return fused_cases(
        archive, {"image": ranking}, FusionRule(), k, primary_vector=query, where=where, fingerprint=fingerprint
    )


def channel_answers(
    archive: Archive, rankings: Mapping[str, Ranking], rule: FusionRule, k: int, query_types: Mapping[str, str]
) -> tuple[ChannelAnswer, ...]:
    """Each channel's own first k patients, and the scores of these, or of as many as novelty is judged by."""
    if not rankings:
        return ()
    shares = rule.shares(tuple(rankings))
    first = {name: list(islice(ranking, max(k, NEIGHBOURS))) for name, ranking in rankings.items()}
    keys = archive.patient_keys({patient for patients in first.values() for patient in patients[:k]})
    return tuple(
        ChannelAnswer(
            name,
            shares[name],
            tuple(keys[patient] for patient in first[name][:k] if patient in keys),  # else just removed
            tuple(scores_of(ranking, first[name])[0].tolist()),
            query_types[name],
        )
        for name, ranking in rankings.items()
    )


def overlaps(answers: Sequence[ChannelAnswer]) -> tuple[Overlap, ...]:
    """How many of their first patients each two channels share."""
    return tuple(
        Overlap((a.channel, b.channel), len({*a.patients} & {*b.patients}), min(len(a.patients), len(b.patients)))
        for a, b in combinations(answers, 2)
    )


def count_notes(archive: Archive, query: Query, found: int) -> tuple[str, ...]:
    """What to know of the number of cases: why there are fewer than requested, and what could not be left out."""
    where = query.where
    unknown = archive.unknown_exclusions(where) if where is not None and where.excludes else ()
    if not unknown:
        return _too_few(archive, query, found)
    keys = ", ".join(f"'{key}'" for key in unknown[:SHOWN_KEYS]) + (" …" if len(unknown) > SHOWN_KEYS else "")
    return (
        *_too_few(archive, query, found),
        f"Nothing was left out for {keys}: the archive has no such patient or case.",
    )


def _too_few(archive: Archive, query: Query, found: int) -> tuple[str, ...]:
    """Why there are fewer cases than the query's k, as notes; none where there are as many."""
    if found == query.k:
        return ()
    if not archive.cases(limit=1):
        return ("The archive is empty: add reference cases with `coin add`.",)
    if found:
        return (f"Only {found} of the {query.k} requested cases: the archive has no more patients that match.",)
    if query.where is not None:
        return _unmatched(archive, query.where)
    return ("The archive holds no case of another patient.",)


def _unmatched(archive: Archive, where: CaseFilter) -> tuple[str, ...]:
    """Why no case matches a filter: values that no case has, with those that there are instead."""
    absent = values_without_cases(archive, where)
    if not absent:
        return ("No case matches the filters: remove one of them.",)
    facets = archive.facets()
    notes = []
    for facet, values in absent.items():
        names = ", ".join(f"'{value}'" for value in values[:SHOWN_KEYS]) + (" …" if len(values) > SHOWN_KEYS else "")
        there = [value for value in facets[facet] if value]
        instead = ", ".join(there[:SHOWN_VALUES]) + (" …" if len(there) > SHOWN_VALUES else "") or "none"
        notes.append(f"No case matches the filters: none has the {facet} {names}. This archive has: {instead}.")
    return tuple(notes)


def _best(patients: Sequence[int], fused: Fused, k: int) -> list[tuple[int, float]]:
    scores = fused.scores[0]
    # The patients are in the order of the first channel, then of the second …: a stable sort keeps that in ties.
    order = np.argsort(-scores, kind="stable")
    return [(patients[i], float(scores[i])) for i in order[:k] if np.isfinite(scores[i])]


def _channel_ranks(
    patient: int, patients: Sequence[int], rankings: Mapping[str, Ranking], fused: Fused | None
) -> tuple[ChannelRank, ...]:
    column = patients.index(patient)
    ranks = []
    for name, ranking in rankings.items():
        hit = ranking.get(patient)
        if fused is None:
            rank, part = column + 1, 0.0 if hit is None else hit.score
        else:
            rank, part = fused.ranks[name][0, column], float(fused.parts[name][0, column])
        counts = hit is not None and np.isfinite(rank)
        ranks.append(ChannelRank(name, int(rank) if counts else None, hit.score if hit else None, part))
    return tuple(ranks)


def _representative(
    ranks: Sequence[ChannelRank], rankings: Mapping[str, Ranking], rule: FusionRule, patient: int
) -> PatientHit:
    """The patient's hit in the channel that adds most to its score: the case that this channel compared is shown. A
    case that contains the query's words, where its patient comes first by it."""
    for name, ranking in rankings.items():
        if patient in ranking and ranking[patient].contains_words and rule.weights.get(name, 1.0) > 0:
            return ranking[patient]
    having = [rank for rank in ranks if patient in rankings[rank.channel]]
    return rankings[max(having, key=lambda rank: rank.part).channel][patient]


def _shown_images(
    archive: Archive,
    cases: Mapping[int, Case],
    primary: Ranking,
    primary_vector: Vectors | None,
    where: CaseFilter | None,
    fingerprint: str,
) -> dict[int, tuple[int, float | None]]:
    """By patient, the case's permitted image that is nearest to the primary channel's query, and its similarity; the
    first, and None, where the channel's encoder has embedded none of them."""
    shown: dict[int, tuple[int, float | None]] = {}
    permitted: dict[int, list[int]] = {}
    for patient, case in cases.items():
        hit = primary.get(patient)
        if hit is not None and hit.image_id is not None and hit.case_id == case.id:
            shown[patient] = hit.image_id, hit.score
        else:
            images = [image for image in case.images if where is None or where.allows_image(image)] or case.images
            permitted[patient] = [image.id for image in images]
            shown[patient] = images[0].id, None
    if primary_vector is not None and permitted:
        wanted = [image_id for images in permitted.values() for image_id in images]
        ids, vectors = archive.known_vectors(wanted, fingerprint)
        similarity = dict(zip(ids.tolist(), (vectors @ primary_vector[0]).tolist(), strict=True)) if len(ids) else {}
        for patient, image_ids in permitted.items():
            if known := sorted(image_id for image_id in image_ids if image_id in similarity):
                best = max(known, key=similarity.__getitem__)  # ids ascend: of equal ones the first
                shown[patient] = best, similarity[best]
    return shown


def _other_images(hit: PatientHit | None, floor: float) -> int:
    return 0 if hit is None else sum(score >= floor for score in hit.image_scores[1:])


def _only_channel(ranks: Sequence[ChannelRank], k: int) -> str:
    supporting = [rank.channel for rank in ranks if rank.rank is not None and rank.rank <= k]
    return supporting[0] if len(ranks) > 1 and len(supporting) == 1 else ""
