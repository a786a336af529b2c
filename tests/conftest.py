"""What tests of several packages need: settings of property tests, and a database server, started once and only where
a test needs it."""

from __future__ import annotations

import gc
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.few_steps import own_steps
from tests.postgres_server import PostgresServer, postgres_binaries, postgres_server

# No property test may fail because the machine is busy.
settings.register_profile("coin", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("coin")


def pytest_collection_finish() -> None:
    """What is imported by now stays: the garbage collector need not look through it again (Streamlit calls it after
    every run of a page; half a second each with torch and diffusers loaded)."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """At its end the interpreter takes everything down, and libraries name what is left as leaked."""
    gc.unfreeze()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server, for as long as the tests run."""
    binaries = postgres_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed here (Debian: apt-get install postgresql)")
    with postgres_server(binaries) as server:
        yield server


@pytest.fixture
def new_catalog(postgres: PostgresServer) -> Iterator[str]:
    """The URL of an empty schema."""
    with postgres.schema() as url:
        yield url


@pytest.fixture
def no_umask() -> Iterator[None]:
    """New files are for everybody where the program does not say otherwise."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes that the test has started so far."""
    processes: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen.__init__

    def noting(process: subprocess.Popen[bytes], *arguments: Any, **options: Any) -> None:
        start(process, *arguments, **options)
        processes.append(process)

    monkeypatch.setattr(subprocess.Popen, "__init__", noting)
    return processes


@pytest.fixture
def full_sampling() -> Iterator[None]:
    """For a test that looks at what images show, or at what a network learned: as many steps as the product takes."""
    with own_steps():
        yield
