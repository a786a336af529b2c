"""A phantom's report: its morphology put into words, in COIN's two styles.

Cervix: a Bethesda line, often with an "Additional comment". Elsewhere: "(specimen) smear shows … . The morphology is
consistent with … .", often with a recommendation; a cytospin is called one. Where the picture is of one cell, the
report says so in place of a description of the field. Wordings are chosen by chance; a held-out report is written only
from phrases that no training report uses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from generation.phantom.wording import WORDS, Wording

if TYPE_CHECKING:
    from generation.phantom.morphology import Morphology


def write_report(morphology: Morphology, wording: Wording) -> str:
    """The report of one phantom; deterministic for one `wording` stream."""
    descriptions, diagnoses = WORDS.findings[morphology.site, morphology.finding]
    scale = "few" if morphology.cellularity <= 5 else "some" if morphology.cellularity <= 15 else "many"
    phrases = WORDS.single_cell if morphology.kind == "cell" else descriptions
    description = wording.pick(phrases).format(amount=wording.pick(WORDS.amounts[scale]))
    diagnosis = wording.pick(diagnoses)
    if morphology.site == "cervix":
        return _bethesda_line(morphology, wording, description, diagnosis)
    specimen = wording.pick(WORDS.specimens[morphology.site])
    lowered = specimen if specimen[:3].isupper() else specimen[0].lower() + specimen[1:]
    openings = WORDS.openings["cytospin" if morphology.preparation == "cytospin" else "smear"]
    parts = [
        wording.pick(openings).format(specimen=specimen, specimen_lower=lowered, findings=description)
        if wording.chance(0.88)
        else f"({specimen})"  # some reports are a specimen and a diagnosis
    ]
    parts += _between(morphology, wording, 0.45)
    parts.append(wording.pick(WORDS.conclusions).format(diagnosis=diagnosis))
    if wording.chance(0.3):
        parts.append(wording.pick(WORDS.recommendations))
    return " ".join(parts)


def _bethesda_line(morphology: Morphology, wording: Wording, description: str, diagnosis: str) -> str:
    line = diagnosis + "."
    if wording.chance(0.25):
        line = f"({wording.pick(WORDS.specimens['cervix'])}) {line}"
    comments = []
    if wording.chance(0.6):
        comments.append(description[0].upper() + description[1:] + ".")
    comments += _between(morphology, wording, 0.3)
    if wording.chance(0.3):
        comments.append(wording.pick(WORDS.recommendations))
    return f"{line}; {wording.pick(WORDS.comments).format(text=' '.join(comments))}" if comments else line


def _between(morphology: Morphology, wording: Wording, share: float) -> list[str]:
    # The picture of one cell is no picture of what lies between the cells.
    seen = morphology.background if morphology.kind == "field" else ()
    return [wording.pick(WORDS.backgrounds[element]) for element in seen if wording.chance(share)]
