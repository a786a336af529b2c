"""Which images a blinded reading shows: real and generated ones of the same sites and categories, where there are."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from retrieval.reader_study.candidates import Candidate

Key = tuple[str, ...]


@dataclass(frozen=True)
class Selection:
    """The images chosen, and how alike the two halves are."""

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


def _category(one: Candidate) -> Key:
    return (one.site, one.category) if one.site and one.category else ()


def _site(one: Candidate) -> Key:
    return (one.site,) if one.site else ()


_LEVELS: Final[tuple[Callable[[Candidate], Key], ...]] = (_category, _site)


def select(
    real: Sequence[Candidate], generated: Sequence[Candidate], *, n_real: int, n_generated: int, seed: int
) -> Selection:
    """Choose at most so many of each, the same for the same candidates and seed.

    Pairs of one site and category first, the categories taking turns; then pairs of one site; then whatever is left.
    A patient's second image comes after every patient's first, and so with the images of one report.
    """
    pools = _drawn(real, seed), _drawn(generated, seed)
    chosen: tuple[list[Candidate], list[Candidate]] = [], []
    wanted = n_real, n_generated
    pairs = []
    for level in _LEVELS:
        before = len(chosen[0])
        _pair([_left(*both) for both in zip(pools, chosen, strict=True)], chosen, wanted, level, seed)
        pairs.append(len(chosen[0]) - before)
    for pool, taken, most in zip(pools, chosen, wanted, strict=True):
        taken += _left(pool, taken)[: most - len(taken)]
    return Selection(tuple(chosen[0]), tuple(chosen[1]), *pairs)


def _left(pool: list[Candidate], taken: list[Candidate]) -> list[Candidate]:
    gone = {one.sha256 for one in taken}
    return [one for one in pool if one.sha256 not in gone]


def _drawn(candidates: Sequence[Candidate], seed: int) -> list[Candidate]:
    """In an order of chance, in which everybody's first image stands before anybody's second."""
    turns: Counter[str] = Counter()
    turn = {}
    for one in sorted(candidates, key=lambda one: _chance(seed, one.sha256)):
        turn[one.sha256] = turns[one.of]
        turns[one.of] += 1
    return sorted(candidates, key=lambda one: (turn[one.sha256], _chance(seed, one.sha256)))


def _pair(
    left: list[list[Candidate]],
    chosen: tuple[list[Candidate], list[Candidate]],
    wanted: tuple[int, int],
    level: Callable[[Candidate], Key],
    seed: int,
) -> None:
    """Choose pairs that agree on the level from what is left, one of each value in turn."""
    groups: list[dict[Key, deque[Candidate]]] = []
    for pool in left:
        by_key: dict[Key, deque[Candidate]] = defaultdict(deque)
        for one in pool:
            if key := level(one):
                by_key[key].append(one)
        groups.append(by_key)
    turns = deque(sorted(set(groups[0]) & set(groups[1]), key=lambda key: _chance(seed, *key)))
    while turns and all(len(taken) < most for taken, most in zip(chosen, wanted, strict=True)):
        key = turns.popleft()
        for taken, by_key in zip(chosen, groups, strict=True):
            taken.append(by_key[key].popleft())
        if all(by_key[key] for by_key in groups):
            turns.append(key)


def _chance(seed: int, *words: str) -> str:
    """A number from the seed and the words that no version of a random generator changes."""
    return hashlib.sha256("\0".join((str(seed), *words)).encode()).hexdigest()
