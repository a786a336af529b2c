"""Where people meet the system: the `coin` command, its settings, the Streamlit view.

Importing this package imports nothing heavy; names are resolved when first used (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ui.cli import main as main
    from ui.errors import CoinCliError as CoinCliError
    from ui.service import Service as Service
    from ui.settings import SETTINGS as SETTINGS
    from ui.settings import Setting as Setting
    from ui.settings import Settings as Settings
    from ui.settings import settings_table as settings_table

_HOME = {
    "SETTINGS": "settings",
    "CoinCliError": "errors",
    "Service": "service",
    "Setting": "settings",
    "Settings": "settings",
    "main": "cli",
    "settings_table": "settings",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
