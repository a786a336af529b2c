"""FAISS, loaded where it is used."""

from __future__ import annotations

from typing import Any

from index_store.errors import ArchiveError


def load_faiss() -> Any:
    """The module, as `Any`: its type stubs lack what its Python layer adds."""
    try:
        import faiss
    except ImportError as error:
        raise ArchiveError(
            "FAISS is not installed. Install exactly one build of it: the extra `cpu` or the extra `gpu`."
        ) from error
    return faiss
