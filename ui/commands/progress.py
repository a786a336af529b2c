"""Progress of long work on stderr: a bar with rate and estimate on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

QUIET_SECONDS: Final = 10.0  # between two lines where stderr is a file or a pipe
_LINE: Final = "{desc}: {n_fmt}/{total_fmt} {unit} ({percentage:.0f} %), {rate_fmt}, about {remaining} left"


class Update(Protocol):
    """Show that `done` of `total` are done, with `note` beside it."""

    def __call__(self, done: int, total: int, note: str = "") -> None: ...


@contextmanager
def progress(label: str, *, unit: str, seconds: float = QUIET_SECONDS) -> Iterator[Update]:
    """Yield a callable `(done, total, note="")` that shows the progress of `label`, counted in `unit`.

    The total may change on the way. Nothing goes to stdout, so that `--json` stays clean.
    """
    if not sys.stderr.isatty():
        yield _Lines(label, unit, seconds)
        return
    from tqdm import tqdm

    with tqdm(desc=label, unit=f" {unit}", file=sys.stderr, leave=False, dynamic_ncols=True) as bar:

        def update(done: int, total: int, note: str = "") -> None:
            if bar.total is None:  # the rate counts from here, without the loading of models
                bar.reset(total)
                bar.initial = bar.n = done
            bar.total = total
            bar.set_postfix_str(note, refresh=False)
            bar.update(done - bar.n)

        yield update


class _Lines:
    """One line every `seconds`, and none where the work ends before the first is due."""

    def __init__(self, label: str, unit: str, seconds: float) -> None:
        self._label, self._unit, self._seconds = label, unit, seconds
        self._started: float | None = None

    def __call__(self, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if self._started is None:  # the rate counts from here, without the loading of models
            self._started = self._last = now
            self._first = done
        if now - self._last < self._seconds:
            return
        from tqdm import tqdm

        self._last = now
        line = tqdm.format_meter(
            done,
            total,
            now - self._started,
            initial=self._first,
            prefix=self._label,
            unit=self._unit,
            bar_format=_LINE,
        )
        sys.stderr.write(f"{line}, {note}\n" if note else f"{line}\n")
        sys.stderr.flush()
