"""What an encoder sees of an image whose scale is known: fields of one physical size, and their mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from retrieval import Encoder, import_encoder
from retrieval.encoder.scale import fields_of


def numbered(width: int, height: int) -> PIL.Image.Image:
    """An image whose pixels say where they are: column in red, row in green (each modulo 256)."""
    rows, columns = np.mgrid[:height, :width]
    return PIL.Image.fromarray(np.stack([columns % 256, rows % 256, 0 * rows], axis=-1).astype(np.uint8))


def corners(fields: list[PIL.Image.Image]) -> list[tuple[int, int, int]]:
    """Left, top and side of each field of a `numbered` image."""
    return [(*field.getpixel((0, 0))[:2], field.width) for field in fields]  # type: ignore[misc, index]


@pytest.mark.parametrize(
    ("size", "mpp", "expected"),
    [
        ((200, 100), None, [(0, 0, 200)]),
        ((100, 100), 1.0, [(0, 0, 100)]),  # of the field's size
        ((60, 60), 1.0, [(0, 0, 60)]),  # smaller: it holds nothing more to be shown
        ((100, 100), 0.5, [(0, 0, 100)]),
        ((120, 120), 1.0, [(10, 10, 100)]),  # one field in the middle
        ((200, 200), 1.0, [(0, 0, 100), (100, 0, 100), (0, 100, 100), (100, 100, 100)]),
        ((240, 120), 1.0, [(0, 10, 100), (140, 10, 100)]),
        ((100, 100), 2.0, [(0, 0, 50), (50, 0, 50), (0, 50, 50), (50, 50, 50)]),
    ],
)
def test_an_image_becomes_fields_of_one_size(
    size: tuple[int, int], mpp: float | None, expected: list[tuple[int, int, int]]
) -> None:
    assert corners(fields_of(numbered(*size), mpp, 100.0)) == expected


def test_a_large_image_is_seen_in_nine_places_from_end_to_end() -> None:
    found = corners(fields_of(numbered(250, 250), 20.0, 400.0))
    assert len(found) == 9
    assert {left for left, _, _ in found} == {top for _, top, _ in found} == {0, 115, 230}
    assert {side for _, _, side in found} == {20}


@pytest.fixture(scope="module")
def with_fields(clip_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    """The test encoder, imported with fields of 50 µm."""
    out = tmp_path_factory.mktemp("imported") / "fields"
    return Encoder(import_encoder(str(clip_folder), out, field_um=50.0).folder, device="cpu", batch_size=4)


def test_the_size_of_fields_is_part_of_an_encoder(encoder: Encoder, with_fields: Encoder) -> None:
    assert (encoder.field_um, with_fields.field_um) == (None, 50.0)
    assert encoder.fingerprint != with_fields.fingerprint  # their vectors are never compared


def test_the_vector_of_an_image_is_the_mean_of_its_fields(encoder: Encoder, with_fields: Encoder) -> None:
    image = numbered(200, 200)
    found = with_fields.encode_images([image, image, image], mpp=[None, 0.5, 0.05])
    fields = encoder.encode_images(fields_of(image, 0.5, 50.0))
    assert len(fields) == 4
    mean = fields.mean(axis=0)
    np.testing.assert_allclose(found[1], mean / np.linalg.norm(mean), atol=1e-5)
    whole = encoder.encode_images([image])[0]
    np.testing.assert_allclose(found[[0, 2]], [whole, whole], atol=1e-6)
    assert not np.allclose(found[0], found[1], atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)


def test_an_encoder_without_fields_sees_every_image_whole(encoder: Encoder) -> None:
    images = [numbered(90, 70), numbered(40, 300)]
    np.testing.assert_array_equal(encoder.encode_images(images), encoder.encode_images(images, mpp=[5.0, 20.0]))
