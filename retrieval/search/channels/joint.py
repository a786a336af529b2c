"""The report text, by the encoder's text tower, against the archive's images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from retrieval.arrays import Vectors
from retrieval.encoder.nearest import nearest_mean
from retrieval.errors import EvaluationError
from retrieval.search.channels.channel import Channel, ChannelRanking, Need, SearchMaterials
from retrieval.search.channels.own_cases import OwnCases, ascending, one_per_patient
from retrieval.search.understood_query import UnderstoodQuery


class JointChannel(Channel):
    """Text to images, in the space that the encoder's two towers share."""

    name = "joint"
    label = "text to image"
    role = "text"
    needs = frozenset({Need.TEXT, Need.TEXT_TOWER})
    not_judged = (
        "Texts are not judged: queries in other words than the archive's reports would be called not comparable far "
        "more often than stated."
    )

    def encode(self, query: UnderstoodQuery, materials: SearchMaterials) -> Vectors | None:
        """The text's vector float32[1, d]; None where the encoder has no text tower."""
        return materials.text_vector

    def rank(self, query: UnderstoodQuery, vector: Vectors | None, materials: SearchMaterials) -> ChannelRanking | None:
        """Rank patients by the images that the role's encoder has embedded; a note counts the others. `vector` is
        float32[1, d]."""
        ranked = super().rank(query, vector, materials)
        text = materials.encoders.text
        if ranked is None or text is None or not materials.encoders.is_separate:
            return ranked  # one encoder for both roles has embedded every image
        lacking = materials.uncompared()
        if not lacking:
            return ranked
        return ChannelRanking(
            ranked.ranking,
            (
                f"{lacking} of the archive's images were not compared with the text: they have no vector of the text "
                f"encoder ({text.name}). `coin reembed --role text --encoder …` embeds them.",
            ),
        )


def text_similarities(
    own: OwnCases, encode: Callable[[Sequence[str]], Vectors], *, sample: int, seed: int = 0, reports: bool
) -> dict[str, tuple[float, ...]]:
    """What reports find of other patients, ascending: "joint" among images and, with `reports`, "report" among reports.

    Args:
        encode: report texts to unit rows float32[n, d]. It gets a sampled report of each of `sample` patients; with
            `reports` all of them, since these are what "report" searches in.

    Raises:
        EvaluationError: the reports are of fewer than two patients.
    """
    rows = np.array([row for row, case in enumerate(own.cases) if case.report.strip()], dtype=np.int64)
    patients = own.patient_of[rows]
    if len(set(patients.tolist())) < 2:
        raise EvaluationError("Reports of at least two patients are needed to calibrate report text.")
    chosen = one_per_patient(patients, sample, np.random.default_rng(seed))
    encoded = encode([own.cases[row].report for row in (rows if reports else rows[chosen])])
    queries = encoded[chosen] if reports else encoded
    similarities = {"joint": own.similarities(queries, rows[chosen])}
    if reports:
        similarities["report"] = ascending(nearest_mean(queries, encoded, patients, own=patients[chosen]))
    return similarities
