"""How much the tests of faults try. COIN_TEST_FAULTS unset: a little; a number: so many places or examples; "all"."""

from __future__ import annotations

import os

ASKED = os.environ.get("COIN_TEST_FAULTS", "")
ALL = ASKED == "all"


def thoroughness(default: int, everything: int) -> int:
    """`default` where nothing is asked for, `everything` for "all", otherwise the number."""
    if not ASKED:
        return default
    return everything if ALL else int(ASKED)
