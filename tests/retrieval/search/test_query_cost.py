"""What a query costs does not grow with the archive: statements, rows, records and objects are counted at two sizes.

Time is not: it would say more of the machine. The numbers of vectors that the index compares grow, in compiled code.
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import PIL.Image
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from benchmarks.bulk_archive import build_archive
from benchmarks.growth import give_categories
from benchmarks.synthetic_vectors import SITES, SyntheticVectors
from index_store import Archive, CaseFilter, ManifestRow, NewImage, decode_image
from index_store.catalog.case_reader import CaseReader
from retrieval import CaseSearch, Encoder, Query, SavedQueries
from retrieval.assessment.diagnostics import Diagnostics
from retrieval.language.vocabulary import vocabulary
from retrieval.search.by_category import gallery
from retrieval.search.channels.own_cases import FILTERED_SAMPLE
from retrieval.search.query import png_bytes
from tests.clip_model import tiny_clip

IMAGES = (8_000, 16_000)
"""Four a case and eight a patient: a search looks at most at the nearest 8,000."""
PICTURE = PIL.Image.effect_noise((48, 48), 60).convert("RGB")
FILTER = CaseFilter(sites=tuple(f"site-{number}" for number in range(1, SITES)))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return Encoder(tiny_clip(tmp_path_factory.mktemp("clip")))


@pytest.fixture(scope="module")
def archives(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Archive]]:
    folder = tmp_path_factory.mktemp("archives")
    opened = []
    for size in IMAGES:
        vectors = SyntheticVectors(size, encoder.dim)
        build_archive(folder / str(size), vectors, vectors.array(), fingerprint=encoder.fingerprint)
        give_categories(folder / str(size))
        opened.append(Archive.open(folder / str(size)))
    yield opened
    for archive in opened:
        archive.close()


@contextmanager
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Statements executed, rows that a cursor handed over, and records of cases and images made."""
    counted: Counter[str] = Counter()

    def executed(connection: object, cursor: object, *_: object) -> None:
        counted["statements"] += 1

    def made(what: str, make: Callable[..., object]) -> Callable[..., object]:
        def counting(self: CaseReader, row: object, *rest: object) -> object:
            counted[what] += 1
            return make(self, row, *rest)

        return counting

    def row(_: object, values: tuple[object, ...]) -> tuple[object, ...]:
        counted["rows"] += 1
        return values

    def begun(connection: object, cursor: object, *_: object) -> None:
        cursor.row_factory = row  # type: ignore[attr-defined]

    with monkeypatch.context() as patch:
        patch.setattr(CaseReader, "_case", made("cases", CaseReader._case))
        patch.setattr(CaseReader, "_image", made("images", CaseReader._image))
        event.listen(Engine, "after_cursor_execute", executed)
        event.listen(Engine, "before_cursor_execute", begun)
        try:
            yield counted
        finally:
            event.remove(Engine, "after_cursor_execute", executed)
            event.remove(Engine, "before_cursor_execute", begun)


OWN = tuple(str(Path(__file__).parents[3] / package) for package in ("retrieval", "index_store"))


MEASURED_CALLS = 50
"""Of each function, as many calls are measured; of those that follow, each counts 2. To count blocks at each of them
takes up to a millisecond, the longer the more modules are loaded."""


