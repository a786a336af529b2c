"""The sentence that stands on every view and every export."""

from __future__ import annotations

from typing import Final

RESEARCH_USE: Final = "Research use only. Not for diagnosis."
