"""What an image file says beside its picture never enters the store, in whichever format and place it says it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin

from index_store import Archive, decode_image
from tests.index_store.archive_builders import add_manifest, encoded, picture, write_manifest

SECRET = b"Jane-Doe-1960"
TEXT = SECRET.decode()


def exif() -> Image.Exif:
    """EXIF with the name in the description, the artist, the user's comment, and as where it was taken."""
    tags = Image.Exif()
    tags[0x010E] = tags[0x013B] = TEXT
    tags.get_ifd(0x8769)[0x9286] = SECRET
    tags.get_ifd(0x8825)[0x001D] = TEXT
    return tags


def profile() -> bytes:
    """A real colour profile with the name behind its last tag."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + SECRET


XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF>" + SECRET + b"</rdf:RDF></x:xmpmeta>"


def jpeg() -> bytes:
    data = encoded(picture(size=(64, 48)), "JPEG", exif=exif(), comment=SECRET, icc_profile=profile(), xmp=XMP)
    iptc = b"Photoshop 3.0\0" + SECRET
    segment = b"\xff\xed" + (len(iptc) + 2).to_bytes(2, "big") + iptc
    return data[:2] + segment + data[2:] + encoded(picture(), "JPEG") + SECRET  # a thumbnail and words after the end


def png() -> bytes:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Comment", TEXT)
    notes.add_text("Patient", TEXT, zip=True)
    notes.add_itxt("XML:com.adobe.xmp", XMP.decode())
    return encoded(picture(), "PNG", pnginfo=notes, exif=exif(), icc_profile=profile()) + SECRET


def tiff() -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for tag in (270, 315, 33432):  # description, artist, copyright
        tags[tag] = TEXT
    tags[700] = XMP
    tags[65000] = TEXT
    return encoded(picture(), "TIFF", tiffinfo=tags, icc_profile=profile()) + SECRET


def webp() -> bytes:
    return encoded(picture(), "WEBP", lossless=True, exif=exif(), xmp=XMP, icc_profile=profile()) + SECRET


MAKERS: dict[str, Callable[[], bytes]] = {"jpg": jpeg, "png": png, "tif": tiff, "webp": webp}
PLACES = {"jpg": 6, "png": 5, "tif": 6, "webp": 5}
"""How often the name stands readable in the file, at least: what the test would find if it came along."""


@pytest.mark.parametrize("kind", MAKERS)
def test_nothing_but_the_picture_is_stored(kind: str, tmp_path: Path) -> None:
    source = MAKERS[kind]()
    assert source.count(SECRET) >= PLACES[kind]
    folder = tmp_path / "incoming"
    folder.mkdir()
    (folder / f"{TEXT}.{kind}").write_bytes(source)
    manifest = write_manifest(
        folder / "manifest.csv", [{"image": f"{TEXT}.{kind}", "case": "case-1", "report": "Report."}]
    )
    with Archive.create(tmp_path / "archive") as archive:
        add_manifest(archive, manifest)
        (image,) = archive.case("case-1").images
        with Image.open(image.path) as stored:
            stored.load()
            assert not stored.getexif()
            assert not {"exif", "xmp", "icc_profile", "comment", "photoshop", "XML:com.adobe.xmp"} & set(stored.info)
            assert getattr(stored, "text", {}) == {}
        assert np.array_equal(decode_image(image.path), decode_image(source))
    for path in (tmp_path / "archive").rglob("*"):
        assert TEXT not in path.name
        if path.is_file():
            assert SECRET not in path.read_bytes()
