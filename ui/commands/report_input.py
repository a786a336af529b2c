"""A report from the command line: `--text` or `--text-file`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from ui.errors import UnreadableInput

MAX_BYTES: Final = 1 << 20  # the longest real report seen has 2 KB: a file above 1 MiB is not a report


def read_report(path: Path) -> str:
    """The text of a report file (UTF-8, with or without a byte order mark); "-" is stdin.

    Raises UnreadableInput where it is too large or no text.
    """
    name = "stdin" if str(path) == "-" else f"'{path}'"
    try:
        if str(path) == "-":
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UnreadableInput(f"the report file {name} cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise UnreadableInput(f"{name} is larger than 1 MiB: that is no report; give a file with the text of one")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableInput(f"{name} is not UTF-8 text: save the report as plain text in UTF-8") from None
    if "\0" in text:
        raise UnreadableInput(f"{name} is not a text file: save the report as plain text in UTF-8")
    return text
