"""Read the slide of a query: its fields, or the part of it that is pointed at, become vectors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from retrieval.arrays import Vectors
from retrieval.encoder.encoder import Encoder
from retrieval.errors import QueryError
from retrieval.ingest.deidentification import has_identifier
from retrieval.search.slides.slide_query import SlideQuery

if TYPE_CHECKING:
    from index_store import Field, Slide, SlidePlace

    _Read = tuple[Field, npt.NDArray[np.uint8] | None]


@dataclass(frozen=True, eq=False)
class QueriedSlide:
    """The query's slide as it was read."""

    name: str
    """Its file's name; the fingerprint's beginning where that looks like a patient's name, date or number."""
    fingerprint: str
    width: int
    """In pixels of level 0."""
    height: int
    mpp: float | None
    """µm a pixel of level 0."""
    fields: tuple[SlidePlace, ...]
    """Those that query, by their places; of a part of the slide, this part alone."""
    vectors: Vectors
    """float32[fields, d], unit rows"""
    notes: tuple[str, ...] = ()


def read_query_slide(query: SlideQuery, encoder: Encoder, *, mpp: float | None = None) -> QueriedSlide:
    """Read a query's slide, in a process of its own, and encode its fields.

    At most a batch of fields is held decoded, and a vector of each.

    Args:
        mpp: µm a pixel of level 0, where the slide does not say it.

    Raises:
        index_store.SlideProblem: it is no slide, its scale is needed and unknown, or the part cannot be read.
        QueryError: no field of it is worth a look.
    """
    from index_store import Slide

    with Slide(Path(query.path)) as slide:
        return _region(slide, query, encoder, mpp) if query.at is not None else _fields(slide, query, encoder, mpp)


def _region(slide: Slide, query: SlideQuery, encoder: Encoder, mpp: float | None) -> QueriedSlide:
    from index_store import SlidePlace, read_slide_region, slide_mpp

    assert query.at is not None
    info = slide.info
    notes: tuple[str, ...] = ()
    scale = mpp or info.mpp
    if scale is None and (query.at.in_um or info.objective is not None):
        scale, notes = slide_mpp(slide)
    read = read_slide_region(slide, query.at.box(scale), mpp=scale)
    vectors = encoder.encode_images([Image.fromarray(read.pixels)], mpp=[read.mpp])
    field = SlidePlace(info.fingerprint, read.x, read.y, read.width, read.height, read.level, read.plane)
    return _queried(slide, scale, (field,), vectors, (*info.notes, *notes))


def _fields(slide: Slide, query: SlideQuery, encoder: Encoder, mpp: float | None) -> QueriedSlide:
    from index_store import FieldChoice, SlidePlace, choose_fields, slide_mpp

    scale, _ = slide_mpp(slide, mpp)
    chosen = choose_fields(slide, FieldChoice(most=query.fields), mpp=mpp)
    requests = [(field.x, field.y, field.pixels, field.pixels, field.level, field.plane) for field in chosen.fields]
    pixels = slide.regions(requests)
    fields: list[SlidePlace] = []
    rows: list[Vectors] = []
    for batch in _batches(zip(chosen.fields, pixels, strict=True), encoder.batch_size):
        read = [(field, picture) for field, picture in batch if picture is not None]
        if read:
            pictures = [Image.fromarray(picture) for _, picture in read]
            rows.append(encoder.encode_images(pictures, mpp=[field.mpp for field, _ in read]))
            fields += [SlidePlace(f.slide, f.x, f.y, f.width, f.width, f.level, f.plane) for f, _ in read]
    if not fields:
        why = ", ".join(f"{number} {reason}" for reason, number in chosen.left_out.items() if number)
        raise QueryError(
            f"No field of {_name(slide)} can query{f' (left out: {why})' if why else ''}: look at it with `coin slides "
            "look`, or point at a part of it (--at)."
        )
    return _queried(slide, scale, tuple(fields), np.concatenate(rows), chosen.notes)


def _batches(items: Iterator[_Read], size: int) -> Iterator[list[_Read]]:
    while batch := list(islice(items, size)):
        yield batch


def _queried(
    slide: Slide, mpp: float | None, fields: tuple[SlidePlace, ...], vectors: Vectors, notes: tuple[str, ...]
) -> QueriedSlide:
    info = slide.info
    name = _name(slide)
    notes = tuple(f"The query's slide: {note}" for note in notes)
    return QueriedSlide(name, info.fingerprint, info.width, info.height, mpp, fields, vectors, notes)


def _name(slide: Slide) -> str:
    return f"slide-{slide.info.fingerprint[:12]}" if has_identifier(Path(slide.name).stem) else slide.name
