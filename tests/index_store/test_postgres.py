"""What is particular to a catalog on a PostgreSQL server. All else: the other tests, which run over both."""

from __future__ import annotations

import json
import logging
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from index_store import (
    AlreadyAnArchiveError,
    Archive,
    ArchiveBusyError,
    ArchiveError,
    BackupError,
    CaseFilter,
    CaseNotFoundError,
    NotAnArchiveError,
    StorageError,
    read_manifest,
)
from tests.index_store.archive_builders import (
    DIM,
    FINGERPRINT,
    add_manifest,
    everything,
    found_by_itself,
    records,
    reports_embedded,
    simple_rows,
    stored_files,
    vector_of,
    vectors_for,
    write_manifest,
)
from tests.index_store.archive_processes import (
    SECONDS,
    add_until_killed,
    context,
    create_until_killed,
    hold_the_lock,
    readers_elsewhere,
    run,
)
from tests.postgres_server import PostgresServer

QUERY = vector_of("0" * 64)[None]
KILLED = -9
BATCH = 3


@pytest.fixture
def on_server(tmp_path: Path, new_catalog: str) -> Iterator[Archive]:
    """An archive of twelve cases whose catalog is on the server."""
    with Archive.create(tmp_path / "archive", catalog=new_catalog) as archive:
        (tmp_path / "source").mkdir()
        add_manifest(archive, write_manifest(tmp_path / "source" / "manifest.csv", simple_rows(12)))
        yield archive


def end_sessions(server: PostgresServer, what: str) -> int:
    """End the sessions of whoever runs under this name, as a failing network does; returns how many there were."""
    return len(
        server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE pid <> pg_backend_pid() AND datname = current_database() AND application_name LIKE '{what}'"
        )
    )


def test_the_folder_holds_no_records(on_server: Archive) -> None:
    assert {path.name for path in on_server.path.iterdir()} == {"archive.json", "images", "index", "writer.lock"}
    descriptor = json.loads((on_server.path / "archive.json").read_text())
    assert descriptor["archive"] == on_server.uuid
    assert descriptor["catalog"].startswith("postgresql+psycopg://coin@127.0.0.1")
    for path in on_server.path.rglob("*"):
        assert path.is_dir() or b"Report 3" not in path.read_bytes()


@pytest.mark.slow
def test_readers_in_two_processes_stay_in_step_with_a_writer(tmp_path: Path, new_catalog: str) -> None:
    """Each begins when the archive is empty, sees whole batches only, and ends when it has seen the last one."""
    with Archive.create(tmp_path / "archive", catalog=new_catalog) as archive:
        archive.use_encoder(FINGERPRINT, name="test encoder", dim=DIM)
        with readers_elsewhere(archive.path, [tmp_path / "host-1", tmp_path / "host-2"], 10 * BATCH, BATCH):
            add_manifest(archive, write_manifest(tmp_path / "manifest.csv", simple_rows(10 * BATCH)), batch=BATCH)


def test_the_holder_of_the_lock_is_named_across_folders(on_server: Archive, tmp_path: Path) -> None:
    """The lock is the server's: another host's mount of the folder has no file in common with ours."""
    other = shutil.copytree(on_server.path, tmp_path / "other mount")
    holding, release = context().Event(), context().Event()
    process = context().Process(target=hold_the_lock, args=(other, holding, release))
    process.start()
    assert holding.wait(SECONDS)
    try:
        with pytest.raises(ArchiveBusyError, match=rf"by .+@.+, process {process.pid}, since 2\d+-.* Wait"):
            on_server.remove("case-0")
        with pytest.raises(ArchiveBusyError), on_server.writer(timeout=0.2):
            pass
        assert len(on_server.search(QUERY, 100, fingerprint=FINGERPRINT)[0]) == 12  # reading continues
        threading.Timer(0.2, release.set).start()
        with on_server.writer(timeout=SECONDS):
            assert on_server.remove("case-0") == 1
    finally:
        release.set()
        process.join(SECONDS)


@pytest.mark.slow
def test_a_writer_that_dies_lets_go(on_server: Archive) -> None:
    holding, release = context().Event(), context().Event()
    process = context().Process(target=hold_the_lock, args=(on_server.path, holding, release))
    process.start()
    assert holding.wait(SECONDS)
    process.kill()
    process.join(SECONDS)
    with on_server.writer(timeout=SECONDS):
        pass
    found_by_itself(on_server)


