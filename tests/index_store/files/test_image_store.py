from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops

from index_store import ImageProblem, StorageError
from index_store.files.decode import decode_image
from index_store.files.image_store import EncodedImage, ImageStore, encode_for_store
from index_store.files.jpeg_strip import strip_jpeg
from index_store.files.source_file import content_hash
from tests.index_store.archive_builders import encoded, picture


def stored(data: bytes) -> EncodedImage:
    return encode_for_store(decode_image(data), data, content_hash(data))


def private_jpeg(**options: object) -> bytes:
    """A JPEG with somebody's name in every place a JPEG has for it."""
    exif = Image.Exif()
    exif[0x010E] = "Jane Doe"
    exif.get_ifd(0x8825)[1] = "Jane Doe"
    data = encoded(picture(size=(64, 48)), "JPEG", exif=exif, comment=b"Jane Doe", icc_profile=b"Jane Doe", **options)
    xmp = b"http://ns.adobe.com/xap/1.0/\0Jane Doe"
    return data[:2] + b"\xff\xe1" + (len(xmp) + 2).to_bytes(2, "big") + xmp + data[2:] + b"Jane Doe after the end"


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0, "quality": 97}, {"optimize": True}])
def test_a_jpeg_keeps_its_pixels_and_loses_everything_else(options: dict[str, object]) -> None:
    data = private_jpeg(**options)
    assert data.count(b"Jane Doe") >= 5
    kept = stored(data)
    assert kept.stored.name.endswith(".jpg")
    assert b"Jane" not in kept.data
    assert len(kept.data) < len(data)
    assert np.array_equal(decode_image(kept.data), decode_image(data))
    with Image.open(io.BytesIO(kept.data)) as image:
        assert not image.getexif()
        assert not {"comment", "icc_profile", "exif", "xmp"} & set(image.info)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_jpeg_colours_keep_their_pixels(mode: str) -> None:
    data = encoded(picture(size=(40, 40)).convert(mode), "JPEG")
    assert np.array_equal(decode_image(stored(data).data), decode_image(data))


def test_a_turned_jpeg_is_stored_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(picture(size=(40, 20)), "JPEG", exif=exif)
    kept = stored(data)
    assert kept.stored.name.endswith(".png")
    assert decode_image(kept.data).size == (20, 40)
    assert np.array_equal(decode_image(kept.data), decode_image(data))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "WEBP"])
def test_other_formats_become_a_lossless_png(kind: str) -> None:
    data = encoded(picture(), kind)
    kept = stored(data)
    assert kept.stored.name == f"{content_hash(data)[:2]}/{content_hash(data)}.png"
    assert kept.stored.sha256 == content_hash(kept.data)
    assert np.array_equal(decode_image(kept.data), decode_image(data))


def test_what_is_no_plain_jpeg_is_not_stripped() -> None:
    data = encoded(picture(), "JPEG")
    assert strip_jpeg(b"") is None
    assert strip_jpeg(encoded(picture())) is None
    assert strip_jpeg(data[:100]) is None
    assert strip_jpeg(data[:-2]) is None


@settings(max_examples=60)
@given(st.data())
def test_a_damaged_jpeg_is_never_stored_with_other_pixels(data: st.DataObject) -> None:
    whole = bytearray(private_jpeg())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(2, len(whole) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(whole)
    try:
        image = decode_image(damaged)
    except ImageProblem:
        return
    kept = encode_for_store(image, damaged, content_hash(damaged))
    assert ImageChops.difference(decode_image(kept.data), image).getbbox() is None


def test_writes_and_discards(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "images")
    images = [stored(encoded(picture(seed))) for seed in range(20)]
    store.write(images)
    for image in images:
        assert store.holds(image.stored.name)
        assert content_hash(store.path(image.stored.name)) == image.stored.sha256
    assert not list(tmp_path.rglob("*.tmp"))
    store.discard([image.stored.name for image in images])
    store.discard([image.stored.name for image in images])  # again: gone already
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "name", ["../../outside.png", "/etc/passwd", "ab/../../x.png", "ab/" + "0" * 64 + ".png", "", "ab/short.png"]
)
def test_a_name_that_is_none_of_ours_leads_nowhere(tmp_path: Path, name: str) -> None:
    """Names come from the database, which somebody else may have written."""
    victim = tmp_path / "outside.png"
    victim.write_bytes(b"kept")
    store = ImageStore(tmp_path / "archive" / "images")
    for call in (store.path, store.holds, lambda name: store.discard([name])):
        with pytest.raises(StorageError, match="never stores"):
            call(name)
    assert victim.read_bytes() == b"kept"


def test_a_folder_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    image = stored(encoded(picture()))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / image.stored.name[:2]).symlink_to(elsewhere)
    with pytest.raises(StorageError, match="leads out of the archive"):
        ImageStore(tmp_path / "images").write([image])
    assert list(elsewhere.iterdir()) == []
