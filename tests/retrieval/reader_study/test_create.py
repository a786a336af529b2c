"""Creating a study: what is frozen, what its files reveal, and what is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from pathlib import Path

import PIL.Image
import pytest

from generation import read_provenance, save_png
from index_store import CaseFilter, content_hash
from retrieval import (
    RESEARCH_USE,
    ReaderStudy,
    ReaderStudyError,
    create_reader_study,
    open_reader_study,
    reader_study_names,
)
from retrieval.reader_study.candidates import Candidate
from retrieval.reader_study.create import _how_many, _usual_side
from retrieval.reader_study.standardise_images import compression_of
from tests.retrieval.reading_parts import SIDE, field, made_archive, made_generated, made_study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> ReaderStudy:
    return made_study(tmp_path_factory.mktemp("study"))


def test_no_file_reveals_its_picture_s_origin(study: ReaderStudy) -> None:
    """Sources were JPEGs of 80 × 60 with a camera's name, and PNGs of 48 × 48 with a provenance."""
    kinds = {study.truth().origins[picture.id].kind for picture in study.pictures}
    assert kinds == {"real", "generated"}
    seen = set()
    for picture in study.pictures:
        data = study.picture(picture.id)
        with PIL.Image.open(io.BytesIO(data)) as image:
            info = tuple(sorted(image.info.items()))
            seen.add((image.format, image.size, image.mode, info, compression_of(data)))
        for word in (b"coin", b"synthetic", b"Camera", b"Exif"):
            assert word not in data
    assert len(seen) == 1
    ((kind, size, _, info, compression),) = seen
    assert (kind, size) == ("JPEG", (SIDE, SIDE))
    assert {name for name, _ in info} == {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    assert compression is not None
    assert compression.quality == 70, "not as coarse as the JPEGs of the archive"


def test_no_field_of_a_file_s_entry_or_byte_of_its_header_tells_real_from_generated(study: ReaderStudy) -> None:
    """Every field of `stat` is the same for all, or goes with the name, which is a hash; so is every byte up to the
    picture's own data."""
    paths = sorted((study.folder / "pictures").iterdir())
    entries = [path.stat() for path in paths]
    for field_name in (name for name in dir(entries[0]) if name.startswith("st_")):
        values = [getattr(entry, field_name) for entry in entries]
        if field_name.startswith(("st_ctime", "st_birthtime")):
            assert values == sorted(values), "files were not written in the order of their names"
        elif field_name == "st_atime" or field_name == "st_atime_ns" or field_name == "st_ino":
            continue  # changed by whoever reads them; the file system's own numbers, in the order of writing
        else:
            assert len(set(values)) == 1, field_name
    contents = [path.read_bytes() for path in paths]
    headers = {data[: data.index(b"\xff\xda") + 14] for data in contents}  # up to the end of the marker of the scan
    assert len(headers) == 1, "a header tells of its picture"
    assert all(data.rstrip(b"\0").endswith(b"\xff\xd9") for data in contents)


def test_a_patient_s_images_are_one_cluster_and_a_report_s_are_another(study: ReaderStudy) -> None:
    for origin in study.truth().origins.values():
        if origin.generated:
            assert origin.cluster == f"report {origin.provenance['report_sha256']}" and not origin.patient
        else:
            assert origin.cluster == f"patient {origin.patient}" and origin.patient
            assert dataclasses.replace(origin, patient="").cluster == f"case {origin.case}", "as earlier versions wrote"


def test_names_and_order_of_the_files_reveal_nothing(study: ReaderStudy) -> None:
    files = sorted((study.folder / "pictures").iterdir())
    assert [path.name for path in files] == sorted(f"{picture.id}.jpg" for picture in study.pictures)
    for path in files:
        assert path.stem == hashlib.sha256(path.read_bytes()).hexdigest()
    card = json.loads((study.folder / "study.json").read_text())
    assert [picture["id"] for picture in card["pictures"]] == sorted(picture.id for picture in study.pictures)
    assert card["notice"] == RESEARCH_USE
    truth = study.truth()
    for word in ("generated", "provenance", "case-"):
        assert word not in json.dumps(card)
    assert not {origin.source_sha256 for origin in truth.origins.values()} & {p.id for p in study.pictures}
    assert study.folder.stat().st_mode & 0o077 == 0, "others may read the truth"


def test_the_stated_labels_are_shown_only_where_both_halves_have_the_same(tmp_path: Path) -> None:
    with made_archive(tmp_path / "a") as archive:
        generated = made_generated(tmp_path / "g")
        shown = create_reader_study(tmp_path / "r", "shown", archive, generated, n_real=6, n_generated=6)
        assert shown.shows_labels
        assert all(picture.site and picture.category for picture in shown.pictures)
        for name, counts, labels in (("uneven", (6, 5), True), ("hidden", (6, 6), False)):
            other = create_reader_study(
                tmp_path / "r", name, archive, generated, n_real=counts[0], n_generated=counts[1], labels=labels
            )
            assert not other.shows_labels
            assert not any(picture.site or picture.category for picture in other.pictures)
    assert reader_study_names(tmp_path / "r") == ("hidden", "shown", "uneven")


def test_the_halves_are_balanced_and_the_truth_says_how(study: ReaderStudy) -> None:
    truth = study.truth()
    assert (truth.by_category, truth.by_site, truth.archive) == (6, 0, "Ours")
    halves: dict[str, list[tuple[str, str]]] = {"real": [], "generated": []}
    for origin in truth.origins.values():
        halves[origin.kind].append((origin.site, origin.category))
        assert bool(origin.case) == (origin.kind == "real")
        assert bool(origin.provenance) == (origin.kind == "generated")
    assert sorted(halves["real"]) == sorted(halves["generated"])


def test_each_reader_has_an_order_that_stays(study: ReaderStudy) -> None:
    orders = {name: study.order(name) for name in ("A", "B", "C")}
    assert len(set(orders.values())) == 3
    for name, order in orders.items():
        assert set(order) == set(study.pictures)
        assert ReaderStudy(study.folder).order(name) == order
    truth = study.truth().origins
    firsts = [truth[study.order(f"reader {i}")[0].id].generated for i in range(400)]
    assert 150 < sum(firsts) < 250, "what comes first is not a matter of chance"


def test_what_was_altered_is_noticed(tmp_path: Path) -> None:
    study = made_study(tmp_path, n=2)
    first, second, *_ = (picture.id for picture in study.pictures)
    (study.folder / "pictures" / f"{first}.jpg").write_bytes(study.picture(second))
    with pytest.raises(ReaderStudyError, match="was altered"):
        study.picture(first)
    (study.folder / "pictures" / f"{second}.jpg").unlink()
    with pytest.raises(ReaderStudyError, match="cannot be read"):
        study.picture(second)
    with pytest.raises(ReaderStudyError, match="has no picture"):
        study.picture("../truth")
    truth = study.folder / "truth.json"
    truth.write_text(truth.read_text().replace('"generated": true', '"generated": false'))
    with pytest.raises(ReaderStudyError, match="altered"):
        study.truth()
    card = study.folder / "study.json"
    card.write_text(card.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(ReaderStudyError, match="format 2"):
        open_reader_study(tmp_path / "readings", "pilot")
    card.write_text("{")
    with pytest.raises(ReaderStudyError, match="damaged"):
        open_reader_study(tmp_path / "readings", "pilot")


def test_phantoms_in_the_place_of_real_images_are_counted_apart(tmp_path: Path) -> None:
    with made_archive(tmp_path / "a") as archive:
        lines = (tmp_path / "a" / "manifest.csv").read_text().splitlines()
        rows = [f"{line},{'true' if number else 'phantom'}" for number, line in enumerate(lines)]
        rows = [rows[0], *(row for row in rows[1:4])]
        (tmp_path / "a" / "phantoms.csv").write_text("\n".join(rows) + "\n")
        from index_store import read_manifest

        archive.update(archive.pending(read_manifest(tmp_path / "a" / "phantoms.csv").rows).changed)
        generated = made_generated(tmp_path / "g")
        mixed = create_reader_study(tmp_path / "r", "mixed", archive, generated, n_real=12, n_generated=12)
        assert (mixed.truth().count("phantom"), mixed.truth().count("real"), mixed.phantoms) == (3, 9, "some")
        without = create_reader_study(
            tmp_path / "r", "real", archive, generated, n_real=9, n_generated=9, where=CaseFilter(phantoms=False)
        )
        assert (without.truth().count("phantom"), without.truth().count("real"), without.phantoms) == (0, 9, "none")


def test_what_cannot_be_used_is_left_out_and_counted(tmp_path: Path) -> None:
    with made_archive(tmp_path / "a") as archive:
        generated = made_generated(tmp_path / "g", 8)
        made_generated(tmp_path / "g" / "smaller", 2, side=40, first=8)
        field(1).save(generated / "unmarked.png")
        (generated / "broken.png").write_bytes(b"no picture")
        (generated / "again.png").write_bytes((generated / "seed-0.png").read_bytes())
        study = create_reader_study(tmp_path / "r", "pilot", archive, generated, n_real=6, n_generated=8)
        left_out = study.truth().left_out
        assert sorted(left_out.values()) == [1, 1, 2]
        assert {reason.split()[0] for reason in left_out} == {"without", "that", "smaller"}
        with pytest.raises(
            ReaderStudyError, match=r"9 generated images were requested, and 8 can be used \(left out: "
        ):
            create_reader_study(tmp_path / "r", "more", archive, generated, n_real=6, n_generated=9)
        assert reader_study_names(tmp_path / "r") == ("pilot",)
        assert [path.name for path in (tmp_path / "r").iterdir()] == ["pilot"], (
            "a study that was not made left something behind"
        )


def test_an_image_that_turns_out_to_be_unfit_is_replaced_by_another(tmp_path: Path) -> None:
    with made_archive(tmp_path / "a", 8) as archive:
        images = [image for case in archive.cases() for image in case.images]
        images[0].path.write_bytes(b"no picture any more")
        marked = made_generated(tmp_path / "marked", 1, side=80)
        images[1].path.write_bytes((marked / "seed-0.png").read_bytes())
        study = create_reader_study(
            tmp_path / "r", "pilot", archive, made_generated(tmp_path / "g"), n_real=6, n_generated=6
        )
        truth = study.truth()
        assert sum(truth.left_out.values()) == 2  # both were altered since they were added
        assert truth.count("real") == 6
        assert not {images[0].sha256, images[1].sha256} & {o.source_sha256 for o in truth.origins.values()}


def test_no_two_pictures_are_nearly_the_same(tmp_path: Path) -> None:
    """A model that generates the same image repeatedly would be recognised by that."""
    with made_archive(tmp_path / "a") as archive:
        generated = made_generated(tmp_path / "g", 7)
        for number in (20, 21):
            made_generated(tmp_path / "again", 1, first=number)
            provenance = read_provenance(tmp_path / "again" / f"seed-{number}.png")
            assert provenance is not None
            darker = field(0).point(lambda value, by=number: value * (80 + by) // 110)  # type: ignore[misc]
            save_png(darker, generated / f"again-{number}.png", provenance)
        study = create_reader_study(tmp_path / "r", "pilot", archive, generated, n_real=7, n_generated=7)
        shown = {origin.source_sha256 for origin in study.truth().origins.values() if origin.generated}
        alike = [generated / name for name in ("seed-0.png", "again-20.png", "again-21.png")]
        assert len(shown & {content_hash(path) for path in alike}) == 1
        with pytest.raises(ReaderStudyError, match="2 nearly the same"):
            create_reader_study(tmp_path / "r", "more", archive, generated, n_real=8, n_generated=8)


def test_a_study_is_never_replaced_and_needs_a_name(tmp_path: Path) -> None:
    study = made_study(tmp_path, n=2)
    before = (study.folder / "study.json").read_bytes()
    from index_store import Archive

    with Archive.open(tmp_path / "material" / "archive") as archive:
        for name, message in (("pilot", "never replaced"), ("../out", "cannot name"), ("", "cannot name")):
            with pytest.raises(ReaderStudyError, match=message):
                create_reader_study(
                    tmp_path / "readings", name, archive, tmp_path / "generated", n_real=2, n_generated=2
                )
        with pytest.raises(ReaderStudyError, match="no folder of generated images"):
            create_reader_study(tmp_path / "readings", "new", archive, tmp_path / "nowhere", n_real=2, n_generated=2)
    assert (study.folder / "study.json").read_bytes() == before
    with pytest.raises(ReaderStudyError, match=r"no reading 'other' in .* \(there: pilot\)"):
        open_reader_study(tmp_path / "readings", "other")
    assert reader_study_names(tmp_path / "nothing") == ()


def test_pictures_have_the_side_that_most_have_and_of_equally_many_the_larger() -> None:
    def side(*sides: int) -> int:
        return _usual_side([Candidate(Path(), str(number), side, "") for number, side in enumerate(sides)])

    assert (side(64, 32, 32), side(32, 64), side(64, 64, 32, 32, 96)) == (32, 64, 64)
    assert [_how_many(count, 3) for count in (0, 1, 2, 3)] == ["none", "some", "some", "all"]
