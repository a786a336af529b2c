"""Fields are chosen where cells can be read, none over another, and whatever is left out is counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from benchmarks.pyramid import write_pyramid
from index_store import RULES, ChosenFields, FieldChoice, Slide, SlideProblem, choose_fields
from index_store.slides.block_maps import box_sums
from index_store.slides.field import BUBBLE, DAMAGED, EMPTY, INK, NO_NUCLEI, OUT_OF_FOCUS, THICK
from index_store.slides.focus import sharpness
from index_store.slides.ground import Ground
from index_store.slides.survey import windows
from tests.index_store.slides.smear import GLASS, MPP, SIDE, smear

CHOICE = FieldChoice(most=5)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pyramid(tmp_path_factory.mktemp("smear") / "slide.tif", smear(), mpp=MPP)


@pytest.fixture
def slide(path: Path) -> Iterator[Slide]:
    with Slide(path) as opened:
        yield opened


def in_the_cells(chosen: ChosenFields) -> list[bool]:
    """Of each field, whether a quarter of it at least lies where cells can be read."""
    return [max(field.x, field.y) <= SIDE / 2 - field.width / 2 for field in chosen.fields]


def test_fields_lie_where_cells_can_be_read(slide: Slide) -> None:
    chosen = choose_fields(slide, CHOICE)
    assert len(chosen.fields) == 5
    assert all(in_the_cells(chosen))
    for number, field in enumerate(chosen.fields):
        assert (field.width, field.pixels, field.level, field.plane, field.mpp) == (256, 256, 0, 0, 0.5)
        assert field.slide == slide.info.fingerprint
        assert field.cells >= 2
        for other in chosen.fields[:number]:
            assert max(abs(field.x - other.x), abs(field.y - other.y)) >= field.width
    assert chosen == replace(choose_fields(slide, CHOICE), seconds=chosen.seconds)


def test_what_is_left_out_is_counted_by_its_reason(slide: Slide) -> None:
    chosen = choose_fields(slide, CHOICE)
    assert chosen.places == (SIDE // 256) ** 2
    assert {EMPTY, NO_NUCLEI} <= set(chosen.left_out)
    assert chosen.left_out.get(INK, 0) + chosen.left_out.get(THICK, 0) >= 2
    assert chosen.left_out[BUBBLE] >= 1
    assert chosen.candidates + sum(chosen.left_out.values()) >= chosen.places


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_keeps_to_the_places_that_can_be_read(slide: Slide, rule: str) -> None:
    chosen = choose_fields(slide, FieldChoice(most=5, rule=rule))
    assert len(chosen.fields) == 5
    assert all(in_the_cells(chosen))


def test_an_unknown_rule_is_an_error(slide: Slide) -> None:
    with pytest.raises(ValueError, match="no rule 'best': choose one of dark, mixed"):
        choose_fields(slide, FieldChoice(rule="best"))


@pytest.mark.slow
def test_candidates_out_of_focus_are_left_out_when_they_are_read(tmp_path: Path) -> None:
    """Blurred by 1.5 µm, the right half passes at low power; the reading level tells."""
    sharp = smear()[:1024, :1024]
    blurred = Image.fromarray(sharp).filter(ImageFilter.GaussianBlur(3))
    path = write_pyramid(tmp_path / "slide.tif", np.concatenate([sharp, np.asarray(blurred)], axis=1), mpp=MPP)
    with Slide(path) as slide:
        chosen = choose_fields(slide, FieldChoice(most=16))
        assert chosen.left_out[OUT_OF_FOCUS] >= 4
        assert all(field.x < 1024 for field in chosen.fields)


def test_a_slide_without_nuclei_gives_what_it_has(slide: Slide) -> None:
    half = SIDE // 2
    chosen = choose_fields(slide, CHOICE, box=(0, half, half, half))
    assert chosen.candidates == 0
    assert all(field.y >= half for field in chosen.fields)


def test_a_part_of_a_slide_has_the_fields_of_that_part_alone(slide: Slide, tmp_path: Path) -> None:
    box = (128, 64, 896, 896)
    chosen = choose_fields(slide, CHOICE, box=box)
    part = smear()[box[1] : box[1] + box[3], box[0] : box[0] + box[2]]
    with Slide(write_pyramid(tmp_path / "part.tif", part, mpp=MPP, quality=95)) as alone:
        found = choose_fields(alone, CHOICE)
    same = {(field.x - box[0], field.y - box[1]) for field in chosen.fields} & {(f.x, f.y) for f in found.fields}
    assert len(same) >= len(chosen.fields) - 2  # JPEG differs


def test_a_damaged_tile_costs_its_place_only(path: Path, tmp_path: Path) -> None:
    data = bytearray(path.read_bytes())
    damaged = tmp_path / "damaged.tif"
    import openslide

    with openslide.OpenSlide(str(path)) as whole:
        assert whole.properties["openslide.level[1].tile-width"] == "256"
    tile = _tile_of_level_one(data)
    data[tile : tile + 200] = bytes(200)
    damaged.write_bytes(data)
    with Slide(damaged) as slide:
        chosen = choose_fields(slide, CHOICE)
        assert len(chosen.fields) >= 1  # the second level is read at low power; what lies under the tile is left out
        assert chosen.left_out[DAMAGED] >= 16
        assert all(field.x >= 1024 or field.y >= 1024 for field in chosen.fields)


def _tile_of_level_one(data: bytes) -> int:
    """Where the first tile of the second directory begins."""
    import io

    from PIL import TiffImagePlugin

    image = Image.open(io.BytesIO(bytes(data)))
    assert isinstance(image, TiffImagePlugin.TiffImageFile)
    image.seek(1)
    return int(image.tag_v2[324][0])


def test_the_scale_must_be_known(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "slide.tif", smear()[:1024, :1024])
    with Slide(path) as slide:
        assert slide.info.mpp is None
        with pytest.raises(SlideProblem, match=r"scale of slide\.tif is unknown"):
            choose_fields(slide, CHOICE)
        assert len(choose_fields(slide, FieldChoice(most=4), mpp=MPP).fields) == 4
        slide.info = replace(slide.info, objective=20.0)
        assumed = choose_fields(slide, FieldChoice(most=4))
        assert assumed.notes[-1] == "The scale is unknown: 0.5 µm a pixel are assumed, from the objective (20×)."


def test_a_slide_smaller_than_a_field_is_an_error(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "slide.tif", smear()[:200, :1024], mpp=MPP)
    with Slide(path) as slide, pytest.raises(SlideProblem, match="512 × 100 µm: smaller than a field of 128 µm"):
        choose_fields(slide)


@pytest.mark.slow
def test_the_sharpest_plane_is_taken(tmp_path: Path) -> None:
    sharp = Image.fromarray(smear()[:1024, :1024])
    pages = [sharp.filter(ImageFilter.GaussianBlur(radius)) for radius in (6, 3, 0, 4)]
    scale = {"resolution_unit": 3, "x_resolution": 20_000, "y_resolution": 20_000}
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:], **scale)
    with Slide(tmp_path / "stack.tif") as slide:
        chosen = choose_fields(slide, FieldChoice(most=4))
    assert [field.plane for field in chosen.fields] == [2, 2, 2, 2]


def test_the_ground_is_the_glass_or_the_film_that_covers_it() -> None:
    pixels = smear()[:1024, :1024].reshape(-1, 3)
    assert np.abs(np.array(Ground.of(pixels).colour) - GLASS).max() < 4
    film = (pixels * (0.86, 0.85, 0.95)).astype(np.uint8)
    film[::30] = (246, 246, 246)  # bubbles in it are brighter
    assert np.abs(np.array(Ground.of(film).colour) - np.array(GLASS) * (0.86, 0.85, 0.95)).max() < 4


@pytest.mark.slow
def test_blur_and_not_stain_or_number_of_cells_lowers_sharpness() -> None:
    pixels = smear()
    ground = Ground.of(pixels.reshape(-1, 3))
    sharp = [sharpness(pixels[y : y + 256, x : x + 256], ground, MPP) for x, y in ((128, 128), (500, 400), (700, 700))]
    blurred = [sharpness(pixels[y : y + 256, x : x + 256], ground, MPP) for x, y in ((1200, 128), (1600, 400))]
    assert min(sharp) > 1.5 * max(blurred)
    assert sharpness(np.full((64, 64, 3), GLASS, np.uint8), ground, MPP) == 0.0


def test_sums_over_pixels_are_those_of_scipy() -> None:
    from scipy import ndimage

    values = np.random.default_rng(0).integers(0, 256, (40, 31), dtype=np.uint8)
    near, around = box_sums(values)
    for found, size in ((near, 3), (around, 9)):
        expected = ndimage.uniform_filter(values.astype(np.float64), size, mode="nearest") * size**2
        assert np.abs(found - expected).max() < 1e-6


def test_windows_sum_squares_with_and_without_a_margin() -> None:
    values = np.arange(42, dtype=np.float32).reshape(6, 7)
    assert windows(values).shape == windows(values, 1).shape == (3, 4)
    assert windows(values)[1, 2] == values[1:5, 2:6].sum()
    assert windows(values, 1)[1, 2] == values[2:4, 3:5].sum()
