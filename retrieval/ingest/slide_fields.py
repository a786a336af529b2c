"""The fields of a manifest's slides: chosen one slide ahead of the encoder, and what became of each slide."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from index_store import Problem
from retrieval.ingest.prefetch import MemoryWindow, read_ahead

if TYPE_CHECKING:
    from index_store import Archive, CutSlide, NewImage, PlannedField, PlannedSlide, SlideCut


@dataclass(frozen=True)
class AddedSlide:
    """What became of one slide of a manifest."""

    line: int
    fields: int
    """That were chosen: all of them, or what an interrupted run had left."""
    unread: int
    """Of these, how many could not be read."""
    width_um: float
    """Of a field's edge."""
    places: int
    """Places of a field's size that the slide has; 0 where the fields were chosen before an interruption."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Of those, by the reason; and fields that were found unfit when they were looked at closely."""
    seconds: float = 0.0
    """That choosing took."""
    notes: tuple[str, ...] = ()
    """What could not be read, and how its scale is known, as sentences."""


@dataclass(frozen=True)
class UnreadField(Problem):
    """A field that could not be read: noted with its slide, whose other fields may be fine."""

    line: int = 0


@dataclass
class _Open:
    """A slide of which fields are expected."""

    found: CutSlide
    left: int
    unread: list[UnreadField] = field(default_factory=list)


class SlideFields:
    """The fields of a run's slides, in the order of the slides."""

    def __init__(self, slides: Sequence[PlannedSlide]) -> None:
        self.problems: list[Problem] = []
        """Slides of which no field could be added."""
        self.done: list[AddedSlide] = []
        self._slides = slides
        self._open: dict[int, _Open] = {}
        """By the line of the manifest."""
        self._chosen = 0
        self._to_choose = sum(_expected(slide) for slide in slides)

    @property
    def expected(self) -> int:
        """How many fields there are in all: of slides whose fields are not chosen yet, as many as were requested."""
        return self._chosen + self._to_choose

    @property
    def cuts(self) -> list[SlideCut]:
        """What is stored of the slides of which fields are expected, with the first of them."""
        return [slide.found.cut for slide in self._open.values()]

    def planned(self, *, elsewhere: bool = False) -> Generator[PlannedField, None, None]:
        """The fields to be read, each slide chosen while the one before is read.

        Args:
            elsewhere: other processes read them, so that no slide stays open in this one.
        """
        chosen = read_ahead(_cut, self._slides, size=lambda _: 0, window=MemoryWindow(1), workers=1, ahead=1)
        with closing(chosen):
            for slide, found in zip(self._slides, chosen, strict=True):
                self._to_choose -= _expected(slide)
                if isinstance(found, Problem):
                    self.problems.append(found)
                    continue
                if elsewhere:
                    found.source.close()
                self._chosen += len(found.fields)
                self._open[slide.row.line] = _Open(found, len(found.fields))
                yield from found.fields

    def take(self, batch: Sequence[NewImage | Problem]) -> None:
        """Take note of images that were stored, and of fields that could not be read."""
        for item in batch:
            if isinstance(item, UnreadField):
                self._open[item.line].unread.append(item)
                self._open[item.line].left -= 1
            elif not isinstance(item, Problem) and item.place is not None:
                self._open[item.row.line].left -= 1

    def close(self, archive: Archive) -> None:
        """Note in the archive which slides are complete: those of which no more fields are expected."""
        for line in [line for line, slide in self._open.items() if not slide.left]:
            slide = self._open.pop(line)
            found, unread = slide.found, slide.unread
            notes = [_unread(len(unread), len(found.fields), unread[0].what)] if unread else []
            cut = found.cut
            if archive.finish_slide(cut.case, cut.slide.fingerprint, cut.settings, notes):
                self.done.append(_added(found, len(unread), (*cut.slide.notes, *notes)))
            else:
                self.problems.append(Problem(f"line {line}", unread[0].what, unread[0].advice))  # none could be


def _cut(planned: PlannedSlide) -> CutSlide | Problem:
    from index_store import SlideProblem, cut_slide

    try:
        return cut_slide(planned)
    except SlideProblem as error:
        what, _, advice = str(error).replace(planned.row.path.name, "its slide", 1).partition(". ")
        return Problem(f"line {planned.row.line}", what.rstrip("."), advice or "Look at it in the scanner's software.")


def _expected(slide: PlannedSlide) -> int:
    return slide.choice.most if slide.pending is None else len(slide.pending)


def _added(found: CutSlide, unread: int, notes: tuple[str, ...]) -> AddedSlide:
    chosen = found.chosen
    return AddedSlide(
        found.planned.row.line,
        len(found.fields),
        unread,
        found.planned.choice.width_um,
        chosen.places if chosen else 0,
        {reason: number for reason, number in chosen.left_out.items() if number} if chosen else {},
        round(chosen.seconds, 2) if chosen else 0.0,
        notes,
    )


def _unread(unread: int, fields: int, what: str) -> str:
    return f"{unread} of {fields} fields could not be read ({what})."
