"""Block by block, where every row of an evaluation puts every patient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from retrieval.arrays import Ints, Vectors
from retrieval.evaluation.dataset import LabelledCases
from retrieval.evaluation.scorers import Channel, Family, Fusion
from retrieval.search.batch import Candidates, Places, fused_places

BLOCK_SCORES: Final = 1_000_000
"""Scores in one block: 4 MB as float32, and a few times that for every channel of it."""


@dataclass(frozen=True, eq=False)
class Block:
    """Queries that compete for the same patients in every pool, and are asked in the same families."""

    queries: Ints
    """int[b], rows of the cases."""
    rows: tuple[str, ...]
    """What ranks them."""


@dataclass(frozen=True, eq=False)
class Rankings:
    """Channels, and fusions of them, over the cases of an archive."""

    cases: LabelledCases
    channels: Mapping[str, Channel]
    fusions: Mapping[str, Fusion]
    _candidates: dict[tuple[bytes, int, bool], Candidates] = field(default_factory=dict)

    def needed(self, rows: Sequence[str]) -> set[str]:
        """The channels that these rows are made of."""
        found: set[str] = set()
        for row in rows:
            found |= self.needed(tuple(self.fusions[row].of.values())) if row in self.fusions else {row}
        return found

    def scores(self, block: Block) -> dict[str, Vectors]:
        """What each channel gives to every image or case: once a block, whatever pools it is ranked in."""
        return {name: self.channels[name].scores(block.queries) for name in sorted(self.needed(block.rows))}

    def places(self, block: Block, scores: Mapping[str, Vectors], pool_of: Ints) -> dict[str, Places]:
        """Where each row puts the patients of the block's pool. `pool_of`, int[cases], says who competes."""
        made: dict[str, Places] = {}
        own = self.cases.patient_of[block.queries]
        number = int(pool_of[block.queries[0]])

        def place(row: str) -> Places:
            if row not in made and row in self.fusions:
                fusion = self.fusions[row]
                if fusion.by_case:
                    given = {name: scores[of] for name, of in fusion.of.items()}
                    candidates = self.candidates(pool_of, number, by_case=True)
                    fused = candidates.fused_items(fusion.rule, given, own)
                    made[row] = candidates.item_places(fused.scores.astype(np.float32), own)
                else:
                    made[row] = fused_places(fusion.rule, {name: place(of) for name, of in fusion.of.items()})
            elif row not in made:
                candidates = self.candidates(pool_of, number, by_case=self.channels[row].by_case)
                made[row] = candidates.places(scores[row], own)
            return made[row]

        return {row: place(row) for row in block.rows}

    def blocks(
        self, families: Sequence[Family], pools: Sequence[Ints], *, scores: int = BLOCK_SCORES
    ) -> Iterator[Block]:
        """All queries of the families, each once. The more images, the fewer queries a block."""
        size = max(1, scores // len(self.cases.image_ids))
        asked = np.stack([np.isin(np.arange(len(self.cases.keys)), family.asking) for family in families])
        kinds = np.concatenate([asked, np.stack(pools)])[:, asked.any(axis=0)]
        queries = np.flatnonzero(asked.any(axis=0))
        for kind in np.unique(kinds, axis=1).T:
            alike = queries[(kinds == kind[:, None]).all(axis=0)]
            rows = [
                row for family, asks in zip(families, kind[: len(families)], strict=True) if asks for row in family.rows
            ]
            for start in range(0, len(alike), size):
                yield Block(alike[start : start + size], tuple(dict.fromkeys(rows)))

    def candidates(self, pool_of: Ints, number: int, *, by_case: bool) -> Candidates:
        """The patients of the pool `number`, by their images or by their cases."""
        key = (pool_of.tobytes(), number, by_case)
        if key not in self._candidates:
            cases = self.cases
            if by_case:
                items = np.flatnonzero(pool_of == number)
                images = np.unique(cases.case_of, return_index=True)[1][items]  # a case is shown by its first image
                made = Candidates(items, cases.patient_of[items], images)
            else:
                items = np.flatnonzero(pool_of[cases.case_of] == number)
                made = Candidates(items, cases.patient_of[cases.case_of[items]], items)
            self._candidates[key] = made
        return self._candidates[key]
