"""How far the collection of an encoder has applied the change log: a row for each encoder, in Milvus itself.

It is kept beside the vectors and not in the catalog, so that a catalog restored from a backup cannot claim for them
what they do not hold.
"""

from __future__ import annotations

from dataclasses import dataclass

from index_store.milvus.connection import STRONG, MilvusServer
from index_store.vectors import LogPosition


@dataclass(frozen=True)
class SyncPosition:
    """A collection holds every change up to `low`, and some of those from there to `high` while a writer applies them
    (or was killed doing so). Otherwise the two are equal."""

    collection: str
    low: LogPosition
    high: LogPosition


class SyncPositions:
    """The sync position of each encoder's collection, for one archive."""

    def __init__(self, server: MilvusServer, archive_uuid: str) -> None:
        self.prefix = f"coin_{archive_uuid.replace('-', '')}"
        """What the names of all collections of the archive begin with."""
        self.collection = f"{self.prefix}_standing"
        """The collection that holds the positions."""
        self._server = server
        self._loaded = False

    def read(self, encoder_id: int) -> SyncPosition | None:
        """None where the encoder has no collection yet."""
        with self._server.explained():
            client = self._server.client
            if not self._loaded:
                if not client.has_collection(self.collection):
                    return None
                client.load_collection(self.collection)
                self._loaded = True
            rows = client.query(
                self.collection,
                filter=f"encoder_id == {encoder_id}",
                output_fields=["collection", "low", "low_token", "high", "high_token"],
                consistency_level=STRONG,
            )
        if not rows:
            return None
        row = rows[0]
        return SyncPosition(
            row["collection"], LogPosition(row["low"], row["low_token"]), LogPosition(row["high"], row["high_token"])
        )

    def write(self, encoder_id: int, position: SyncPosition) -> None:
        """Record the position of an encoder's collection, in place of the one before."""
        row = {
            "encoder_id": encoder_id,
            "collection": position.collection,
            "low": position.low.sequence,
            "low_token": position.low.token,
            "high": position.high.sequence,
            "high_token": position.high.token,
            "none": [0.0, 0.0],
        }
        with self._server.explained():
            if not self._server.client.has_collection(self.collection):
                self._create()
            self._server.client.upsert(self.collection, [row])

    def forget(self, encoder_id: int) -> None:
        """Record that the encoder has no collection."""
        with self._server.explained():
            if self._server.client.has_collection(self.collection):
                self._server.client.delete(self.collection, filter=f"encoder_id == {encoder_id}")

    def _create(self) -> None:
        from pymilvus import DataType

        client = self._server.client
        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("encoder_id", DataType.INT64, is_primary=True)
        schema.add_field("collection", DataType.VARCHAR, max_length=255)
        for name in ("low", "low_token", "high", "high_token"):
            schema.add_field(name, DataType.INT64)
        schema.add_field("none", DataType.FLOAT_VECTOR, dim=2)  # a collection needs a vector
        index = client.prepare_index_params()
        index.add_index("none", index_type="FLAT", metric_type="IP")
        client.create_collection(self.collection, schema=schema, index_params=index, consistency_level=STRONG)
