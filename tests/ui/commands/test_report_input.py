"""Reports from files and stdin: the limits, and what a message names."""

from __future__ import annotations

from pathlib import Path

import pytest

from ui.commands.report_input import MAX_BYTES, read_report
from ui.errors import UnreadableInput


def test_the_largest_report_is_read_and_one_byte_more_is_not(tmp_path: Path) -> None:
    file = tmp_path / "report.txt"
    file.write_bytes(b"a" * MAX_BYTES)
    assert len(read_report(file)) == MAX_BYTES
    file.write_bytes(b"a" * (MAX_BYTES + 1))
    with pytest.raises(UnreadableInput, match=r"report\.txt' is larger than 1 MiB"):
        read_report(file)


@pytest.mark.parametrize(
    ("data", "message"), [(b"\xff\xfe", "is not UTF-8 text"), (b"a\0b", "is not a text file"), (None, "cannot be read")]
)
def test_what_is_no_text_is_refused(data: bytes | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / "report.txt"
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(UnreadableInput, match=message):
        read_report(file)


def test_a_byte_order_mark_is_no_part_of_the_report(tmp_path: Path) -> None:
    file = tmp_path / "report.txt"
    file.write_bytes("\ufeffClue cells.".encode())
    assert read_report(file) == "Clue cells."
