"""The words of phantom reports, read from wording.toml: for every choice, those of training and those held out."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Options(NamedTuple):
    """The wordings of one choice: training reports are written from `train`, held-out ones from `held_out`."""

    train: tuple[str, ...]
    held_out: tuple[str, ...]


class Described(NamedTuple):
    """How a finding looks (follows "shows", may hold {amount}), and what it is called."""

    descriptions: Options
    diagnoses: Options


@dataclass(frozen=True)
class Words:
    """The whole of wording.toml: `openings` by preparation, `findings` by (site, finding), `backgrounds` by element."""

    openings: dict[str, Options]
    conclusions: Options
    recommendations: Options
    comments: Options
    single_cell: Options
    amounts: dict[str, Options]
    specimens: dict[str, Options]
    backgrounds: dict[str, Options]
    findings: dict[tuple[str, str], Described]


class Wording:
    """Chooses among the wordings of one split at random."""

    def __init__(self, rng: np.random.Generator, *, held_out: bool) -> None:
        self.rng = rng
        self.held_out = held_out

    def pick(self, options: Options) -> str:
        """One of the options that this split may use."""
        allowed = options.held_out if self.held_out else options.train
        return allowed[int(self.rng.integers(len(allowed)))]

    def chance(self, share: float) -> bool:
        """True with probability `share`."""
        return bool(self.rng.random() < share)


def _options(table: dict[str, list[str]]) -> Options:
    return Options(tuple(table["train"]), tuple(table["held-out"]))


def _read(path: Path) -> Words:
    with path.open("rb") as handle:
        document: dict[str, Any] = tomllib.load(handle)
    openings, amounts, specimens, backgrounds = (
        {name: _options(table) for name, table in document[part].items()}
        for part in ("openings", "amounts", "specimens", "backgrounds")
    )
    return Words(
        openings=openings,
        conclusions=_options(document["conclusions"]),
        recommendations=_options(document["recommendations"]),
        comments=_options(document["comments"]),
        single_cell=_options(document["single_cell"]),
        amounts=amounts,
        specimens=specimens,
        backgrounds=backgrounds,
        findings={
            (site, finding): Described(_options(words["descriptions"]), _options(words["diagnoses"]))
            for site, findings in document["findings"].items()
            for finding, words in findings.items()
        },
    )


WORDS = _read(Path(__file__).with_name("wording.toml"))
