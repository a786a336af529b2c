"""Archives in a SQLite file: what a search may count on."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import text

from index_store.catalog.databases.sqlite_database import SqliteDatabase


def test_as_many_connections_are_open_at_once_as_are_asked_for(tmp_path: Path) -> None:
    """SQLAlchemy's own limit is fifteen, and a search that waits for the sixteenth may hold one of them."""
    engine = SqliteDatabase(tmp_path / "archive.sqlite", create=True).engine(read_only=False)
    with ExitStack() as stack:
        stack.callback(engine.dispose)
        connections = [stack.enter_context(engine.connect()) for _ in range(40)]
        assert [connection.execute(text("SELECT 1")).scalar() for connection in connections] == [1] * 40
