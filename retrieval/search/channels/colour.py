"""The colours of the query's image, or of its case's images, against those of the archive's images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from retrieval.arrays import Vectors
from retrieval.encoder.colour_histogram import ColourHistogram
from retrieval.encoder.vectors import mean_query
from retrieval.search.channels.channel import Channel, ChannelRanking, Need, SearchMaterials
from retrieval.search.channels.image import query_images, query_picture
from retrieval.search.channels.own_runs import ByVectors, ChannelRun, EvaluationMaterials
from retrieval.search.understood_query import UnderstoodQuery

HISTOGRAM: Final = "colour histogram"
"""The name of its run in an evaluation."""


class ColourChannel(Channel):
    """Colour histogram to colour histograms. What it finds shares stain and scanner with the query, so it is joined
    only where that was seen to help."""

    name = "colour"
    label = "colour"
    role = "colour"
    needs = frozenset({Need.PICTURE})
    opt_in = True
    colours: ClassVar[Mapping[str, str]] = {HISTOGRAM: "#d9a441"}
    not_judged = "Colours are not judged: a case of the same stain has similar ones, whatever it shows."

    def encode(self, query: UnderstoodQuery, materials: SearchMaterials) -> Vectors | None:
        """The histogram float32[1, 512] of the query's image or of its region, or the mean of its case's stored ones.
        None for a slide, and for a case whose colours were not read. Raises as `ImageChannel.encode`."""
        if query.slide is not None:
            materials.noted.append("Colours are not compared: the query is a slide.")
            return None
        histogram, archive = ColourHistogram(), materials.archive
        if archive.encoder_of(self.role) is None:
            materials.noted.append(
                "Colours were not compared: `coin reembed --colours` reads those of the archive's images."
            )
            return None
        picture, _ = query_picture(query, materials)
        if picture is not None:
            return histogram.encode_prepared([histogram.prepare(picture)])
        stored = archive.known_vectors(query_images(query), histogram.fingerprint)[1]
        return mean_query(stored) if len(stored) else None

    def rank(self, query: UnderstoodQuery, vector: Vectors | None, materials: SearchMaterials) -> ChannelRanking | None:
        """Rank patients by the images whose colours were read; a note counts the others. `vector` is
        float32[1, 512]."""
        ranked = super().rank(query, vector, materials)
        lacking = 0 if ranked is None else materials.uncompared(self.role)
        if ranked is None or not lacking:
            return ranked
        return ChannelRanking(
            ranked.ranking,
            (f"The colours of {lacking} images were not compared: `coin reembed --colours` reads them.",),
        )

    def own_run(self, materials: EvaluationMaterials) -> ChannelRun | None:
        """The mean of a case's histograms against those of all images; None where they were not read."""
        return None if materials.colours is None else ChannelRun((ByVectors(HISTOGRAM, *materials.colours),))
