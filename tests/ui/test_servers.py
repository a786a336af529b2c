"""The command line over an archive whose records are in PostgreSQL and whose vectors are in Milvus."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.ui.conftest import CASES, coin


@pytest.mark.slow
def test_the_same_commands_and_the_same_answers(
    environment: dict[str, str], manifest: Path, tmp_path: Path, new_catalog: str
) -> None:
    here = ("--archive", tmp_path / "archive")
    made = coin("init", *here, "--catalog", new_catalog, "--vectors", "vectors.db")
    assert made.exit_code == 0, made.output
    added = coin("add", manifest, *here)
    assert added.exit_code == 0, added.output
    status = json.loads(coin("status", *here, "--json").stdout)
    assert (status["images"], status["indexed"], status["notes"]) == (CASES, CASES, [])
    assert status["catalog"].startswith("postgresql+psycopg://coin@127.0.0.1")
    picture = next(manifest.parent.rglob("*.png"))
    for options in ((), ("--site", "thyroid"), ("--no-phantoms",)):
        asked = ("search", "--image", picture, "--json", "-k", "5", *options)
        on_servers, in_files = (json.loads(coin(*asked, *where).stdout) for where in (here, ()))
        assert keys(on_servers) == keys(in_files)
        assert bool(keys(on_servers)) == (options != ("--no-phantoms",))
    shown = coin("status", *here).stdout
    assert "records" in shown
    first = keys(json.loads(coin("search", "--image", picture, "--json", *here).stdout))[0]
    assert coin("remove", first, *here, "--yes").exit_code == 0
    assert first not in keys(json.loads(coin("search", "--image", picture, "--json", *here).stdout))


def keys(answer: dict[str, list[dict[str, str]]]) -> list[str]:
    return [case["case"] for case in answer["cases"]]


@pytest.mark.parametrize(
    ("option", "address"),
    [
        ("--catalog", "postgresql://coin:hush-hush@db/cytology"),
        ("--catalog", "hush-hush"),
        ("--vectors", "http://root:hush-hush@milvus:19530"),
        ("--vectors", "hush-hush"),
    ],
)
def test_addresses_with_passwords_are_refused_and_not_repeated(tmp_path: Path, option: str, address: str) -> None:
    refused = coin("init", "--archive", tmp_path / "archive", option, address)
    assert refused.exit_code == 1
    assert "hush" not in refused.output
    assert not (tmp_path / "archive").exists()
