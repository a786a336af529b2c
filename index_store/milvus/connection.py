"""The connection to a Milvus server, and the message where it fails.

A login is never part of the address, which is stored and shown: `COIN_MILVUS_TOKEN` holds it (`user:password`, or an
API key).
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from index_store.errors import ArchiveError, StorageError

TOKEN = "COIN_MILVUS_TOKEN"
"""The environment variable that holds the login."""
SECONDS = 60.0
"""How long a call may take. A cluster answers in milliseconds; loading a collection takes longer."""
STRONG = "Strong"
"""The consistency level at which every read sees every write that was acknowledged before it."""


def is_milvus_address(address: str) -> bool:
    """Whether it is the address of a server, or the path of a milvus-lite file."""
    parts = urlsplit(address)
    return (parts.scheme in ("http", "https") and bool(parts.netloc)) or (address.endswith(".db") and not parts.scheme)


class MilvusServer:
    """One server (or one `.db` file, which milvus-lite serves within the process); connected when first needed."""

    def __init__(self, uri: str, folder: Path) -> None:
        """
        Args:
            uri: an address (`is_milvus_address`).
            folder: to which the path of a `.db` file is relative.
        """
        self.uri = uri
        self._address = self.uri if "://" in self.uri else str(folder / self.uri)
        self._client: Any = None
        self._lock = threading.Lock()

    @property
    def client(self) -> Any:
        """The `pymilvus.MilvusClient`. Safe to use from several threads."""
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn an error of Milvus into a `StorageError` that says what to do."""
        from pymilvus.exceptions import MilvusException

        try:
            yield
        except MilvusException as error:
            reason = " ".join(str(error.message).split())
            raise StorageError(
                f"The vectors in Milvus at {self.uri} could not be read or written ({reason[:300]}). The records are "
                f"not touched by that. Check the server and its login ({TOKEN}), then repeat."
            ) from error

    def close(self) -> None:
        """Close the connection. The next call opens it again."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _connect(self) -> Any:
        try:
            from pymilvus import MilvusClient
        except ImportError as error:
            raise ArchiveError(
                "pymilvus is not installed. Install the extra `milvus` to keep vectors there."
            ) from error
        # It writes every failing call to stderr with its traceback; the call's own error says as much.
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
        with self.explained():
            return MilvusClient(self._address, token=os.environ.get(TOKEN, ""), timeout=SECONDS)
