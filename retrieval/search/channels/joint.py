"""The report text, by the encoder's text tower, against the archive's images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from retrieval.arrays import Vectors
from retrieval.search.channels.channel import Channel, ChannelRanking, Need, SearchMaterials
from retrieval.search.channels.own_runs import ByVectors, ChannelRun, EvaluationMaterials, has_vector
from retrieval.search.understood_query import UnderstoodQuery


class JointChannel(Channel):
    """Text to images, in the space that the encoder's two towers share."""

    name = "joint"
    label = "text to image"
    colours: ClassVar[Mapping[str, str]] = {name: "#2f9c95"}
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
        lacking = materials.uncompared(self.role)
        if not lacking:
            return ranked
        return ChannelRanking(
            ranked.ranking,
            (
                f"{lacking} of the archive's images were not compared with the text: they have no vector of the text "
                f"encoder ({text.name}). `coin reembed --role text --encoder …` embeds them.",
            ),
        )

    def own_run(self, materials: EvaluationMaterials) -> ChannelRun | None:
        """The reports' vectors against the images; where another encoder compares texts, against those images that it
        has embedded."""
        if materials.texts is None:
            return None
        queries = materials.texts if materials.query_texts is None else materials.query_texts
        encoder = materials.text_encoder
        if encoder is None:
            return ChannelRun((ByVectors(self.name, queries, materials.images[1]),))
        ids, stored = materials.archive.known_vectors(materials.image_ids.tolist(), encoder.fingerprint)
        vectors = np.zeros((len(materials.image_ids), encoder.dim), dtype=np.float32)
        vectors[np.searchsorted(materials.image_ids, ids)] = stored
        lacking = len(vectors) - len(ids)
        note = (
            f"{lacking} images have no vector of {encoder.name}, which compares texts, and no text finds them: run "
            "`coin reembed --role text --encoder …`."
        )
        scorer = ByVectors(self.name, queries, vectors, missing=~has_vector(vectors))
        return ChannelRun((scorer,), notes=(note,) if lacking else ())
