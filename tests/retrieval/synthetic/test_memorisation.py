"""The copy check of a whole set: planted copies are named, and nearness is read beside other patients' images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import PIL.Image
import pytest

from generation import worker_pool
from generation.phantom import phantom_cases, write_phantoms
from generation.training.data.crops import views
from index_store import Archive, EncoderMismatchError
from retrieval import Encoder, EvaluationError, add_manifest, check_copies
from retrieval.copies.overlap import Overlap
from retrieval.copies.reference_search import Match
from retrieval.synthetic import memorisation
from retrieval.synthetic.copy_report import CopyReport
from retrieval.synthetic.memorisation import baseline, extreme_similarity, images_of
from retrieval.synthetic.picture_reader import read_images
from retrieval.synthetic.references import References, archive_references, manifest_references
from tests.clip_model import tiny_clip
from tests.retrieval.conftest import speckled
from tests.retrieval.copies.pictures import field
from tests.retrieval.labelled_archive import unit


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of twelve phantoms."""
    return write_phantoms(tmp_path_factory.mktemp("training"), phantom_cases(12, seed=5), size=64)


@pytest.fixture
def generated(training: Path, tmp_path: Path) -> Path:
    """Two other phantoms, and two copies of training images: one mirrored and reduced, one darker and turned."""
    folder = tmp_path / "generated"
    (folder / "below").mkdir(parents=True)
    originals = [PIL.Image.open(path) for path in sorted(training.parent.glob("images/*.png"))[:2]]
    for number, phantom in enumerate(phantom_cases(2, seed=99, split="held-out")):
        phantom.render(64).save(folder / f"new {number}.png")
    originals[0].transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT).resize((48, 48)).save(folder / "mirrored.png")
    darker = PIL.Image.fromarray((np.asarray(originals[1]) * 0.9).astype(np.uint8))
    darker.transpose(PIL.Image.Transpose.ROTATE_90).save(folder / "below" / "turned.jpg", quality=80)
    return folder


def test_planted_copies_are_named_with_their_originals(
    encoder: Encoder, training: Path, generated: Path, tmp_path: Path
) -> None:
    (generated / "broken.png").write_bytes(b"no picture")
    report = check_copies(images_of(generated), manifest_references(training, encoder), encoder)
    originals = [f"images/{path.name}" for path in sorted(training.parent.glob("images/*.png"))[:2]]
    assert {pair.image: pair.reference for pair in report.near_copies} == {
        "mirrored.png": originals[0],
        "below/turned.jpg": originals[1],
    }
    assert {pair.image for pair in report.nearest} == {"new 0.png", "new 1.png"}
    assert (report.images, report.unreadable, report.references, report.patients) == (4, 1, 12, 12)
    assert report.baseline_near_copies == 0
    assert report.generated.images == 4


@pytest.mark.slow
def test_an_archive_is_compared_as_its_manifest_is(
    encoder: Encoder, training: Path, generated: Path, tmp_path: Path
) -> None:
    with Archive.create(tmp_path / "archive") as archive:
        with pytest.raises(EvaluationError, match="The archive is empty"):
            archive_references(archive, encoder)
        add_manifest(archive, training, encoder)
        with pytest.raises(EncoderMismatchError, match="--encoder"):
            archive_references(archive, Encoder(tiny_clip(tmp_path / "other", seed=3), device="cpu"))
        references = archive_references(archive, encoder, work=tmp_path / "work")
        assert [name.partition(" ")[0] for name in references.names] == [case.key for case in archive.cases()]
    of_archive = check_copies(images_of(generated), references, encoder)
    of_manifest = check_copies(images_of(generated), manifest_references(training, encoder), encoder)
    assert figures(of_archive) == pytest.approx(figures(of_manifest), abs=1e-5)
    assert len(of_archive.near_copies) == 2


def figures(report: CopyReport) -> list[float]:
    assert report.baseline is not None
    quantiles = [*report.generated.quantiles.values(), *report.baseline.quantiles.values()]
    return [*quantiles, float(report.nearer_than_baseline or 0), float(report.nearer_than_baseline_95 or 0)]


