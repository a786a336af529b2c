"""Output of commands: text and JSON on stdout, with the research-use notice in every JSON object."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ui.text.json_text import json_text


def echo(text: str) -> None:
    """Print `text` on stdout."""
    click.echo(text)


def echo_json(record: Any) -> None:
    """Print a dataclass or a mapping as one JSON object. Paths become strings."""
    click.echo(json_text(record))


def write_file(path: Path, text: str) -> None:
    """Create or replace a text file (UTF-8), whole or not at all; a link, a device or a pipe is written into."""
    from generation import write_atomic

    data = text.encode()
    if path.is_symlink() or (path.exists() and not path.is_file()):
        path.write_bytes(data)
    else:
        write_atomic(path, data)
