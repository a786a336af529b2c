"""The selection of images for a blinded reader study: real and generated ones matched by site and category."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from retrieval.language.concepts import category_concept, site_concept
from retrieval.reader_study.candidates import Candidate

Key = tuple[str, ...]


@dataclass(frozen=True)
class Selection:
    """The selected images, and how well the two halves match."""

    real: tuple[Candidate, ...]
    generated: tuple[Candidate, ...]
    by_category: int
    """Pairs of a real and a generated image of one site and category."""
    by_site: int
    """Further pairs, of one site alone."""

    @property
    def all_matched(self) -> bool:
        """Whether each image has its counterpart of the same site and category."""
        return self.by_category == len(self.real) == len(self.generated)


def _category(candidate: Candidate) -> Key:
    if not (candidate.site and candidate.category):
        return ()
    return (site_concept(candidate.site), category_concept(candidate.site, "", candidate.category))


def _site(candidate: Candidate) -> Key:
    return (site_concept(candidate.site),) if candidate.site else ()


_LEVELS: Final[tuple[Callable[[Candidate], Key], ...]] = (_category, _site)


def select(
    real: Sequence[Candidate], generated: Sequence[Candidate], *, n_real: int, n_generated: int, seed: int
) -> Selection:
    """Select at most `n_real` and `n_generated` images, the same for the same candidates and seed.

    First pairs of the same site and category, one category after the other in turn; then pairs of the same site; then
    the remaining images. A patient's second image comes after every patient's first, and likewise for images of one
    report.
    """
    pools = _in_order(real, seed), _in_order(generated, seed)
    chosen: tuple[list[Candidate], list[Candidate]] = [], []
    wanted = n_real, n_generated
    pairs = []
    for level in _LEVELS:
        before = len(chosen[0])
        _pair([_remaining(*both) for both in zip(pools, chosen, strict=True)], chosen, wanted, level, seed)
        pairs.append(len(chosen[0]) - before)
    for pool, taken, most in zip(pools, chosen, wanted, strict=True):
        taken += _remaining(pool, taken)[: most - len(taken)]
    return Selection(tuple(chosen[0]), tuple(chosen[1]), *pairs)


def _remaining(pool: list[Candidate], taken: list[Candidate]) -> list[Candidate]:
    gone = {candidate.sha256 for candidate in taken}
    return [candidate for candidate in pool if candidate.sha256 not in gone]


def _in_order(candidates: Sequence[Candidate], seed: int) -> list[Candidate]:
    """In random order, with every owner's first image before any owner's second."""
    turns: Counter[str] = Counter()
    turn = {}
    for candidate in sorted(candidates, key=lambda candidate: _chance(seed, candidate.sha256)):
        turn[candidate.sha256] = turns[candidate.owner]
        turns[candidate.owner] += 1
    return sorted(candidates, key=lambda candidate: (turn[candidate.sha256], _chance(seed, candidate.sha256)))


def _pair(
    remaining: list[list[Candidate]],
    chosen: tuple[list[Candidate], list[Candidate]],
    wanted: tuple[int, int],
    level: Callable[[Candidate], Key],
    seed: int,
) -> None:
    """Add pairs that agree on the level from the remaining images, one pair of each value in turn."""
    groups: list[dict[Key, deque[Candidate]]] = []
    for pool in remaining:
        by_key: dict[Key, deque[Candidate]] = defaultdict(deque)
        for candidate in pool:
            if key := level(candidate):
                by_key[key].append(candidate)
        groups.append(by_key)
    turns = deque(sorted(set(groups[0]) & set(groups[1]), key=lambda key: _chance(seed, *key)))
    while turns and all(len(taken) < most for taken, most in zip(chosen, wanted, strict=True)):
        key = turns.popleft()
        for taken, by_key in zip(chosen, groups, strict=True):
            taken.append(by_key[key].popleft())
        if all(by_key[key] for by_key in groups):
            turns.append(key)


def _chance(seed: int, *words: str) -> str:
    """A pseudo-random key of the seed and the words, which does not depend on any version of a random generator."""
    return hashlib.sha256("\0".join((str(seed), *words)).encode()).hexdigest()
