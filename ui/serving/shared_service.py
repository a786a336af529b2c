"""What all sessions and pictures of a view share: one service, and the loading of its models."""

from __future__ import annotations

import dataclasses
import functools
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from ui.errors import user_message
from ui.service import Service
from ui.settings import Settings

logger = logging.getLogger(__name__)
MOST: Final = 4
"""Services that are kept, by their settings. A process of the view has one."""


@dataclass(frozen=True)
class Part:
    """Something that a search needs, and how far it is."""

    name: str
    load: Callable[[], object]
    state: Literal["waits", "loads", "is ready", "is not ready"] = "waits"
    problem: str = ""
    """Why it is not ready."""


class Loading:
    """Models and indexes are loaded in the background, one after another, so that no search has to do it.

    Words come first: they answer without the generator, which is loaded where it is used, in the queue's thread.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self.parts = [
            Part("Encoder", self._load_encoders),
            Part("Index of cases", self._search_once),
            Part("Image generator", lambda: service.queue.run(service.generator.load).result()),
        ]
        self._thread = threading.Thread(target=self._run, name="loading", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    @property
    def is_under_way(self) -> bool:
        """Whether it was begun and has not ended."""
        return self._thread.is_alive()

    def wait(self) -> None:
        """Return when all that can be loaded is."""
        self._thread.join()

    def _run(self) -> None:
        for number, part in enumerate(self.parts):
            self.parts[number] = dataclasses.replace(part, state="loads")
            try:
                part.load()
                self.parts[number] = dataclasses.replace(part, state="is ready")
            except Exception as error:  # noqa: BLE001  # a search that needs the part raises it again
                problem = user_message(error) or type(error).__name__
                self.parts[number] = dataclasses.replace(part, state="is not ready", problem=problem)
                logger.warning("Not loaded: %s (%s)", part.name, type(error).__name__)

    def _load_encoders(self) -> None:
        for encoder in (self._service.encoder, self._service.text_encoder):
            if encoder is not None:
                encoder.load()

    def _search_once(self) -> None:
        """What a search reads of the archive. It is nobody's, and stands in no log."""
        from retrieval import Query

        result = self._service.cases.run(Query(text="Smear.", k=1), generate=False)
        if result.cases:
            self._service.diagnose(result)
        self._service.cases.site_rates()


@functools.lru_cache(MOST)
def shared_service(settings: Settings) -> Service:
    """The one service with these settings."""
    return Service(settings, interface="view")


@functools.lru_cache(MOST)
def shared_loading(settings: Settings) -> Loading:
    """The loading of its models, which `coin ui` starts."""
    return Loading(shared_service(settings))
