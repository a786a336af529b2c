"""Another encoder becomes active only when it has embedded everything."""

from __future__ import annotations

from pathlib import Path

import pytest

import index_store.archive
from index_store import Archive, EncoderIncompleteError, EncoderMismatchError, read_manifest
from tests.index_store.archive_builders import (
    DIMS,
    FINGERPRINT,
    OTHER,
    embed_images,
    embed_reports,
    picture,
    stored_files,
    vector_of,
    vectors_for,
    write_manifest,
)


def active(archive: Archive) -> str:
    assert archive.encoder is not None
    return archive.encoder.fingerprint


def test_reports_without_a_vector_prevent_a_switch_unless_they_are_not_wanted(filled: Archive) -> None:
    filled.begin_encoder(OTHER, name="another", dim=DIMS[OTHER])
    embed_images(filled, OTHER)
    message = r"0 images and 12 reports .* reads images only embeds no report: it can have the role `image`\.$"
    with pytest.raises(EncoderIncompleteError, match=message):
        filled.switch_encoder(OTHER)
    assert active(filled) == FINGERPRINT
    filled.switch_encoder(OTHER, without_reports=True)
    assert active(filled) == OTHER


def test_an_image_without_a_vector_prevents_a_switch(filled: Archive) -> None:
    filled.begin_encoder(OTHER, name="another", dim=DIMS[OTHER])
    embed_reports(filled, fingerprint=OTHER)
    ids = filled.images_without_vector(OTHER)[:-1].tolist()
    vectors = [vector_of(filled.image(image_id).sha256, OTHER) for image_id in ids]
    assert filled.add_vectors(ids, vectors, fingerprint=OTHER) == 11
    for without_reports in (False, True):
        with pytest.raises(EncoderIncompleteError, match=r"1 images and 0 reports .*then switch\.$"):
            filled.switch_encoder(OTHER, without_reports=without_reports)
    assert active(filled) == FINGERPRINT


def test_two_roles_are_given_together_or_not_at_all(filled: Archive) -> None:
    filled.begin_encoder(OTHER, name="another", dim=DIMS[OTHER])
    embed_images(filled, OTHER)
    embed_reports(filled, fingerprint=OTHER)
    filled.begin_encoder("third", name="a third", dim=DIMS[OTHER])
    with pytest.raises(EncoderIncompleteError, match="have no vector of a third"):
        filled.switch_roles({"image": "third", "text": OTHER})
    assert [known.roles for known in filled.encoders()] == [("image", "text"), (), ()]
    filled.switch_roles({"image": FINGERPRINT, "text": OTHER})
    assert [known.roles for known in filled.encoders()] == [("image",), ("text",), ()]


def test_the_beginning_of_a_fingerprint_names_one_encoder_or_none(filled: Archive) -> None:
    assert filled.find_encoder("enc").fingerprint == FINGERPRINT
    filled.begin_encoder(OTHER, name="another", dim=DIMS[OTHER])
    assert filled.find_encoder(OTHER).fingerprint == OTHER
    for beginning, message in (("encoder-", "Several encoders have"), ("x", "No encoder has"), ("", "No encoder has")):
        with pytest.raises(EncoderMismatchError, match=message):
            filled.find_encoder(beginning)


def test_vectors_of_an_encoder_that_was_switched_from_meanwhile_are_not_added(
    filled: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled.begin_encoder(OTHER, name="another", dim=DIMS[OTHER])
    embed_images(filled, OTHER)
    picture(99).save(tmp_path / "new.png")
    manifest = write_manifest(tmp_path / "new.csv", [{"image": "new.png", "case": "new", "report": "r"}])
    items = [planned.load() for planned in filled.pending(read_manifest(manifest).rows).new]
    original = index_store.archive.encode_missing

    def switches(*arguments: object, **options: object) -> object:
        filled.switch_encoder(OTHER, without_reports=True)
        return original(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(index_store.archive, "encode_missing", switches)
    with pytest.raises(EncoderMismatchError):
        filled.add(items, vectors_for(items), fingerprint=FINGERPRINT)
    assert len(filled.cases()) == 12
    assert len(stored_files(filled.path)) == 12, "the new file is deleted again"
