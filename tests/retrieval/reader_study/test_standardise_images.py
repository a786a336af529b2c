"""Pictures whose files do not reveal their origin."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest

from retrieval.reader_study.standardise_images import Compression, coarsest, compressed, compression_of, squared
from tests.retrieval.conftest import speckled


def jpeg(quality: int, *, subsampling: int = 0, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    speckled(1).convert(mode).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return file.getvalue()


def test_the_compression_of_a_file_is_read() -> None:
    found = compression_of(jpeg(60, subsampling=2))
    assert found is not None
    assert (found.quality, found.subsampling, str(found)) == (60, 2, "JPEG quality 60, 4:2:0")
    grey = compression_of(jpeg(60, mode="L"))
    assert grey is not None
    assert grey.luminance == found.luminance
    for other in (b"", b"nothing", jpeg(60)[:30]):
        assert compression_of(other) is None


def test_all_get_the_coarsest_compression_in_every_step() -> None:
    sources = [compression_of(jpeg(quality, subsampling=s)) for quality, s in ((95, 1), (55, 0), (80, 0))]
    common = coarsest([*sources, None])
    for source in sources:
        assert source is not None
        assert all(a >= b for a, b in zip(common.luminance, source.luminance, strict=True))
        assert all(a >= b for a, b in zip(common.chrominance, source.chrominance, strict=True))
    assert (common.quality, common.subsampling) == (55, 1)
    assert coarsest([]).quality == 98
    assert compression_of(compressed(speckled(2), common)) == common


def test_tables_that_no_baseline_jpeg_can_hold_are_cut() -> None:
    common = coarsest([Compression((4000,) * 64, (4000,) * 64, 2)])
    assert compression_of(compressed(speckled(2), common)) == common


def test_what_was_a_jpeg_and_what_was_none_have_the_same_traces_afterwards() -> None:
    """How far a picture is from its own compression by the common tables: what a lossless one loses by it more than a
    JPEG of the same tables is what would tell them apart. Afterwards both lose nothing more."""
    coarse = compression_of(jpeg(40))
    assert coarse is not None
    lossless = speckled(5)
    file = io.BytesIO()
    speckled(6).save(file, "JPEG", quality=40, subsampling=0)
    was_jpeg = PIL.Image.open(io.BytesIO(file.getvalue())).convert("RGB")

    def lost(image: PIL.Image.Image) -> float:
        again = PIL.Image.open(io.BytesIO(compressed(image, coarse)))
        return float(np.abs(np.asarray(again, dtype=float) - np.asarray(image, dtype=float)).mean())

    before = [lost(image) for image in (lossless, was_jpeg)]
    assert before[0] > 4 * before[1], "the sources do not differ: this test would show nothing"
    shown = [PIL.Image.open(io.BytesIO(compressed(i, coarse))).convert("RGB") for i in (lossless, was_jpeg)]
    after = [lost(image) for image in shown]
    assert max(after) < 2 * min(after)
    assert max(after) < before[0] / 4


@pytest.mark.parametrize("fit", ["whole", "centre"])
def test_the_central_square_is_taken_and_never_enlarged(fit: str) -> None:
    image = PIL.Image.new("RGB", (90, 60), "white")
    image.paste("red", (15, 0, 75, 60))  # the largest central square
    image.paste("blue", (30, 15, 60, 45))  # the 30 pixels in the middle
    square = squared(image, side=30, fit=fit)  # type: ignore[arg-type]
    colours = {square.getpixel((0, 0)), square.getpixel((15, 15))}
    assert square.size == (30, 30)
    assert colours == ({(255, 0, 0), (0, 0, 255)} if fit == "whole" else {(0, 0, 255)})
    with pytest.raises(ValueError, match="enlarged"):
        squared(image, side=61, fit=fit)  # type: ignore[arg-type]


def test_nothing_but_pixels_comes_along() -> None:
    image = speckled(3)
    image.info.update(icc_profile=b"profile", comment=b"generated", exif=b"Exif\0\0II", dpi=(300, 300))
    data = compressed(squared(image, side=40, fit="whole"), coarsest([]))
    with PIL.Image.open(io.BytesIO(data)) as written:
        assert set(written.info) == {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
        assert written.info["jfif_density"] == (1, 1)
        assert not written.getexif()