@pytest.mark.slow
def test_a_writer_that_lost_the_lock_unnoticed_stores_nothing(
    on_server: Archive, tmp_path: Path, postgres: PostgresServer
) -> None:
    plan = on_server.pending(read_manifest(write_manifest(tmp_path / "more.csv", simple_rows(14))).rows)
    items = [planned.load() for planned in plan.new]
    before = everything(on_server)
    with on_server.writer():
        assert end_sessions(postgres, "%, process %") == 1
        with Archive.open(on_server.path) as other:
            other.remove("case-3")  # the lock was free for somebody else
        with pytest.raises(StorageError, match="held the right to write was lost"):
            on_server.add(items, vectors_for(items), fingerprint=FINGERPRINT)
    assert everything(on_server) == {key: value for key, value in before.items() if key != "case-3"}
    assert on_server.add(items, vectors_for(items), fingerprint=FINGERPRINT) == 2
    assert len(stored_files(on_server.path)) == 13
    found_by_itself(on_server)


@pytest.mark.slow
def test_a_reader_outlives_the_servers_restart(on_server: Archive, postgres: PostgresServer) -> None:
    with Archive.open(on_server.path, read_only=True) as reader:
        found_by_itself(reader)
        postgres.restart()
        found_by_itself(reader)
        on_server.remove("case-5")
        assert len(reader.search(QUERY, 100, fingerprint=FINGERPRINT)[0]) == 11


@pytest.mark.slow
def test_an_account_that_may_only_read_is_enough_for_a_reader(
    on_server: Archive, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with records(on_server.path) as session:
        schema = session.scalar(text("SELECT current_schema()"))
    try:
        postgres.execute(
            f"CREATE ROLE viewer LOGIN PASSWORD '{postgres.password}'",
            f"GRANT USAGE ON SCHEMA {schema} TO viewer",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO viewer",
        )
        passfile = postgres.passfile.with_name("viewer")
        passfile.write_text(postgres.passfile.read_text().replace(":coin:", ":viewer:"))
        passfile.chmod(0o600)
        descriptor = on_server.path / "archive.json"
        descriptor.write_text(descriptor.read_text().replace("//coin@", "//").replace("%2Fpgpass", "%2Fviewer"))
        monkeypatch.setenv("PGUSER", "viewer")
        with Archive.open(on_server.path, read_only=True) as reader:
            found_by_itself(reader)
        with Archive.open(on_server.path) as writer, pytest.raises(StorageError, match="permission denied"):
            writer.remove("case-0")
        found_by_itself(on_server)
    finally:
        postgres.execute("DROP OWNED BY viewer", "DROP ROLE viewer")


def test_one_archive_to_a_schema(on_server: Archive, tmp_path: Path, new_catalog: str) -> None:
    with pytest.raises(AlreadyAnArchiveError, match="holds an archive already"):
        Archive.create(tmp_path / "second", catalog=new_catalog)
    assert not (tmp_path / "second" / "archive.json").exists()
    with pytest.raises(AlreadyAnArchiveError, match="is an archive already"):
        Archive.create(on_server.path, catalog=new_catalog)


@pytest.mark.slow
def test_two_archives_in_one_database_do_not_meet(on_server: Archive, tmp_path: Path, postgres: PostgresServer) -> None:
    with postgres.schema() as url, Archive.create(tmp_path / "second", catalog=url) as second:
        with on_server.writer():  # a lock each
            add_manifest(second, write_manifest(tmp_path / "second.csv", simple_rows(3, prefix="s")))
        assert everything(second).keys() == {"case-s0", "case-s1", "case-s2"}
        assert len(everything(on_server)) == 12


def test_a_database_of_other_tables_is_left_alone(tmp_path: Path, new_catalog: str, postgres: PostgresServer) -> None:
    schema = new_catalog.rpartition("%3D")[2]
    postgres.execute(f"CREATE TABLE {schema}.cases (id integer)")
    with pytest.raises(AlreadyAnArchiveError, match="holds other tables"):
        Archive.create(tmp_path / "archive", catalog=new_catalog)


def test_a_folder_that_meets_another_archives_database_is_refused(on_server: Archive) -> None:
    descriptor = on_server.path / "archive.json"
    descriptor.write_text(json.dumps({**json.loads(descriptor.read_text()), "archive": "another"}))
    with pytest.raises(NotAnArchiveError, match="holds another archive"):
        Archive.open(on_server.path)


@pytest.mark.parametrize(
    "said", ["{", "[]", '{"format": 2}', '{"format": 1}', '{"format": 1, "archive": "x", "y": ""}']
)
def test_a_card_that_cannot_be_understood_is_refused(tmp_path: Path, said: str) -> None:
    (tmp_path / "archive.json").write_text(said)
    with pytest.raises(NotAnArchiveError, match=r"archive\.json"):
        Archive.open(tmp_path)


@pytest.mark.cluster
def test_add_killed_at_many_a_step(tmp_path: Path, postgres: PostgresServer) -> None:
    """In place, and every second step: those between are files, which `test_crash.py` goes through one by one."""
    rows = simple_rows(4)
    manifest = write_manifest(tmp_path / "manifest.csv", rows[:2])
    whole = write_manifest(tmp_path / "whole.csv", rows)
    for step in range(1, 100, 2):
        with postgres.schema() as url:
            folder = tmp_path / f"archive-{step}"
            with Archive.create(folder, catalog=url) as archive:
                add_manifest(archive, manifest, in_place=True)
            code = run(add_until_killed, folder, whole, step, True)
            with Archive.open(folder) as archive:
                with archive.writer(timeout=SECONDS):  # the server needs a moment to notice that the process is gone
                    pass
                assert len(everything(archive)) in (2, 4), "a batch is stored whole or not at all"
                found_by_itself(archive)
                add_manifest(archive, whole, in_place=True)
                assert everything(archive).keys() == {f"case-{i}" for i in range(4)}
                assert reports_embedded(archive).keys() == everything(archive).keys()
        if code == 0:
            break
        assert code == KILLED
    assert step >= 6


@pytest.mark.cluster
def test_create_killed_at_any_step(tmp_path: Path, postgres: PostgresServer) -> None:
    for step in range(1, 100):
        with postgres.schema() as url:
            folder = tmp_path / f"new-{step}"
            code = run(create_until_killed, folder, step, url)
            try:
                Archive.open(folder).close()
            except NotAnArchiveError:
                assert code == KILLED
                create_when_free(folder, url)
            with Archive.open(folder) as archive:
                assert (archive.name, archive.status().cases) == (folder.name, 0)
        if code == 0:
            break
    assert step >= 4


def create_when_free(folder: Path, url: str) -> None:
    """The server needs a moment to notice that the process is gone."""
    for _ in range(1000):
        try:
            Archive.create(folder, catalog=url).close()
        except ArchiveBusyError:
            threading.Event().wait(0.01)
        else:
            return
    raise AssertionError("the lock was never released")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://coin:hush-hush@db/cytology",
        "postgresql+psycopg://coin:hush-hush@db/cytology",
        "postgresql://coin@db/cytology?password=hush-hush",
        "postgresql://coin@db/cytology?sslpassword=hush-hush",
        "mysql://coin:hush-hush@db/cytology",
        "postgresql+asyncpg://coin:hush-hush@db/cytology",
        "postgresql://coin:hush-hush@db:port/cytology",
        "hush-hush",
    ],
)
def test_a_password_has_no_place_in_the_url_and_is_not_repeated(tmp_path: Path, url: str) -> None:
    with pytest.raises(StorageError) as refused:
        Archive.create(tmp_path / "archive", catalog=url)
    seen: BaseException | None = refused.value
    while seen is not None:
        assert "hush" not in str(seen)
        seen = seen.__cause__
    assert not (tmp_path / "archive").exists()


