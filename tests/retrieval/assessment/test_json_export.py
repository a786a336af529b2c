"""A result as JSON: the notice first, nothing that JSON cannot hold, and the provenance of what was generated."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from generation import CoinGenerator, GenerationCache
from index_store import Archive, CaseFilter
from retrieval import RESEARCH_USE, CaseSearch, Encoder, add_manifest, to_dict, to_json
from retrieval.copies.overlap import Overlap
from tests.models import tiny_sdxl
from tests.retrieval.conftest import speckled


@pytest.mark.slow
def test_a_result_by_report_says_where_everything_came_from(encoder: Encoder, tmp_path: Path) -> None:
    for number in range(3):
        speckled(number).save(tmp_path / f"{number}.png")
    (tmp_path / "manifest.csv").write_text(
        "image,case,patient,report,site,category,stain,laboratory\n"
        "0.png,case-0,anna,HSIL – Überweisung,cervix,HSIL,Papanicolaou,north\n"
        "1.png,case-1,berta,NILM,cervix,NILM,Papanicolaou,south\n"
        "2.png,case-1,berta,NILM,cervix,NILM,Giemsa,south\n",
        encoding="utf-8",
    )
    generator = CoinGenerator(tiny_sdxl(tmp_path / "sdxl"), device="cpu", cache=GenerationCache(tmp_path / "generated"))
    with Archive.create(tmp_path / "archive") as archive:
        add_manifest(archive, tmp_path / "manifest.csv", encoder)
        search = CaseSearch(archive, encoder, generator)
        result = search.by_report("Squamous lesion.", k=5, n_images=2, where=CaseFilter(sites=("cervix",)))
    text = to_json(result)
    written = json.loads(text)
    assert written == json.loads(json.dumps(to_dict(result)))
    assert next(iter(written)) == "notice"
    assert written["notice"] == RESEARCH_USE == "Research use only. Not for diagnosis."
    assert "Überweisung" in text
    assert (written["query"]["kind"], written["query"]["text"]) == ("report", "Squamous lesion.")
    assert written["query"]["where"]["sites"] == ["cervix"]
    assert set(written["fusion"]["weights"]) == {"generated", "joint", "report"}
    assert {place["channel"] for place in written["cases"][0]["channels"]} == {"generated", "joint", "report"}
    assert len(written["overlaps"]) == 3
    assert written["encoder"] == {"name": encoder.name, "fingerprint": encoder.fingerprint}
    assert [drawn["provenance"]["seed"] for drawn in written["generation"]["images"]] == [0, 1]
    assert all(drawn["provenance"]["synthetic"] is True for drawn in written["generation"]["images"])
    assert all(Path(drawn["path"]).is_file() for drawn in written["generation"]["images"])
    assert all(drawn["part"] is None for drawn in written["generation"]["images"])
    assert result.generated is not None
    first, *rest = result.generated.images
    copied = dataclasses.replace(first, part=Overlap(40, 0.9, 0.5, mirrored=True))
    generated = dataclasses.replace(result.generated, images=(copied, *rest))
    part = json.loads(to_json(dataclasses.replace(result, generated=generated)))["generation"]["images"][0]["part"]
    assert part == {"pairs": 40, "correlation": 0.9, "share": 0.5, "mirrored": True}
    by_key = {entry["case"]: entry for entry in written["cases"]}
    assert set(by_key) == {"case-0", "case-1"}
    assert [entry["rank"] for entry in written["cases"]] == [1, 2]
    assert by_key["case-0"]["report"] == "HSIL – Überweisung"
    assert by_key["case-0"]["attributes"] == {"laboratory": "north"}
    assert by_key["case-0"]["derived"] == []
    assert by_key["case-0"]["patient"] == "anna"
    assert by_key["case-1"]["category"] == "NILM"
    assert Path(by_key["case-1"]["image"]["path"]).is_file()
    assert written["timing"]["total_s"] > 0
    assert "Only 2 of the 5" in written["notes"][-1]


def test_what_was_read_from_the_report_is_exported(encoder: Encoder, tmp_path: Path) -> None:
    speckled(0).save(tmp_path / "0.png")
    (tmp_path / "manifest.csv").write_text("image,report,category\n0.png,Urine cytology: no malignant cells.,\n")
    with Archive.create(tmp_path / "archive") as archive:
        add_manifest(archive, tmp_path / "manifest.csv", encoder)
        (written,) = to_dict(CaseSearch(archive, encoder).by_image(speckled(0)))["cases"]
    assert (written["site"], written["system"], written["category"]) == ("urine", "Paris 2.0", "NHGUC")
    assert written["derived"] == ["site", "system", "category"]


def test_a_result_by_image_has_no_generation(encoder: Encoder, tmp_path: Path) -> None:
    with Archive.create(tmp_path / "archive") as archive:
        written = to_dict(CaseSearch(archive, encoder).by_image(speckled(0)))
    assert written["generation"] is None
    assert written["query"]["where"] is None
    assert len(written["query"]["image"]) == 64
    assert written["cases"] == []
