"""What a session keeps belongs to the archive that was asked."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from retrieval import Query
from ui.view import session
from ui.view.answer import search as answer


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A service that counts what it is asked, and the state of one session."""
    service = SimpleNamespace(archive=SimpleNamespace(case=lambda key: f"{key} again"), searched=0, recorded=0)
    service.cases = SimpleNamespace(channels_for=lambda *_, **__: ("image",))

    def search(query: Query, **_: object) -> SimpleNamespace:
        service.searched += 1
        return SimpleNamespace(number=service.searched, generated=None)

    def case(key: str, **_: object) -> str:
        service.recorded += 1
        return f"{key} opened"

    service.search, service.case = search, case
    for module in (session, answer):
        monkeypatch.setattr(module, "service", lambda: service)
        monkeypatch.setattr(module, "user", lambda: "Ada")
    monkeypatch.setattr(session.st, "session_state", {})
    return service


def test_a_result_is_kept_while_the_archive_is_the_same(asked: SimpleNamespace) -> None:
    first = answer.search(Query(case="a"))
    assert answer.search(Query(case="a")) is first
    asked.archive = SimpleNamespace()  # the folder holds another one by now
    again: object = answer.search(Query(case="a")).result
    assert again == SimpleNamespace(number=2, generated=None)


def test_a_case_of_another_archive_is_opened_anew(asked: SimpleNamespace) -> None:
    assert [session.opened_case("a"), session.opened_case("a")] == ["a opened", "a again"]
    asked.archive = SimpleNamespace()
    assert session.opened_case("a") == "a opened"
    assert asked.recorded == 2
