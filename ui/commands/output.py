"""Output of commands: text and JSON on stdout, with the research-use notice in every JSON object."""

from __future__ import annotations

from typing import Any

import click

from ui.text.json_text import json_text


def echo(text: str) -> None:
    """Print `text` on stdout."""
    click.echo(text)


def echo_json(record: Any) -> None:
    """Print a dataclass or a mapping as one JSON object. Paths become strings."""
    click.echo(json_text(record))
