"""Where in the change log the collection of an encoder stands: one row an encoder, in Milvus itself.

It is kept beside the vectors and not in the catalog, so that a catalog restored from a backup cannot claim for them
what they do not hold.
"""

from __future__ import annotations

from dataclasses import dataclass

from index_store.milvus.connection import MilvusServer
from index_store.vectors import LogPosition

STRONG = "Strong"


@dataclass(frozen=True)
class Standing:
    """A collection holds every change up to `low`, and some of those from there to `high` while a writer applies them
    (or was killed doing so). At rest the two are one."""

    collection: str
    low: LogPosition
    high: LogPosition


class Standings:
    """The standing of each encoder's collection of one archive."""

    def __init__(self, server: MilvusServer, archive_uuid: str) -> None:
        self.prefix = f"coin_{archive_uuid.replace('-', '')}"
        self._name = f"{self.prefix}_standing"
        self._server = server
        self._there = False

    def read(self, encoder_id: int) -> Standing | None:
        """None where there is no collection yet."""
        with self._server.explained():
            client = self._server.client
            if not self._there:
                if not client.has_collection(self._name):
                    return None
                client.load_collection(self._name)
                self._there = True
            rows = client.query(
                self._name,
                filter=f"encoder_id == {encoder_id}",
                output_fields=["collection", "low", "low_token", "high", "high_token"],
                consistency_level=STRONG,
            )
        if not rows:
            return None
        row = rows[0]
        return Standing(
            row["collection"], LogPosition(row["low"], row["low_token"]), LogPosition(row["high"], row["high_token"])
        )

    def write(self, encoder_id: int, standing: Standing) -> None:
        """From here on this is where it stands."""
        row = {
            "encoder_id": encoder_id,
            "collection": standing.collection,
            "low": standing.low.sequence,
            "low_token": standing.low.token,
            "high": standing.high.sequence,
            "high_token": standing.high.token,
            "none": [0.0, 0.0],
        }
        with self._server.explained():
            if not self._server.client.has_collection(self._name):
                self._create()
            self._server.client.upsert(self._name, [row])

    def forget(self, encoder_id: int) -> None:
        """From here on there is no collection of this encoder."""
        with self._server.explained():
            if self._server.client.has_collection(self._name):
                self._server.client.delete(self._name, filter=f"encoder_id == {encoder_id}")

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
        client.create_collection(self._name, schema=schema, index_params=index, consistency_level=STRONG)
