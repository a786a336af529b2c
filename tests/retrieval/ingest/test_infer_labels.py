"""Site and category read from reports: where nobody gave them, marked, and replaced by what somebody gives."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index_store import Archive, CaseLabels, ManifestRow
from retrieval import Encoder, add_manifest
from retrieval.ingest.infer_labels import infer_labels
from retrieval.language.vocabulary import vocabulary
from tests.retrieval.conftest import speckled

HSIL = "(cervical smear) shows clusters of atypical cells, consistent with high-grade squamous intraepithelial lesion."
URINE = "Urine cytology: no malignant cells were found."
SILENT = "The slide was lost."


class StoredCases:
    """What an archive says of stored cases, and nothing else of it."""

    def __init__(self, **cases: CaseLabels) -> None:
        self._cases = cases

    def case_labels(self, keys: set[str]) -> dict[str, CaseLabels]:
        return {key: self._cases[key] for key in keys if key in self._cases}


def derived(report: str, stored: CaseLabels | None = None, **given: str) -> dict[str, str]:
    """What is derived for a row with these values."""
    row = ManifestRow(2, "a.png", Path("a.png"), "case", "patient", report, **given)
    cases = StoredCases() if stored is None else StoredCases(case=stored)
    (made,) = infer_labels(cases, [row])  # type: ignore[arg-type]  # all that it asks of an archive
    assert made.derived is not None
    for name in ("site", "system", "category"):
        if name not in made.derived:
            assert getattr(made, name) == getattr(row, name)
    return {name: getattr(made, name) for name in made.derived}


ALL = {"site": "cervix", "system": "Bethesda cervical 2014", "category": "HSIL"}


def test_what_is_left_out_is_read() -> None:
    assert derived(HSIL) == ALL
    assert derived(URINE) == {"site": "urine", "system": "Paris 2.0", "category": "NHGUC"}
    assert derived(SILENT) == {}


def test_what_the_manifest_gives_is_left_alone() -> None:
    assert derived(HSIL, site="cervix") == {"system": "Bethesda cervical 2014", "category": "HSIL"}
    assert derived(HSIL, category="LSIL") == {"site": "cervix"}
    assert derived(HSIL, site="cervix", category="LSIL") == {}
    assert derived(HSIL, system="Bethesda cervical 2014") == {"site": "cervix", "category": "HSIL"}


def test_a_site_by_another_name_is_understood_and_kept() -> None:
    assert derived(HSIL, site="Cervix uteri") == {"system": "Bethesda cervical 2014", "category": "HSIL"}


@pytest.mark.parametrize(
    "given",
    [
        {"site": "thyroid"},  # the words for a cervical lesion mean nothing there
        {"site": "left elbow"},
        {"system": "Paris 2.0"},
        {"site": "thyroid", "system": "Bethesda cervical 2014"},
        {"site": "left elbow", "system": "Bethesda cervical 2014"},
    ],
)
def test_what_contradicts_is_not_read(given: dict[str, str]) -> None:
    assert derived(HSIL, **given) == {}


def test_a_system_that_the_vocabulary_lacks_has_no_category() -> None:
    assert derived(HSIL, system="Our own scheme") == {"site": "cervix"}


def test_what_was_given_earlier_wins() -> None:
    assert derived(HSIL, CaseLabels("cervix", "", "LSIL", ())) == {}
    assert derived(HSIL, CaseLabels("thyroid", "", "", ())) == {}
    assert derived(HSIL, CaseLabels("", "", "LSIL", ())) == {"site": "cervix"}


def test_what_was_derived_earlier_is_read_anew() -> None:
    before = CaseLabels("cervix", "Bethesda cervical 2014", "LSIL", ("site", "system", "category"))
    assert derived(HSIL, before) == ALL
    assert derived(URINE, before)["site"] == "urine"
    assert derived(SILENT, before) == {}
    assert derived(HSIL, CaseLabels("vagina", "Bethesda cervical 2014", "LSIL", ("system", "category"))) == {
        "system": "Bethesda cervical 2014",
        "category": "HSIL",
    }


SITES = st.sampled_from(["", "cervix", "Cervix uteri", "urine", "elbow"])
SYSTEMS = st.sampled_from(["", "Bethesda cervical 2014", "paris 2.0", "Our own scheme"])
CATEGORIES = st.sampled_from(["", "HSIL", "odd"])


@given(report=st.sampled_from([HSIL, URINE, SILENT]), site=SITES, system=SYSTEMS, category=CATEGORIES)
def test_a_derived_category_is_one_of_its_site_s_system(report: str, site: str, system: str, category: str) -> None:
    read = derived(report, site=site, system=system, category=category)
    whole = {"site": site, "system": system, "category": category} | read
    assert all(not {"site": site, "system": system, "category": category}[name] for name in read)
    if "system" in read:
        assert "category" in read
    if "category" in read:
        of = vocabulary().system(whole["system"])
        named = vocabulary().site(whole["site"])
        assert of is not None
        assert named is None or named.name in of.sites
        assert whole["category"] in {known.name for known in of.categories}
    # Once stored with its mark, the same row derives the same.
    assert derived(report, CaseLabels(**whole, derived=tuple(read)), site=site, system=system, category=category) == (
        read
    )


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive.create(tmp_path / "archive") as archive:
        yield archive


def manifest(folder: Path, *rows: dict[str, str]) -> Path:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    for number, row in enumerate(rows):
        if not (folder / row["image"]).exists():
            speckled(number).save(folder / row["image"])
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return folder / "manifest.csv"


def row(number: int, report: str, **more: str) -> dict[str, str]:
    return {"image": f"{number}.png", "case": f"case-{number}", "report": report, **more}


def test_adding_derives_and_adding_again_changes_nothing(archive: Archive, encoder: Encoder, tmp_path: Path) -> None:
    path = manifest(tmp_path, row(0, HSIL), row(1, SILENT), row(2, HSIL, site="cervix", category="NILM"))
    summary = add_manifest(archive, path, encoder)
    assert (summary.added, summary.derived) == (3, 1)
    case = archive.case("case-0")
    assert {name: getattr(case, name) for name in case.derived} == ALL
    assert archive.case("case-1").derived == archive.case("case-2").derived == ()
    assert archive.case("case-2").category == "NILM"
    revision = archive.revision
    again = add_manifest(archive, path, encoder)
    assert (again.added, again.updated, again.unchanged, again.derived) == (0, 0, 3, 0)
    assert archive.revision == revision


def test_reports_in_another_language_are_named(archive: Archive, encoder: Encoder, tmp_path: Path) -> None:
    german = "Zytologie der Harnblase: kein Nachweis von Karzinomzellen."
    french = "Frottis : absence de lésion maligne."
    given = row(3, german, category="negative")
    rows = (row(0, german), row(1, HSIL), row(2, french), given, row(4, german))
    path = manifest(tmp_path, *rows)
    (note,) = (note for note in add_manifest(archive, path, encoder).notes if "English" in note)
    assert note.startswith("3 reports are in another language than English (lines 2, 4, 6): no category was read")
    assert archive.status().derived == {"site": 1, "system": 1, "category": 1}
    (tmp_path / "one").mkdir()
    only = manifest(tmp_path / "one", row(9, french))
    (note,) = (note for note in add_manifest(archive, only, encoder).notes if "English" in note)
    assert note.startswith("1 report is in another language")
    assert not any("English" in note for note in add_manifest(archive, path, encoder, derive=False).notes)


def test_an_archive_made_before_is_derived_once(archive: Archive, encoder: Encoder, tmp_path: Path) -> None:
    path = manifest(tmp_path, row(0, HSIL), row(1, SILENT))
    summary = add_manifest(archive, path, encoder, derive=False)
    assert (summary.added, summary.derived, archive.case("case-0").category) == (2, 0, "")
    summary = add_manifest(archive, path, encoder)
    assert (summary.updated, summary.unchanged, summary.derived) == (1, 1, 1)
    assert archive.case("case-0").category == "HSIL"
    assert add_manifest(archive, path, encoder).updated == 0


def test_a_category_given_later_replaces_the_derived_one(archive: Archive, encoder: Encoder, tmp_path: Path) -> None:
    add_manifest(archive, manifest(tmp_path, row(0, HSIL)), encoder)
    add_manifest(archive, manifest(tmp_path, row(0, HSIL, category="LSIL")), encoder)
    case = archive.case("case-0")
    assert (case.site, case.system, case.category, case.derived) == ("cervix", "", "LSIL", ("site",))
    add_manifest(archive, manifest(tmp_path, row(0, HSIL)), encoder)
    assert archive.case("case-0").category == "LSIL"


def test_another_image_with_a_given_category_clears_the_mark(
    archive: Archive, encoder: Encoder, tmp_path: Path
) -> None:
    add_manifest(archive, manifest(tmp_path, row(0, HSIL)), encoder)
    second = {"image": "other.png", "case": "case-0", "report": HSIL, "site": "cervix", "category": "LSIL"}
    speckled(7).save(tmp_path / "other.png")
    add_manifest(archive, manifest(tmp_path, second), encoder)
    case = archive.case("case-0")
    assert (len(case.images), case.category, case.derived) == (2, "LSIL", ())


def test_a_category_shared_by_rows_is_not_derived(archive: Archive, encoder: Encoder, tmp_path: Path) -> None:
    rows = [
        {"image": "0.png", "case": "case-1", "report": HSIL, "category": ""},
        {"image": "1.png", "case": "case-1", "report": "", "category": "LSIL"},
    ]
    add_manifest(archive, manifest(tmp_path, *rows), encoder)
    case = archive.case("case-1")
    assert (case.category, case.derived) == ("LSIL", ("site",))


def test_without_deriving_nothing_is_read(archive: Archive, encoder: Encoder, tmp_path: Path) -> None:
    add_manifest(archive, manifest(tmp_path, row(0, HSIL)), encoder, derive=False)
    assert archive.case("case-0").derived == ()
    assert archive.facets()["category"] == {}