def test_what_was_made_of_the_references_is_kept_by_content(
    encoder: Encoder, training: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    encode = Encoder.encode_images

    def watched(self: Encoder, images: Sequence[PIL.Image.Image], **more: object) -> object:
        seen.append(len(images))
        return encode(self, images, **more)

    monkeypatch.setattr(Encoder, "encode_images", watched)
    first = manifest_references(training, encoder, work=tmp_path)
    again = manifest_references(training, encoder, work=tmp_path)
    assert sum(seen) == 12
    assert np.array_equal(first.vectors, again.vectors)
    assert np.array_equal(first.hashes, again.hashes)
    # One image altered in its place: it alone is made anew.
    for path in training.parent.rglob("*"):
        if path.is_file():
            copy = tmp_path / "moved" / path.relative_to(training.parent)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    altered = next((tmp_path / "moved" / "images").iterdir())
    speckled(1, size=64).save(altered)
    moved = manifest_references(tmp_path / "moved" / training.name, encoder, work=tmp_path)
    assert sum(seen) == 13
    differing = [name for name, a, b in zip(moved.names, first.vectors, moved.vectors, strict=True) if (a != b).any()]
    assert differing == [f"images/{altered.name}"]


def test_the_baseline_is_of_other_patients_alone() -> None:
    vectors = unit(np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1]], dtype=float))
    bits = np.zeros((4, 256), dtype=bool)
    bits[2:] = True
    bits[3, :70] = False

    def of(patients: str) -> tuple[np.ndarray | None, int]:
        near, flags = baseline(References("", tuple("abcd"), (Path(),) * 4, tuple(patients), vectors, bits, True))
        return near, int(flags.sum())

    near, flagged = of("abcd")
    assert near == pytest.approx([vectors[0] @ vectors[1]] * 2 + [vectors[2] @ vectors[3]] * 2, abs=1e-6)
    assert flagged == 2  # the first two are one picture; the others are 70 bits apart
    near, flagged = of("aabb")
    assert near == pytest.approx(
        [vectors[0] @ vectors[3], vectors[1] @ vectors[3], vectors[2] @ vectors[1], vectors[3] @ vectors[1]], abs=1e-6
    )
    assert flagged == 0
    assert of("aaaa") == (None, 0)


@pytest.mark.slow
def test_generated_images_that_are_the_references_lie_nearer_than_other_patients_do(
    encoder: Encoder, training: Path
) -> None:
    """The extreme that the report must show: the training set itself, handed in as if it were generated."""
    report = check_copies(images_of(training.parent / "images"), manifest_references(training, encoder), encoder)
    assert len(report.near_copies) == 12
    assert report.nearer_than_baseline == 1.0
    assert report.nearer_than_baseline_95 == 1.0
    assert report.generated.quantiles["0.05"] == pytest.approx(1.0, abs=1e-5)


def test_what_cannot_be_compared_is_refused(encoder: Encoder, training: Path, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="There is no folder"):
        images_of(tmp_path / "nothing")
    with pytest.raises(EvaluationError, match="holds no images"):
        images_of(tmp_path)
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(EvaluationError, match="Not one image"):
        check_copies(images_of(tmp_path), manifest_references(training, encoder), encoder)
    (tmp_path / "bad.csv").write_text("image,report\na.png,Report\n")
    with pytest.raises(EvaluationError, match=r"bad\.csv names no image that can be read"):
        manifest_references(tmp_path / "bad.csv", encoder)


def test_copies_of_what_a_training_cut_out_of_a_long_picture_are_found(encoder: Encoder, tmp_path: Path) -> None:
    """Squares of 4:3 fields: a hash of the whole picture finds none of them."""
    rows = []
    for number in range(4):
        field(number).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,p{number},Report\n")
    (tmp_path / "m.csv").write_text(f"image,patient,report\n{''.join(rows)}")
    (tmp_path / "set").mkdir()
    for number, image in enumerate((field(0), field(3))):
        *_, view = views(image, "0123456789abcdef" * 4, range(3), size=256, crop="random")
        view.image.save(tmp_path / "set" / f"cut {number}.png")
    field(1).crop((100, 60, 380, 270)).save(tmp_path / "set" / "part.png")
    field(77).crop((0, 0, 300, 300)).save(tmp_path / "set" / "new.png")
    report = check_copies(images_of(tmp_path / "set"), manifest_references(tmp_path / "m.csv", encoder), encoder)
    found = {pair.image: pair.reference for pair in report.near_copies}
    assert found == {"cut 0.png": "0.png", "cut 1.png": "3.png", "part.png": "1.png"}
    assert (report.plain, report.plain_references) == (0, 0)
    assert report.extreme is None
    assert not report.clean


