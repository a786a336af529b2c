"""A real PostgreSQL server for tests: its own data in a temporary folder, on loopback, by a password.

Needs Debian's `postgresql` (or any other's `initdb` and `postgres`). PostgreSQL refuses to run as root: where the tests
do, the server runs as the account `postgres`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Engine, create_engine, text

ACCOUNT = "postgres"
USER = "coin"
DATABASE = "cytology"
SECONDS = "600"


@dataclass(frozen=True)
class PostgresServer:
    """A server that runs; each test takes a schema of its own."""

    port: int
    passfile: Path
    """Holds the password, so that no URL does."""
    password: str
    folder: Path
    binaries: Path

    def url(self, schema: str = "", *, user: str = USER, database: str = DATABASE) -> str:
        """Of a database (or a schema in it), as a user gives it."""
        options = f"&options=-csearch_path%3D{quote(schema)}" if schema else ""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}?passfile={quote(str(self.passfile))}{options}"

    def execute(self, *statements: str) -> list[object]:
        """Each statement in a transaction of its own; the last one's rows."""
        rows: list[object] = []
        with self._engine.connect() as connection:
            for statement in statements:
                result = connection.execute(text(statement))
                rows = list(result) if result.returns_rows else []
        return rows

    @functools.cached_property
    def _engine(self) -> Engine:
        """One connection for all statements; it may have been lost by a restart."""
        url = self.url().replace("postgresql://", "postgresql+psycopg://")
        return create_engine(url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)

    def disconnect(self) -> None:
        self._engine.dispose()

    @contextlib.contextmanager
    def schema(self) -> Iterator[str]:
        """The URL of an empty schema, which is gone afterwards."""
        name = f"test_{secrets.token_hex(6)}"
        self.execute(f"CREATE SCHEMA {name}")
        try:
            yield self.url(name)
        finally:
            self.execute(f"DROP SCHEMA {name} CASCADE")

    def restart(self) -> None:
        _control(self.binaries, self.folder, "restart", "-m", "fast")


def postgres_binaries() -> Path | None:
    """The folder of `initdb`, `pg_ctl` and `postgres`; None where PostgreSQL is not installed, or cannot be run."""
    if os.name == "nt" or (_is_root() and shutil.which("runuser") is None):
        return None
    found = shutil.which("initdb")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return Path(found).parent if found else debian[-1].parent if debian else None


@contextlib.contextmanager
def postgres_server(binaries: Path) -> Iterator[PostgresServer]:
    """Start a server, and stop it at the end."""
    # Not pytest's folder, which other accounts may not enter.
    root = Path(tempfile.mkdtemp(prefix="coin-postgres-"))
    try:
        data, password = root / "data", secrets.token_urlsafe(16)
        (root / "password").write_text(password)
        if _is_root():
            for path in (root, root / "password"):
                shutil.chown(path, ACCOUNT)
        login = [f"--username={USER}", f"--pwfile={root / 'password'}", "--auth=scram-sha-256"]
        # Words sorted as a German server sorts them would hide that some order was left to the server: C.UTF-8 is
        # there on every machine.
        _run(binaries / "initdb", *login, "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", f"--pgdata={data}")
        port = _free_port()
        settings = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
        settings += " -c fsync=off -c synchronous_commit=off"
        _control(binaries, data, "start", "-l", str(root / "log"), "-o", settings)
        try:
            passfile = root / "pgpass"
            passfile.write_text(f"127.0.0.1:{port}:*:{USER}:{password}\n")
            passfile.chmod(0o600)
            if _is_root():
                os.chown(passfile, 0, 0)
            server = PostgresServer(port, passfile, password, data, binaries)
            _create_database(server)
            yield server
            server.disconnect()
        finally:
            _control(binaries, data, "stop", "-m", "immediate")
    finally:
        shutil.rmtree(root)


def _create_database(server: PostgresServer) -> None:
    url = server.url(database="postgres").replace("postgresql://", "postgresql+psycopg://")
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {DATABASE}"))
    engine.dispose()


def _control(binaries: Path, data: Path, action: str, *options: str) -> None:
    _run(binaries / "pg_ctl", f"--pgdata={data}", action, "--wait", "--timeout", SECONDS, *options)


def _run(*command: str | Path) -> None:
    given = ["runuser", "-u", ACCOUNT, "--"] if _is_root() else []
    # To files and not to pipes: the server inherits them, and a pipe would stay open as long as it runs.
    with tempfile.TemporaryFile() as output:
        done = subprocess.run([*given, *command], stdout=output, stderr=output, cwd="/", check=False)
        output.seek(0)
        assert done.returncode == 0, output.read().decode()


def _is_root() -> bool:
    return os.geteuid() == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
