"""Parts of a picture are found whatever was done to them, and other pictures share none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import PIL.Image
import pytest

from retrieval.copies.keypoints import MIRRORED, SIDE, grey_picture, keypoints
from retrieval.copies.overlap import PIXELS, Overlap, shared_part
from tests.retrieval.copies.pictures import field


def part_of(copy: PIL.Image.Image, reference: PIL.Image.Image) -> Overlap | None:
    grey = grey_picture(copy, PIXELS)
    return shared_part(keypoints(copy), grey, keypoints(reference), lambda: grey_picture(reference, PIXELS))


def _turned(image: PIL.Image.Image) -> PIL.Image.Image:
    return image.rotate(15, PIL.Image.Resampling.BICUBIC).crop((60, 60, 240, 240))


def _beside(image: PIL.Image.Image) -> PIL.Image.Image:
    pasted = field(99).resize(image.size)
    pasted.paste(image.crop((0, 0, image.width // 2, image.height)))
    return pasted


ALTERED: dict[str, Callable[[PIL.Image.Image], PIL.Image.Image]] = {
    "a square of the long side": lambda image: image.crop((60, 0, 360, 300)),
    "half of the area": lambda image: image.crop((70, 20, 350, 230)),
    "mirrored, smaller": lambda image: image.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT).resize((160, 120)),
    "quarter turn": lambda image: image.transpose(PIL.Image.Transpose.ROTATE_90),
    "turned by 15°": _turned,
    "one half": lambda image: image.crop((0, 0, 200, 300)),
    "half beside another picture": _beside,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ALTERED)
def test_an_altered_part_is_found(name: str) -> None:
    image = field(1)
    found = part_of(ALTERED[name](image), image)
    assert found is not None
    assert found.copied
    assert found.mirrored == (name == "mirrored, smaller")
    if name == "half beside another picture":
        assert 0.35 < found.share < 0.65


@pytest.mark.slow
def test_other_pictures_share_no_part() -> None:
    images = [field(number) for number in range(5)]
    for place, image in enumerate(images):
        for other in images[:place]:
            found = part_of(image, other)
            assert found is None or not found.copied


def test_a_blank_picture_has_no_keypoints_and_no_part() -> None:
    blank = PIL.Image.new("RGB", (100, 80), "white")
    assert len(keypoints(blank)) == 0
    assert part_of(blank, field(1)) is None


def test_a_reference_that_cannot_be_read_shares_no_part() -> None:
    image = field(1)
    points = keypoints(image)
    assert shared_part(points, grey_picture(image, PIXELS), points, lambda: None) is None


def test_keypoints_follow_the_picture() -> None:
    """A quarter turn and a mirror image hold the same descriptors, those of the latter in another order."""
    image = field(2).crop((0, 0, 300, 300)).resize((SIDE, SIDE))
    own = keypoints(image).descriptors
    turned = keypoints(image.transpose(PIL.Image.Transpose.ROTATE_90)).descriptors
    mirrored = keypoints(image.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT)).descriptors
    assert np.mean((own @ turned.T).max(axis=1) > 0.95) > 0.9
    assert np.mean((own[:, MIRRORED] @ mirrored.T).max(axis=1) > 0.95) > 0.9
    assert np.mean((own @ mirrored.T).max(axis=1) > 0.95) < 0.2
