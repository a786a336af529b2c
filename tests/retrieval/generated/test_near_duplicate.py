"""Near copies: the same picture in any orientation is found, another picture is not."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.phantom import phantom_cases
from index_store import Archive
from retrieval import Encoder, add_manifest
from retrieval.copies.overlap import Overlap
from retrieval.copies.picture_hash import NEAR_COPY_BITS, hash_distance, orientation_hashes
from retrieval.generated.near_duplicate import evidence, is_copy, nearest_references
from tests.retrieval.conftest import speckled
from tests.retrieval.labelled_archive import unit
from tests.retrieval.vector_archive import FINGERPRINT, archive_of


@given(seed=st.integers(0, 2**32 - 1), way=st.sampled_from(list(PIL.Image.Transpose)))
def test_an_image_is_as_far_from_a_turned_copy_as_from_itself(seed: int, way: PIL.Image.Transpose) -> None:
    image = speckled(seed, size=64)
    turned = orientation_hashes(image.transpose(way))
    # Resizing rounds a mirrored image otherwise, and a coefficient beside the median may change sign.
    assert hash_distance(orientation_hashes(image), turned[0]) <= 4
    assert hash_distance(turned, orientation_hashes(image)[0]) <= 4


def test_slightly_altered_phantoms_are_near_copies_and_other_phantoms_are_none() -> None:
    images = [phantom.render() for phantom in phantom_cases(12, seed=5, split="held-out")]
    hashes = [orientation_hashes(image) for image in images]
    for place, image in enumerate(images):
        darker = PIL.Image.fromarray((np.asarray(image) * 0.9).astype(np.uint8))
        for altered in (image.resize((96, 96)), image.crop((3, 3, 125, 125)), darker):
            assert hash_distance(orientation_hashes(altered), hashes[place][0]) <= NEAR_COPY_BITS
        others = [hash_distance(hashes[place], other[0]) for at, other in enumerate(hashes) if at != place]
        assert min(others) > NEAR_COPY_BITS


@pytest.fixture
def references(tmp_path: Path) -> Path:
    """Twelve noisy pictures of a patient each."""
    for number in range(12):
        speckled(number, size=64).save(tmp_path / f"{number}.png")
    rows = "".join(f"{number}.png,case {number},patient {number},Report\n" for number in range(12))
    (tmp_path / "manifest.csv").write_text(f"image,case,patient,report\n{rows}")
    return tmp_path


@pytest.mark.slow
def test_a_planted_copy_is_named_and_another_image_is_not(encoder: Encoder, references: Path, tmp_path: Path) -> None:
    images = [speckled(3, size=64).resize((48, 48)), speckled(99, size=64)]
    vectors = encoder.encode_images(images)
    with Archive.create(tmp_path / "archive") as archive:
        assert nearest_references(archive, images, vectors, fingerprint=encoder.fingerprint) == (None, None)
        add_manifest(archive, references / "manifest.csv", encoder)
        copy, other = nearest_references(archive, images, vectors, fingerprint=encoder.fingerprint)
        assert copy is not None
        assert (copy.case_key, copy.near_copy) == ("case 3", True)
        stored = archive.vectors_of([copy.image_id], encoder.fingerprint)[0]
        assert copy.similarity == pytest.approx(float(stored @ vectors[0]), abs=1e-5)
        assert other is not None
        assert not other.near_copy
        nearest = archive.search(vectors[1:], 1, fingerprint=encoder.fingerprint)[0][0]
        assert (other.image_id, other.similarity) == (nearest.image_id, nearest.score)


@pytest.mark.slow
def test_a_reference_that_cannot_be_read_is_no_copy_and_no_error(
    encoder: Encoder, references: Path, tmp_path: Path
) -> None:
    image = speckled(3, size=64)
    with Archive.create(tmp_path / "archive") as archive:
        add_manifest(archive, references / "manifest.csv", encoder, in_place=True)
        (references / "3.png").unlink()
        (found,) = nearest_references(archive, [image], encoder.encode_images([image]), fingerprint=encoder.fingerprint)
        assert found is not None
        assert (found.case_key, found.hash_distance, found.near_copy) == ("case 3", None, False)
        (references / "3.png").write_bytes(b"no image")
        (found,) = nearest_references(archive, [image], encoder.encode_images([image]), fingerprint=encoder.fingerprint)
        assert found is not None
        assert (found.hash_distance, found.near_copy) == (None, False)
        speckled(3, size=64).save(references / "3.png")
        (found,) = nearest_references(archive, [image], encoder.encode_images([image]), fingerprint=encoder.fingerprint)
        assert found is not None
        assert (found.hash_distance, found.near_copy) == (0, True)


PART = Overlap(12, 0.65, 0.2, mirrored=False)


@pytest.mark.parametrize(
    ("distance", "part", "copied"),
    [
        (60, None, True),
        (61, None, False),
        (None, None, False),
        (None, PART, True),
        (61, PART, True),
        (61, replace(PART, share=0.19), False),
        (60, replace(PART, share=0.19), True),
    ],
)
def test_a_hash_or_a_part_makes_a_copy(distance: int | None, part: Overlap | None, copied: bool) -> None:
    assert is_copy(distance, part) is copied


def test_the_evidence_is_named() -> None:
    bits = "61 of 256 bits of their hashes differ"
    assert evidence(None, None) == "its file cannot be read"
    assert evidence(61, None) == bits
    part = "% of the picture{} lie in it by 12 keypoints, with a correlation of 0.65"
    assert evidence(None, PART) == "20" + part.format("")
    assert evidence(61, replace(PART, mirrored=True)) == f"{bits}; 20{part.format(', mirrored')}"


@pytest.mark.parametrize(
    ("alike", "found"),
    [
        # Cosine of each of three references, and which of them are of the same picture as the query.
        ({"a": (0.9, False), "b": (0.95, False), "c": (0.5, False)}, "b"),
        ({"a": (0.9, False), "b": (0.9, False), "c": (0.5, False)}, "a"),  # of equals the first
        ({"a": (0.9, False), "b": (0.95, False), "c": (0.5, True)}, "c"),
        ({"a": (0.5, True), "b": (0.95, False), "c": (0.9, True)}, "a"),  # of equal distance the first
    ],
)
def test_a_copy_comes_before_what_is_more_alike(
    tmp_path: Path, alike: dict[str, tuple[float, bool]], found: str
) -> None:
    query = speckled(7, size=64)
    vectors = unit(np.array([(cosine, math.sqrt(1 - cosine**2)) for cosine, _ in alike.values()]))
    with archive_of(tmp_path, [{"case": name} for name in alike], vectors) as archive:
        for case in archive.cases():
            (query if alike[case.key][1] else speckled(ord(case.key), size=64)).save(case.images[0].path)
        with mock.patch("index_store.decode_image", lambda path, expected: PIL.Image.open(path).convert("RGB")):
            (nearest,) = nearest_references(archive, [query], np.eye(1, 2, dtype=np.float32), fingerprint=FINGERPRINT)
    assert nearest is not None
    assert (nearest.case_key, nearest.near_copy) == (found, alike[found][1])
    assert (nearest.hash_distance == 0) == alike[found][1]
    assert nearest.similarity == pytest.approx(alike[found][0])
