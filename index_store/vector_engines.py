"""The registry of vector engines. A new engine is a module with a `VectorEngine` and a line here."""

from __future__ import annotations

from index_store.errors import StorageError
from index_store.milvus.search import MILVUS
from index_store.search.local_search import FAISS
from index_store.search.protocols import VectorEngine

ENGINES: tuple[VectorEngine, ...] = (FAISS, MILVUS)


def engine_for(address: str) -> VectorEngine:
    """The engine that an address belongs to: the descriptor's `vectors`, '' for the engine within the process.

    Raises:
        StorageError: it belongs to none, or holds a login. The message does not repeat the address.
    """
    if "@" in address:
        variables = " or ".join(engine.login_variable for engine in ENGINES if engine.login_variable)
        raise StorageError(
            "The address of the vector engine holds a login, and an address is stored and shown. Leave the login out, "
            f"and give it as {variables}."
        )
    for engine in ENGINES:
        if engine.accepts(address):
            return engine
    forms = "; ".join(f"{engine.name}: {engine.address_form}" for engine in ENGINES if engine.address_form)
    raise StorageError(f"No vector engine has such an address. Addresses look like this: {forms}.")