@pytest.mark.slow
def test_a_check_that_was_interrupted_resumes(
    encoder: Encoder, training: Path, generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    references = manifest_references(training, encoder, work=tmp_path / "work")
    files = images_of(generated)
    check_copies((files[0], files[1][:3]), references, encoder)
    (log,) = (tmp_path / "work" / "copies").glob("*.jsonl")
    assert log.stat().st_mode & 0o777 == 0o600
    log.write_text(log.read_text()[:-30])  # killed in the midst of a line
    seen: list[int] = []
    encode = Encoder.encode_images

    def watched(self: Encoder, images: Sequence[PIL.Image.Image], **more: object) -> object:
        seen.append(len(images))
        return encode(self, images, **more)

    monkeypatch.setattr(Encoder, "encode_images", watched)
    resumed = check_copies(files, references, encoder)
    assert sum(seen) == 2  # the one whose line was cut, and the fourth
    whole = check_copies(files, manifest_references(training, encoder), encoder)
    assert figures(resumed) == pytest.approx(figures(whole), abs=1e-5)
    assert [pair.image for pair in resumed.near_copies] == [pair.image for pair in whole.near_copies]
    speckled(8, size=64).save(files[1][0])  # another picture under the same name
    assert check_copies(files, references, encoder).images == 4
    assert sum(seen) == 2 + (12 + 4) + 1  # the references and images of the second check, then the new one


def test_what_is_more_alike_than_other_patients_images_is_an_alarm() -> None:
    base = np.linspace(0, 1, 1001)
    assert extreme_similarity(base) == pytest.approx(0.998)
    assert (base > 0.998 + 1e-9).sum() == 2
    assert extreme_similarity(base[:499]) is None


def picture_size(image: PIL.Image.Image) -> tuple[int, int]:
    return image.size


@pytest.mark.slow
def test_many_images_are_read_by_processes(training: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_pool, "FEW", 0)
    files = list(enumerate(sorted(training.parent.glob("images/*.png"))))
    found: list[tuple[int, object]] = []

    def keep(numbers: list[int], images: list[PIL.Image.Image], looked: list[object]) -> None:
        found.extend(zip(numbers, looked, strict=True))

    read_images(files, keep, None, look=picture_size)
    assert found == [(number, (64, 64)) for number in range(12)]


def test_nearer_is_counted_pair_by_pair_and_a_tie_is_half() -> None:
    rng = np.random.default_rng(0)
    some, others = rng.integers(0, 6, 17) / 5, rng.integers(0, 6, 9) / 5
    won = [1.0 if a > b else 0.5 if a == b else 0.0 for a in some for b in others]
    assert memorisation._greater(some, others) == pytest.approx(np.mean(won))
    nearness = memorisation._nearness(np.arange(101.0))
    assert (nearness.images, nearness.mean) == (101, 50)
    assert nearness.quantiles == pytest.approx({"0.05": 5, "0.25": 25, "0.5": 50, "0.75": 75, "0.95": 95, "0.99": 99})


@pytest.mark.parametrize(("references", "at"), [(500, 498), (999, 997), (1000, 997), (1499, 1496), (1500, 1496)])
def test_two_references_in_a_thousand_may_be_more_alike(references: int, at: int) -> None:
    shuffled = np.random.default_rng(1).permutation(references).astype(float)
    assert extreme_similarity(shuffled) == at


def test_the_baseline_is_the_same_a_block_of_references_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    patients = tuple(str(number) for number in rng.integers(0, 4, 11))
    vectors, bits = unit(rng.normal(size=(11, 4))), rng.random((11, 256)) < 0.02
    references = References("", ("",) * 11, (Path(),) * 11, patients, vectors, bits, True)
    others = [[j for j in range(11) if patients[j] != patients[i]] for i in range(11)]
    for block in (3, 512):
        monkeypatch.setattr(memorisation, "_BLOCK", block)
        near, flagged = baseline(references)
        assert near == pytest.approx([max(vectors[i] @ vectors[j] for j in others[i]) for i in range(11)], abs=1e-6)
        assert flagged.all(), "all of their bits are nearly the same"


def test_images_are_found_below_a_folder_by_their_endings(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/2.PNG", "1.jpg", "3.tiff", "4.txt", "5.gif"):
        (tmp_path / name).touch()
    (tmp_path / "6.png").mkdir()
    folder, found = images_of(str(tmp_path))
    assert folder == tmp_path
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["1.jpg", "3.tiff", "b/2.PNG"]


COPIED_PART, OTHER_PART = Overlap(20, 0.65, 0.2, False), Overlap(20, 0.64, 0.9, False)


@pytest.mark.parametrize(
    ("match", "reference", "bits", "part"),
    [
        (Match(0, 60, None), 0, 60, None),  # a copy by its hash
        (Match(0, 61, None), 1, 99, None),  # none: then of the most similar
        (Match(0, 200, COPIED_PART), 0, 200, COPIED_PART),
        (Match(0, 200, OTHER_PART), 1, 99, None),
        (Match(1, 200, OTHER_PART), 1, 200, OTHER_PART),  # it is the most similar
    ],
)
def test_an_image_that_copies_none_is_told_beside_the_most_similar(
    match: Match, reference: int, bits: int, part: Overlap | None
) -> None:
    similar = np.array([0.25, 0.75, 0.5])
    picture: Any = SimpleNamespace(keypoints=range(13))
    search: Any = SimpleNamespace(distance=lambda _, at: {1: 99}[at])
    found = memorisation._checked(similar, picture, match, search)
    assert (found.reference, found.hash_distance, found.part) == (reference, bits, part)
    assert (found.similarity, found.nearest, found.keypoints) == (similar[reference], 0.75, 13)
