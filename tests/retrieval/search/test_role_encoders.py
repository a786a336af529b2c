"""Two encoders in one search: one compares images, one texts, each in its own space."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from index_store import Archive, EncoderMismatchError
from retrieval import (
    CaseSearch,
    Diagnostics,
    Encoder,
    EncoderLoadError,
    FusionRule,
    Query,
    add_manifest,
    open_search,
    reembed,
    to_dict,
)
from retrieval.encoder.roles import check_role, role_encoders
from retrieval.encoder.vectors import mean_query
from retrieval.search.relevance_feedback import rocchio
from tests.clip_model import tiny_clip
from tests.retrieval.conftest import speckled

CASES = 5


@pytest.fixture(scope="module")
def text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("models") / "text-clip", seed=5)


@pytest.fixture(scope="module")
def text_encoder(text_folder: Path) -> Encoder:
    return Encoder(text_folder, device="cpu", batch_size=4)


def write(folder: Path, first: int, count: int) -> Path:
    rows = ["image,case,patient,report,site"]
    for number in range(first, first + count):
        speckled(number).save(folder / f"{number}.png")
        rows.append(f"{number}.png,case {number},patient {number},Report {number} of cells.,cervix")
    manifest = folder / f"manifest-{first}.csv"
    manifest.write_text("\n".join(rows))
    return manifest


@pytest.fixture
def archive(encoder: Encoder, text_encoder: Encoder, tmp_path: Path) -> Iterator[Archive]:
    with Archive.create(tmp_path / "archive") as archive:
        summary = add_manifest(archive, write(tmp_path, 0, CASES), encoder, text_encoder=text_encoder)
        assert summary.reports == CASES
        assert f"{CASES} images were embedded for texts" in summary.notes[0]
        yield archive


def encoders_of(archive: Archive) -> tuple[str, str]:
    image, text = archive.encoder_of("image"), archive.encoder_of("text")
    assert image is not None
    assert text is not None
    return image.fingerprint, text.fingerprint


def nearest(archive: Archive, vector: np.ndarray, fingerprint: str) -> dict[str, float]:
    """By case, the best similarity of its images: by brute force."""
    return {
        case.key: float((archive.vectors_of([i.id for i in case.images], fingerprint) @ vector[0]).max())
        for case in archive.cases()
    }


def test_each_channel_takes_the_encoder_of_its_role(archive: Archive, encoder: Encoder, text_encoder: Encoder) -> None:
    assert encoders_of(archive) == (encoder.fingerprint, text_encoder.fingerprint)
    search = CaseSearch(archive, encoder, text_encoder=text_encoder)
    by_text = search.run(Query(text="Report 3 of cells.", channels=("joint",), k=CASES))
    expected = nearest(archive, text_encoder.encode_texts(["Report 3 of cells."]), text_encoder.fingerprint)
    assert {e.case.key: e.similarity for e in by_text.cases} == pytest.approx(expected, abs=1e-6)
    assert (by_text.fingerprint, by_text.text_fingerprint) == (encoder.fingerprint, text_encoder.fingerprint)
    assert by_text.vector_fingerprint == text_encoder.fingerprint
    by_image = search.by_image(speckled(2), k=CASES)
    expected = nearest(archive, encoder.encode_images([speckled(2)]), encoder.fingerprint)
    assert {e.case.key: e.similarity for e in by_image.cases} == pytest.approx(expected, abs=1e-6)
    assert by_image.text_fingerprint == ""
    assert "text_encoder" not in to_dict(by_image)
    assert json.loads(json.dumps(to_dict(by_text)["text_encoder"])) == {
        "name": text_encoder.name,
        "fingerprint": text_encoder.fingerprint,
    }
    both = search.run(Query(text="Report 3 of cells.", case="case 1", k=CASES))
    assert [answer.channel for answer in both.channels] == ["image", "joint", "report"]
    assert both.vector_fingerprint == encoder.fingerprint
    report = search.run(Query(text="Report 3 of cells.", channels=("report",), k=CASES))
    assert report.cases[0].case.key == "case 3"
    assert report.notes == ()


def test_feedback_moves_a_vector_in_the_space_of_its_encoder(
    archive: Archive, encoder: Encoder, text_encoder: Encoder
) -> None:
    search = CaseSearch(archive, encoder, text_encoder=text_encoder)
    query = Query(text="Report 3 of cells.", channels=("joint",), k=CASES, more=("case 1",), less=("case 2",))
    fingerprint = text_encoder.fingerprint
    marked = [
        mean_query(archive.vectors_of([image.id for image in archive.case(key).images], fingerprint))
        for key in ("case 1", "case 2")
    ]
    moved = rocchio(text_encoder.encode_texts(["Report 3 of cells."]), *marked)
    expected = nearest(archive, moved, fingerprint)
    found = search.run(query)
    assert {entry.case.key: entry.similarity for entry in found.cases} == pytest.approx(expected, abs=1e-6)
    image = search.run(dataclasses.replace(query, text="", channels=(), case="case 0"))
    assert image.vector_fingerprint == encoder.fingerprint


def test_images_that_the_text_encoder_lacks_are_counted_and_not_in_the_way(
    archive: Archive, encoder: Encoder, text_encoder: Encoder, tmp_path: Path
) -> None:
    added = add_manifest(archive, write(tmp_path, CASES, 2), encoder)
    assert added.reports == 0
    assert f"2 images and 2 reports have no vector of {text_encoder.name}" in added.notes[0]
    assert "`coin reembed --role text --encoder …`" in added.notes[0]
    search = CaseSearch(archive, encoder, text_encoder=text_encoder)
    joint = search.run(Query(text="Report 3 of cells.", channels=("joint",), k=9))
    assert {entry.case.key for entry in joint.cases} == {f"case {number}" for number in range(CASES)}
    assert any("2 of the archive's images were not compared with the text" in note for note in joint.notes)
    found = search.run(Query(text=f"Report {CASES} of cells.", k=9, more=(f"case {CASES}",), less=("case 0",)))
    assert {entry.case.key for entry in found.cases} >= {f"case {CASES}"}  # by its words alone
    assert next(entry for entry in found.cases if entry.case.key == f"case {CASES}").similarity is None
    assert any("2 of 7 reports are compared by their words alone" in note for note in found.notes)
    diagnosed = Diagnostics(archive, encoder, text_encoder=text_encoder).describe(found)
    assert diagnosed.comparability == ()
    again = add_manifest(archive, tmp_path / f"manifest-{CASES}.csv", encoder, text_encoder=text_encoder)
    assert again.reports == 2
    assert search.run(Query(text="Report 3 of cells.", channels=("joint",), k=9)).notes == (
        "Only 7 of the 9 requested cases: the archive has no more patients that match.",
    )


def test_weights_that_were_measured_with_other_encoders_are_noted(
    archive: Archive, encoder: Encoder, text_encoder: Encoder
) -> None:
    weights = {"generated": 0.0, "joint": 1.0, "report": 1.0}
    both = {"image": encoder.fingerprint, "text": text_encoder.fingerprint}

    def notes(**measured_with: str) -> tuple[str, ...]:
        rules = {"text": FusionRule("rrf", weights, {**both, **measured_with})}
        search = CaseSearch(archive, encoder, text_encoder=text_encoder, rules=rules)
        return search.run(Query(text="Report 3 of cells.", k=CASES)).notes

    assert notes() == ()
    assert notes(image="another") == (), "a query by text alone compares no images"
    (note,) = notes(text=encoder.fingerprint)
    assert "measured with other encoders" in note
    assert "--choose-fusion" in note


def test_without_the_text_encoder_words_alone_are_compared_and_a_note_names_it(
    archive: Archive, encoder: Encoder, text_encoder: Encoder
) -> None:
    search = CaseSearch(archive, encoder)
    found = search.run(Query(text="Report 3 of cells.", k=CASES))
    assert [answer.channel for answer in found.channels] == ["report"]
    (note,) = [note for note in found.notes if "--text-encoder" in note]
    assert text_encoder.name in note
    assert "not compared by its meaning" in note
    assert search.by_case("case 1", k=2).cases
    with pytest.raises(EncoderLoadError, match="--text-encoder"):
        search.run(Query(text="x", channels=("joint",)))


def test_another_text_encoder_than_the_archives_is_refused(
    archive: Archive, encoder: Encoder, text_encoder: Encoder, tmp_path: Path
) -> None:
    other = Encoder(tiny_clip(tmp_path / "other", seed=9), device="cpu")
    with pytest.raises(EncoderMismatchError, match=rf"texts are compared by {text_encoder.name}.*--role text"):
        CaseSearch(archive, encoder, text_encoder=other)
    with pytest.raises(EncoderMismatchError, match="texts are compared by"):  # named on purpose
        CaseSearch(archive, encoder, text_encoder=encoder)
    with pytest.raises(EncoderMismatchError):
        add_manifest(archive, tmp_path / "manifest-0.csv", encoder, text_encoder=other)
    exchanged = (
        rf"{text_encoder.name} .*compares texts alone, .*compared by {encoder.name} .*: name that one with --enc"
    )
    for texts in (encoder, None):  # the roles are not exchanged silently
        with pytest.raises(EncoderMismatchError, match=exchanged):
            CaseSearch(archive, text_encoder, text_encoder=texts)


@pytest.mark.slow
def test_the_role_is_moved_by_embedding_with_it(
    archive: Archive, encoder: Encoder, text_encoder: Encoder, tmp_path: Path
) -> None:
    other = Encoder(tiny_clip(tmp_path / "other", seed=9), device="cpu")
    done = reembed(archive, other, role="image")
    assert (done.embedded, done.reports, done.switched) == (CASES, 0, True)
    assert encoders_of(archive) == (other.fingerprint, text_encoder.fingerprint)
    done = reembed(archive, other, role="text", switch=False)
    assert (done.embedded, done.reports, done.switched) == (0, CASES, False)
    done = reembed(archive, other)  # of an encoder with one role: that one, and the other stays
    assert (done.embedded, done.reports, done.switched) == (0, 0, True)
    assert encoders_of(archive) == (other.fingerprint, text_encoder.fingerprint)
    assert reembed(archive, encoder, role="text").switched
    assert encoders_of(archive) == (other.fingerprint, encoder.fingerprint)
    assert reembed(archive, text_encoder).switched  # of one without a role: both
    assert encoders_of(archive) == (text_encoder.fingerprint, text_encoder.fingerprint)


def test_one_call_opens_a_search_with_both(
    archive: Archive, clip_folder: Path, text_folder: Path, encoder: Encoder, text_encoder: Encoder
) -> None:
    with open_search(archive.path, encoder=clip_folder, text_encoder=text_folder, device="cpu") as search:
        found = search.run(Query(text="Report 3 of cells.", channels=("joint",), k=1))
    assert found.text_fingerprint == text_encoder.fingerprint


class OneTower:
    """An encoder as far as a role looks at it."""

    name = "one tower"
    fingerprint = "f" * 64

    def __init__(self, *, images: bool) -> None:
        self.reads_images, self.reads_texts = images, not images

    require_images = Encoder.require_images


@pytest.mark.parametrize(
    ("images", "role", "message"),
    [
        (True, "text", "reads images only: it cannot compare texts"),
        (False, "image", "reads texts only: it cannot compare images"),
        (False, "text", "reads texts only: the role `text` compares texts with images"),
    ],
)
def test_a_tower_that_a_role_needs_is_missed_in_a_sentence(images: bool, role: str, message: str) -> None:
    with pytest.raises(EncoderLoadError, match=message):
        check_role(OneTower(images=images), role)  # type: ignore[arg-type]


def test_an_encoder_of_images_alone_may_have_the_image_role(archive: Archive, encoder: Encoder) -> None:
    check_role(OneTower(images=True), "image")  # type: ignore[arg-type]
    with pytest.raises(EncoderLoadError, match="cannot compare texts"):
        role_encoders(archive, encoder, OneTower(images=True))  # type: ignore[arg-type]
    with pytest.raises(EncoderLoadError, match="cannot compare texts"):
        reembed(archive, OneTower(images=True), role="text")  # type: ignore[arg-type]


class ImagesOnly(OneTower):
    """The archive's encoder, without its text tower."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__(images=True)
        self.name, self.fingerprint, self.dim = encoder.name, encoder.fingerprint, encoder.dim


def test_an_archive_of_images_alone_is_not_said_to_compare_texts(
    tmp_path: Path, encoder: Encoder, text_encoder: Encoder
) -> None:
    with Archive.create(tmp_path / "archive") as fresh:
        add_manifest(fresh, write(tmp_path, 0, 2), encoder)
        with pytest.raises(EncoderMismatchError, match=r"no encoder compares texts yet: its only one, .* images only"):
            role_encoders(fresh, ImagesOnly(encoder), text_encoder)  # type: ignore[arg-type]
        assert role_encoders(fresh, ImagesOnly(encoder)).text is not None  # type: ignore[arg-type]