def objects_made(query: Callable[[], object]) -> int:
    """How many blocks of memory for Python's objects a query takes, summed from call to return of the product's
    functions, comprehensions and generators: what a function holds lives until it returns. The data of an array is
    none. Of functions that are called more often than `MEASURED_CALLS`, calls are counted for blocks."""
    last, made = sys.getallocatedblocks(), 0
    calls: Counter[CodeType] = Counter()

    def counted(frame: FrameType, event: str, _: object) -> Callable[..., object]:
        nonlocal last, made
        now = sys.getallocatedblocks()
        made, last = made + max(0, now - last), now
        return counted

    def entered(frame: FrameType, event: str, _: object) -> Callable[..., object] | None:
        nonlocal made
        if not frame.f_code.co_filename.startswith(OWN):
            return None
        calls[frame.f_code] += 1
        if calls[frame.f_code] > MEASURED_CALLS:
            made += 2
            return None
        frame.f_trace_lines = False  # a line each would take most of the time
        return counted(frame, event, _)

    tracing = sys.gettrace()
    sys.settrace(entered)
    try:
        query()
    finally:
        sys.settrace(tracing)
    return made


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    ["len([object() for _ in range(n)])", "sum(1 for _ in range(n))", "sum(map(lambda i: i + 1000, range(n)))"],
)
def test_an_object_or_a_call_for_each_of_many_is_counted(code: str) -> None:
    """The measure itself: objects that a function of the product holds, and calls that hold none."""
    names: dict[str, Any] = {}
    exec(compile(f"def work(n): return {code}", f"{OWN[0]}/work.py", "exec"), names)
    few, many = (objects_made(lambda: names["work"](n)) for n in (2_000, 4_000))  # noqa: B023
    assert many >= few + 1_900


def by_case(search: CaseSearch, where: CaseFilter | None) -> object:
    return search.by_case("case-40", where=where)


def by_report(search: CaseSearch, where: CaseFilter | None) -> object:
    return search.by_report("Smear 77 of site 1. Enlarged nuclei.", where=where, channels=("joint", "report"))


