"""No wrong picture in silence: what a file shows is read as it says, or there is a note, or it is refused."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from index_store import ImageProblem, decode_picture
from tests.index_store.archive_builders import encoded
from tests.index_store.files.hostile_pictures import (
    many_scans,
    phone_jpeg,
    png,
    png_chunk,
    smear,
    tiff,
    tiff_page,
    tiff_with_inner,
)

FAULTS = Path(__file__).parents[4] / "shared/data/faults"
SMEAR = smear()
GREY = SMEAR.mean(axis=2).astype(np.uint8)
LOSSLESS: dict[str, dict[str, object]] = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}
"""Options by which a format keeps the values, or nearly."""


def close(image: Image.Image, wanted: np.ndarray, within: int = 1) -> bool:
    got = np.asarray(image).astype(int)
    wanted = wanted if wanted.ndim == 3 else np.repeat(wanted[..., None], 3, axis=2)
    return got.shape == wanted.shape and bool(abs(got - wanted).max() <= within)


def refused(data: bytes, words: str) -> None:
    with pytest.raises(ImageProblem, match=words):
        decode_picture(data)


def test_an_ordinary_picture_has_no_note() -> None:
    for kind in ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "PPM", "JPEG2000"):
        decoded = decode_picture(encoded(Image.fromarray(SMEAR), kind, **LOSSLESS.get(kind, {})))
        assert decoded.notes == ()
        assert close(decoded.image, SMEAR, within=8 if kind == "JPEG" else 0)


# Transparency


@pytest.mark.parametrize("opacity", [0, 1])
def test_where_all_is_transparent_its_colours_are_read(opacity: int) -> None:
    alpha = np.full((*SMEAR.shape[:2], 1), opacity, np.uint8)
    clear = np.concatenate([SMEAR, alpha], axis=2)
    grey = np.concatenate([GREY[..., None], alpha], axis=2)
    for data, wanted in (
        (tiff(tiff_page(clear, tags={338: ("H", 2)})), SMEAR),
        (tiff(tiff_page(clear)), SMEAR),
        (png(clear), SMEAR),
        (png(grey), GREY),
        (encoded(Image.fromarray(clear), "WEBP", lossless=True, exact=True), SMEAR),
    ):
        decoded = decode_picture(data)
        assert close(decoded.image, wanted)
        assert "transparent" in decoded.notes[0]


def test_nothing_under_transparency_is_refused() -> None:
    refused(encoded(Image.new("RGBA", (20, 20))), "wholly transparent")


def test_a_cell_on_a_transparent_ground_is_laid_on_white_with_a_note() -> None:
    values = np.dstack([SMEAR, np.zeros(SMEAR.shape[:2], np.uint8)])
    values[10:30, 10:30, 3] = 255
    decoded = decode_picture(png(values))
    assert decoded.image.getpixel((0, 0)) == (255, 255, 255)
    assert "laid on white" in decoded.notes[0]


@pytest.mark.parametrize("opacity", [30, 128, 200])
def test_a_picture_that_is_pale_for_its_transparency_is_noted(opacity: int) -> None:
    values = np.dstack([SMEAR, np.full(SMEAR.shape[:2], opacity, np.uint8)])
    assert "transparent" in decode_picture(png(values)).notes[0]
    values[..., 3] = 255
    assert decode_picture(png(values)).notes == ()


# Bits


@pytest.mark.parametrize(("bits", "noted"), [(8, True), (10, True), (12, True), (14, True), (16, False)])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [1, 8])
def test_fewer_bits_held_in_sixteen_are_read_as_such(bits: int, noted: bool, order: str, compression: int) -> None:
    scaled = (SMEAR.astype(np.float64) * (2**bits - 1) / 255).round().astype(np.uint16)
    scaled[0, 0] = 2**bits - 1
    wanted = SMEAR.copy()
    wanted[0, 0] = 255
    for values, expected in ((scaled, wanted), (scaled[..., 0], wanted[..., 0])):
        decoded = decode_picture(tiff(tiff_page(values, order=order, compression=compression), order=order))
        assert close(decoded.image, expected)
        assert any(f"of {bits} bits held in 16" in note for note in decoded.notes) is noted


def test_the_same_for_a_png_with_and_without_transparency() -> None:
    values = SMEAR.astype(np.uint16) * 16 + 15
    values[0, 0] = 4095
    opaque = np.full((*SMEAR.shape[:2], 1), 4095, np.uint16)
    for data in (png(values), png(np.concatenate([values, opaque], axis=2))):
        assert np.asarray(decode_picture(data).image).mean() > 150
        assert "12 bits" in decode_picture(data).notes[0]


def planes(values: np.ndarray, order: str = "<", compression: int = 1) -> bytes:
    """A TIFF of colours plane by plane."""
    parts = [values[..., n].astype(values.dtype.newbyteorder(order)).tobytes() for n in range(values.shape[2])]
    data = tuple(zlib.compress(part) if compression == 8 else part for part in parts)
    tags: dict[int, tuple[str, object]] = {273: ("data", data), 284: ("H", 2)}
    return tiff(tiff_page(values, order=order, compression=compression, tags=tags), order=order)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [1, 8])
def test_sixteen_bits_plane_by_plane_are_read_right_or_not_at_all(order: str, compression: int) -> None:
    full = SMEAR.astype(np.uint16) * 257
    assert close(decode_picture(planes(full, order, compression)).image, SMEAR)
    opaque = np.dstack([full, np.full(SMEAR.shape[:2], 65535, np.uint16)])
    assert close(decode_picture(planes(opaque, order, compression)).image, SMEAR)
    refused(planes(SMEAR.astype(np.uint16) * 16, order, compression), "which value is white cannot be told")


def test_a_scale_bar_does_not_hide_that_values_are_of_fewer_bits() -> None:
    values = SMEAR.astype(np.uint16) * 16
    values[-6:-3, 4:20] = 65535
    netpbm = b"P6 %d %d 65535\n" % (values.shape[1], values.shape[0]) + values.astype(">u2").tobytes()
    for data in (png(values), tiff(tiff_page(values)), tiff(tiff_page(values[..., 0])), netpbm):
        assert "nearly all of it is dark" in decode_picture(data).notes[-1]


def test_a_netpbm_picture_that_is_all_but_black_is_noted() -> None:
    data = b"P6 %d %d 4095\n" % (SMEAR.shape[1], SMEAR.shape[0]) + SMEAR.astype(">u2").tobytes()
    assert decode_picture(data).notes == ("it is all but black",)


def test_eight_bits_in_thirty_two() -> None:
    values = GREY.astype(np.int32)
    decoded = decode_picture(encoded(Image.fromarray(values), "TIFF"))
    assert close(decoded.image, GREY)
    assert decoded.notes == ("its values are of 8 bits held in 32, and were read as such",)


def test_where_the_range_leaves_a_doubt_it_is_refused() -> None:
    values = (SMEAR.astype(np.uint16) + 45)[..., 0]  # up to 300: of ten bits, or of twelve and underexposed?
    refused(tiff(tiff_page(values)), "which value is white cannot be told")
    refused(png(np.dstack([values] * 3).astype(np.uint16)), "cannot be told")
    refused(encoded(Image.fromarray((GREY // 4).astype(np.int32)), "TIFF"), "cannot be told")
    refused(png(np.dstack([GREY.astype(np.uint16), np.full_like(GREY, 255, np.uint16)])), "cannot be told")


def test_what_the_file_says_about_its_bits_counts() -> None:
    values = (GREY.astype(np.uint16) // 4) * 16  # dim, and of 12 bits
    said = '<OME><Pixels SignificantBits="12" SizeC="1"/></OME>'
    for tags in ({270: ("s", said)}, {281: ("H", 4095)}):
        decoded = decode_picture(tiff(tiff_page(values, tags=tags)))  # type: ignore[arg-type]
        assert close(decoded.image, GREY // 4)
        assert "12 bits" in decoded.notes[0]


def test_sixteen_bit_grey_with_white_as_zero_is_not_inverted() -> None:
    values = (65535 - GREY.astype(np.uint16) * 257).astype(np.uint16)
    assert close(decode_picture(tiff(tiff_page(values, tags={262: ("H", 0)}))).image, GREY)


def test_a_palette_of_eight_bits_held_in_sixteen() -> None:
    values = (GREY // 64).astype(np.uint8)
    ramp = tuple(range(256)) * 3
    decoded = decode_picture(tiff(tiff_page(values * 64, tags={262: ("H", 3), 320: ("H", ramp)})))
    assert close(decoded.image, values * 64)
    assert "palette" in decoded.notes[0]


# Pages


def page(values: np.ndarray, **texts: str) -> dict[int, tuple[str, object]]:
    numbers = {"description": 270, "name": 285}
    return tiff_page(values, tags={numbers[key]: ("s", text) for key, text in texts.items()})


def test_of_several_pages_the_first_is_read_with_a_note() -> None:
    other = 255 - SMEAR
    decoded = decode_picture(tiff(page(SMEAR), page(other)))
    assert close(decoded.image, SMEAR)
    assert decoded.notes == ("of its 2 pages, the first was read",)
    planes = tiff(page(SMEAR, description='{"shape": [3, 40, 48, 3], "axes": "ZYXS"}'), page(other), page(other))
    assert decode_picture(planes).notes == ("of its 3 focal planes, the first was read",)
    hidden = page(SMEAR, description="ImageJ=1.54\nimages=7\nslices=7\n")
    assert decode_picture(tiff(hidden)).notes == ("of its 7 focal planes, the first was read",)


@pytest.mark.parametrize("word", ["label", "Macro image", "thumbnail"])
def test_a_label_page_is_passed_over(word: str) -> None:
    label = np.full_like(SMEAR, 200)
    for first in (page(label, description=word), page(label, name=word), tiff_page(label, tags={254: ("I", 1)})):
        decoded = decode_picture(tiff(first, page(SMEAR)))
        assert close(decoded.image, SMEAR)
        assert "of its 2 pages, the second was read" in decoded.notes[0]
    twice = page(label, description=word) | {271: ("s", '{"shape": [40, 48, 3]}')}
    assert close(decode_picture(tiff(twice, page(SMEAR))).image, SMEAR)
    alone = decode_picture(tiff(page(SMEAR, description=f"double {word} stain")))
    assert alone.notes == ("it calls itself a label, an overview or a reduced copy",)


def test_a_page_that_is_larger_than_the_first_is_reported() -> None:
    decoded = decode_picture(tiff(page(np.full((16, 40, 3), 200, np.uint8)), page(smear(1, (200, 180)))))
    assert "another page is larger than the one that was read" in decoded.notes


def test_levels_of_a_pyramid_are_one_picture() -> None:
    assert decode_picture(tiff(page(smear(1, (80, 60))), page(smear(1, (40, 30))))).notes == ()


@pytest.mark.parametrize("flag", [0, 1])
def test_the_picture_behind_a_thumbnail_is_read(flag: int) -> None:
    thumbnail = tiff_page(SMEAR[::4, ::4], tags={254: ("I", flag)})
    decoded = decode_picture(tiff_with_inner(thumbnail, tiff_page(SMEAR)))
    assert close(decoded.image, SMEAR)
    assert "of its 2 pages, the second was read" in decoded.notes[0]
    smaller = tiff_page(SMEAR[::2, ::2], tags={254: ("I", 1)})
    assert close(decode_picture(tiff_with_inner(thumbnail, smaller, tiff_page(SMEAR))).image, SMEAR)


def test_another_picture_behind_a_page_is_reported() -> None:
    small = tiff_page(SMEAR[:20, :20])
    decoded = decode_picture(tiff_with_inner(small, tiff_page(SMEAR)))
    assert close(decoded.image, SMEAR[:20, :20])
    assert "another page is larger" in " ".join(decoded.notes)


def test_smaller_copies_behind_a_page_are_no_pages() -> None:
    decoded = decode_picture(tiff_with_inner(tiff_page(SMEAR), tiff_page(SMEAR[::2, ::2]), tiff_page(SMEAR[::4, ::4])))
    assert close(decoded.image, SMEAR)
    assert decoded.notes == ()


def test_a_raw_picture_behind_a_thumbnail_is_named() -> None:
    raw = tiff_page(GREY, tags={262: ("H", 32803)})
    refused(tiff_with_inner(tiff_page(SMEAR[::4, ::4], tags={254: ("I", 1)}), raw), "a camera's raw file")


def test_colour_stored_as_grey_pages() -> None:
    planes = [np.ascontiguousarray(SMEAR[..., channel]) for channel in range(3)]
    refused(tiff(*(page(plane) for plane in planes)), "3 grey pages, which may be one colour picture")
    named = tiff(*(page(planes[i], name=name) for i, name in ((2, "Blue"), (0, "Red"), (1, "Green"))))
    decoded = decode_picture(named)
    assert close(decoded.image, SMEAR)
    assert "read as red, green and blue" in decoded.notes[0]
    ome = '<OME><Pixels SizeC="3"/></OME>'
    refused(tiff(page(planes[0], description=ome), *(page(plane) for plane in planes * 2)), "grey pages")


def test_frames_and_pictures_beside_the_first_are_reported() -> None:
    pictures = [Image.fromarray(smear(seed)) for seed in range(3)]
    for kind, options in (("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {})):
        data = encoded(pictures[0], kind, save_all=True, append_images=pictures[1:], **options)
        assert any("the first was read" in note for note in decode_picture(data).notes), kind
    decoded = decode_picture(phone_jpeg(encoded(pictures[0], "JPEG")))
    assert decoded.notes == ("of its 2 pictures, the first was read",)
    assert decoded.image.size == pictures[0].size


# Size, colours, orientation


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 500), (500, 3), (7, 7)])
def test_a_picture_too_small_to_show_anything_is_refused(size: tuple[int, int]) -> None:
    refused(encoded(Image.new("RGB", size)), "show nothing")


def test_pictures_of_one_colour_are_noted() -> None:
    assert decode_picture(encoded(Image.new("RGB", (20, 20), "white"))).notes == ("all of it is of one colour",)
    dark = (SMEAR // 17).astype(np.uint8)
    assert decode_picture(png(dark)).notes == ("it is all but black",)


@pytest.mark.parametrize(("share", "words"), [(0.5, "part is of one colour"), (0.97, "edge is black")])
def test_plain_values_whose_end_is_missing_are_noted(share: float, words: str) -> None:
    whole = Image.fromarray(smear(1, (640, 480)))
    for kind, part in (("PPM", "lower"), ("TIFF", "lower"), ("BMP", "upper")):  # a BMP begins with its last row
        data = encoded(whole, kind)
        there = int(share * len(data))
        assert decode_picture(data).notes == ()
        (note,) = decode_picture(data[:there] + bytes(len(data) - there)).notes
        assert f"its {part} {words}" in note


def test_printing_colours_and_other_profiles_are_noted() -> None:
    decoded = decode_picture(encoded(Image.fromarray(SMEAR).convert("CMYK"), "TIFF"))
    assert "CMYK" in decoded.notes[0]
    assert close(decoded.image, SMEAR, within=3)
    decoded = decode_picture(encoded(Image.fromarray(SMEAR).convert("LAB"), "TIFF"))
    assert "Lab" in decoded.notes[0]
    assert close(decoded.image, SMEAR, within=3)
    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert decode_picture(encoded(Image.fromarray(SMEAR), icc_profile=plain)).notes == ()
    other = plain.replace("sRGB".encode("utf-16-be"), "Xyz ".encode("utf-16-be")).replace(b"sRGB", b"Xyz ")
    assert "colour profile" in decode_picture(encoded(Image.fromarray(SMEAR), icc_profile=other)).notes[0]
    linear = png(SMEAR, further=png_chunk(b"gAMA", (100_000).to_bytes(4, "big")))
    assert "gamma" in decode_picture(linear).notes[0]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_the_orientation_is_applied_in_every_format_that_has_one(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    decoded = decode_picture(encoded(Image.fromarray(SMEAR), kind, exif=exif, **LOSSLESS.get(kind, {})))
    assert close(decoded.image, np.rot90(SMEAR, -1), within=8 if kind == "JPEG" else 0)


# Kinds that are not read

ISO = b"\0\0\0\x18ftyp"
NAMED = {
    "a PDF": b"%PDF-1.7\n",
    "a DICOM file": bytes(128) + b"DICM",
    "a HEIC picture": ISO + b"heic\0\0\0\0mif1heic",
    "an AVIF picture": ISO + b"avif\0\0\0\0avifmif1",
    "a movie": ISO + b"isom\0\0\2\0isomiso2",
    "a camera's raw file": ISO + b"crx \0\0\0\1crx isom",
    "a movie .AVI": b"RIFF\0\0\0\0AVI LIST",
    "a movie .Matroska": b"\x1aE\xdf\xa3",
    "a whole slide .CZI": b"ZISRAWFILE",
    "a ZIP archive": b"PK\x03\x04",
    "a web page": b"<!DOCTYPE html><html>",
    "a drawing": b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'>",
    "a JPEG XL picture": b"\xff\x0a",
    "a PCX picture": b"\x0a\x05\x01\x08",
    "an SGI picture": b"\x01\xda\x01\x01\x00\x03",
    "a Targa picture": b"\0\0\x02" + bytes(9) + b"\x08\0\x08\0\x18\0",
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\n",
    "a text file": "Größe\n".encode(),
}


@pytest.mark.parametrize("kind", NAMED)
def test_what_is_not_read_is_named(kind: str) -> None:
    refused(NAMED[kind].ljust(400, b"\0") if kind != "a text file" else NAMED[kind], f"is {kind}")


def test_brands_are_read_where_a_file_lists_them_and_not_in_its_pixels() -> None:
    listed = b"\0\0\0\x40ftypmif1\0\0\0\0" + b"mif1" * 11
    refused((listed + b"avif").ljust(400, b"\0"), "is an AVIF picture")
    refused((listed + b"mif1" + b"avif" * 10).ljust(400, b"\0"), "is a HEIC picture")


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({259: ("H", 33005), 270: ("s", "Aperio Image Library")}, r"a whole slide \(SVS\) compressed with JPEG 2000"),
        ({259: ("H", 34712)}, "a TIFF compressed with JPEG 2000"),
        ({259: ("H", 34934)}, "a TIFF compressed with JPEG XR"),
        ({259: ("H", 50001)}, "a TIFF compressed with WebP"),
        ({259: ("H", 7), 258: ("H", (12, 12, 12))}, "12-bit|12 bits"),
        ({259: ("H", 61234)}, "a method that is not read"),
        ({50706: ("B", (1, 4, 0, 0))}, r"a camera's raw file \(DNG\)"),
    ],
)
def test_a_tiff_that_is_not_read_is_named_by_its_compression(tags: dict[int, tuple[str, object]], words: str) -> None:
    refused(tiff(tiff_page(SMEAR, tags=tags)), words)


def test_values_of_other_kinds_are_named() -> None:
    refused(tiff(tiff_page(SMEAR.astype(np.float32))), "a TIFF of 32-bit floating-point colours")
    refused(tiff(tiff_page(SMEAR.astype(np.int8))), "a TIFF of 8-bit signed colours")
    refused(tiff(tiff_page(GREY.astype(np.int16) * 100)), "a TIFF of 16-bit signed grey values")  # half as bright
    refused(tiff(tiff_page(np.dstack([GREY, GREY]), tags={262: ("H", 1)})), "2 grey channels")
    refused(encoded(Image.fromarray(GREY.astype(np.float32) * 100), "TIFF"), "grey values")
    refused(tiff(tiff_page(np.dstack([SMEAR, SMEAR[..., :2]]))), "a layout that is not read \\(5 channels of 8 bits\\)")


def test_a_profile_of_wider_colours_is_noted_whatever_it_is_called() -> None:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    assert decode_picture(encoded(Image.fromarray(SMEAR), "PNG", icc_profile=bytes(profile))).notes == ()
    (at,) = struct.unpack_from(">I", profile, profile.index(b"gXYZ") + 4)
    struct.pack_into(">3i", profile, at + 8, *(int(65536 * value) for value in (0.2053, 0.6257, 0.0609)))  # Adobe RGB
    (note,) = decode_picture(encoded(Image.fromarray(SMEAR), "PNG", icc_profile=bytes(profile))).notes
    assert "colour profile" in note


@pytest.mark.parametrize(("marker", "words"), [(0xC3, "a lossless JPEG"), (0xF7, "a JPEG-LS picture")])
def test_a_jpeg_of_another_kind_is_named(marker: int, words: str) -> None:
    data = encoded(Image.fromarray(SMEAR), "JPEG")
    at = data.index(b"\xff\xc0")
    refused(data[: at + 1] + bytes([marker]) + data[at + 2 :], words)
    refused(data[: at + 4] + b"\x0c" + data[at + 5 :], "a 12-bit JPEG")


@pytest.mark.slow
def test_a_phones_header_does_not_switch_the_limit_of_scans_off() -> None:
    for phone in (False, True):
        refused(many_scans(3000, 400, phone=phone), "too many scans")


# The shared inputs, where they are

EXPECTED = {
    "alpha_zero/rgba_alpha0.tif": "transparent",
    "label_page_first/label_first.tif": "of its 2 pages, the second was read",
    "twelve_in_sixteen/rgb12in16.tif": "12 bits",
    "zstack/zstack.tif": "of its 5 focal planes, the first was read",
    "jp2k_in_tiff/tif_aperio33005.tif": "!compressed with JPEG 2000",
    "jpeg12/jpeg12.jpg": "!a 12-bit JPEG",
    "one_pixel/one_pixel.png": "!show nothing",
    "mpo_scans/plain.jpg": "!too many scans",
    "mpo_scans/as_mpo.jpg": "!too many scans",
}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_shared_faults_come_out_as_expected(name: str) -> None:
    path = FAULTS / name
    if not path.is_file():
        pytest.skip(f"the shared data are not here: {name}")
    words = EXPECTED[name]
    if words.startswith("!"):
        refused(path.read_bytes(), words[1:])
        return
    decoded = decode_picture(io.BytesIO(path.read_bytes()))
    assert any(words in note for note in decoded.notes)
    assert np.asarray(decoded.image).mean() > 150
