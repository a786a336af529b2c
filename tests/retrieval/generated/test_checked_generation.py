"""Generated images are looked at before a search uses them: their site, and whether they copy a reference."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from generation import CoinGenerator
from generation.phantom import PROFILES, Phantom, write_phantoms
from index_store import Archive, CaseFilter
from retrieval import Encoder, GeneratedQuery, add_manifest, generate_query
from retrieval.copies.picture_hash import NEAR_COPY_BITS
from retrieval.generated.checked_generation import state_site
from retrieval.generated.site_check import FEWEST_PATIENTS, SiteCheck
from tests.retrieval.conftest import speckled

REPORT = "Clusters of atypical cells with enlarged hyperchromatic nuclei."
NAMED = f"(Thyroid) {REPORT}"
AGAIN = 2**31
"""What is added to a small seed where the report names the site already."""

Reference = tuple[PIL.Image.Image, str]
Ask = Callable[..., GeneratedQuery]


@pytest.fixture
def archive_of(encoder: Encoder, tmp_path: Path) -> Callable[[list[Reference]], AbstractContextManager[Archive]]:
    """Makes an archive of images with their sites, a patient each, named p0, p1 …"""

    @contextmanager
    def make(references: list[Reference]) -> Iterator[Archive]:
        with (tmp_path / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["image", "case", "patient", "report", "site"])
            for number, (image, site) in enumerate(references):
                image.save(tmp_path / f"{number}.png")
                writer.writerow([f"{number}.png", f"c{number}", f"p{number}", "Report", site])
        with Archive.create(tmp_path / "archive") as archive:
            add_manifest(archive, tmp_path / "manifest.csv", encoder)
            yield archive

    return make


def like(image: PIL.Image.Image, site: str, count: int = FEWEST_PATIENTS) -> list[Reference]:
    """Images that the encoder takes for nearly the same, of another patient each, all of one site."""
    pixels = np.asarray(image).astype(np.int16)
    noise = (np.random.default_rng(number).integers(-6, 7, pixels.shape) for number in range(count))
    return [(PIL.Image.fromarray(np.clip(pixels + step, 0, 255).astype(np.uint8)), site) for step in noise]


def unlike(site: str, count: int = FEWEST_PATIENTS) -> list[Reference]:
    """Flat fields with a little noise, which no generated image of the tests resembles."""
    return [
        (PIL.Image.blend(speckled(number, size=64), PIL.Image.new("RGB", (64, 64), (250, 20, 250)), 0.9), site)
        for number in range(count)
    ]


def drawn(generator: CoinGenerator, report: str, *seeds: int) -> list[PIL.Image.Image]:
    return [one.image for one in generator.generate(report, seeds=seeds, preset="draft").images]


@pytest.mark.slow
def test_images_of_the_requested_site_are_all_used(
    generator: CoinGenerator, encoder: Encoder, archive_of: Callable[..., AbstractContextManager[Archive]]
) -> None:
    first, second = drawn(generator, REPORT, 3, 4)
    with archive_of(like(first, "cervix") + like(second, "cervix") + unlike("thyroid")) as archive:
        before = archive.status()
        query = generate_query(generator, encoder, archive, REPORT, seeds=[3, 4], preset="draft", site="Vagina")
        assert archive.status() == before  # nothing generated enters the archive
    # Cervix and vagina have one reporting system: they are not told apart.
    assert [(i.seed, i.attempt, i.used, i.verdict) for i in query.images] == [
        (3, 1, True, "right"),
        (4, 1, True, "right"),
    ]
    assert {(i.asked_site, i.shown_site, i.shown_share, i.asked_share) for i in query.images} == {
        ("Vagina", "cervix", 1.0, 1.0)
    }
    np.testing.assert_array_equal(query.vectors, encoder.encode_images([first, second]))
    assert query.generation.images == tuple(i.generated for i in query.images)


def test_a_wrong_image_is_dropped_and_generated_again_with_the_site_stated(
    generator: CoinGenerator, encoder: Encoder, archive_of: Callable[..., AbstractContextManager[Archive]]
) -> None:
    right, wrong = drawn(generator, REPORT, 3, 4)
    with archive_of(like(right, "thyroid") + like(wrong, "urine")) as archive:
        query = generate_query(
            generator, encoder, archive, REPORT, seeds=[3, 4], preset="draft", site="thyroid", site_hint=False
        )
    # The tiny model hardly reads its text, so that the second drawing shows the wrong site as well.
    assert [(i.seed, i.attempt, i.used, i.verdict) for i in query.images] == [
        (3, 1, True, "right"),
        (4, 1, False, "wrong"),
        (4, 2, False, "wrong"),
    ]
    assert query.images[1].shown_site == "urine"
    assert query.images[2].generated.provenance.prompt == f"(Thyroid) {REPORT}"
    assert (query.generation.report, query.generation.prompt.text) == (REPORT, REPORT)
    assert query.vectors.shape == (1, encoder.dim)
    assert query.generation.images == (query.images[0].generated,)
    assert any("1 of 2 generated images showed another site (urine) than 'thyroid'" in note for note in query.notes)
    assert any("1 of the images generated again" in note for note in query.notes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("report", "site", "prompt"),
    [
        (REPORT, "thyroid", f"(Thyroid) {REPORT}"),
        (NAMED, "thyroid", NAMED),
        (REPORT, "", REPORT),  # nothing was asked for
        ("No intraepithelial lesion (NILM).", "cervix", "No intraepithelial lesion (NILM)."),  # COIN's own shape
    ],
)
def test_a_site_hint_states_the_requested_site_where_the_report_does_not(
    report: str,
    site: str,
    prompt: str,
    generator: CoinGenerator,
    encoder: Encoder,
    archive_of: Callable[..., AbstractContextManager[Archive]],
) -> None:
    with archive_of(unlike("thyroid")) as archive:
        query = generate_query(
            generator, encoder, archive, report, seeds=[3], preset="draft", site=site, site_hint=True
        )
    assert query.images[0].generated.provenance.prompt == prompt


@pytest.mark.slow
def test_after_a_site_hint_another_seed_is_tried(
    generator: CoinGenerator, encoder: Encoder, archive_of: Callable[..., AbstractContextManager[Archive]]
) -> None:
    [wrong] = drawn(generator, NAMED, 4)
    with archive_of(like(wrong, "urine") + unlike("thyroid")) as archive:
        query = generate_query(
            generator, encoder, archive, REPORT, seeds=[4], preset="draft", site="thyroid", site_hint=True
        )
    assert [(i.seed, i.attempt) for i in query.images] == [(4, 1), (4 + AGAIN, 2)]


@pytest.mark.slow
def test_where_the_report_names_the_site_the_seed_is_changed_and_the_new_image_used(
    generator: CoinGenerator, encoder: Encoder, archive_of: Callable[..., AbstractContextManager[Archive]]
) -> None:
    wrong, right = drawn(generator, NAMED, 4, 4 + AGAIN)
    with archive_of(like(wrong, "urine") + like(right, "thyroid")) as archive:
        query = generate_query(generator, encoder, archive, NAMED, seeds=[4], preset="draft")
    assert [(i.seed, i.attempt, i.used, i.verdict) for i in query.images] == [
        (4, 1, False, "wrong"),
        (4 + AGAIN, 2, True, "right"),
    ]
    assert query.images[0].asked_site == "thyroid"  # read from the report
    assert [image.asked_seed for image in query.images] == [4, 4]
    # A batch of two changes single colour values by one level of 255 (see test_generator).
    np.testing.assert_allclose(query.vectors, encoder.encode_images([right]), atol=1e-3)


@pytest.mark.slow
def test_a_query_is_never_left_without_an_image(
    generator: CoinGenerator, encoder: Encoder, archive_of: Callable[..., AbstractContextManager[Archive]]
) -> None:
    pictures = drawn(generator, NAMED, 3, 4, 3 + AGAIN, 4 + AGAIN)
    steps: list[tuple[int, int]] = []
    with archive_of([one for picture in pictures for one in like(picture, "urine")] + unlike("thyroid")) as archive:
        query = generate_query(
            generator,
            encoder,
            archive,
            NAMED,
            seeds=[3, 4],
            preset="draft",
            progress=lambda done, total: steps.append((done, total)),
        )
    assert [(i.attempt, i.used, i.verdict) for i in query.images] == [(1, False, "wrong"), (2, True, "wrong")] * 2
    np.testing.assert_array_equal(query.vectors, encoder.encode_images(pictures[2:]))
    assert any("do not show 'thyroid' either" in note for note in query.notes)
    assert [done == total for done, total in steps].count(True) == 2  # twice to the end


@pytest.mark.slow
@pytest.mark.parametrize(
    ("report", "site", "reason"),
    [
        (REPORT, "", "names no site"),
        (REPORT, "unspecified", "names no site"),
        (REPORT, "lung", "the archive has 0 patients of that site"),
        (REPORT, "blood", f"the archive has {FEWEST_PATIENTS - 1} patients of that site"),
    ],
)
def test_where_the_site_cannot_be_told_there_is_no_verdict_but_a_reason(
    generator: CoinGenerator,
    encoder: Encoder,
    archive_of: Callable[..., AbstractContextManager[Archive]],
    report: str,
    site: str,
    reason: str,
) -> None:
    (image,) = drawn(generator, report, 3)
    with archive_of(like(image, "urine") + unlike("Blood", FEWEST_PATIENTS - 1)) as archive:
        query = generate_query(generator, encoder, archive, report, seeds=[3], preset="draft", site=site)
    (only,) = query.images
    assert (only.verdict, only.used, only.shown_site) == ("unknown", True, "urine")
    assert reason in query.notes[0]


def test_an_empty_archive_checks_nothing(generator: CoinGenerator, encoder: Encoder, tmp_path: Path) -> None:
    with Archive.create(tmp_path / "archive") as archive:
        (only,) = generate_query(generator, encoder, archive, NAMED, seeds=[3], preset="draft").images
    assert (only.verdict, only.used, only.near_copy) == ("unknown", True, False)
    assert (only.nearest_case_key, only.nearest_image_id, only.similarity) == ("", None, None)


@pytest.mark.slow
def test_a_planted_copy_is_flagged_even_where_the_query_excludes_it(
    generator: CoinGenerator, encoder: Encoder, archive_of: Callable[..., AbstractContextManager[Archive]]
) -> None:
    (image,) = drawn(generator, REPORT, 3)
    planted = (image.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT), "urine")
    with archive_of([planted, *((speckled(number, size=64), "urine") for number in range(8))]) as archive:
        where = CaseFilter(exclude_patients=("p0",))
        query = generate_query(generator, encoder, archive, REPORT, seeds=[3], preset="draft", where=where)
    (only,) = query.images
    assert (only.near_copy, only.used, only.nearest_case_key) == (True, True, "c0")
    assert only.hash_distance is not None
    assert only.hash_distance <= NEAR_COPY_BITS
    assert any("seed 3 copies a reference image of case c0, or a part of it (" in note for note in query.notes)


def test_who_is_left_out_of_the_query_does_not_vote(
    encoder: Encoder, archive_of: Callable[..., AbstractContextManager[Archive]]
) -> None:
    image = speckled(1, size=64)
    with archive_of(like(image, "urine") + unlike("thyroid", FEWEST_PATIENTS + 5)) as archive:
        where = CaseFilter(exclude_patients=tuple(f"p{number}" for number in range(FEWEST_PATIENTS)))
        vectors = encoder.encode_images([image])

        def shown(where: CaseFilter | None) -> str:
            check = SiteCheck(archive, fingerprint=encoder.fingerprint, where=where)
            return check.judge(vectors, "thyroid")[0].site

        assert (shown(None), shown(where)) == ("urine", "thyroid")
        # A filter on a site would make every image right: it is not applied.
        assert shown(CaseFilter(sites=("thyroid",))) == "urine"


@pytest.mark.slow
def test_a_common_site_does_not_outvote_a_rare_one(
    encoder: Encoder, archive_of: Callable[..., AbstractContextManager[Archive]]
) -> None:
    """Three of the ten nearest are of a site with 20 cases, seven of one with 100: the 20 are more telling."""
    image = speckled(1, size=64)
    near = [*like(image, "thyroid", 3), *like(PIL.Image.blend(image, speckled(2, size=64), 0.1), "urine", 7)]
    far = [*unlike("thyroid", 17), *unlike("urine", 93)]
    with archive_of(near + far) as archive:
        check = SiteCheck(archive, fingerprint=encoder.fingerprint)
        (shown,) = check.judge(encoder.encode_images([image]), "thyroid")
    assert (shown.site, shown.verdict) == ("thyroid", "right")
    assert shown.share == pytest.approx((3 / 20) / (3 / 20 + 7 / 100))


@pytest.mark.slow
def test_a_patient_votes_once_and_one_without_a_site_not_at_all(encoder: Encoder, tmp_path: Path) -> None:
    image = speckled(1, size=64)
    rows = [("crowd", site, picture) for picture, site in like(image, "urine", 60)]
    rows += [(f"none {number}", "Unspecified", picture) for number, (picture, _) in enumerate(like(image, "", 20))]
    rows += [(f"p{number}", "thyroid", picture) for number, (picture, _) in enumerate(unlike("", 20))]
    with (tmp_path / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "case", "patient", "report", "site"])
        for number, (patient, site, picture) in enumerate(rows):
            picture.save(tmp_path / f"{number}.png")
            writer.writerow([f"{number}.png", patient, patient, "Report", site])
    with Archive.create(tmp_path / "archive") as archive:
        add_manifest(archive, tmp_path / "manifest.csv", encoder)
        check = SiteCheck(archive, fingerprint=encoder.fingerprint)
        (shown,) = check.judge(encoder.encode_images([image]), "thyroid")
    assert (shown.site, shown.verdict) == ("thyroid", "right")
    assert shown.share == pytest.approx(0.9)  # nine of ten patients; the crowd counts as the one that it is


@pytest.mark.slow
@pytest.mark.usefixtures("full_sampling")
def test_the_starter_asked_for_another_site_than_the_report_names(tmp_path: Path) -> None:
    """A report of the cervix, and images of the thyroid asked for: the first drawings are dropped."""
    profiles = [next(profile for profile in PROFILES if profile.site == site) for site in ("cervix", "thyroid")]
    phantoms = [Phantom(profile, seed) for profile in profiles for seed in range(FEWEST_PATIENTS)]
    encoder = Encoder()
    with Archive.create(tmp_path / "archive") as archive:
        add_manifest(archive, write_phantoms(tmp_path / "phantoms", phantoms), encoder)
        report = phantoms[0].report
        query = generate_query(CoinGenerator(), encoder, archive, report, seeds=[1, 2], preset="draft", site="thyroid")
    first = [image for image in query.images if image.attempt == 1]
    assert [(image.verdict, image.used, image.shown_site) for image in first] == [("wrong", False, "cervix")] * 2
    assert len([image for image in query.images if image.attempt == 2]) == 2
    assert len(query.vectors) == sum(image.used for image in query.images) > 0
    assert not any(image.near_copy for image in query.images)


def test_the_site_is_stated_as_coin_states_it() -> None:
    assert state_site("Smears show cells.", "lymph node") == "(Lymph node) Smears show cells."
