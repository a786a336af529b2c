"""Sessions take turns at the device: places, stops, changes, and no answer that is another session's."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from retrieval import Query, SearchResult
from ui.generation_queue import GenerationQueue, GenerationStopped, QueuedQuery
from ui.service import Progress, Service
from ui.settings import Settings

PATIENCE = 600.0
STEPS = 3


@dataclasses.dataclass
class Device:
    """A search that takes the steps that it is let take; its answer is the query's text."""

    begun: threading.Semaphore = dataclasses.field(default_factory=lambda: threading.Semaphore(0))
    step: threading.Semaphore = dataclasses.field(default_factory=lambda: threading.Semaphore(0))
    asked: list[str] = dataclasses.field(default_factory=list)
    at_once: int = 0

    def search(self, query: Query, *, progress: Progress, user: str) -> SearchResult:
        self.asked.append(query.text)
        self.at_once += 1
        assert self.at_once == 1, "two at once on one device"
        try:
            self.begun.release()
            for done in range(STEPS):
                assert self.step.acquire(timeout=PATIENCE)
                progress(done + 1, STEPS)
            if query.text == "fails":
                raise OSError("the device failed")
            return (query.text, query.k, user)  # type: ignore[return-value]
        finally:
            self.at_once -= 1

    def begins(self) -> None:
        assert self.begun.acquire(timeout=PATIENCE)

    def finish(self, queries: int = 1) -> None:
        self.step.release(queries * STEPS)


@pytest.fixture
def device() -> Device:
    return Device()


@pytest.fixture
def queue(device: Device) -> Iterator[GenerationQueue]:
    queue = GenerationQueue(device.search)
    yield queue
    device.finish(100)
    queue.close()


def test_each_sees_how_many_are_before_it(queue: GenerationQueue, device: Device) -> None:
    asked = [queue.ask(Query(text=text), user=text) for text in "abc"]
    assert [queue.before(each) for each in asked] == [0, 1, 2]
    device.begins()
    device.finish()
    assert asked[0].answer.result(PATIENCE) == ("a", 10, "a")
    device.begins()
    assert [queue.before(each) for each in asked] == [0, 0, 1]
    device.finish(2)
    assert [each.answer.result(PATIENCE) for each in asked[1:]] == [("b", 10, "b"), ("c", 10, "c")]
    assert device.asked == ["a", "b", "c"]


def test_one_that_waits_gives_up_its_place_at_once(queue: GenerationQueue, device: Device) -> None:
    first, second, third = (queue.ask(Query(text=text)) for text in "abc")
    device.begins()
    queue.stop(second)
    assert queue.before(third) == 1
    device.finish(2)
    third.answer.result(PATIENCE)
    first.answer.result(PATIENCE)
    with pytest.raises(CancelledError):
        second.answer.result(PATIENCE)
    assert device.asked == ["a", "c"]


def test_one_that_is_answered_ends_with_its_step(queue: GenerationQueue, device: Device) -> None:
    first, second = queue.ask(Query(text="a")), queue.ask(Query(text="b"))
    device.begins()
    queue.stop(first)
    device.step.release(1)
    with pytest.raises(GenerationStopped):
        first.answer.result(PATIENCE)
    device.begins()
    assert device.asked == ["a", "b"]
    assert queue.before(second) == 0
    device.finish()
    assert second.answer.result(PATIENCE) == ("b", 10, "")


def test_a_query_that_changes_is_answered_as_it_is_in_the_end(queue: GenerationQueue, device: Device) -> None:
    queued = queue.ask(Query(text="a"))
    device.begins()
    assert queue.change(queued, Query(text="a", k=3))
    device.finish()
    device.begins()
    assert queue.before(queued) == 0
    device.finish()
    assert queued.answer.result(PATIENCE) == ("a", 3, "")
    assert not queue.change(queued, Query(text="a", k=4)), "too late"


def test_what_fails_says_so_and_leaves_the_queue(queue: GenerationQueue, device: Device) -> None:
    failing, next_ = queue.ask(Query(text="fails")), queue.ask(Query(text="b"))
    device.finish(2)
    with pytest.raises(OSError, match="the device failed"):
        failing.answer.result(PATIENCE)
    assert next_.answer.result(PATIENCE) == ("b", 10, "")


def test_closing_stops_what_waits_and_what_is_answered(device: Device) -> None:
    queue = GenerationQueue(device.search)
    first, second = queue.ask(Query(text="a")), queue.ask(Query(text="b"))
    device.begins()
    closing = threading.Thread(target=queue.close)
    closing.start()
    with pytest.raises(CancelledError):
        second.answer.result(PATIENCE)
    device.finish()
    closing.join(PATIENCE)
    assert isinstance(first.answer.exception(PATIENCE), GenerationStopped)


def test_six_sessions_at_once_get_their_own_answers(queue: GenerationQueue, device: Device) -> None:
    device.finish(1000)
    got: dict[str, list[object]] = {}

    def session(name: str) -> None:
        queued: list[QueuedQuery] = []
        for number in range(1, 9):
            if queued and number % 3 == 0:
                queue.stop(queued[-1])
            queued.append(queue.ask(Query(text=f"{name}{number}", k=number), user=name))
        got[name] = [(query, query.answer.result(PATIENCE)) for query in queued if not query.is_stopped]

    threads = [threading.Thread(target=session, args=(name,)) for name in "abcdef"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert {name: len(answers) for name, answers in got.items()} == dict.fromkeys("abcdef", 6)
    for name, answers in got.items():
        assert all(answer == (query.query.text, query.query.k, name) for query, answer in answers)  # type: ignore[misc,attr-defined]


# With real models


@pytest.fixture
def service(models: dict[str, str], archive: Path, tmp_path: Path) -> Iterator[Service]:
    environ = {**models, "COIN_ARCHIVE": str(archive), "COIN_CACHE": str(tmp_path / "cache")}
    service = Service(Settings.from_env(environ))
    yield service
    service.close()


@pytest.mark.slow
def test_a_stopped_generation_leaves_nothing_behind(service: Service, tmp_path: Path) -> None:
    query = Query(text="Clue cells.", seeds=(0, 1))
    asked: list[QueuedQuery] = []

    def search(query: Query, *, progress: Progress, user: str) -> SearchResult:
        def stop_the_first(done: int, total: int) -> None:
            if done == 2:
                queue.stop(asked[0])
            progress(done, total)

        return service.search(query, progress=stop_the_first, user=user)

    queue = GenerationQueue(search)
    asked.append(queue.ask(query))
    with pytest.raises(GenerationStopped):
        asked[0].answer.result(PATIENCE)
    assert not list((tmp_path / "cache").rglob("*")), "half an image is in the cache"
    assert service.search_at_hand(query) is None
    asked.append(queue.ask(query))
    again = asked[1].answer.result(PATIENCE)
    queue.close()
    assert pictures(again) == pictures(service.search_at_hand(query))
    other = Service(dataclasses.replace(service.settings, cache=str(tmp_path / "other")))
    assert pictures(again) == pictures(other.search(query)), "not the images of a generation that nobody stopped"
    other.close()


def pictures(result: SearchResult | None) -> list[bytes]:
    assert result is not None
    assert result.generated is not None
    return [check.generated.image.tobytes() for check in result.generated.images]
