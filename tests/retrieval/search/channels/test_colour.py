"""The channel `colour`: off unless asked for, in step with the archive, and joined where it is measured to help."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from index_store import COLOUR_FINGERPRINT, Archive, CaseFilter, EncoderMismatchError
from retrieval import (
    CaseSearch,
    Encoder,
    Query,
    Region,
    add_manifest,
    choose_fusion,
    default_rules,
    evaluate_archive,
    read_colours,
    reembed,
    rules_text,
    to_dict,
)
from retrieval.search.fusion import FusionRule
from retrieval.search.query import png_bytes
from tests.retrieval.labelled_archive import unit
from tests.retrieval.vector_archive import archive_of
from ui.text.archive import status_text
from ui.text.evaluation.tables import evaluation_text
from ui.text.search import search_text

STAINS = ((200, 80, 120), (90, 60, 190), (70, 170, 90))
JOINED = {"image": FusionRule("score", {"image": 1, "colour": 0.5})}


def stained(number: int, *, stain: int | None = None) -> PIL.Image.Image:
    """Noise around the colour of one of three stains."""
    noise = np.random.default_rng(number).integers(-12, 13, size=(24, 24, 3))
    return PIL.Image.fromarray((np.array(STAINS[number % 3 if stain is None else stain]) + noise).astype(np.uint8))


def manifest(folder: Path, numbers: Sequence[int]) -> Path:
    path = folder / f"{numbers[0]}.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "case", "report", "site", "category"])
        for number in numbers:
            stained(number).save(folder / f"{number}.png")
            writer.writerow([f"{number}.png", f"case {number}", f"Report {number}", "cervix", "ABC"[number % 3]])
    return path


@pytest.fixture
def archive(encoder: Encoder, tmp_path: Path) -> Iterator[Archive]:
    with Archive.create(tmp_path / "archive") as archive:
        add_manifest(archive, manifest(tmp_path, range(12)), encoder)
        yield archive


def stains_found(archive: Archive, query: Query, encoder: Encoder) -> list[int]:
    """The first three cases' stains by colour alone."""
    result = CaseSearch(archive, encoder).run(query)
    return [int(case.case.key.removeprefix("case ")) % 3 for case in result.cases[:3]]


def test_it_answers_only_on_request_and_says_when_nothing_was_read(archive: Archive, encoder: Encoder) -> None:
    query = Query(case="case 0")
    assert CaseSearch(archive, encoder).channels_for(query) == ("image",)
    result = CaseSearch(archive, encoder, rules=JOINED).run(query)
    assert [answer.channel for answer in result.channels] == ["image"]
    assert any("coin reembed --colours" in note for note in result.notes)
    assert read_colours(archive, 5) == (12, [])
    assert read_colours(archive, 5) == (0, [])
    assert CaseSearch(archive, encoder).channels_for(query) == ("image",)
    joined = CaseSearch(archive, encoder, rules=JOINED).run(query)
    assert [answer.channel for answer in joined.channels] == ["image", "colour"]
    assert not joined.notes
    assert "colour #1" in search_text(joined, default_rules()["report"])
    assert to_dict(joined)["fusion"]["weights"]["colour"] == pytest.approx(1 / 3)
    # The weight can be given for one query, too.
    assert CaseSearch(archive, encoder).channels_for(Query(case="case 0", weights=(("colour", 1.0),))) == (
        "image",
        "colour",
    )


def test_images_regions_and_cases_find_their_colours_under_filters(archive: Archive, encoder: Encoder) -> None:
    read_colours(archive, 64)
    upload = png_bytes(stained(40))
    assert stains_found(archive, Query(image=upload, channels=("colour",)), encoder) == [1, 1, 1]
    assert stains_found(archive, Query(case="case 2", channels=("colour",)), encoder) == [2, 2, 2]
    halves = PIL.Image.new("RGB", (48, 24))
    halves.paste(stained(40, stain=0), (0, 0))
    halves.paste(stained(41, stain=2), (24, 0))
    right = Query(image=png_bytes(halves), region=Region(0.5, 0, 1, 1), channels=("colour",))
    assert stains_found(archive, right, encoder) == [2, 2, 2]
    only = CaseFilter(categories=("A",))
    assert stains_found(archive, Query(image=upload, channels=("colour",), where=only), encoder) == [0, 0, 0]
    more = Query(image=upload, channels=("colour",), more=("case 0", "case 3"), less=("case 1",))
    assert CaseSearch(archive, encoder).run(more).cases


