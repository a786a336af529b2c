"""A generator that remembers what it generated, and can be interrupted: is anything generated twice?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from generation import CoinGenerator, Generation


class WatchedGenerator(CoinGenerator):
    """Remembers each report and its seeds; raises KeyboardInterrupt at report number `stop_at`."""

    def __init__(self, *arguments: Any, stop_at: int | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.generated: list[tuple[str, tuple[int, ...]]] = []
        self.stop_at = stop_at

    def generate_queue(self, requests: Iterable[tuple[str, Sequence[int]]], **more: Any) -> Iterator[Generation]:
        requests = list(requests)
        for (report, seeds), made in zip(requests, super().generate_queue(requests, **more), strict=True):
            if len(self.generated) == self.stop_at:
                raise KeyboardInterrupt
            self.generated.append((report, tuple(seeds)))
            yield made
