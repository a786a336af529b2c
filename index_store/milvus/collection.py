"""A vector index in Milvus: one collection of unit vectors under image ids, with the fields by which it is filtered.

Milvus applies a filter before it ranks. The field `site` is the partition key, so that a filter by site reads only the
partitions of that site. The collection's index is FLAT, which is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from index_store.catalog.filters import FIELDS
from index_store.milvus.connection import STRONG, MilvusServer
from index_store.milvus.filter_fields import NO_FIELDS, VALUE_LENGTH, Fields
from index_store.vectors import Ids, Selection, Vectors

PARTITIONS = 16
BATCH = 1_000
"""Rows in a request: at 512 dimensions 2 MB, of the 64 MB that a server takes by default."""
MAX_HITS = 16_384
"""Milvus returns no more."""
MAX_IDS = 100_000
"""Ids in one expression: 1 MB."""
EXTRA = 16
"""How many more than k are fetched, to see whether the k-th is tied with what comes after it."""
TIE = 1e-5
"""Scores closer than this may be equal: sums in float32 differ by about 1e-7 between code paths."""
METRIC = "IP"


class TooManyError(Exception):
    """More candidates would have to be fetched than Milvus returns."""


class MilvusIndex:
    """A `VectorIndex` over one collection, which must exist (`create`)."""

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
            for column in FIELDS.values():
                if column.kind == "values":
                    by_site = column.name == "site"
                    schema.add_field(column.name, DataType.VARCHAR, max_length=VALUE_LENGTH, is_partition_key=by_site)
                else:
                    schema.add_field(column.name, DataType.BOOL if column.kind == "flag" else DataType.DOUBLE)
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
        """Number of dimensions of a vector."""
        return self._dim

    @property
    def count(self) -> int:
        """Number of vectors."""
        with self._server.explained():
            rows = self._server.client.query(
                self.collection, filter="", output_fields=["count(*)"], consistency_level=STRONG
            )
        return int(rows[0]["count(*)"])

    def add(self, ids: Ids, vectors: Vectors, *, fields: Sequence[Fields] | None = None, sequence: int = 0) -> None:
        """Add images, as `VectorIndex.add`.

        Args:
            vectors: float32[len(ids), dim].
            fields: of the images, in the order of `ids`. Without them no filter finds the images.
            sequence: the position in the change log up to which the fields are those of the catalog.
        """
        rows = [
            {**image_fields, "image_id": int(image_id), "sequence": sequence, "vector": vector}
            for image_id, vector, image_fields in zip(ids, vectors, fields or [NO_FIELDS] * len(ids), strict=True)
        ]
        with self._server.explained():
            for start in range(0, len(rows), BATCH):
                self._server.client.insert(self.collection, rows[start : start + BATCH])

    def remove(self, ids: Ids) -> None:
        """Remove these ids, int64[n]. Those that the collection does not hold are ignored."""
        with self._server.explained():
            for start in range(0, len(ids), BATCH):
                self._server.client.delete(self.collection, filter=f"image_id in {_list(ids[start : start + BATCH])}")

    def search(self, queries: Vectors, k: int, *, selection: Selection | None = None) -> list[list[tuple[int, float]]]:
        """The k best of a selection for each query, float32[n, dim]: see `VectorIndex.search`. A search of an archive,
        with its filters, uses `candidates`."""
        candidates = [np.empty(0, np.int64) for _ in queries]
        for expression in _expressions(selection):
            further = self.candidates(queries, k, expression)
            candidates = [np.union1d(*both) for both in zip(candidates, further, strict=True)]
        return [ranked(query, ids, self.vectors_of(ids), k) for query, ids in zip(queries, candidates, strict=True)]

    def candidates(self, queries: Vectors, k: int, expression: str) -> list[Ids]:
        """For each query, images among which are the k best of those that the expression permits: int64[m], ascending.

        Args:
            queries: float32[n, dim].
            expression: over the collection's fields; '' permits all.

        Raises:
            TooManyError: more would have to be fetched than Milvus returns.
        """
        if not len(queries):
            return []
        fetch = k + EXTRA
        while True:
            if fetch > MAX_HITS:
                raise TooManyError
            with self._server.explained():
                results = self._server.client.search(
                    self.collection,
                    data=list(queries),
                    anns_field="vector",
                    limit=fetch,
                    filter=expression,
                    search_params={"metric_type": METRIC},
                    consistency_level=STRONG,
                )
            if not any(_tied_beyond([hit["distance"] for hit in hits], k, fetch) for hits in results):
                return [np.array(sorted({int(hit["image_id"]) for hit in hits}), dtype=np.int64) for hits in results]
            fetch *= 4

    def vectors_of(self, ids: Ids) -> Vectors:
        """The vectors of `ids`, ascending ids that the collection holds: float32[len(ids), dim]."""
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

    def drop(self) -> None:
        """Delete the collection."""
        with self._server.explained():
            self._server.client.drop_collection(self.collection)


def ranked(query: Vectors, ids: Ids, vectors: Vectors, k: int) -> list[tuple[int, float]]:
    """The k best of `ids` as (id, score), best first. Scored in float64 row by row, so that an image's score depends on
    nothing else; equal scores are ordered by id.

    Args:
        query: float32[dim].
        vectors: float32[len(ids), dim].
    """
    scores = (vectors.astype(np.float64) * query.astype(np.float64)).sum(axis=1)
    order = np.lexsort((ids, -scores))[:k]
    return [(int(ids[i]), float(scores[i])) for i in order]


def _expressions(selection: Selection | None) -> list[str]:
    """Expressions, each short enough for a request, that together permit the selection."""
    if selection is None or (selection.excluding and not selection.ids.size):
        return [""]
    ids = np.unique(selection.ids)
    parts = [ids[start : start + MAX_IDS] for start in range(0, len(ids), MAX_IDS)]
    if not selection.excluding:
        return [f"image_id in {_list(part)}" for part in parts]
    # All ids but these. Each part excludes its own between its first id and that of the next part, and the first and
    # the last part cover what lies before and after all of them.
    edges = [int(part[0]) for part in parts[1:]]
    above = ["", *(f"image_id >= {edge} and " for edge in edges)]
    below = [*(f"image_id < {edge} and " for edge in edges), ""]
    return [f"{low}{high}image_id not in {_list(part)}" for low, high, part in zip(above, below, parts, strict=True)]


def _list(ids: Ids) -> str:
    return str(ids.tolist())


def _tied_beyond(scores: list[float], k: int, fetched: int) -> bool:
    """Whether an image that was not fetched could have the score of the k-th."""
    return len(scores) == fetched and scores[k - 1] - scores[-1] <= TIE
