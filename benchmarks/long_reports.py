"""Long reports: a held-out phantom's finding written as a laboratory writes it, with the diagnosis late.

The phantom's own report is a line or two. Here its specimen, held-out descriptions of its finding, what is in its
background and its diagnosis are set between what real reports hold beside them: history, adequacy, method, what was not
seen, and recommendations. Those sentences are below; no training report has them. Some of them mislead, as in life: a
history may name another organ.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from generation.phantom import Phantom
from generation.phantom.wording import WORDS, Wording

HISTORIES = (
    "follow-up after treatment elsewhere three years ago",
    "tiredness and loss of weight for some weeks",
    "chance finding on imaging, otherwise well",
    "operated for a polyp of the colon in the past, diabetes",
)
ADEQUACY = (
    "The material is adequate for assessment.",
    "Sufficient, well preserved material on two slides.",
)
METHODS = (
    "Received were 12 ml in fixative, from which one liquid-based preparation was made.",
    "Two slides fixed in alcohol and one dried in air were received.",
)
LOOKS = ("Low power: {}.", "High power: {}.", "Elsewhere on the slides: {}.")
ABSENT = (
    "Organisms are not identified, and no foreign material is present.",
    "Crystals, foreign bodies and parasites are absent.",
)
ADVICE = (
    "Clinical correlation is advised, with repeat sampling if clinically indicated.",
    "Discussion with the treating department is suggested before any intervention.",
)


def long_report(phantom: Phantom, count_tokens: Callable[[str], int], limit: int) -> str:
    """A report of more than `limit` tokens; deterministic for one phantom.

    Descriptions of the finding are added until it is that long (a few sentences always are).
    """
    seen = phantom.morphology
    rng = np.random.default_rng([phantom.seed, 77])
    wording = Wording(rng, held_out=True)

    def one_of(sentences: tuple[str, ...]) -> str:
        return sentences[int(rng.integers(len(sentences)))]

    scale = "few" if seen.cellularity <= 5 else "some" if seen.cellularity <= 15 else "many"
    descriptions, diagnoses = WORDS.findings[seen.site, seen.finding]
    described = [text.format(amount=wording.pick(WORDS.amounts[scale])) for text in descriptions.held_out]
    background = [wording.pick(WORDS.backgrounds[element]) for element in seen.background]
    before = [
        f"Clinical history: {one_of(HISTORIES)}.",
        f"Specimen: {wording.pick(WORDS.specimens[seen.site])}.",
        one_of(METHODS),
        f"Specimen adequacy: {one_of(ADEQUACY)}",
        "Microscopic description:",
    ]
    after = [one_of(ABSENT), wording.pick(WORDS.conclusions).format(diagnosis=wording.pick(diagnoses)), one_of(ADVICE)]
    looks = [look.format(text) for look, text in zip(LOOKS, described, strict=False)]
    for shown in range(1, len(looks) + 1):
        report = " ".join([*before, *looks[:shown], *background, *after])
        if count_tokens(report) > limit:
            break
    return report
