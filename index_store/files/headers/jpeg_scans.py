"""The coded data of a JPEG, walked from marker to marker: where it ends, and what is missing from it.

A decoder fills what is missing with whatever it has, and only warns, which nobody hears. Markers tell it exactly: a
scan that restarts every so many blocks numbers its restarts (ITU-T T.81, E.1.4), and a progressive picture is whole
once every coefficient has come to its last bit (G.1.1.1).
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

MAX_SCANS = 1_000
"""Of a picture that is walked: a progressive one has some ten, and each costs a step in Python."""
MAX_PIECES = 200_000
"""Of a picture whose decoder is watched: each costs some steps in Python. A restart after every row of blocks gives
some hundred, one after every block 50,000 of 12 megapixels."""
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.S)
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_SOS, _DRI, _EOI = 0xDA, 0xDD, 0xD9


@dataclass(frozen=True)
class Frame:
    """How a JPEG divides its picture into blocks."""

    width: int
    height: int
    factors: dict[int, tuple[int, int]]
    """Of each component, by its number: blocks across and down in a unit of all components."""
    progressive: bool
    interval: int = 0
    """Units between two restarts, by the segments before the first scan; 0 for no restarts."""

    def units(self, components: list[int]) -> int:
        """Units of a scan of these components."""
        across, down = (max(each[axis] for each in self.factors.values()) for axis in (0, 1))
        if len(components) > 1:
            return math.ceil(self.width / (8 * across)) * math.ceil(self.height / (8 * down))
        h, v = self.factors[components[0]]
        return math.ceil(math.ceil(self.width * h / across) / 8) * math.ceil(math.ceil(self.height * v / down) / 8)


@dataclass(frozen=True)
class CodedData:
    """What follows the headers."""

    pieces: tuple[tuple[int, int], ...] = ()
    """Where the data between two markers begin and end; empty where there are too many, or the walk was lost."""
    missing: str = ""
    """What is not there, such as "restart markers"; empty where nothing is found missing."""


def walk(data: bytes, position: int, frame: Frame) -> CodedData:
    """Walk the scans from the first one's marker at `position` to the end of the picture."""
    count, pieces = 0, list[tuple[int, int]]()
    to_come: dict[tuple[int, int], int] = {}  # bits, of each component and coefficient that a scan has brought
    try:
        for body, start, interval in _scans(data, position, frame):
            end = _end(data, start)
            count += 1
            if count > MAX_SCANS:
                return CodedData()
            components = list(body[1 : 1 + 2 * body[0] : 2])
            restarts = [match.start() for match in _RESTART.finditer(data, start, end)] if interval else []
            if interval and not _restarts_fit(data, restarts, frame.units(components), interval):
                return CodedData(missing="restart markers")
            if len(pieces) <= MAX_PIECES:
                pieces += zip((start, *(at + 2 for at in restarts)), (*restarts, end), strict=True)
            if frame.progressive:
                first, last, bits = body[1 + 2 * body[0] : 4 + 2 * body[0]]
                for component in components:
                    for number in range(first, last + 1):
                        to_come[component, number] = bits & 15
    except (struct.error, IndexError, KeyError, ValueError):
        return CodedData()  # the decoder says what is wrong with it
    if frame.progressive and any(
        to_come.get((component, number), 1) for component in frame.factors for number in range(64)
    ):
        return CodedData(missing="scans")
    return CodedData(tuple(pieces) if len(pieces) <= MAX_PIECES else ())


def _scans(data: bytes, position: int, frame: Frame) -> Iterator[tuple[bytes, int, int]]:
    """The header of each scan, where its data begin, and the units between its restarts."""
    interval = frame.interval
    while (found := _MARKER.search(data, position)) and (marker := data[found.end() - 1]) != _EOI:
        at = found.end()
        (length,) = struct.unpack_from(">H", data, at)
        body, position = data[at + 2 : at + length], at + length
        if marker == _DRI:
            (interval,) = struct.unpack(">H", body)
        elif marker == _SOS:
            yield body, position, interval


def _end(data: bytes, start: int) -> int:
    found = _MARKER.search(data, start)
    return found.start() if found else len(data)


def _restarts_fit(data: bytes, restarts: list[int], units: int, interval: int) -> bool:
    """Whether the restarts are all there and in order. (Some writers put one more at the end.)"""
    wanted = math.ceil(units / interval) - 1
    return wanted <= len(restarts) <= wanted + 1 and all(data[at + 1] & 7 == n & 7 for n, at in enumerate(restarts))