@pytest.mark.parametrize("where", [None, pytest.param(FILTER, marks=pytest.mark.slow)], ids=["all", "filtered"])
@pytest.mark.parametrize("query", [by_case, by_report])
def test_a_query_with_its_diagnostics_reads_no_more_of_a_larger_archive(
    query: Callable[[CaseSearch, CaseFilter | None], object],
    where: CaseFilter | None,
    archives: list[Archive],
    encoder: Encoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = []
    for archive in archives:
        search, diagnostics = CaseSearch(archive, encoder), Diagnostics(archive, encoder)
        diagnostics.describe(query(search, where))  # type: ignore[arg-type]  # what is kept is read once
        with counting(monkeypatch) as counted:
            result = query(search, where)
            diagnostics.describe(result)  # type: ignore[arg-type]
            archive.facets()
        assert len(result.cases) == 10  # type: ignore[attr-defined]
        assert counted["statements"] and counted["rows"]
        found.append(counted)
    small, large = found
    for what in ("statements", "rows", "cases", "images"):
        assert large[what] <= 1.2 * small[what] + 5, (what, small, large)


def test_the_first_query_of_a_new_process_reads_no_more_of_a_larger_archive(
    archives: list[Archive], encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once another process has kept what it derived."""
    found = []
    for archive in archives:
        Diagnostics(archive, encoder).describe(CaseSearch(archive, encoder).by_case("case-40", where=FILTER))
        with Archive.open(archive.path) as opened, counting(monkeypatch) as counted:
            result = CaseSearch(opened, encoder).by_case("case-40", where=FILTER)
            (judged,) = Diagnostics(opened, encoder).describe(result).comparability
            assert judged.filtered
        found.append(counted)
    small, large = found
    for what in ("statements", "rows", "cases", "images"):
        assert large[what] <= small[what] + 5, (what, small, large)


def test_a_filter_that_is_new_reads_no_more_of_a_larger_archive(
    archives: list[Archive], encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = CaseFilter(sites=FILTER.sites[1:])
    found = []
    for archive in archives:
        search, diagnostics = CaseSearch(archive, encoder), Diagnostics(archive, encoder)
        diagnostics.describe(search.by_case("case-40"))
        with counting(monkeypatch) as counted:
            (judged,) = diagnostics.describe(search.by_case("case-40", where=new)).comparability
            assert judged.filtered
        found.append(counted)
    small, large = found
    for what in ("statements", "cases", "images"):
        assert large[what] <= small[what] + 5, (what, small, large)
    # The vectors of the sample's images, four a case.
    assert large["rows"] <= FILTERED_SAMPLE * 4 + 500 < IMAGES[1] / 2, (small, large)


@pytest.mark.slow
def test_a_query_by_words_makes_no_object_for_each_report(archives: list[Archive], encoder: Encoder) -> None:
    """Two and four thousand reports, and in each the query's words."""
    found = []
    for archive in archives:
        search, diagnostics = CaseSearch(archive, encoder), Diagnostics(archive, encoder)

        def query(search: CaseSearch = search, diagnostics: Diagnostics = diagnostics) -> None:
            diagnostics.describe(by_report(search, None))  # type: ignore[arg-type]

        query()
        found.append(min(objects_made(query) for _ in range(2)))
    small, large = found
    assert small
    assert large <= small + 1_000, "2,000 more reports"


def by_image(archive: Archive, encoder: Encoder, folder: Path) -> object:
    result = CaseSearch(archive, encoder).by_image(PICTURE)
    return Diagnostics(archive, encoder).describe(result)


def a_gallery(archive: Archive, encoder: Encoder, folder: Path) -> object:
    query = SyntheticVectors(IMAGES[0], encoder.dim).queries(1)
    found = gallery(archive, query, fingerprint=encoder.fingerprint, system=vocabulary().systems[0].name)
    assert sum(row.available > 0 for row in found.rows) == 3
    return found


def a_saved_query(archive: Archive, encoder: Encoder, folder: Path) -> object:
    queries = SavedQueries(folder)
    queries.save("mine", Query(case="case-40"))
    found = CaseSearch(archive, encoder).run(queries.load("mine"))
    queries.delete("mine")
    return found


def add_an_image(archive: Archive, encoder: Encoder, folder: Path) -> object:
    data = png_bytes(PICTURE)
    key = f"added-{archive.status().images}"
    row = ManifestRow(2, "x.png", Path("x.png"), key, key, "Scattered cells, some enlarged.", site="site-1")
    item = NewImage(row, hashlib.sha256(key.encode()).hexdigest(), data, decode_image(data))
    added = archive.add([item], SyntheticVectors(8, encoder.dim).queries(1), fingerprint=encoder.fingerprint)
    assert added == 1
    return added


@pytest.mark.slow
@pytest.mark.parametrize(
    "operation",
    [by_image, a_gallery, a_saved_query, add_an_image, lambda archive, *_: archive.status(), lambda a, *_: a.facets()],
    ids=["by image", "gallery", "saved query", "addition", "status", "facets"],
)
def test_an_operation_reads_and_makes_no_more_of_a_larger_archive(
    operation: Callable[[Archive, Encoder, Path], object],
    archives: list[Archive],
    encoder: Encoder,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    found, made = [], []
    for archive in archives:
        for _ in range(2):  # what is kept is read once; an addition changes how the next one is planned
            operation(archive, encoder, tmp_path)
        with counting(monkeypatch) as counted:
            assert operation(archive, encoder, tmp_path) is not None
        found.append(counted)
        made.append(min(objects_made(lambda: operation(archive, encoder, tmp_path)) for _ in range(2)))  # noqa: B023
    small, large = found
    assert small["statements"]
    for what in ("statements", "rows", "cases", "images"):
        assert large[what] <= 1.2 * small[what] + 5, (what, small, large)
    assert made[1] <= made[0] + 1_000, "8,000 more images of 2,000 cases"


def test_what_was_added_is_all_that_is_read_anew(
    archives: list[Archive], encoder: Encoder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """After a change by another process, too, what is read is the change."""
    archive = archives[0]
    search, diagnostics = CaseSearch(archive, encoder), Diagnostics(archive, encoder)
    diagnostics.describe(by_report(search, None))  # type: ignore[arg-type]
    with Archive.open(archive.path) as other:
        other.remove("case-7")
    with counting(monkeypatch) as counted:
        diagnostics.describe(by_report(search, None))  # type: ignore[arg-type]
    with counting(monkeypatch) as unchanged:
        diagnostics.describe(by_report(search, None))  # type: ignore[arg-type]
    assert counted["rows"] <= unchanged["rows"] + 100, (counted, unchanged)
    assert counted["cases"] == unchanged["cases"]