def test_colours_follow_the_archive(archive: Archive, encoder: Encoder, tmp_path: Path) -> None:
    read_colours(archive, 64)
    add_manifest(archive, manifest(tmp_path, range(12, 15)), encoder)
    archive.remove("case 0")
    assert archive.status().embeddings[COLOUR_FINGERPRINT] == 14
    found = CaseSearch(archive, encoder).run(Query(case="case 3", channels=("colour",), k=20))
    assert {"case 12"} <= {case.case.key for case in found.cases}
    assert "case 0" not in {case.case.key for case in found.cases}
    assert not any("colour" in note for note in found.notes)
    assert not [finding for finding in archive.examine().findings if not finding.harmless]
    assert "of all images" in status_text(archive.status())
    # Another encoder changes nothing of it, and it takes no encoder's place.
    assert reembed(archive, encoder).switched
    with pytest.raises(EncoderMismatchError, match="beside it"):
        archive.switch_encoder(COLOUR_FINGERPRINT)
    archive.back_up(tmp_path / "backup")
    Archive.restore(tmp_path / "backup", tmp_path / "restored")
    with Archive.open(tmp_path / "restored") as restored:
        again = CaseSearch(restored, encoder).run(Query(case="case 3", channels=("colour",), k=20))
        assert [case.case.key for case in again.cases] == [case.case.key for case in found.cases]
    assert archive.drop_encoder(COLOUR_FINGERPRINT) == 14
    gone = CaseSearch(archive, encoder).run(Query(case="case 3", channels=("colour",)))
    assert not gone.cases
    assert any("coin reembed --colours" in note for note in gone.notes)


def test_images_without_colours_are_counted(archive: Archive, encoder: Encoder, tmp_path: Path) -> None:
    read_colours(archive, 64)
    archive.begin_encoder(COLOUR_FINGERPRINT, name="colour histogram", dim=512)
    add_manifest(archive, manifest(tmp_path, [12]), encoder)
    # An earlier version adds images and reads no colours.
    with archive.writer():
        archive.drop_encoder(COLOUR_FINGERPRINT)
        archive.add_vectors([1], np.full((1, 512), 512**-0.5, dtype=np.float32), fingerprint=COLOUR_FINGERPRINT)
    found = CaseSearch(archive, encoder).run(Query(image=png_bytes(stained(40)), channels=("colour",)))
    assert [case.case.key for case in found.cases] == ["case 0"]
    assert any("colours of 12 images were not compared" in note for note in found.notes)
    assert any("no colour histogram" in finding.what for finding in archive.examine().findings)


@pytest.mark.slow
@pytest.mark.parametrize("tells", [True, False])
def test_an_evaluation_says_whether_it_helps_and_the_choice_follows(tmp_path: Path, *, tells: bool) -> None:
    """Vectors are noise around their class; colours tell the class, or are noise."""
    rng = np.random.default_rng(3)
    labels = np.arange(60) % 3
    rows = [{"case": f"case {i:02}", "site": "cervix", "category": "ABC"[label]} for i, label in enumerate(labels)]
    centres = unit(rng.normal(size=(3, 16)))
    with archive_of(tmp_path, rows, unit(centres[labels] + 1.2 * unit(rng.normal(size=(60, 16))))) as archive:
        archive.begin_encoder(COLOUR_FINGERPRINT, name="colour histogram", dim=512)
        ids = sorted(image.id for case in archive.cases() for image in case.images)
        by_class = np.eye(512)[labels if tells else rng.integers(0, 3, 60)]
        colours = unit(by_class + 0.5 * unit(np.abs(rng.normal(size=(60, 512))))).astype(np.float32)
        archive.add_vectors(ids, colours, fingerprint=COLOUR_FINGERPRINT)
        evaluation = evaluate_archive(archive)
        choices = {choice.name: choice for choice in choose_fusion(archive, rules=default_rules(), histogram=None)}
    (gain,) = evaluation.gains
    assert (gain.channel, gain.queries, gain.helps) == ("colour", 60, tells)
    assert gain.words in " ".join(evaluation_text(evaluation).split())
    assert ("`colour` helps on this archive" in gain.words) == tells
    image = choices["image"]
    assert bool(image.rule.weights["colour"]) == tells
    assert image.rule.weights["image"]
    assert "colour alone" not in {each.name for each in image.compared}
    assert ("`colour` earns nothing on this archive" in rules_text([image], default_rules())) != tells
