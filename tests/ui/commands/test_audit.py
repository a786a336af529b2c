"""The audit log as its keeper meets it: search, show and the view record; `coin audit` shows and checks."""

from __future__ import annotations

import getpass
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from generation.phantom import PROFILES, Phantom, write_phantoms
from tests.ui.conftest import coin
from tests.ui.view.pages import joined
from ui.service import Service
from ui.settings import Settings
from ui.view import session as state

APP = Path(__file__).parents[3] / "ui" / "view" / "app.py"
REPORT = "Squamous intraepithelial lesion (HSIL), seen by nobody."


@pytest.fixture
def folder(environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the audit log of the shared archive is kept, for one test."""
    monkeypatch.setenv("COIN_AUDIT", str(tmp_path / "audit"))
    return tmp_path / "audit"


def events(folder: Path) -> list[dict[str, object]]:
    (file,) = folder.glob("*.jsonl")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_off_by_default(environment: dict[str, str], tmp_path: Path) -> None:
    assert Settings().audit is None
    assert coin("audit").exit_code == 2
    assert "name its folder" in coin("audit").stderr


def test_searches_and_opened_cases_are_recorded_without_a_word_of_them(folder: Path, phantoms: list[Phantom]) -> None:
    found = json.loads(coin("search", "--text", REPORT, "-k", "3", "--channel", "report", "--json").stdout)
    assert coin("show", phantoms[0].key).exit_code == 0
    assert coin("search", "--case", phantoms[1].key, "-k", "2").exit_code == 0
    query, case, by_case = events(folder)
    with Service(Settings.from_env()).archive as archive:
        ids = {case.key: case.id for case in archive.cases()}
        fingerprint, revision = archive.encoder.fingerprint if archive.encoder else "", archive.revision
    assert (query["event"], query["kind"], query["user"], query["place"]) == (
        "query", "report", getpass.getuser(), "command line",
    )  # fmt: skip
    assert (query["encoder"], query["revision"], query["channels"]) == (fingerprint, revision, ["report"])
    assert query["cases"] == [ids[entry["case"]] for entry in found["cases"]]
    assert (case["event"], case["cases"]) == ("case", [ids[phantoms[0].key]])
    assert by_case["asked_by_cases"] == [ids[phantoms[1].key]]
    text = json.dumps([query, case, by_case])
    assert not any(secret in text for secret in ("HSIL", "nobody", phantoms[0].key, phantoms[1].key))


def test_equal_queries_have_one_hash_and_others_another(folder: Path) -> None:
    for text in (REPORT, REPORT, f"{REPORT} "):
        coin("search", "--text", text, "-k", "1", "--channel", "report")
    first, second, third = (event["query"] for event in events(folder))
    assert first == second != third


@pytest.mark.slow
def test_generated_images_name_their_models(folder: Path) -> None:
    assert coin("search", "--text", "Clue cells.", "-k", "1", "--channel", "generated").exit_code == 0
    (event,) = events(folder)
    generator = event["generator"]
    assert isinstance(generator, dict)
    assert all(len(generator[part]) == 64 for part in ("base", "lora"))


def test_what_was_refused_is_recorded_too(folder: Path) -> None:
    assert coin("search", "--case", "nowhere").exit_code == 1
    (event,) = events(folder)
    assert event["refused"] == "CaseNotFoundError"
    assert "nowhere" not in json.dumps(event)


def test_no_answer_without_a_record(folder: Path, phantoms: list[Phantom]) -> None:
    folder.write_text("in the way of the folder")
    for command in (("search", "--text", "Clue cells.", "--channel", "report"), ("show", phantoms[0].key)):
        result = coin(*command)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "Nothing is answered unrecorded" in result.stderr


def test_the_keeper_sees_checks_and_prunes(folder: Path) -> None:
    for _ in range(3):
        coin("search", "--text", REPORT, "-k", "1", "--channel", "report")
    shown = coin("audit")
    assert shown.exit_code == 0
    assert "3 events, 1 to 3" in shown.stdout
    noted = shown.stdout.rsplit(" ", 1)[1].strip()
    assert coin("audit", "--expect", noted, "--last", "0").exit_code == 0
    assert coin("audit", "--expect", "12:beef").exit_code == 2
    assert coin("audit", "--prune").exit_code == 2
    kept = json.loads(coin("audit", "--prune", "--audit-days", "30", "--json").stdout)
    assert (kept["removed"], kept["state"]["events"], len(kept["shown"])) == (0, 3, 3)
    (file,) = folder.glob("*.jsonl")
    file.write_text(file.read_text(encoding="utf-8").replace('"kind":"report"', '"kind":"image"', 1), encoding="utf-8")
    spoilt = coin("audit", "--prune", "--audit-days", "30")
    assert spoilt.exit_code == 1
    assert "NOT WHOLE: line 1 (event 1) was changed" in spoilt.stdout


@pytest.fixture
def view(folder: Path) -> Iterator[AppTest]:
    yield AppTest.from_file(str(APP), default_timeout=600).run()
    st.cache_resource.clear()
    st.cache_data.clear()


def test_the_view_records_once_what_it_shows(view: AppTest, folder: Path, phantoms: list[Phantom]) -> None:
    view.text_area(key="report").set_value("Clue cells.")
    next(button for button in view.button if button.label == "Search by report").click().run()
    joined(view)
    view.run()  # drawn again: not asked again
    view.switch_page("case_page.py")
    view.query_params["case"] = phantoms[0].key
    view.run().run()
    view.switch_page("search_page.py").run()
    view.switch_page("case_page.py")
    view.query_params["case"] = phantoms[0].key
    view.run()
    assert not view.exception
    assert [(event["event"], event["place"]) for event in events(folder)] == [
        ("query", "view"), ("query", "view"), ("case", "view"), ("case", "view"),
    ]  # fmt: skip
    assert {event["user"] for event in events(folder)} == {getpass.getuser()}


def test_the_view_names_its_user(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    class Context:
        headers: dict[str, str] = {}  # noqa: RUF012

    class User(dict[str, str]):
        def to_dict(self) -> dict[str, str]:
            return dict(self)

    monkeypatch.setattr(st, "context", Context)
    monkeypatch.setattr(st, "user", User())
    assert state.user() == ""
    monkeypatch.setattr(st, "user", User(email="test@example.com"))  # what Streamlit says of nobody
    assert state.user() == ""
    monkeypatch.setattr(st, "user", User(is_logged_in="true", email="reader@example.org", name="Reader"))
    assert state.user() == "reader@example.org"
    monkeypatch.setenv("COIN_USER_HEADER", "X-Forwarded-User")
    assert state.user() == "not named by X-Forwarded-User"  # past the proxy: never taken for somebody who signed in
    Context.headers["X-Forwarded-User"] = "reader"
    assert state.user() == "reader"


@pytest.mark.slow
def test_no_word_of_a_report_is_in_the_logs(
    models: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every library, at DEBUG, over add, search, show and evaluate: neither report text nor file names."""
    caplog.set_level(logging.DEBUG)
    for name, value in {**models, "COIN_ARCHIVE": str(tmp_path / "archive")}.items():
        monkeypatch.setenv(name, value)
    drawn = [Phantom(profile, number) for number in range(4) for profile in PROFILES[:2]]
    manifest = write_phantoms(tmp_path / "phantoms", drawn, size=64)
    assert coin("init").exit_code == 0
    assert coin("add", manifest).exit_code == 0
    assert coin("search", "--text", REPORT, "-k", "3").exit_code == 0
    assert coin("show", drawn[0].key).exit_code == 0
    assert coin("evaluate", "--work", tmp_path / "work").exit_code == 0
    assert caplog.records  # libraries do speak at this level: there was something to look through
    said = "\n".join(f"{record.getMessage()} {record.exc_text or ''} {record.args}" for record in caplog.records)
    for words in (REPORT, *(phantom.report for phantom in drawn), *(phantom.key for phantom in drawn)):
        assert words not in said
