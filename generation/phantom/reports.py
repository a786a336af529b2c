"""A phantom's report: its morphology put into words, in COIN's two styles.

Cervix: a Bethesda line, often with an "Additional comment". Elsewhere: "(specimen) smear shows … . The morphology is
consistent with … .", often with a recommendation. Wordings are chosen by seed; a held-out report is written only from
words that no training report uses (see `Wording.pick`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .findings import FINDINGS
from .wording import AMOUNTS, BACKGROUND_WORDS, COMMENTS, CONCLUSIONS, OPENINGS, RECOMMENDATIONS, SPECIMENS

if TYPE_CHECKING:
    from .phantom import Morphology


class Wording:
    """Chooses among wordings: the last third of every list belongs to held-out reports alone."""

    def __init__(self, rng: np.random.Generator, *, held_out: bool) -> None:
        self.rng = rng
        self.held_out = held_out

    def pick(self, options: tuple[str, ...]) -> str:
        """One of the options that this split may use."""
        kept = len(options) - max(len(options) // 3, 1)
        allowed = options[kept:] if self.held_out else options[:kept]
        return allowed[int(self.rng.integers(len(allowed)))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)


def write_report(morphology: Morphology, wording: Wording) -> str:
    """The report of one phantom; deterministic for one `wording` stream."""
    descriptions, diagnoses = FINDINGS[morphology.site, morphology.finding]
    scale = "few" if morphology.cellularity <= 5 else "some" if morphology.cellularity <= 15 else "many"
    description = wording.pick(descriptions).format(amount=wording.pick(AMOUNTS[scale]))
    diagnosis = wording.pick(diagnoses)
    if morphology.site == "cervix":
        return _bethesda_line(morphology, wording, description, diagnosis)
    specimen = wording.pick(SPECIMENS[morphology.site])
    lowered = specimen if specimen[:3].isupper() else specimen[0].lower() + specimen[1:]
    parts = [
        wording.pick(OPENINGS).format(specimen=specimen, specimen_lower=lowered, findings=description)
        if wording.chance(0.88)
        else f"({specimen})"  # some reports are a specimen and a diagnosis
    ]
    parts += _between(morphology, wording, 0.45)
    parts.append(wording.pick(CONCLUSIONS).format(diagnosis=diagnosis))
    if wording.chance(0.3):
        parts.append(wording.pick(RECOMMENDATIONS))
    return " ".join(parts)


def _bethesda_line(morphology: Morphology, wording: Wording, description: str, diagnosis: str) -> str:
    line = diagnosis + "."
    if wording.chance(0.25):
        line = f"({wording.pick(SPECIMENS['cervix'])}) {line}"
    comments = []
    if wording.chance(0.6):
        comments.append(description[0].upper() + description[1:] + ".")
    comments += _between(morphology, wording, 0.3)
    if wording.chance(0.3):
        comments.append(wording.pick(RECOMMENDATIONS))
    return f"{line}; {wording.pick(COMMENTS).format(text=' '.join(comments))}" if comments else line


def _between(morphology: Morphology, wording: Wording, share: float) -> list[str]:
    return [wording.pick(BACKGROUND_WORDS[element]) for element in morphology.background if wording.chance(share)]