def test_no_error_and_no_log_shows_a_password(
    tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("PGPASSWORD", "hush-hush")
    url = f"postgresql://coin@127.0.0.1:{postgres.port}/cytology"
    with pytest.raises(StorageError, match=r"password authentication failed.*PGPASSWORD") as refused:
        Archive.create(tmp_path / "archive", catalog=url)
    assert "hush" not in str(refused.value) + str(refused.value.__cause__) + caplog.text
    with pytest.raises(StorageError, match=r"could not be read or written .*refused"):
        Archive.create(tmp_path / "other", catalog="postgresql://coin@127.0.0.1:1/cytology")
    monkeypatch.delenv("PGPASSWORD")
    with pytest.raises(StorageError, match="does not exist"):
        Archive.create(tmp_path / "third", catalog=postgres.url(database="nowhere"))
    with pytest.raises(StorageError, match="no schema to put tables in"):
        Archive.create(tmp_path / "fourth", catalog=postgres.url("nowhere"))


def test_a_mistake_shows_no_report(on_server: Archive) -> None:
    """A statement's values are kept out of what SQLAlchemy says of it."""
    mistake = text("INSERT INTO cases (key, report) VALUES (:key, :report)")
    with pytest.raises(DatabaseError) as refused, records(on_server.path, writing=True) as session:
        session.execute(mistake, {"key": "case-0", "report": "Private."})
    assert "hidden due to hide_parameters" in str(refused.value)
    assert "[parameters" not in str(refused.value)


def test_a_backup_is_left_to_the_servers_tools(on_server: Archive, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="pg_dump") as refused:
        on_server.back_up(tmp_path / "backups" / "today")
    assert "passfile" in str(refused.value)  # where the password is, and not the password
    assert not (tmp_path / "backups").exists()


def test_a_key_with_a_nul_is_no_case(on_server: Archive) -> None:
    for key in ("\0", "case-3\0", "\udcff"):
        with pytest.raises(CaseNotFoundError, match="no key holds such characters"):
            on_server.case(key)
        assert on_server.case_labels([key, "case-3"]).keys() == {"case-3"}
        with pytest.raises(ArchiveError, match="characters that no record can hold"):
            on_server.cases(CaseFilter(sites=(key,)))
