"""The rows of an evaluation: which channels an archive allows, how they are joined, and who asks by what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from retrieval.arrays import Bools, Ints, Vectors
from retrieval.evaluation.dataset import LabelledCases
from retrieval.evaluation.scorers import ByVectors, ByWords, Channel, Family, Fusion
from retrieval.language.bm25 import ReportWords
from retrieval.search.fusion import CHANNELS, FusionRule

IMAGE: Final = "image"
HISTOGRAM: Final = "colour histogram"
GENERATED: Final = "generated"
JOINT: Final = "joint"
WORDS: Final = "report: words (BM25)"
MEANING: Final = "report: meaning (text tower)"
REPORT: Final = "report"
FUSED: Final = "fused"
FUSED_BOTH: Final = "fused with image"


@dataclass(frozen=True, eq=False)
class Rows:
    """All that is ranked by, and asked."""

    channels: tuple[Channel, ...]
    fusions: tuple[Fusion, ...]
    families: tuple[Family, ...]


def has_report(cases: LabelledCases) -> Bools:
    """bool[cases]: those whose report is not blank."""
    return np.array([bool(report.strip()) for report in cases.reports], dtype=bool)


def with_vector(vectors: Vectors) -> Bools:
    """bool[n]: the rows that are not of zeros."""
    return np.asarray(vectors.any(axis=1), dtype=bool)


def rows_of(
    cases: LabelledCases,
    images: Mapping[str, tuple[Vectors, Vectors]],
    *,
    asking: Ints,
    asking_by_report: Ints,
    left_out: int,
    texts: Vectors | None,
    asked_texts: Vectors | None,
    generated: Vectors | None,
    rules: Mapping[str, FusionRule],
) -> Rows:
    """The rows that this material allows.

    Args:
        images: by row ("image", "colour histogram"): queries float32[cases, d] and references float32[images, d].
        asking, asking_by_report: which cases ask. left_out: how many have no report to ask by.
        texts: float32[cases, d], the text tower's vectors of the reports, in the space of the images; zeros for a case
            that has none. None: no case has one.
        asked_texts: as `texts`, of what the reports ask by; None: the same.
        generated: float32[cases, d], what images generated from the reports ask by; None: there are none.
        rules: by what a query holds (`fusion.default_rules`).
    """
    references = images[IMAGE][1]
    channels: list[Channel] = [ByVectors(name, *vectors) for name, vectors in images.items()]
    families = [
        Family(
            name="queries by image",
            words="Each case asks by the mean of its images' vectors.",
            asking=asking,
            rows=tuple(images),
            compared=((IMAGE, HISTOGRAM),) if HISTOGRAM in images else (),
        )
    ]
    if not len(asking_by_report):
        return Rows(tuple(channels), (), tuple(families))
    by_text: dict[str, str] = {}
    if generated is not None:
        channels.append(ByVectors(GENERATED, generated, references))
        by_text["generated"] = GENERATED
    if texts is not None:
        asked = texts if asked_texts is None else asked_texts
        channels.append(ByVectors(JOINT, asked, references))
        channels.append(ByVectors(MEANING, asked, texts, by_case=True, missing=~with_vector(texts)))
        by_text["joint"] = JOINT
    written = has_report(cases)
    index = ReportWords([report for report, there in zip(cases.reports, written, strict=True) if there])
    channels.append(ByWords(WORDS, cases.reports, written, index))
    by_text["report"] = WORDS if texts is None else REPORT
    fusions = []
    if texts is not None:
        fusions.append(Fusion(REPORT, rules["report"], {"words": WORDS, "meaning": MEANING}, by_case=True))
    fusions.append(Fusion(FUSED, rules["text"], by_text))
    together = {"image": IMAGE} | by_text
    fusions.append(
        Fusion(FUSED_BOTH, rules["text and image"], {name: together[name] for name in CHANNELS if name in together})
    )
    parts = [*by_text.values(), *((WORDS, MEANING) if texts is not None else ())]
    whole = FUSED if len(by_text) > 1 else WORDS  # of one channel there is nothing to join
    pairs = [(FUSED, part) for part in parts] if whole == FUSED else []
    if generated is not None:
        pairs += [(GENERATED, JOINT), (GENERATED, WORDS)] if texts is not None else [(GENERATED, WORDS)]
    families.append(
        Family(
            name="queries by report",
            words="Each case asks by the text of its report.",
            asking=asking_by_report,
            rows=(*parts, FUSED) if whole == FUSED else tuple(parts),
            compared=tuple(pairs),
            left_out=left_out,
            by_report=True,
        )
    )
    families.append(
        Family(
            name="queries by report and image",
            words="Each case asks by its report and its images together.",
            asking=asking_by_report,
            rows=(IMAGE, whole, FUSED_BOTH),
            compared=((FUSED_BOTH, IMAGE), (FUSED_BOTH, whole)),
            left_out=left_out,
            by_report=True,
        )
    )
    return Rows(tuple(channels), tuple(fusions), tuple(families))
