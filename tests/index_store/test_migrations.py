from __future__ import annotations

from pathlib import Path

import pytest
from archive_builders import everything
from sqlalchemy import Connection, Engine, create_engine, inspect, text

from index_store import Archive, NewerArchiveError, NotAnArchiveError, OutdatedArchiveError, StorageError
from index_store import migrations as module
from index_store.models import Base


def engine(folder: Path) -> Engine:
    return create_engine(f"sqlite:///{folder / 'archive.sqlite'}")


def described(target: Engine) -> dict[str, object]:
    """Tables with columns, keys and indexes, in comparable form."""
    inspector = inspect(target)
    return {
        table: (
            [(c["name"], str(c["type"]), c["nullable"], c["primary_key"]) for c in inspector.get_columns(table)],
            sorted(
                str(key["constrained_columns"]) + key["referred_table"] for key in inspector.get_foreign_keys(table)
            ),
            sorted((str(index["column_names"]), index["unique"]) for index in inspector.get_indexes(table)),
            sorted(str(unique["column_names"]) for unique in inspector.get_unique_constraints(table)),
        )
        for table in inspector.get_table_names()
        if table != "schema_version"
    }


def test_the_migrations_make_what_the_models_say(archive: Archive) -> None:
    modelled = create_engine("sqlite://")
    Base.metadata.create_all(modelled)
    made = engine(archive.path)
    assert described(made) == described(modelled)
    numbered = "SELECT name FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%' ORDER BY name"
    with made.connect() as one, modelled.connect() as other:
        assert one.execute(text(numbered)).all() == other.execute(text(numbered)).all() != []
    made.dispose()
    modelled.dispose()


def add_column(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE cases ADD COLUMN colour TEXT NOT NULL DEFAULT 'pink'"))


def fail_halfway(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE cases ADD COLUMN shape TEXT"))
    raise RuntimeError("the power went")


def test_an_older_archive_is_brought_up_to_date(filled: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything(filled)
    filled.close()
    monkeypatch.setattr(module, "MIGRATIONS", (*module.MIGRATIONS, add_column))
    with pytest.raises(OutdatedArchiveError, match="Open it once for writing"):
        Archive.open(filled.path, read_only=True)
    with Archive.open(filled.path) as archive:
        assert archive.status().schema_version == 2
        assert everything(archive) == before
    with Archive.open(filled.path, read_only=True) as archive:
        assert everything(archive) == before


def test_a_failing_step_leaves_the_version_before_it(filled: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    filled.close()
    first = module.MIGRATIONS
    monkeypatch.setattr(module, "MIGRATIONS", (*first, add_column, fail_halfway))
    with pytest.raises(RuntimeError, match="the power went"):
        Archive.open(filled.path)
    database = engine(filled.path)
    columns = {column["name"] for column in inspect(database).get_columns("cases")}
    database.dispose()
    assert "colour" in columns
    assert "shape" not in columns
    monkeypatch.setattr(module, "MIGRATIONS", (*first, add_column))
    with Archive.open(filled.path) as archive:
        assert archive.status().schema_version == 2


def test_a_newer_archive_is_refused_untouched(filled: Archive) -> None:
    filled.close()
    database = engine(filled.path)
    with database.begin() as connection:
        connection.execute(text("UPDATE schema_version SET version = 99"))
    database.dispose()
    before = (filled.path / "archive.sqlite").read_bytes()
    for read_only in (False, True):
        with pytest.raises(NewerArchiveError, match=r"newer version \(schema 99; this one knows 1\).*Update"):
            Archive.open(filled.path, read_only=read_only)
    assert (filled.path / "archive.sqlite").read_bytes() == before


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotAnArchiveError, match="no archive"):
        Archive.open(tmp_path)
    (tmp_path / "archive.sqlite").write_bytes(b"this is text, and long enough to be looked at" * 100)
    with pytest.raises(StorageError, match="damaged"):
        Archive.open(tmp_path)
    (tmp_path / "archive.sqlite").write_bytes(b"")
    with pytest.raises(NotAnArchiveError, match="not an archive"):
        Archive.open(tmp_path)
