"""A record as the text of one JSON object, with the research-use notice."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

from retrieval import RESEARCH_USE


def json_text(record: Any) -> str:
    """A dataclass or a mapping as the text of one JSON object. Paths become strings, and ends of an interval that are
    infinite, which JSON has no number for, null."""
    return json.dumps({"notice": RESEARCH_USE, **_plain(record)}, indent=2, ensure_ascii=False, default=str)


def _plain(record: Any) -> Any:
    # Not dataclasses.asdict: it deep-copies what it does not know, and a read-only mapping cannot be copied.
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        return {item.name: _plain(getattr(record, item.name)) for item in dataclasses.fields(record)}
    if isinstance(record, Mapping):
        return {str(key): _plain(value) for key, value in record.items()}
    if isinstance(record, list | tuple):
        return [_plain(value) for value in record]
    if isinstance(record, float) and math.isinf(record):
        return None
    return record
