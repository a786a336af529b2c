"""Whether a search generates images: as measured on the archive with these weights, unless the query says so."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace

import pytest

from generation import CoinGenerator
from index_store import Archive
from retrieval import (
    CaseSearch,
    Encoder,
    Estimate,
    MeasuredGain,
    Query,
    add_manifest,
    default_rules,
    keep_gain,
    to_dict,
)
from retrieval.generated.measured_gain import FILE, read_gain
from tests.retrieval.conftest import speckled
from ui.text.search import search_text

WITHOUT, WITH = ("joint", "report"), ("generated", "joint", "report")
QUERY = Query(text="Report 1", seeds=(0,))
GAIN, NO_GAIN = Estimate(0.03, 0.01, 0.05), Estimate(0.01, -0.01, 0.03)


@pytest.fixture(scope="module")
def archive(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    folder = tmp_path_factory.mktemp("gain")
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "case", "report", "site"])
        for number in range(4):
            speckled(number).save(folder / f"{number}.png")
            writer.writerow([f"{number}.png", f"case {number}", f"Report {number}", "cervix"])
    with Archive.create(folder / "archive") as archive:
        add_manifest(archive, folder / "manifest.csv", encoder)
        yield archive


@pytest.fixture
def measured(archive: Archive, encoder: Encoder, generator: CoinGenerator) -> Iterator[MeasuredGain]:
    prints = {"image": encoder.fingerprint, "text": encoder.fingerprint}
    yield MeasuredGain("2026-11-30", 200, NO_GAIN, generator.fingerprint, prints)
    (archive.path / FILE).unlink(missing_ok=True)


def channels(search: CaseSearch, query: Query = QUERY, *, generate: bool | None = None) -> tuple[str, ...]:
    return search.channels_for(query, generate=generate)


def test_what_was_not_measured_is_generated_and_said(
    archive: Archive, encoder: Encoder, generator: CoinGenerator
) -> None:
    result = CaseSearch(archive, encoder, generator).run(QUERY)
    assert tuple(answer.channel for answer in result.channels) == WITH
    assert "was not measured. `coin evaluate --generate 200`" in " ".join(
        search_text(result, default_rules()["report"]).split()
    )
    assert CaseSearch(archive, encoder).run(QUERY).generation_default is None, "without a generator nothing is decided"


def test_without_a_gain_nothing_is_generated_unless_asked_for(
    archive: Archive, encoder: Encoder, generator: CoinGenerator, measured: MeasuredGain
) -> None:
    search = CaseSearch(archive, encoder, generator)
    keep_gain(archive, measured)
    assert read_gain(archive) == measured
    result = search.run(QUERY)
    assert tuple(answer.channel for answer in result.channels) == WITHOUT
    assert result.generated is None
    text = " ".join(search_text(result, default_rules()["report"]).split())
    assert "not seen to help on this archive (P@10 +0.010 [-0.010, +0.030] with them" in text
    assert "200 cases, 2026-11-30" in text
    assert "`--generate` generates them all the same" in text
    assert to_dict(result)["generation_default"]["generates"] is False
    for asked in (replace(QUERY, channels=WITH), replace(QUERY, weights=(("generated", 0.5),))):
        assert channels(search, asked) == WITH
    assert channels(search, generate=True) == WITH
    assert search.run(QUERY, generate=True).generation_default is None, "the caller decided"
    keep_gain(archive, replace(measured, gain=GAIN))
    assert channels(search) == WITH
    assert channels(search, generate=False) == WITHOUT


@pytest.mark.parametrize("change", ["weights", "encoders"])
def test_other_weights_make_it_stale(
    archive: Archive, encoder: Encoder, generator: CoinGenerator, measured: MeasuredGain, change: str
) -> None:
    other = {"weights": "other"} if change == "weights" else {"encoders": {**measured.encoders, "image": "other"}}
    keep_gain(archive, replace(measured, **other))
    search = CaseSearch(archive, encoder, generator)
    assert channels(search) == WITH
    default = search.generation_default()
    assert default is not None
    assert not default.is_measured
    assert "measured with other weights than these (2026-11-30)" in default.words


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"gain": {"mean": "x"}}', '{"gain": []}'])
def test_a_damaged_file_is_as_if_nothing_was_measured(archive: Archive, measured: MeasuredGain, text: str) -> None:
    (archive.path / FILE).write_text(text)
    assert read_gain(archive) is None
