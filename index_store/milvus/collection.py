"""A vector index in Milvus: one collection of unit vectors under image ids, with the fields that filters ask for.

Milvus applies a filter before it ranks. The field `site` is the partition key, so that a filter by site reads only the
partitions of that site. The collection's index is FLAT, which is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from index_store.milvus.connection import MilvusServer
from index_store.milvus.filter_fields import VALUE_LENGTH, VALUES, FiledImage
from index_store.vectors import Ids, Selection, Vectors

PARTITIONS = 16
BATCH = 1_000
"""Rows a request: at 512 dimensions 2 MB, of the 64 MB that a server takes by default."""
MOST = 16_384
"""Milvus answers with no more than this."""
NAMED = 100_000
"""Ids that one expression names: 1 MB."""
EXTRA = 16
"""How many more than k are fetched, to see whether the k-th is tied with what comes after it."""
TIE = 1e-5
"""Scores closer than this may be equal: sums in float32 differ by about 1e-7 between code paths."""
METRIC = "IP"
STRONG = "Strong"
"""Every read sees every write that was acknowledged before it."""

_NOBODY = FiledImage(0, 0, 0, False, *[""] * len(VALUES))


class TooManyError(Exception):
    """More candidates would have to be fetched than Milvus gives out."""


class MilvusIndex:
    """A `VectorIndex` (see there) over one collection, which must be there (`create`)."""

    def __init__(self, server: MilvusServer, collection: str, dim: int) -> None:
        self.collection = collection
        self._server = server
        self._dim = dim

    @classmethod
    def create(cls, server: MilvusServer, collection: str, dim: int) -> MilvusIndex:
        """A new, empty collection, in place of one of that name."""
        from pymilvus import DataType

        with server.explained():
            client = server.client
            schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
            schema.add_field("image_id", DataType.INT64, is_primary=True)
            for name in ("case_id", "patient_id", "sequence"):
                schema.add_field(name, DataType.INT64)
            schema.add_field("phantom", DataType.BOOL)
            for name in VALUES:
                schema.add_field(name, DataType.VARCHAR, max_length=VALUE_LENGTH, is_partition_key=name == "site")
            schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
            index = client.prepare_index_params()
            index.add_index("vector", index_type="FLAT", metric_type=METRIC)
            client.drop_collection(collection)
            client.create_collection(
                collection, schema=schema, index_params=index, num_partitions=PARTITIONS, consistency_level=STRONG
            )
        return cls(server, collection, dim)

    @property
    def dim(self) -> int:
        return self._dim

    @property
    def count(self) -> int:
        with self._server.explained():
            rows = self._server.client.query(
                self.collection, filter="", output_fields=["count(*)"], consistency_level=STRONG
            )
        return int(rows[0]["count(*)"])

    def add(self, ids: Ids, vectors: Vectors, *, filed: Sequence[FiledImage] | None = None, sequence: int = 0) -> None:
        """As in the contract. `filed` are the images' fields, without which no filter finds them; `sequence` is the
        place in the change log up to which they are known."""
        described = filed or [_NOBODY] * len(ids)
        rows = [
            {**asdict(fields_), "image_id": int(image_id), "sequence": sequence, "vector": vector}
            for image_id, vector, fields_ in zip(ids, vectors, described, strict=True)
        ]
        with self._server.explained():
            for start in range(0, len(rows), BATCH):
                self._server.client.insert(self.collection, rows[start : start + BATCH])

    def remove(self, ids: Ids) -> None:
        with self._server.explained():
            for start in range(0, len(ids), BATCH):
                self._server.client.delete(self.collection, filter=f"image_id in {_list(ids[start : start + BATCH])}")

    def search(self, queries: Vectors, k: int, *, selection: Selection | None = None) -> list[list[tuple[int, float]]]:
        """As in the contract, with a selection by ids. An archive's filters go another way: `candidates`."""
        found = [np.empty(0, np.int64) for _ in queries]
        for expression in _expressions(selection):
            found = [np.union1d(*both) for both in zip(found, self.candidates(queries, k, expression), strict=True)]
        return [ranked(query, ids, self.vectors_of(ids), k) for query, ids in zip(queries, found, strict=True)]

    def candidates(self, queries: Vectors, k: int, expression: str) -> list[Ids]:
        """For each query, images that surely hold the k best of those that the expression permits, by id.

        Raises:
            TooManyError: so many would have to be fetched that Milvus gives out no more.
        """
        if not len(queries):
            return []
        fetch = k + EXTRA
        while True:
            if fetch > MOST:
                raise TooManyError
            with self._server.explained():
                answer = self._server.client.search(
                    self.collection,
                    data=list(queries),
                    anns_field="vector",
                    limit=fetch,
                    filter=expression,
                    search_params={"metric_type": METRIC},
                    consistency_level=STRONG,
                )
            if not any(_tied_beyond([hit["distance"] for hit in hits], k, fetch) for hits in answer):
                return [np.array(sorted({int(hit["image_id"]) for hit in hits}), dtype=np.int64) for hits in answer]
            fetch *= 4

    def vectors_of(self, ids: Ids) -> Vectors:
        """float32[len(ids), dim], in the order of `ids`, which must be there and ascending."""
        rows: list[Any] = []
        with self._server.explained():
            for start in range(0, len(ids), BATCH):
                rows += self._server.client.query(
                    self.collection,
                    filter=f"image_id in {_list(ids[start : start + BATCH])}",
                    output_fields=["image_id", "vector"],
                    consistency_level=STRONG,
                )
        rows.sort(key=lambda row: row["image_id"])
        return np.array([row["vector"] for row in rows], dtype=np.float32).reshape(len(rows), self._dim)

    def fields_of(self, image_id: int) -> FiledImage | None:
        """What the collection knows of an image, for whoever looks into it."""
        with self._server.explained():
            rows = self._server.client.query(
                self.collection,
                filter=f"image_id == {int(image_id)}",
                output_fields=[item.name for item in fields(FiledImage)],
                consistency_level=STRONG,
            )
        return FiledImage(**{item.name: rows[0][item.name] for item in fields(FiledImage)}) if rows else None

    def drop(self) -> None:
        with self._server.explained():
            self._server.client.drop_collection(self.collection)


