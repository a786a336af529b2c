"""Counts that are kept: after every kind of change, where they are damaged, and where there are none."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, delete, event, inspect, update

from index_store import Archive, CaseNotFoundError
from index_store.catalog.counts.kept import recount, stored
from index_store.catalog.counts.tally import whole_tally
from index_store.catalog.models import CountRow
from tests.index_store.archive_builders import (
    FINGERPRINT,
    OTHER,
    add_manifest,
    embed_reports,
    records,
    reembed,
    simple_rows,
    vector_of,
    write_manifest,
)
from tests.index_store.backends import in_a_file


@pytest.fixture
def tmp_path(quick_folder: Path) -> Path:
    """In memory: what is counted does not depend on the disk, and is quicker without one."""
    return quick_folder


EARLIER = Path(__file__).parents[2] / "archive_0.1.0.tar.gz"


def are_kept(archive: Archive) -> bool:
    """Whether the table is kept, and says what the rows say."""
    with records(archive.path) as session:
        kept = stored(session)
        return kept is not None and dict(kept) == dict(whole_tally(session))


def spoil(archive: Archive, statement: object) -> None:
    with records(archive.path, writing=True) as session:
        session.execute(statement)  # type: ignore[call-overload]


def rows_of(*given: dict[str, str]) -> list[dict[str, str]]:
    """Rows of a manifest, the first ones with these values."""
    return [{**row, **values} for row, values in zip(simple_rows(len(given)), given, strict=True)]


def test_a_case_that_gets_other_values(archive: Archive, tmp_path: Path) -> None:
    def give(*given: dict[str, str]) -> None:
        add_manifest(archive, write_manifest(tmp_path / "manifest.csv", rows_of(*given)))
        assert are_kept(archive)

    give({"site": "cervix", "stain": "Pap", "patient": "a"}, {"site": "urine", "stain": "MGG", "patient": "b"})
    assert archive.facets()["site"] == {"cervix": 1, "urine": 1}
    give({"site": "cervix", "stain": "Pap", "patient": "a"}, {"site": "cervix", "stain": "Pap", "patient": "a"})
    assert archive.facets()["site"] == {"cervix": 2}
    assert archive.facets()["stain"] == {"Pap": 2}
    assert archive.status().patients == 1
    give({"site": "cervix", "report": "Another report.", "patient": "a"}, {"site": "cervix", "patient": "a"})
    assert archive.status().roles["text"].reports_without_vector == 0  # it was embedded anew
    archive.remove("case-0")
    archive.remove("case-1")
    assert are_kept(archive)
    assert (archive.status().patients, archive.status().images, archive.labels()) == (0, 0, {})


def test_a_case_with_images_of_two_stains_counts_once_for_each(archive: Archive, tmp_path: Path) -> None:
    rows = rows_of({"stain": "Pap"}, {"stain": "MGG"}, {"stain": "Pap"})
    for row in rows:
        row |= {"case": "one", "patient": "a", "report": "A report.", "site": "cervix", "category": "NILM"}
    add_manifest(archive, write_manifest(tmp_path / "manifest.csv", rows[:2]))
    add_manifest(archive, write_manifest(tmp_path / "manifest.csv", rows))
    assert archive.facets()["stain"] == {"MGG": 1, "Pap": 1}
    assert are_kept(archive)


def test_a_value_longer_than_a_server_takes_into_an_index(archive: Archive, tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    values = ["".join(chr(letter) for letter in noise.integers(0x4E00, 0x9FFF, 4_000)) for _ in range(2)]
    rows = rows_of(*({"category": value, "source": value} for value in values))
    add_manifest(archive, write_manifest(tmp_path / "manifest.csv", rows))
    assert archive.facets()["category"] == archive.facets()["source"] == dict.fromkeys(sorted(values), 1)
    assert are_kept(archive)


def test_encoders_and_reports(filled: Archive) -> None:
    reembed(filled, OTHER)
    assert are_kept(filled)
    filled.drop_encoder(FINGERPRINT)
    assert are_kept(filled)
    assert filled.status().embeddings == {FINGERPRINT: 0, OTHER: 12}
    case = filled.case("case-3")
    vector = vector_of("0" * 64, OTHER)[None]
    assert filled.add_report_vectors([case.id], ["not its text"], vector, fingerprint=OTHER) == 0
    assert filled.add_report_vectors([case.id], [case.report], vector, fingerprint=OTHER) == 1
    assert are_kept(filled)


def test_a_change_that_fails_counts_nothing(filled: Archive) -> None:
    before = filled.status()
    with pytest.raises(CaseNotFoundError):
        filled.remove("nobody")
    with pytest.raises(ValueError, match="texts"):
        filled.add_report_vectors([1], [], vector_of("0" * 64)[None], fingerprint=FINGERPRINT)
    assert filled.status() == before
    assert are_kept(filled)


def test_wrong_counts_are_named_and_repaired(filled: Archive) -> None:
    before = filled.status()
    spoil(filled, update(CountRow).where(CountRow.kind == "patients").values(number=7))
    spoil(filled, delete(CountRow).where(CountRow.kind == "stain"))
    assert filled.status() != before
    found = filled.examine()
    (finding,) = found.findings
    assert finding.check == "counts"
    assert "patients: 7 noted, 6 there" in finding.examples
    assert not found.healthy
    assert "--repair" in finding.advice
    assert filled.examine(repair=True).healthy
    assert filled.status() == before
    assert filled.examine().findings == ()


@pytest.mark.slow
@pytest.mark.parametrize("change", ["remove", "add", "embed", "vectors"])
def test_a_table_that_is_not_kept_is_filled_by_the_next_change(filled: Archive, tmp_path: Path, change: str) -> None:
    act: dict[str, Callable[[], object]] = {
        "remove": lambda: filled.remove("case-1"),
        "add": lambda: add_manifest(filled, write_manifest(tmp_path / "m.csv", simple_rows(2, prefix="more-"))),
        "embed": lambda: embed_reports(filled, fingerprint=OTHER),
        "vectors": lambda: filled.add_vectors([1], vector_of("0" * 64, OTHER)[None], fingerprint=OTHER),
    }
    filled.begin_encoder(OTHER, name="another", dim=len(vector_of("0" * 64, OTHER)))
    before = (filled.status(), filled.facets(), filled.labels(), filled.encoders())
    spoil(filled, delete(CountRow))
    assert (filled.status(), filled.facets(), filled.labels(), filled.encoders()) == before
    assert filled.examine().findings == ()
    act[change]()
    assert are_kept(filled)


@in_a_file
def test_a_backup_with_wrong_counts_is_restored_with_right_ones(filled: Archive, tmp_path: Path) -> None:
    before = filled.facets()
    spoil(filled, update(CountRow).values(number=99))
    filled.back_up(tmp_path / "backup")
    Archive.restore(tmp_path / "backup", tmp_path / "restored")
    with Archive.open(tmp_path / "restored") as archive:
        assert are_kept(archive)
        assert archive.facets() == before


def test_an_archive_of_a_version_without_counts(tmp_path: Path) -> None:
    with tarfile.open(EARLIER) as archive_file:
        archive_file.extractall(tmp_path, filter="data")
    folder = tmp_path / "archive"
    with Archive.open(folder, read_only=True) as archive:
        with records(folder) as session:
            assert not inspect(session.connection()).has_table(CountRow.__tablename__)
        before = (archive.facets(), archive.labels(), archive.encoders(), archive.status().derived)
        assert before[0]["site"]
    Archive.migrate(folder)
    with Archive.open(folder) as archive:
        assert are_kept(archive)
        assert (archive.facets(), archive.labels(), archive.encoders(), archive.status().derived) == before


def test_what_is_kept_is_read_in_two_statements_whatever_the_size(filled: Archive, tmp_path: Path) -> None:
    """And a change reads the cases that it concerns, and no others."""

    def executed(act: Callable[[], object]) -> int:
        statements: list[str] = []

        def note(*event: object) -> None:
            statements.append(" ".join(str(event[2]).split()))

        event.listen(Engine, "before_cursor_execute", note)
        try:
            act()
        finally:
            event.remove(Engine, "before_cursor_execute", note)
        counted = [sql for sql in statements if " FROM counts" in sql]
        unbounded = [sql for sql in statements if "FROM cases" in sql and " IN " not in sql and "WHERE" not in sql]
        assert counted
        assert unbounded == []
        return len(statements)

    assert executed(filled.facets) <= 2
    assert executed(filled.labels) <= 2
    executed(filled.status)
    executed(lambda: filled.remove("case-2"))
    manifest = write_manifest(tmp_path / "more.csv", simple_rows(2, prefix="more-"))
    executed(lambda: add_manifest(filled, manifest))


def test_counting_anew_changes_nothing_where_all_is_right(filled: Archive) -> None:
    with records(filled.path) as session:
        before = stored(session)
    revision = filled.revision
    filled.recount()
    with records(filled.path, writing=True) as session:
        recount(session)
    with records(filled.path) as session:
        assert stored(session) == before
    assert filled.revision == revision
