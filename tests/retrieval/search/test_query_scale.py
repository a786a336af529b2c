"""The scale of a query's image: stated with the query, or by its file, and used by an encoder that sees fields."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from index_store import Archive, CaseFilter
from retrieval import CaseSearch, Encoder, Query, QueryError, Region, add_manifest, import_encoder
from retrieval.search.query import png_bytes, query_from_dict, query_to_dict
from tests.retrieval.conftest import speckled


@pytest.fixture(scope="module")
def encoder(clip_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    """An encoder with fields of 20 µm."""
    folder = tmp_path_factory.mktemp("imported") / "fields"
    return Encoder(import_encoder(str(clip_folder), folder, field_um=20.0).folder, device="cpu")


@pytest.fixture(scope="module")
def archive(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """Three patients of one image each, of 40 pixels at 1 µm."""
    folder = tmp_path_factory.mktemp("scaled")
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        rows = [[f"{number}.png", f"Report {number}.", "1"] for number in range(3)]
        csv.writer(file).writerows([["image", "report", "mpp"], *rows])
    for number in range(3):
        speckled(number).save(folder / f"{number}.png")
    with Archive.create(folder / "archive") as archive:
        add_manifest(archive, folder / "manifest.csv", encoder)
        yield archive


@pytest.fixture(scope="module")
def search(archive: Archive, encoder: Encoder) -> CaseSearch:
    return CaseSearch(archive, encoder)


def similarity(search: CaseSearch, query: Query) -> float:
    """Of the case whose image the query holds, which comes first only where it is seen in the same way."""
    (found,) = (case for case in search.run(query).cases if case.case.key == "1.png")
    assert found.similarity is not None
    return found.similarity


def test_an_image_is_compared_at_the_scale_that_the_query_states(search: CaseSearch) -> None:
    query = Query(image=png_bytes(speckled(1)))
    assert similarity(search, dataclasses.replace(query, mpp=1.0)) == pytest.approx(1.0, abs=1e-4)
    assert similarity(search, query) < 0.9999


def test_a_file_may_state_its_scale_and_the_query_knows_better(search: CaseSearch) -> None:
    import io

    file = io.BytesIO()
    speckled(1).save(file, "PNG", dpi=(25_400, 25_400))  # 1 µm a pixel
    query = Query(image=file.getvalue())
    assert similarity(search, query) == pytest.approx(1.0, abs=1e-4)
    assert similarity(search, dataclasses.replace(query, mpp=0.1)) < 0.9999


def test_a_region_of_a_stored_image_has_its_scale(search: CaseSearch, archive: Archive) -> None:
    image = archive.case("1.png").images[0]
    whole = Query(case="1.png", image_id=image.id, region=Region(0, 0, 1, 1), include_own_patient=True)
    as_upload = Query(image=png_bytes(speckled(1)), mpp=1.0)
    first, second = ({case.case.key: case.similarity for case in search.run(q).cases} for q in (whole, as_upload))
    for key in ("0.png", "2.png"):
        assert first[key] == pytest.approx(second[key], abs=1e-5)


@pytest.mark.parametrize("values", [{"text": "R."}, {"case": "c"}])
def test_a_scale_belongs_to_an_image(values: dict[str, str]) -> None:
    with pytest.raises(QueryError, match="no image"):
        Query(**values, mpp=0.25)  # type: ignore[arg-type]


@pytest.mark.parametrize("mpp", [0.01, 250.0, float("nan")])
def test_a_scale_that_no_microscope_has_is_refused(mpp: float) -> None:
    with pytest.raises(QueryError, match="is no scale of a microscope"):
        Query(image=b"x", mpp=mpp)


def test_a_kept_query_keeps_its_scale_and_its_range() -> None:
    query = Query(image=b"x", mpp=0.25, where=CaseFilter(mpp=(0.2, 0.3)))
    document = json.loads(json.dumps(query_to_dict(query)))
    assert query_from_dict(document) == query
    plain = query_to_dict(Query(text="R.", where=CaseFilter(sites=("urine",))))
    assert "mpp" not in plain  # so that the version before reads it
    assert "mpp" not in plain["where"]
    with pytest.raises(QueryError):
        query_from_dict({**document, "mpp": "0.25"})
