"""A field is read of its place on the slide as it is now; a place that the slide does not have is named."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from index_store import SlideProblem
from index_store.catalog.slide_tables.cut import SlideSource
from index_store.slide_records import SlidePlace
from index_store.slides.slide import Slide
from tests.small_slides import FIELD, small_slide


def test_a_level_or_plane_beyond_the_last_is_refused(tmp_path: Path) -> None:
    path = small_slide(tmp_path / "slide.tif", 1)
    with Slide(path) as slide:
        info = slide.info
    source = SlideSource(path, info)
    place = SlidePlace(info.fingerprint, 0, 0, FIELD, FIELD, level=len(info.levels) - 1)
    assert source.read(place).shape == (*reversed(source.size(place)), 3)
    for beyond in (replace(place, level=len(info.levels)), replace(place, plane=len(info.planes))):
        what = f"level {beyond.level}" if beyond.level > place.level else f"focal plane {beyond.plane}"
        with pytest.raises(SlideProblem, match=re.escape(f"slide.tif has no {what} any more")):
            source.read(beyond)
    source.close()