def ranked(query: Vectors, ids: Ids, vectors: Vectors, k: int) -> list[tuple[int, float]]:
    """The k best of `ids`, scored in float64 one row at a time: an image's score depends on nothing else, and equal
    ones are ordered by id."""
    scores = (vectors.astype(np.float64) * query.astype(np.float64)).sum(axis=1)
    order = np.lexsort((ids, -scores))[:k]
    return [(int(ids[i]), float(scores[i])) for i in order]


def _expressions(selection: Selection | None) -> list[str]:
    """The selection as expressions, each short enough for a request, that permit it between them."""
    if selection is None or (selection.excluding and not selection.ids.size):
        return [""]
    ids = np.unique(selection.ids)
    parts = [ids[start : start + NAMED] for start in range(0, len(ids), NAMED)]
    if not selection.excluding:
        return [f"image_id in {_list(part)}" for part in parts]
    # All but the named ones: from each part's first to the next one's, and what lies before and after all of them.
    edges = [int(part[0]) for part in parts[1:]]
    above = ["", *(f"image_id >= {edge} and " for edge in edges)]
    below = [*(f"image_id < {edge} and " for edge in edges), ""]
    return [f"{low}{high}image_id not in {_list(part)}" for low, high, part in zip(above, below, parts, strict=True)]


def _list(ids: Ids) -> str:
    return str(ids.tolist())


def _tied_beyond(scores: list[float], k: int, fetched: int) -> bool:
    """Whether an image that was not fetched could be as good as the k-th."""
    return len(scores) == fetched and scores[k - 1] - scores[-1] <= TIE
