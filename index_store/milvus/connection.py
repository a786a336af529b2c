"""The connection to a Milvus server, and the message where it fails.

A login is never part of the address, which is stored and shown: `COIN_MILVUS_TOKEN` holds it (`user:password`, or an
API key).
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from index_store.atomic_write import private_folder
from index_store.errors import ArchiveError, StorageError
from index_store.files.permissions import close_to_others

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
                if "://" not in self.uri:  # milvus-lite makes files as the umask allows, in a folder that is closed
                    with contextlib.suppress(OSError):  # another thread's client is at work
                        close_to_others(Path(self._address).rglob("*"))

    def _connect(self) -> Any:
        try:
            from pymilvus import MilvusClient
        except ImportError as error:
            raise ArchiveError(
                "pymilvus is not installed. Install the extra `milvus` to keep vectors there."
            ) from error
        # It writes every failing call to stderr with its traceback; the call's own error says as much.
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
        if "://" in self.uri:
            with self.explained():
                return MilvusClient(self._address, token=os.environ.get(TOKEN, ""), timeout=SECONDS)
        return self._connect_to_file(MilvusClient)

    def _connect_to_file(self, client: Any) -> Any:
        """A client of milvus-lite, which keeps its data in a folder of that name."""
        from pymilvus.exceptions import MilvusException

        # It reports with a traceback what is reported below.
        logging.getLogger("milvus_lite").setLevel(logging.CRITICAL)
        try:
            private_folder(Path(self._address))
            return client(self._address, timeout=SECONDS)
        except (MilvusException, OSError) as error:
            raise StorageError(
                f"The vectors in {self._address} could not be opened. milvus-lite lets one process at a time use them: "
                "end the other one (a view, a search) and repeat, or keep the vectors on a Milvus server "
                "(docs/cluster.md), or by FAISS. The records are not touched by that."
            ) from error
