"""The main job over a real archive: the ranking is compared with one worked out by hand from all vectors."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from generation import CoinGenerator
from index_store import Archive, CaseFilter, CaseNotFoundError, EncoderMismatchError, ImageProblem
from retrieval import CaseSearch, Encoder, EncoderLoadError, QueryError, add_manifest
from retrieval.encoder.vectors import mean_query
from retrieval.search.case_search import ATTEMPTS
from retrieval.search.channels import channel as channel_module
from retrieval.search.fusion import FusionRule, fuse
from retrieval.search.query import Query
from retrieval.search.region import Region
from retrieval.search.relevance_feedback import LESS, MORE
from tests.clip_model import tiny_clip
from tests.retrieval.conftest import speckled

PATIENTS = 25
CROWD = 70
REPORT = "Squamous intraepithelial lesion (HSIL); additional comment."


def crowd_image(number: int) -> PIL.Image.Image:
    """One image again and again, hardly changed: the many crops of one patient that come first together."""
    image = speckled(1000)
    image.putpixel((number % 40, number // 40), (0, 0, 0))
    return image


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """25 patients with 1 to 3 images of two sites, and one with 70 that are nearly the same."""
    folder = tmp_path_factory.mktemp("reference")
    rows = []
    for patient in range(PATIENTS):
        for number in range(patient % 3 + 1):
            name = f"p{patient}-{number}.png"
            # Tinted by patient, so that similarities spread.
            image = PIL.Image.blend(
                speckled(patient * 10 + number), PIL.Image.new("RGB", (40, 40), (patient * 10, 90, 60)), 0.6
            )
            image.save(folder / name)
            site = "cervix" if patient % 2 else "thyroid"
            rows.append([name, f"case {patient}.{number % 2}", f"patient {patient}", f"Report {patient}", site])
    for number in range(CROWD):
        crowd_image(number).save(folder / f"crowd-{number}.png")
        rows.append([f"crowd-{number}.png", "crowd case", "crowd", "Report of the crowd", "urine"])
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["image", "case", "patient", "report", "site"], *rows])
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def archive(manifest: Path, encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with Archive.create(tmp_path_factory.mktemp("archives") / "archive") as archive:
        assert not add_manifest(archive, manifest, encoder).skipped
        yield archive


@pytest.fixture
def search(archive: Archive, encoder: Encoder) -> CaseSearch:
    return CaseSearch(archive, encoder)


def by_hand(archive: Archive, encoder: Encoder, query: np.ndarray) -> list[tuple[str, int, float]]:
    """(patient, best image, similarity) of every patient, nearest first, from every vector there is."""
    images = [(image.id, case.patient) for case in archive.cases(limit=1000) for image in case.images]
    scores = archive.vectors_of([number for number, _ in images], encoder.fingerprint) @ query
    best: dict[str, tuple[str, int, float]] = {}
    for score, (number, patient) in sorted(zip(scores.tolist(), images, strict=True), key=lambda x: (-x[0], x[1][0])):
        best.setdefault(patient, (patient, number, score))
    return list(best.values())


@pytest.mark.parametrize("k", [1, 3, 10, PATIENTS + 1])
@pytest.mark.parametrize("seed", [11, 120, 1000, 5000])
def test_an_image_finds_exactly_the_k_nearest_patients(
    search: CaseSearch, archive: Archive, encoder: Encoder, seed: int, k: int
) -> None:
    result = search.by_image(speckled(seed), k=k, label="query")
    expected = by_hand(archive, encoder, encoder.encode_images([speckled(seed)])[0])[:k]
    assert [(entry.case.patient, entry.image.id) for entry in result.cases] == [(p, i) for p, i, _ in expected]
    np.testing.assert_allclose([e.similarity for e in result.cases], [s for *_, s in expected], atol=1e-6)
    assert [entry.rank for entry in result.cases] == list(range(1, k + 1))
    assert all(entry.score == entry.similarity for entry in result.cases)
    assert all(entry.image in entry.case.images for entry in result.cases)
    assert result.notes == ()
    assert (result.query.kind, result.query.label, result.generation) == ("image", "query", None)
    assert (result.encoder, result.fingerprint) == (encoder.name, encoder.fingerprint)


def test_a_patient_with_many_near_images_takes_one_place_and_they_are_counted(search: CaseSearch) -> None:
    result = search.by_image(crowd_image(0), k=5)
    assert [entry.case.patient for entry in result.cases].count("crowd") == 1
    assert result.cases[0].case.patient == "crowd"
    assert result.cases[0].other_images == CROWD - 1
    assert result.cases[0].similarity == pytest.approx(1, abs=1e-5)


def test_more_results_only_go_on_where_fewer_ended(search: CaseSearch) -> None:
    few, many = (search.by_image(speckled(42), k=k).cases for k in (4, 20))
    assert [entry.image.id for entry in few] == [entry.image.id for entry in many[:4]]


def test_images_that_tie_come_in_the_order_of_their_ids(encoder: Encoder, tmp_path: Path) -> None:
    speckled(1).save(tmp_path / "same.png")
    rows = "".join(f"same.png,case {i},patient {i},Same\n" for i in range(28))
    (tmp_path / "manifest.csv").write_text(f"image,case,patient,report\n{rows}")
    with Archive.create(tmp_path / "archive") as archive:
        add_manifest(archive, tmp_path / "manifest.csv", encoder)
        result = CaseSearch(archive, encoder).by_image(speckled(1), k=5)
        assert [entry.case.key for entry in result.cases] == [f"case {i}" for i in range(5)]


def test_a_case_finds_others_but_not_itself_nor_its_patient(search: CaseSearch, archive: Archive) -> None:
    result = search.by_case("case 4.0", k=PATIENTS)
    assert "patient 4" not in {entry.case.patient for entry in result.cases}
    assert len(result.cases) == PATIENTS  # everybody else, the crowd included
    assert (result.query.kind, result.query.case) == ("case", "case 4.0")


def test_a_case_is_asked_for_by_the_mean_of_its_images(search: CaseSearch, archive: Archive, encoder: Encoder) -> None:
    case = archive.case("case 5.0")
    assert len(case.images) == 2
    query = mean_query(archive.vectors_of([image.id for image in case.images], encoder.fingerprint))
    expected = [patient for patient, *_ in by_hand(archive, encoder, query[0]) if patient != case.patient][:10]
    assert [entry.case.patient for entry in search.by_case("case 5.0").cases] == expected


def test_the_own_patient_comes_on_request_by_another_case(search: CaseSearch) -> None:
    result = search.by_case("case 4.0", k=PATIENTS + 1, include_own_patient=True)
    own = [entry.case.key for entry in result.cases if entry.case.patient == "patient 4"]
    assert own == ["case 4.1"]


def test_filters_hold_and_fill_up_to_k(search: CaseSearch) -> None:
    result = search.by_image(crowd_image(0), k=10, where=CaseFilter(sites=("cervix",), exclude_patients=("patient 1",)))
    assert len({entry.case.patient for entry in result.cases}) == 10
    assert {entry.case.site for entry in result.cases} == {"cervix"}
    assert "patient 1" not in {entry.case.patient for entry in result.cases}


def test_a_filter_of_a_case_query_is_kept_beside_the_own_exclusion(search: CaseSearch) -> None:
    where = CaseFilter(exclude_patients=("patient 6",), sites=("thyroid",))
    result = search.by_case("case 4.0", k=PATIENTS, where=where)
    assert {"patient 4", "patient 6"}.isdisjoint(entry.case.patient for entry in result.cases)
    assert {entry.case.site for entry in result.cases} == {"thyroid"}
    assert result.where == where


def test_fewer_cases_than_asked_for_are_said_so(search: CaseSearch) -> None:
    result = search.by_image(speckled(1), k=500)
    assert len(result.cases) == PATIENTS + 1
    assert result.notes == (
        f"Only {PATIENTS + 1} of the 500 requested cases: the archive has no more patients that match.",
    )


def test_a_case_that_could_not_be_left_out_is_named(search: CaseSearch, archive: Archive) -> None:
    case = archive.cases(limit=1)[0]
    known = CaseFilter(exclude_cases=(case.key,), exclude_patients=(case.patient,))
    assert search.by_image(crowd_image(1), k=1, where=known).notes == ()
    misspelt = CaseFilter(exclude_cases=(case.key, case.key + "x", "a\0b"), exclude_patients=("no such patient",))
    (note,) = search.by_image(crowd_image(1), k=1, where=misspelt).notes
    assert note == (
        f"Nothing was left out for 'no such patient', '{case.key}x', 'a\0b': the archive has no such patient or case."
    )


def test_a_filter_finds_a_site_by_any_name(search: CaseSearch) -> None:
    exact = search.by_image(speckled(1), where=CaseFilter(sites=("cervix",), exclude_patients=("patient 1",)))
    for name in ("Cervix uteri", "LBC cervix", "cervical smear"):
        where = CaseFilter(sites=(name,), exclude_patients=("patient 1",))
        found = search.by_image(speckled(1), where=where)
        assert [(entry.case.key, entry.score) for entry in found.cases] == [
            (entry.case.key, entry.score) for entry in exact.cases
        ]
        assert found.where == where  # the query stays as it was put


def test_a_filter_that_leaves_nothing_is_an_answer(search: CaseSearch, generator: CoinGenerator) -> None:
    nothing = CaseFilter(sites=("pancreas",))
    for result in (
        search.by_image(speckled(1), where=nothing),
        search.by_case("case 1.0", where=nothing),
    ):
        assert result.cases == ()
        assert "none has the site 'pancreas'" in result.notes[0]


@pytest.mark.slow
def test_an_empty_archive_is_an_answer(encoder: Encoder, generator: CoinGenerator, tmp_path: Path) -> None:
    with Archive.create(tmp_path / "archive") as archive:
        search = CaseSearch(archive, encoder, generator)
        result = search.by_report(REPORT, n_images=2)
        assert result.cases == ()
        assert "archive is empty" in result.notes[-1]
        assert search.by_image(speckled(0)).cases == ()


def test_a_report_becomes_images_and_these_one_ranking(
    archive: Archive, encoder: Encoder, generator: CoinGenerator
) -> None:
    steps: list[tuple[int, int]] = []
    search = CaseSearch(archive, encoder, generator)
    result = search.by_report(
        REPORT,
        k=8,
        n_images=3,
        seed=5,
        channels=["generated"],
        progress=lambda done, total: steps.append((done, total)),
    )
    assert result.generation is not None
    vectors = encoder.encode_images([drawn.image for drawn in result.generation.images])
    assert vectors.shape == (3, encoder.dim)
    expected = [patient for patient, *_ in by_hand(archive, encoder, mean_query(vectors)[0])]
    assert [entry.case.patient for entry in result.cases] == expected[:8]
    assert result.query.text == REPORT
    assert [drawn.provenance.seed for drawn in result.generation.images] == [5, 6, 7]
    assert steps
    assert steps[-1][0] == steps[-1][1]
    assert result.timing.generate_s > 0
    assert result.timing.embed_s > 0
    assert result.timing.search_s > 0
    assert result.timing.total_s == pytest.approx(sum(dataclasses.astuple(result.timing)))


def test_channels_are_joined_as_the_fusion_says(archive: Archive, encoder: Encoder, generator: CoinGenerator) -> None:
    """Image, generated and joint, against a fusion worked out from every vector there is."""
    rule = FusionRule("rrf", {"image": 2, "generated": 1, "joint": 0.5})
    search = CaseSearch(archive, encoder, generator, rules={"text and image": rule})
    picture = io.BytesIO()
    speckled(77).save(picture, "PNG")
    asked = Query(text=REPORT, image=picture.getvalue(), channels=("joint", "image", "generated"), k=6, seeds=(0, 1))
    result = search.run(asked)
    assert result.generation is not None
    queries = {
        "image": encoder.encode_images([speckled(77)])[0],
        "generated": mean_query(encoder.encode_images([drawn.image for drawn in result.generation.images]))[0],
        "joint": encoder.encode_texts([REPORT])[0],
    }
    alone = {name: by_hand(archive, encoder, vector) for name, vector in queries.items()}
    patients = sorted(patient for patient, *_ in alone["image"])
    scores = {name: {patient: score for patient, _, score in ranking} for name, ranking in alone.items()}
    fused = fuse(rule, {name: np.array([[of[patient] for patient in patients]]) for name, of in scores.items()})
    expected = sorted(zip(-fused.scores[0], patients, strict=True))[:6]
    assert [entry.case.patient for entry in result.cases] == [patient for _, patient in expected]
    np.testing.assert_allclose([entry.score for entry in result.cases], [-score for score, _ in expected])
    assert [answer.channel for answer in result.channels] == ["image", "generated", "joint"]
    assert [answer.weight for answer in result.channels] == pytest.approx([2 / 3.5, 1 / 3.5, 0.5 / 3.5])
    for entry in result.cases:
        places = {place.channel: place for place in entry.channel_ranks}
        for name, ranking in alone.items():
            order = [patient for patient, *_ in ranking]
            assert places[name].rank == order.index(entry.case.patient) + 1
        assert sum(place.part for place in entry.channel_ranks) == pytest.approx(entry.score)
        first = [name for name, place in places.items() if place.rank is not None and place.rank <= 6]
        assert entry.only_channel == (first[0] if len(first) == 1 else "")
        assert entry.image.id == next(i for patient, i, _ in alone["image"] if patient == entry.case.patient)
    for overlap in result.overlaps:
        firsts = [{patient for patient, *_ in alone[name][:6]} for name in overlap.channels]
        assert (overlap.shared, overlap.of) == (len(firsts[0] & firsts[1]), 6)
    assert len(result.overlaps) == 3


def test_weights_that_were_measured_with_another_encoder_are_said_so(archive: Archive, encoder: Encoder) -> None:
    asked = Query(text="Clusters of cells.", channels=("joint", "report"))
    own = {"text": FusionRule("rrf", {"joint": 1, "report": 2})}

    def warned(query: Query, rules: dict[str, FusionRule] | None = None) -> bool:
        notes = CaseSearch(archive, encoder, rules=rules).run(query).notes
        return any("weights were measured with the starter" in note for note in notes)

    assert warned(asked)
    assert not warned(asked, own)
    assert not warned(dataclasses.replace(asked, weights=(("joint", 1.0),)))
    assert not warned(dataclasses.replace(asked, channels=("joint",)))


def test_reports_find_the_report_that_says_the_same(archive: Archive, encoder: Encoder) -> None:
    # The tiny model's text tower understands nothing.
    search = CaseSearch(archive, encoder, rules={"report": FusionRule("score", {"words": 1, "meaning": 0})})
    result = search.run(Query(text="report 17", channels=("report",), k=3))
    assert result.cases[0].case.patient == "patient 17"
    assert result.cases[0].similarity is None
    assert result.channels[0].channel == "report"
    where = CaseFilter(sites=("thyroid",), exclude_patients=("patient 18",))
    found = search.run(Query(text="report 17", channels=("report",), k=50, where=where)).cases
    assert {entry.case.site for entry in found} == {"thyroid"}
    assert "patient 18" not in {entry.case.patient for entry in found}


@pytest.mark.slow
def test_a_report_that_was_changed_is_found_by_its_new_words(encoder: Encoder, tmp_path: Path) -> None:
    for number in range(2):
        speckled(number).save(tmp_path / f"{number}.png")
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("image,case,patient,report\n0.png,a,a,Clue cells\n1.png,b,b,Trichomonas\n")
    with Archive.create(tmp_path / "archive") as archive:
        add_manifest(archive, manifest, encoder)
        search = CaseSearch(archive, encoder)
        asked = Query(text="koilocytes", channels=("report",), k=1)
        manifest.write_text("image,case,patient,report\n0.png,a,a,Clue cells\n1.png,b,b,Koilocytes\n")
        search.run(asked)
        add_manifest(archive, manifest, encoder)
        assert search.run(asked).cases[0].case.key == "b"


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2, 100])
def test_an_answer_is_of_one_state_though_others_change_the_archive(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """Just after the ranking, the nearest case moves to another site and a nearer one comes: neither the case that the
    filter does not permit any more is shown, nor one that is not there; without end, it is said."""
    for number in range(4):
        speckled(number).save(tmp_path / f"{number}.png")
    manifest = tmp_path / "manifest.csv"
    ranked = channel_module.rank_images
    changes = 0

    def rank_and_change(*arguments: object, **options: object) -> object:
        nonlocal changes
        found = ranked(*arguments, **options)
        if changes < times:
            changes += 1
            sites = ["thyroid", "urine"] if changes % 2 else ["urine", "thyroid"]
            rows = [f"{number}.png,{name},{name},R,{sites[number % 2]}" for number, name in enumerate("abcd")]
            manifest.write_text("\n".join(["image,case,patient,report,site", *rows, ""]))
            with Archive.open(tmp_path / "archive") as writer:
                add_manifest(writer, manifest, encoder, derive=False)
        return found

    with Archive.create(tmp_path / "archive") as archive:
        rows = [
            f"{number}.png,{name},{name},R,{('urine', 'thyroid')[number % 2]}" for number, name in enumerate("abcd")
        ]
        manifest.write_text("\n".join(["image,case,patient,report,site", *rows, ""]))
        add_manifest(archive, manifest, encoder, derive=False)
        search = CaseSearch(archive, encoder)
        monkeypatch.setattr(channel_module, "rank_images", rank_and_change)
        result = search.by_image(speckled(0), k=2, where=CaseFilter(sites=("urine",)))
        if times < ATTEMPTS:
            assert changes == times
            assert {entry.case.site for entry in result.cases} == {"urine"}
            assert {entry.case.key for entry in result.cases} == ({"b", "d"} if times == 1 else {"a", "c"})
            assert result.notes == ()
        else:
            assert changes == ATTEMPTS
            assert "changed all the time" in result.notes[-1]


def test_without_a_generator_a_report_is_still_compared(search: CaseSearch) -> None:
    result = search.by_report(REPORT, k=4)
    assert [answer.channel for answer in result.channels] == ["joint", "report"]
    assert len(result.cases) == 4
    assert "no generator" in result.notes[0]


def test_without_a_text_tower_reports_are_compared_by_their_words(
    search: CaseSearch, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Encoder, texts: list[str]) -> np.ndarray:
        raise EncoderLoadError("It has no tokenizer.")

    monkeypatch.setattr(Encoder, "encode_texts", refuse)
    result = search.run(Query(text="Report 17", k=3))
    assert [answer.channel for answer in result.channels] == ["report"]
    assert result.cases[0].case.patient == "patient 17"
    assert "The text was not compared by its meaning. It has no tokenizer." in result.notes
    assert search.run(Query(text="Report 17", channels=("report",), k=3)).cases == result.cases
    with pytest.raises(EncoderLoadError, match="no tokenizer"):
        search.run(Query(text="Report 17", channels=("joint", "report")))


def test_marked_cases_move_the_query(search: CaseSearch, archive: Archive, encoder: Encoder) -> None:
    plain = search.by_image(speckled(3), k=5)
    more, less = "case 9.0", "case 20.0"
    moved = search.run(plain.query.more_like(more).less_like(less))

    def mean_of(key: str) -> np.ndarray:
        return mean_query(archive.vectors_of([image.id for image in archive.case(key).images], encoder.fingerprint))[0]

    by_definition = encoder.encode_images([speckled(3)])[0] + MORE * mean_of(more) - LESS * mean_of(less)
    expected = by_hand(archive, encoder, by_definition / np.linalg.norm(by_definition))[:5]
    assert [entry.case.patient for entry in moved.cases] == [patient for patient, *_ in expected]
    np.testing.assert_allclose([e.similarity for e in moved.cases], [s for *_, s in expected], atol=1e-6)
    assert [e.case.key for e in search.run(moved.query.unmarked(more).unmarked(less)).cases] == [
        e.case.key for e in plain.cases
    ]
    with pytest.raises(CaseNotFoundError):
        search.run(plain.query.more_like("nobody"))


def test_a_region_asks_by_what_is_inside(search: CaseSearch, archive: Archive, encoder: Encoder) -> None:
    wide = PIL.Image.new("RGB", (120, 40))
    wide.paste(speckled(11), (80, 0))
    region = Region(80 / 120, 0, 1, 1)
    part = search.run(search.by_image(wide).query.within(region))
    assert [e.image.id for e in part.cases] == [e.image.id for e in search.by_image(speckled(11)).cases]
    case = archive.case("case 5.0")
    with pytest.raises(QueryError, match="needs one image"):
        Query(case=case.key, region=region)
    inside = search.run(Query(case=case.key).within(Region(0, 0, 0.5, 0.5), image_id=case.images[1].id))
    with PIL.Image.open(case.images[1].path) as image:
        vector = encoder.encode_images([image.convert("RGB").crop((0, 0, 20, 20))])[0]
    expected = [patient for patient, *_ in by_hand(archive, encoder, vector) if patient != case.patient][:10]
    assert [entry.case.patient for entry in inside.cases] == expected
    # Each is judged by the calibration of its own type.
    types = [search.run(query).channels[0].query_type for query in (part.query, inside.query, Query(case=case.key))]
    assert types == ["image", "image", "case"]
    with pytest.raises(QueryError, match="no image 99999"):
        search.run(Query(case=case.key, image_id=99999))


@pytest.mark.slow
def test_dropping_a_generated_image_leaves_the_others_as_they_were(
    archive: Archive, encoder: Encoder, generator: CoinGenerator
) -> None:
    search = CaseSearch(archive, encoder, generator)
    whole = search.by_report(REPORT, n_images=3, channels=["generated"])
    fewer = search.run(whole.query.without_seed(1))
    assert whole.generation is not None and fewer.generation is not None
    kept = [drawn.image.tobytes() for drawn in whole.generation.images if drawn.provenance.seed != 1]
    assert [drawn.image.tobytes() for drawn in fewer.generation.images] == kept


def test_generated_images_never_enter_the_archive(archive: Archive, encoder: Encoder, generator: CoinGenerator) -> None:
    before = archive.status()
    CaseSearch(archive, encoder, generator).by_report(REPORT, n_images=2)
    after = archive.status()
    assert (after.images, after.cases, after.log_sequence) == (before.images, before.cases, before.log_sequence)


def test_an_image_file_is_a_query_and_a_broken_one_is_named(search: CaseSearch, tmp_path: Path) -> None:
    speckled(7).save(tmp_path / "query.png")
    result = search.by_image(tmp_path / "query.png", k=3)
    assert result.query.label == "query.png"
    assert [e.image.id for e in result.cases] == [e.image.id for e in search.by_image(speckled(7), k=3).cases]
    (tmp_path / "broken.png").write_bytes((tmp_path / "query.png").read_bytes()[:200])
    with pytest.raises(ImageProblem, match=r"broken\.png"):
        search.by_image(tmp_path / "broken.png")


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_a_query_image_of_any_mode_is_taken(search: CaseSearch, mode: str) -> None:
    assert len(search.by_image(speckled(7).convert(mode), k=3).cases) == 3


def test_questions_that_cannot_be_answered_are_refused(search: CaseSearch) -> None:
    with pytest.raises(QueryError, match="no generator"):
        search.by_report(REPORT, channels=["generated"])
    with pytest.raises(QueryError, match="at least 1"):
        search.by_image(speckled(0), k=0)
    with pytest.raises(QueryError, match=r"no fusion 'max'.*rrf, score"):
        search.run(Query(text=REPORT, fusion="max"))  # type: ignore[arg-type]
    with pytest.raises(QueryError, match="weight 0"):
        search.run(Query(text=REPORT, channels=("joint",), weights=(("joint", 0.0),)))
    with pytest.raises(CaseNotFoundError, match="case 4"):
        search.by_case("case 4.9")


def test_another_encoder_is_refused_with_the_way_out(
    archive: Archive, encoder: Encoder, manifest: Path, tmp_path: Path
) -> None:
    other = Encoder(tiny_clip(tmp_path / "other", seed=1), device="cpu")
    with pytest.raises(EncoderMismatchError, match=rf"{encoder.name}.*other.*embed the archive anew"):
        CaseSearch(archive, other)
    before = archive.status()
    with pytest.raises(EncoderMismatchError):
        add_manifest(archive, manifest, other)
    assert archive.status() == before


def test_without_generating_the_other_channels_answer(
    archive: Archive, encoder: Encoder, generator: CoinGenerator
) -> None:
    search, query = CaseSearch(archive, encoder, generator), Query(text=REPORT, seeds=(0, 1))
    assert search.channels_for(query) == ("generated", "joint", "report")
    assert search.channels_for(query, generate=False) == ("joint", "report")
    words = search.run(query, generate=False)
    named = search.run(dataclasses.replace(query, channels=("joint", "report")))
    assert [(entry.case.key, entry.score) for entry in words.cases] == [(e.case.key, e.score) for e in named.cases]
    assert words.generated is None
    assert words.query == query, "refined, it is a query of all channels"
    alone = dataclasses.replace(query, channels=("generated",))
    assert search.channels_for(alone, generate=False) == ()
