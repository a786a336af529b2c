"""What a session keeps belongs to the archive that was asked."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from retrieval import Query
from ui.view import session


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A service that counts what it is asked, and the state of one session."""
    service = SimpleNamespace(archive=SimpleNamespace(case=lambda key: f"{key} again"), searched=0, recorded=0)

    def search(query: Query, **_: object) -> str:
        service.searched += 1
        return f"result {service.searched}"

    def case(key: str, **_: object) -> str:
        service.recorded += 1
        return f"{key} opened"

    service.search, service.case = search, case
    monkeypatch.setattr(session, "service", lambda: service)
    monkeypatch.setattr(session, "user", lambda: "Ada")
    monkeypatch.setattr(session.st, "session_state", {})
    return service


def test_a_result_is_kept_while_the_archive_is_the_same(asked: SimpleNamespace) -> None:
    first = session.search(Query(case="a"), lambda *_: None)
    assert session.search(Query(case="a"), lambda *_: None) is first
    asked.archive = SimpleNamespace()  # the folder holds another one by now
    assert session.search(Query(case="a"), lambda *_: None).result == "result 2"


def test_a_case_of_another_archive_is_opened_anew(asked: SimpleNamespace) -> None:
    assert [session.opened_case("a"), session.opened_case("a")] == ["a opened", "a again"]
    asked.archive = SimpleNamespace()
    assert session.opened_case("a") == "a opened"
    assert asked.recorded == 2
