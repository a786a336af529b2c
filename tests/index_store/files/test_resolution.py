"""Scales by the tags of pictures: those that a microscope's image can have, and never a printing default."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import TiffImagePlugin

from index_store import Archive, decode_picture
from tests.index_store.archive_builders import add_manifest, encoded, picture, write_manifest

SIZE = (24, 20)


def tiff(description: str = "", **tags: object) -> bytes:
    """A TIFF with a resolution: `x`, `y` and `unit`."""
    info = TiffImagePlugin.ImageFileDirectory_v2()
    numbers = {"x": 282, "y": 283, "unit": 296}
    for name, value in tags.items():
        info[numbers[name]] = value
    if description:
        info[270] = description
    return encoded(picture(size=SIZE), "TIFF", tiffinfo=info)


def ome(x: str, y: str, unit: str = "", images: int = 1) -> str:
    given = f'PhysicalSizeXUnit="{unit}" PhysicalSizeYUnit="{unit}"' if unit else ""
    pixels = f'<Image><Pixels ID="P" PhysicalSizeX="{x}" PhysicalSizeY="{y}" {given} SizeX="24"/></Image>'
    return f"<OME>{pixels * images}</OME>"


@pytest.mark.parametrize(
    ("data", "mpp"),
    [
        (tiff(x=101_600.0, y=101_600.0, unit=2), 0.25),
        (tiff(x=40_000.0, y=40_000.0, unit=3), 0.25),
        (tiff(x=40_000.0, y=40_000.0, unit=1), None),
        (tiff(x=40_000.0, y=20_000.0, unit=3), None),
        (tiff(x=0.0, y=0.0, unit=3), None),
        (tiff(x=300.0, y=300.0, unit=2), None),
        (tiff("ImageJ=1.53\nunit=micron\n", x=4.0, y=4.0, unit=1), 0.25),
        (tiff("ImageJ=1.53\nunit=pixel\n", x=4.0, y=4.0, unit=1), None),
        (tiff(ome("0.25", "0.25")), 0.25),
        (tiff(ome("250", "250", "nm")), 0.25),
        (tiff(ome("0.25", "0.25", "parsec")), None),
        (tiff(ome("a", "b")), None),
        (tiff("AppMag = 40|MPP = 0.2528", x=72.0, y=72.0, unit=2), 0.2528),
        (tiff(), None),
        *((encoded(picture(size=SIZE), "JPEG", dpi=(dpi, dpi)), None) for dpi in (72, 96, 150, 300, 600, 1200)),
        (encoded(picture(size=SIZE), "JPEG", dpi=(25_400, 25_400)), 1.0),
        (encoded(picture(size=SIZE), "PNG", dpi=(101_600, 101_600)), 0.25),
        (encoded(picture(size=SIZE), "PNG", dpi=(101_600, 50_000)), None),
        (encoded(picture(size=SIZE), "PNG", dpi=(72, 72)), None),
        (encoded(picture(size=SIZE), "PNG"), None),
        (encoded(picture(size=SIZE), "BMP", dpi=(50_800, 50_800)), 0.5),
        (encoded(picture(size=SIZE), "WEBP"), None),
    ],
)
def test_the_scale_of_a_file(data: bytes, mpp: float | None) -> None:
    decoded = decode_picture(data)
    assert decoded.mpp == (None if mpp is None else pytest.approx(mpp, rel=0.001))
    assert decoded.mpp_source == ("" if mpp is None else "resolution tag")


def test_the_first_image_of_several_gives_the_scale() -> None:
    both = ome("0.25", "0.25").replace("</OME>", "") + ome("1", "1").replace("<OME>", "")
    assert decode_picture(tiff(both)).mpp == 0.25


@pytest.mark.parametrize("mpp", ["", "0.26", "0.5"])
def test_the_number_is_kept_and_the_tag_is_not(archive: Archive, tmp_path: Path, mpp: str) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(x=40_000.0, y=40_000.0, unit=3))
    plan = add_manifest(archive, write_manifest(tmp_path / "m.csv", [{"image": "a.tif", "report": "R.", "mpp": mpp}]))
    assert len(plan.new) == 1
    (image,) = archive.case("a.tif").images
    assert (image.mpp, image.mpp_source) == ((float(mpp), "manifest") if mpp else (0.25, "resolution tag"))
    assert ("by more than 10 %" in image.note) == (mpp == "0.5")
    assert stored_resolution(image.path.read_bytes()) is None


def stored_resolution(data: bytes) -> Any:
    from PIL import Image

    return Image.open(io.BytesIO(data)).info.get("dpi")
