from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from index_store import ImageProblem, content_hash, decode_image
from tests.index_store.archive_builders import encoded, picture


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no picture: what a bomb is made of."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA", "CMYK", "YCbCr", "LAB"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    kind = "TIFF" if mode in ("CMYK", "YCbCr", "LAB") else "PNG"
    image = decode_image(encoded(picture().convert(mode), kind))
    assert (image.mode, image.size) == ("RGB", picture().size)


def test_sixteen_bits_are_scaled_from_their_full_range() -> None:
    values = np.repeat(np.array([[0, 257, 32768, 65535]], dtype=np.uint16), 8, axis=0).repeat(4, axis=1)
    for kind in ("PNG", "TIFF"):
        image = decode_image(encoded(Image.fromarray(values), kind))
        assert np.asarray(image)[0, ::4, 0].tolist() == [0, 1, 128, 255]


def test_thirty_two_bit_values_beyond_sixteen_are_refused() -> None:
    fine = Image.fromarray(np.array([[0, 65535] * 8] * 8, dtype=np.int32))
    assert np.asarray(decode_image(encoded(fine, "TIFF")))[0, :2, 0].tolist() == [0, 255]
    with pytest.raises(ImageProblem, match="grey values"):
        decode_image(encoded(Image.fromarray(np.array([[-1, 70_000] * 8] * 8, dtype=np.int32)), "TIFF"))


def test_transparency_is_laid_on_white() -> None:
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    clear.putpixel((1, 1), (0, 0, 255, 255))
    assert decode_image(encoded(clear)).getpixel((0, 0)) == (255, 255, 255)
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putpixel((1, 1), 1)
    assert decode_image(encoded(palette, transparency=0)).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_applied(orientation: int) -> None:
    upright = picture(size=(30, 20))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    turned = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(decode_image(encoded(turned, exif=exif)), upright)


def test_no_metadata_is_left() -> None:
    exif = Image.Exif()
    exif[0x010E] = "Jane Doe"
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Comment", "Jane Doe")
    image = decode_image(encoded(picture(), exif=exif, pnginfo=notes, icc_profile=b"profile"))
    assert image.info == {}
    assert not image.getexif()
    assert b"Jane" not in encoded(image) + encoded(image, "JPEG")


def test_reads_paths_bytes_and_files(tmp_path: Path) -> None:
    data = encoded(picture())
    path = tmp_path / "a.png"
    path.write_bytes(data)
    for source in (path, data, io.BytesIO(data)):
        assert np.array_equal(decode_image(source), picture())
    assert content_hash(path) == content_hash(data)


def test_the_content_counts_and_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "really-a-jpeg.png"
    path.write_bytes(encoded(picture(), "JPEG"))
    assert decode_image(path).size == picture().size


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"\x07 neither text nor picture" * 20, "not an image of a known format"),
        (b"just some text\n" * 20, "is a text file"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", r"a PostScript file \(EPS\)"),
        (b"PK\x03\x04" + bytes(200), "a ZIP archive or an Office file"),
        (encoded(picture(), "PNG")[:-60], "damaged or cut short"),
        (encoded(picture(), "JPEG")[:-60], "damaged or cut short"),
        (encoded(picture(), "TIFF")[:120], "damaged or cut short|not an image"),
        (encoded(picture(), "PNG").replace(b"IDAT", b"IDXT"), "damaged or cut short"),
        (png_header(9_500, 10_000), "damaged or cut short"),
        (png_header(12_000, 10_000), "megapixels"),
        (png_header(60_000, 60_000), "the limit is 100 megapixels"),
    ],
)
def test_bad_images_are_refused_with_the_reason(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "slide.png"
    path.write_bytes(data)
    with pytest.raises(ImageProblem, match=reason) as caught:
        decode_image(path)
    assert str(caught.value).startswith("slide.png ")


def test_limits_can_be_set() -> None:
    with pytest.raises(ImageProblem, match="24 × 20 pixels"):
        decode_image(encoded(picture()), max_pixels=400)
    with pytest.raises(ImageProblem, match="larger than"):
        decode_image(encoded(picture()), max_bytes=50)
    with pytest.raises(ImageProblem, match="larger than"):
        decode_image(io.BytesIO(encoded(picture())), max_bytes=50)


def test_a_limit_is_the_most_that_passes() -> None:
    data = encoded(picture(size=(24, 20)))
    assert decode_image(data, max_pixels=24 * 20, max_bytes=len(data)).size == (24, 20)
    with pytest.raises(ImageProblem, match="the limit is"):
        decode_image(data, max_pixels=24 * 20 - 1)
    with pytest.raises(ImageProblem, match="is larger than"):
        decode_image(data, max_bytes=len(data) - 1)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageProblem, match="not a file"):
        decode_image(tmp_path)
    with pytest.raises(ImageProblem, match="cannot be read"):
        decode_image(tmp_path / "absent.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageProblem, match="not a file"):
        decode_image(tmp_path / "pipe.png")
