from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine, inspect, text

from index_store import Archive, NewerArchiveError, NotAnArchiveError, OutdatedArchiveError, StorageError
from index_store.catalog.databases import migrations as module
from index_store.catalog.layout import catalog_of
from index_store.catalog.models import Base
from tests.index_store.archive_builders import FINGERPRINT, embed_reports, everything, reports_embedded, vector_of


def engine(archive: Archive) -> Engine:
    """An engine of its own on an archive's catalog."""
    catalog, _ = catalog_of(archive.path, read_only=True)
    catalog.close()
    name = catalog.name
    return create_engine(name if "://" in name else f"sqlite:///{name}")


def described(target: Engine) -> dict[str, object]:
    """Tables with columns, keys and indexes, in comparable form."""
    inspector = inspect(target)
    return {
        table: (
            [(c["name"], str(c["type"]), c["nullable"]) for c in inspector.get_columns(table)],
            inspector.get_pk_constraint(table)["constrained_columns"],
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
    made = engine(archive)
    by_migrations = described(made)
    numbered = numbered_tables(made)
    with made.begin() as connection:
        Base.metadata.drop_all(connection)
        Base.metadata.create_all(connection)
    assert by_migrations == described(made)
    assert numbered == numbered_tables(made) == ["cases", "changes", "encoders", "images", "patients", "slides"]
    made.dispose()


def numbered_tables(target: Engine) -> list[str]:
    """Those whose ids are never handed out again."""
    query = {
        "sqlite": "SELECT name FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%' ORDER BY name",
        "postgresql": "SELECT table_name FROM information_schema.columns WHERE table_schema = current_schema() "
        "AND column_default LIKE 'nextval%' ORDER BY table_name",
    }[target.dialect.name]
    with target.connect() as connection:
        return list(connection.scalars(text(query)))


@pytest.fixture
def version_1(tmp_path: Path) -> Path:
    """An archive's folder as version 1 of the schema left it: the dump of one that was made then."""
    folder = tmp_path / "version-1"
    folder.mkdir()
    with contextlib.closing(sqlite3.connect(folder / "archive.sqlite")) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.executescript(Path(__file__).parents[2].joinpath("archive_version_1.sql").read_text(encoding="utf-8"))
    return folder


def test_an_archive_of_version_1_is_migrated_without_loss(version_1: Path) -> None:
    with contextlib.closing(sqlite3.connect(version_1 / "archive.sqlite")) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        before = {table: database.execute(f'SELECT * FROM "{table}"').fetchall() for table in tables}
    for read_only in (True, False):
        with pytest.raises(OutdatedArchiveError, match=r"schema 1; .* Run `coin migrate`"):
            Archive.open(version_1, read_only=read_only)
    assert Archive.migrate(version_1).before == 1
    with Archive.open(version_1) as archive:
        assert (archive.name, archive.uuid) == ("made by version 1", before["archive"][0][0])
        assert [(case.id, case.key, case.patient, case.report) for case in archive.cases()] == [
            (1, "case-0", "patient-0", "Report 0."),
            (3, "case-2", "patient-1", "Report 2."),
            (4, "case-3", "patient-1", "Report 3."),
        ]
        for case in archive.cases():
            (hits,) = archive.search(vector_of(case.images[0].sha256)[None], 1, fingerprint=FINGERPRINT)
            assert [hit.image_id for hit in hits] == [case.images[0].id]
        assert archive.revision == 0
        assert reports_embedded(archive) == {}
        assert embed_reports(archive) == 3
        assert reports_embedded(archive).keys() == {"case-0", "case-2", "case-3"}
        assert archive.revision == 1
    with contextlib.closing(sqlite3.connect(version_1 / "archive.sqlite")) as database:
        after = {table: database.execute(f'SELECT * FROM "{table}"').fetchall() for table in before}
    assert after.pop("schema_version") == [(module.current_version(),)] != before.pop("schema_version")
    assert after.pop("archive") == [(*before.pop("archive")[0], 1, None)]
    assert after.pop("cases") == [(*row, "") for row in before.pop("cases")]
    assert after.pop("images") == [(*row, None, "", *[None] * 7) for row in before.pop("images")]
    assert after == before


def add_column(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE cases ADD COLUMN colour TEXT NOT NULL DEFAULT 'pink'"))


def fail_halfway(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE cases ADD COLUMN shape TEXT"))
    raise RuntimeError("the power went")


def test_an_older_archive_is_brought_up_to_date(filled: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    before, released = everything(filled), module.current_version()
    filled.close()
    monkeypatch.setattr(module, "MIGRATIONS", (*module.MIGRATIONS, add_column))
    for read_only in (True, False):
        with pytest.raises(OutdatedArchiveError, match="Run `coin migrate`"):
            Archive.open(filled.path, read_only=read_only)
    Archive.migrate(filled.path, backed_up=True)
    with Archive.open(filled.path) as archive:
        assert archive.status().schema_version == released + 1
        assert everything(archive) == before
    with Archive.open(filled.path, read_only=True) as archive:
        assert everything(archive) == before


def test_a_failing_step_leaves_the_version_before_it(filled: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    filled.close()
    first, released = module.MIGRATIONS, module.current_version()
    monkeypatch.setattr(module, "MIGRATIONS", (*first, add_column, fail_halfway))
    with pytest.raises(RuntimeError, match="the power went"):
        Archive.migrate(filled.path, backed_up=True)
    database = engine(filled)
    columns = {column["name"] for column in inspect(database).get_columns("cases")}
    database.dispose()
    assert "colour" in columns
    assert "shape" not in columns
    monkeypatch.setattr(module, "MIGRATIONS", (*first, add_column))
    Archive.migrate(filled.path, backed_up=True)
    with Archive.open(filled.path) as archive:
        assert archive.status().schema_version == released + 1


def test_a_newer_archive_is_refused_untouched(filled: Archive) -> None:
    filled.close()
    database = engine(filled)
    with database.begin() as connection:
        connection.execute(text("UPDATE schema_version SET version = 99"))
    before = contents(database)
    refusal = rf"newer version \(schema 99; this one knows {module.current_version()}\).*Update"
    for read_only in (False, True):
        with pytest.raises(NewerArchiveError, match=refusal):
            Archive.open(filled.path, read_only=read_only)
    assert contents(database) == before
    database.dispose()


def contents(database: Engine) -> dict[str, list[object]]:
    """Every row of every table."""
    with database.connect() as connection:
        tables = inspect(connection).get_table_names()
        return {table: list(connection.execute(text(f'SELECT * FROM "{table}" ORDER BY 1'))) for table in tables}


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotAnArchiveError, match="no archive"):
        Archive.open(tmp_path)
    (tmp_path / "archive.sqlite").write_bytes(b"this is text, and long enough to be looked at" * 100)
    with pytest.raises(StorageError, match="damaged"):
        Archive.open(tmp_path)
    (tmp_path / "archive.sqlite").write_bytes(b"")
    with pytest.raises(NotAnArchiveError, match="not an archive"):
        Archive.open(tmp_path)
