"""The report text, by the encoder's text tower, against the archive's images."""

from __future__ import annotations

from retrieval.arrays import Vectors
from retrieval.search.channels.channel import Channel, ChannelRanking, Need, SearchMaterials
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
