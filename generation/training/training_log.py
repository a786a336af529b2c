"""A training's log: one JSON object a line. It holds numbers only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from generation.atomic_write import write_atomic

Record = Mapping[str, Any]


class TrainingLog:
    """The file `log.jsonl` in a training's folder.

    Records of steps after `step` are removed: an interrupted run that resumes at `step` repeats them.
    """

    def __init__(self, folder: Path, *, step: int) -> None:
        self._path = folder / "log.jsonl"
        self.records = [record for record in self._read() if step and record.get("step", 0) <= step]
        write_atomic(self._path, "".join(f"{json.dumps(record)}\n" for record in self.records).encode())

    def add(self, record: Record) -> None:
        """Append a record to the file."""
        self.records.append(dict(record))
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(record)}\n")

    def curve(self, name: str) -> list[tuple[int, float]]:
        """Steps and values of the number with that name."""
        return [(record["step"], record[name]) for record in self.records if name in record]

    def _read(self) -> list[dict[str, Any]]:
        if not self._path.is_file():
            return []
        records = []
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
            except ValueError:  # the last line of a process that was killed
                continue
            if isinstance(record, dict):
                records.append(record)
        return records
