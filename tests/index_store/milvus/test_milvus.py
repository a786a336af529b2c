"""Vectors in Milvus: the same answers as from FAISS, whatever a writer does meanwhile, and whoever was killed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index_store import Archive, CaseFilter, IndexDriftError, StorageError
from index_store.catalog.case_reader import CaseReader
from index_store.catalog.case_writer import remove_case
from index_store.files.image_store import ImageStore
from index_store.maintenance import index_checks
from index_store.milvus import collection as milvus_index
from index_store.milvus.collection import MilvusIndex, TooManyError
from index_store.milvus.connection import STRONG, MilvusServer
from index_store.milvus.filter_fields import NO_FIELDS, Fields, token
from index_store.milvus.search import MILVUS
from index_store.milvus.sync import MilvusSync
from index_store.milvus.sync_position import SyncPosition, SyncPositions
from index_store.vector_engines import engine_for
from index_store.vectors import IndexIdentity, LogPosition, Selection, VectorIndex
from tests.index_store.archive_builders import (
    DIM,
    FINGERPRINT,
    OTHER,
    add_manifest,
    embed_reports,
    found_by_itself,
    records,
    reembed,
    simple_rows,
    unit,
    write_manifest,
)
from tests.index_store.archive_processes import add_until_killed_in_milvus, readers_elsewhere, run
from tests.index_store.filtered_search import FILTERS, QUERIES, expected
from tests.milvus_server import free_port, milvus_server
from tests.permissions import open_to_others

ROOT = Path(__file__).parents[3]
SEARCHES = """
import sys
import numpy as np
from index_store import Archive, StorageError
with Archive.open(sys.argv[1], read_only=True) as archive:
    try:
        archive.search(np.eye(1, 16, dtype=np.float32), 1, fingerprint=archive.encoder.fingerprint)
    except StorageError as error:
        print(error)
"""
ENCODER = 1
"""The id of an archive's first encoder."""
KILLED = -9
BATCH = 3


@pytest.fixture
def archive(tmp_path: Path, milvus: str) -> Iterator[Archive]:
    """An empty archive whose vectors are in Milvus. (The fixtures `filled` and `mixed` fill it.)"""
    with Archive.create(tmp_path / "archive", vectors=milvus) as archive:
        yield archive


@pytest.fixture
def server(milvus: str, tmp_path: Path) -> Iterator[MilvusServer]:
    """A connection beside that of the archive."""
    server = MilvusServer(milvus, tmp_path)
    yield server
    server.close()


@pytest.fixture
def collection(server: MilvusServer, tmp_path: Path) -> Iterator[MilvusIndex]:
    index = MilvusIndex.create(server, f"contract_{tmp_path.name}", 8)
    yield index
    index.drop()


def sync_of(archive: Archive, server: MilvusServer, notes: list[str] | None = None) -> MilvusSync:
    """The archive's collection of images, as another process would follow it."""
    identity = IndexIdentity(archive.uuid, FINGERPRINT, DIM)
    synced = MilvusSync(server, identity, ENCODER, [] if notes is None else notes)
    synced.refresh()
    return synced


def stored_fields(archive: Archive, server: MilvusServer, image_id: int) -> Fields | None:
    """The fields by which an image is filtered, as its collection has them; None where it does not hold the image."""
    names = list(NO_FIELDS)
    rows = server.client.query(
        position_of(archive, server).collection,
        filter=f"image_id == {image_id}",
        output_fields=names,
        consistency_level=STRONG,
    )
    return {name: rows[0][name] for name in names} if rows else None


def position_of(archive: Archive, server: MilvusServer) -> SyncPosition:
    position = SyncPositions(server, archive.uuid).read(ENCODER)
    assert position is not None
    return position


def answers_are_true(archive: Archive) -> None:
    """Searched with and without filters, it answers what the records say."""
    for name in ("none", "site", "stain", "not a patient", "several"):
        where, permits = FILTERS[name]
        found = archive.search(QUERIES, 5, where=where, fingerprint=FINGERPRINT)
        assert found == [expected(archive, query, 5, permits) for query in QUERIES], name


def some_vectors(count: int, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(count, 8)))


@pytest.mark.parametrize("named_at_once", [pytest.param(milvus_index.MAX_IDS, marks=pytest.mark.slow), 7])
def test_the_contract_of_a_vector_index(
    collection: MilvusIndex, named_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against brute force, under every kind of selection, in one request and in several, with most scores tied."""
    monkeypatch.setattr(milvus_index, "MAX_IDS", named_at_once)
    index: VectorIndex = collection
    vectors = some_vectors(9)[np.random.default_rng(1).integers(0, 9, 60)]
    ids = np.sort(np.random.default_rng(2).choice(500, 60, replace=False)).astype(np.int64)
    index.add(ids[:40], vectors[:40])
    index.add(ids[40:], vectors[40:])
    assert (index.count, index.dim) == (60, 8)
    queries = some_vectors(4, seed=7)
    named = np.append(ids[::3], 777).astype(np.int64)
    nobody = np.array([], dtype=np.int64)
    for selection, k in product(
        (
            None,
            Selection(named),
            Selection(named, excluding=True),
            Selection(nobody),
            Selection(nobody, excluding=True),
        ),
        (1, 5, 100),
    ):
        allowed = np.ones(60, bool) if selection is None else np.isin(ids, selection.ids) != selection.excluding
        found = index.search(queries, k, selection=selection)
        assert found == [brute_force(ids[allowed], vectors[allowed], query, k) for query in queries]
        assert found == [index.search(query[None], k, selection=selection)[0] for query in queries]
    assert index.search(queries[:0], 3) == []
    index.remove(np.array([*ids[:2], 999], dtype=np.int64))
    assert index.count == 58
    assert not {*ids[:2].tolist()} & {image_id for image_id, _ in index.search(vectors[:1], 100)[0]}
    index.add(ids[:1], vectors[:1])
    assert index.search(vectors[:1], 100)[0] == brute_force(
        np.delete(ids, 1), np.delete(vectors, 1, 0), vectors[0], 100
    )


def brute_force(ids: np.ndarray, vectors: np.ndarray, query: np.ndarray, k: int) -> list[tuple[int, float]]:
    scores = (vectors.astype(np.float64) * query.astype(np.float64)).sum(axis=1)
    return [(int(ids[i]), float(scores[i])) for i in np.lexsort((ids, -scores))[:k]]


def test_of_equal_images_those_with_the_lowest_ids_are_found(collection: MilvusIndex) -> None:
    """There are more of them than are fetched at first, and Milvus returns them in any order."""
    ids = np.arange(60, dtype=np.int64)
    collection.add(ids[::-1], np.repeat(some_vectors(1), 60, axis=0))
    (ranking,) = collection.search(some_vectors(1), 3)
    assert [image_id for image_id, _ in ranking] == [0, 1, 2]


def test_more_than_milvus_gives_out_is_not_asked_of_it(collection: MilvusIndex) -> None:
    with pytest.raises(TooManyError):
        collection.candidates(some_vectors(1), 16_384, "")


@pytest.mark.parametrize("k", [pytest.param(1, marks=pytest.mark.slow), 10, pytest.param(100, marks=pytest.mark.slow)])
def test_filters_hold_before_ranking_and_exactly(mixed: Archive, k: int) -> None:
    for name, (where, permits) in FILTERS.items():
        found = mixed.search(QUERIES, k, where=where, fingerprint=FINGERPRINT)
        assert found == [expected(mixed, query, k, permits) for query in QUERIES], name
    assert mixed.notes == ()


def test_a_long_answer_comes_from_the_records(filled: Archive) -> None:
    (hits,) = filled.search(QUERIES[:1], 20_000, fingerprint=FINGERPRINT)
    assert hits == expected(filled, QUERIES[0], 20_000, lambda case, image: True)
    assert "the records answered" in filled.notes[-1]


@pytest.mark.slow
def test_what_is_filed_anew_is_found_by_its_new_filter(filled: Archive, manifest: Path) -> None:
    rows = simple_rows(12)
    rows[0] |= {"site": 'a "strange" \\ site\'s name, für dich'}
    rows[1] |= {"stain": "MGG", "patient": "patient-5"}
    rows[2] |= {"report": "Revised."}  # no filter asks for it, but an index of reports follows the log
    before = filled.status().log_sequence
    add_manifest(filled, write_manifest(manifest, rows))
    assert filled.status().log_sequence == before + 6
    assert filled.status().index_sequence == before + 6
    for where, case in (
        (CaseFilter(sites=(rows[0]["site"],)), "case-0"),
        (CaseFilter(stains=("MGG",)), "case-1"),
    ):
        (hits,) = filled.search(QUERIES[:1], 10, where=where, fingerprint=FINGERPRINT)
        assert [filled.image(hit.image_id).case_key for hit in hits] == [case]
    answers_are_true(filled)
    (hits,) = filled.search(QUERIES[:1], 20, where=CaseFilter(exclude_patients=("patient-5",)), fingerprint=FINGERPRINT)
    assert len(hits) == 9


def test_milvus_learns_no_patient_no_case_and_no_report(filled: Archive, server: MilvusServer) -> None:
    (image,) = filled.case("case-3").images
    filed = stored_fields(filled, server, image.id)
    case = {"case_id": filled.case("case-3").id, "patient_id": 2, "phantom": False, "site": "cervix", "system": ""}
    assert filed == case | {
        "category": "HSIL",
        "source": "",
        "mpp": -1.0,
        "stain": "Giemsa",
        "preparation": "",
        "kind": "",
    }
    assert "patient-" not in str(filed)
    assert "case-" not in str(filed)
    assert stored_fields(filled, server, 999) is None


def test_tokens_are_short_plain_and_apart() -> None:
    values = ["", "cervix", "Bethesda cervical 2014", "ä", "x" * 65, "x" * 66, 'a"b', "#", "a\nb"]
    tokens = [token(value) for value in values]
    assert len(set(tokens)) == len(values)
    assert tokens[:3] == values[:3]
    assert all(len(each.encode()) <= 64 and not set(each) & set("\"'\\\n") for each in tokens)


@pytest.mark.cluster
def test_readers_in_two_processes_stay_in_step_with_a_writer(
    tmp_path: Path, new_catalog: str, milvus_on_a_port: str
) -> None:
    """The whole of it: records in PostgreSQL, vectors in Milvus, and nothing in the readers."""
    with Archive.create(tmp_path / "archive", catalog=new_catalog, vectors=milvus_on_a_port) as archive:
        archive.use_encoder(FINGERPRINT, name="test encoder", dim=DIM)
        with readers_elsewhere(archive.path, [tmp_path / "host-1", tmp_path / "host-2"], 6 * BATCH, BATCH):
            add_manifest(archive, write_manifest(tmp_path / "manifest.csv", simple_rows(6 * BATCH)), batch=BATCH)
        found_by_itself(archive)


@pytest.mark.cluster
def test_a_writer_killed_at_any_call_to_milvus(tmp_path: Path, milvus_on_a_port: str) -> None:
    rows = simple_rows(6)
    first = write_manifest(tmp_path / "first.csv", rows[:3])
    changed = [{**row, "site": "urine"} if i == 0 else row for i, row in enumerate(rows)]
    whole = write_manifest(tmp_path / "whole.csv", changed)
    for call in range(1, 100):
        folder = tmp_path / f"archive-{call}"
        with Archive.create(folder, vectors=milvus_on_a_port) as archive:
            add_manifest(archive, first, in_place=True)
        code = run(add_until_killed_in_milvus, folder, whole, call)
        with Archive.open(folder, read_only=True) as reader:  # nobody has put it right yet
            answers_are_true(reader)
        with Archive.open(folder) as archive:
            add_manifest(archive, whole, in_place=True)
            answers_are_true(archive)
            found_by_itself(archive)
            assert not any("rebuilt" in note for note in archive.notes), "what was half applied is applied again"
        if code == 0:
            break
        assert code == KILLED
    assert call > 8


@pytest.mark.slow
def test_a_reader_whose_transaction_is_older_than_the_collection_looks_again(
    filled: Archive, server: MilvusServer
) -> None:
    synced = sync_of(filled, server)
    with records(filled.path) as session:
        reader = CaseReader(session, ImageStore(filled.path / "images"))
        synced.search(session, reader, QUERIES, 5, None, last=False)  # its snapshot begins
        before = expected(filled, QUERIES[0], 5, lambda case, image: True)
        with Archive.open(filled.path) as writer:
            writer.remove(filled.image(before[0].image_id).case_key)
        assert synced.search(session, reader, QUERIES, 5, None, last=False) is None
        assert synced.search(session, reader, QUERIES[:1], 5, None, last=True) == [
            [(hit.image_id, hit.score) for hit in before]
        ]
    answers_are_true(filled)


@pytest.mark.slow
def test_a_writer_that_moves_the_collection_during_a_search_is_noticed(
    filled: Archive, server: MilvusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its candidates may be of two states: the search is repeated, or, at the last attempt, ranked from the records."""
    notes: list[str] = []
    synced, images = sync_of(filled, server, notes), ImageStore(filled.path / "images")
    candidates, keys = MilvusIndex.candidates, iter(["case-2", "case-7"])

    def meanwhile(index: MilvusIndex, *arguments: Any) -> list[Any]:
        with Archive.open(filled.path) as writer:
            writer.remove(next(keys))
        return candidates(index, *arguments)

    monkeypatch.setattr(MilvusIndex, "candidates", meanwhile)
    with records(filled.path) as session:
        assert synced.search(session, CaseReader(session, images), QUERIES[:1], 12, None, last=False) is None
    without_case_2 = expected(filled, QUERIES[0], 12, lambda case, image: True)
    with records(filled.path) as session:
        rankings = synced.search(session, CaseReader(session, images), QUERIES[:1], 12, None, last=True)
    assert rankings == [[(hit.image_id, hit.score) for hit in without_case_2]]
    assert "the records answered" in notes[-1]


@pytest.mark.parametrize(
    "step", [pytest.param("begins", marks=pytest.mark.slow), "adds", pytest.param("ends", marks=pytest.mark.slow)]
)
def test_what_a_writer_left_half_applied_is_ranked_from_the_records(
    filled: Archive, manifest: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails before it begins to apply the log, after it has removed what changed, or before it says that it is
    done."""
    rows = simple_rows(15)
    rows[0] |= {"site": "urine", "stain": "MGG"}
    calls = {"begins": (MilvusSync, "_apply"), "adds": (MilvusIndex, "add"), "ends": (SyncPositions, "write")}
    owner, name = calls[step]
    as_ever, left = getattr(owner, name), {"begins": 0, "adds": 0, "ends": 1}[step]

    def fails(*arguments: Any, **options: Any) -> Any:
        nonlocal left
        if left == 0:
            raise StorageError("no answer")
        left -= 1
        return as_ever(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, fails)
        with records(filled.path, writing=True) as session:
            remove_case(session, "case-4")
        add_manifest(filled, write_manifest(manifest, rows))
        assert filled.notes == ("no answer",)
    with Archive.open(filled.path, read_only=True) as reader:
        answers_are_true(reader)
        assert reader.notes == ()
    with Archive.open(filled.path) as archive:
        assert archive.notes == ()
        found_by_itself(archive)
        answers_are_true(archive)


@pytest.mark.parametrize(
    "lost",
    [
        "the collection",
        pytest.param("its position", marks=pytest.mark.slow),
        pytest.param("vectors", marks=pytest.mark.slow),
        pytest.param("history", marks=pytest.mark.slow),
    ],
)
def test_what_does_not_fit_is_rebuilt_by_a_writer_and_avoided_by_a_reader(
    filled: Archive, server: MilvusServer, lost: str
) -> None:
    positions, position = SyncPositions(server, filled.uuid), position_of(filled, server)
    index = MilvusIndex(server, position.collection, DIM)
    if lost == "the collection":
        index.drop()
    elif lost == "its position":
        server.client.drop_collection(positions.collection)
    elif lost == "vectors":
        index.remove(np.array([3], dtype=np.int64))
    else:
        elsewhere = LogPosition(position.low.sequence - 1, 1)
        positions.write(ENCODER, SyncPosition(position.collection, elsewhere, elsewhere))
    filled.close()
    with Archive.open(filled.path, read_only=True) as reader:
        answers_are_true(reader)
        assert any("the records answered" in note for note in reader.notes)
    with Archive.open(filled.path) as archive:
        assert "was rebuilt from the archive's records" in archive.notes[0]
        found_by_itself(archive)
        answers_are_true(archive)
        family = [name for name in collections(archive, server) if name.startswith(f"{positions.prefix}_{ENCODER}_")]
        assert family == [position_of(archive, server).collection]


@pytest.mark.slow
def test_a_collection_from_before_images_had_a_scale_is_not_filtered_by_it_and_made_anew_by_a_writer(
    filled: Archive, server: MilvusServer
) -> None:
    positions, position = SyncPositions(server, filled.uuid), position_of(filled, server)
    former = f"{positions.prefix}_{ENCODER}_0123abcd"
    MilvusIndex.create(server, former, DIM)
    positions.write(ENCODER, SyncPosition(former, position.low, position.high))
    filled.close()
    with Archive.open(filled.path, read_only=True) as reader:
        (hits,) = reader.search(
            np.eye(1, DIM, dtype=np.float32), 5, where=CaseFilter(mpp=(0.1, 1)), fingerprint=FINGERPRINT
        )
        assert hits == []
        assert any("the records answered" in note for note in reader.notes)
    with Archive.open(filled.path) as archive:
        assert "it lacked the scale of images" in archive.notes[0]
        answers_are_true(archive)


@pytest.mark.slow
def test_records_restored_from_an_older_dump_are_noticed(filled: Archive, tmp_path: Path) -> None:
    older = Path(shutil.copytree(filled.path, tmp_path / "older"))
    add_manifest(filled, write_manifest(tmp_path / "more" / "manifest.csv", simple_rows(3, prefix="more-")))
    filled.close()
    with Archive.open(older, read_only=True) as reader:
        status = reader.status()
        assert status.index_sequence <= status.log_sequence, "behind by less than nothing"
        (note,) = status.notes
        assert "restored from a backup?" in note
        assert "is not used" in note
        answers_are_true(reader)
    with Archive.open(older) as archive:
        assert "was rebuilt from the archive's records" in archive.notes[0]
        found_by_itself(archive)
        answers_are_true(archive)
    with Archive.open(older, read_only=True) as reader:
        assert reader.status().notes == ()


@pytest.mark.slow
@pytest.mark.parametrize("stray", ["an image that is gone", "another site"])
def test_what_the_records_do_not_permit_gets_no_answer_through(
    filled: Archive, server: MilvusServer, stray: str
) -> None:
    index = MilvusIndex(server, position_of(filled, server).collection, DIM)
    filed = stored_fields(filled, server, 1)
    assert filed is not None
    if stray == "another site":
        assert filed["site"] == "cervix"
        vector = index.vectors_of(np.array([1]))
        index.remove(np.array([1]))
        index.add(np.array([1]), vector, fields=[{**filed, "site": "urine"}])
        where = CaseFilter(sites=("urine",))
    else:
        index.remove(np.array([1]))
        index.add(np.array([4711]), QUERIES[:1])
        where = None
    with pytest.raises(IndexDriftError, match="no answer was given"):
        filled.search(QUERIES, 12, where=where, fingerprint=FINGERPRINT)


@pytest.mark.cluster
def test_a_server_that_does_not_answer_stops_searches_and_no_writer(tmp_path: Path) -> None:
    port, data = free_port(), tmp_path / "data"
    rows = simple_rows(4)
    with milvus_server(data, port) as uri, Archive.create(tmp_path / "archive", vectors=uri) as archive:
        add_manifest(archive, write_manifest(tmp_path / "manifest.csv", rows[:3]))
    with Archive.open(tmp_path / "archive") as archive:
        add_manifest(archive, write_manifest(tmp_path / "manifest.csv", rows))
        assert f"in Milvus at {uri} could not be read or written" in archive.notes[0]
        with pytest.raises(StorageError, match="could not be read or written"):
            archive.search(QUERIES, 3, fingerprint=FINGERPRINT)
    with milvus_server(data, port), Archive.open(tmp_path / "archive", read_only=True) as reader:
        for _ in range(6):  # gRPC pauses before it knocks again where nobody answered; pymilvus waits 10 s each time
            with contextlib.suppress(StorageError):
                answers_are_true(reader)
                break
        else:
            pytest.fail("the server is back, and the archive does not answer")
        with Archive.open(tmp_path / "archive") as archive:
            found_by_itself(archive)
            assert archive.notes == ()


@pytest.mark.slow
def test_another_encoder_takes_over_and_the_former_ones_collection_is_dropped(
    filled: Archive, server: MilvusServer
) -> None:
    embed_reports(filled)
    before = collections(filled, server)
    reembed(filled, OTHER)
    assert len(collections(filled, server)) == len(before) + 1
    found_by_itself(filled)
    assert filled.drop_encoder(FINGERPRINT) == 12
    assert len(collections(filled, server)) == len(before)
    assert not set(collections(filled, server)) & {name for name in before if not name.endswith("_standing")}
    found_by_itself(filled)
    assert filled.notes == ()


@pytest.mark.slow
def test_an_examination_finds_what_the_collection_lacks_and_has_beyond(filled: Archive, server: MilvusServer) -> None:
    embed_reports(filled)
    with Archive.open(filled.path, read_only=True) as reader:
        found = reader.examine()
        assert (found.findings, found.recalled) == ((), 12)
    index = sync_of(filled, server).index
    vectors = index.vectors_of(np.array([3, 5, 8], dtype=np.int64))
    index.remove(np.array([3, 5], dtype=np.int64))
    index.add(np.array([5, 99], dtype=np.int64), vectors[[2, 0]])  # the number is right, and nothing else
    with Archive.open(filled.path, read_only=True) as reader:
        found = reader.examine()
    assert [(finding.what, finding.examples) for finding in found.findings] == [
        ("the index holds images that the records do not", ("image 99",)),
        ("stored vectors do not find themselves", ("image 3", "image 5")),
    ]
    repaired = filled.examine(repair=True)
    assert repaired.healthy
    assert len(repaired.findings) == 2
    answers_are_true(filled)


def test_an_examination_names_a_collection_that_is_gone(filled: Archive, server: MilvusServer) -> None:
    embed_reports(filled)
    sync_of(filled, server).index.drop()
    with Archive.open(filled.path, read_only=True) as reader:
        whats = [finding.what for finding in reader.examine().findings]
    assert whats == ["the index is behind the change log", "index and records differ in number"]
    filled.rebuild_index()
    with Archive.open(filled.path, read_only=True) as reader:
        assert reader.examine().findings == ()


@pytest.mark.slow
def test_an_examination_says_where_somebody_wrote_meanwhile(filled: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between its two looks at the collection."""
    embed_reports(filled)
    as_ever = index_checks.stored_vectors

    def change_and_look(*arguments: Any) -> Any:
        filled.remove("case-4")
        return as_ever(*arguments)

    monkeypatch.setattr(index_checks, "stored_vectors", change_and_look)
    with Archive.open(filled.path, read_only=True) as reader:
        (finding,) = (finding for finding in reader.examine().findings if finding.check == "index")
    assert finding.what == "the index could not be examined"
    assert "were changed meanwhile" in finding.examples[0]


def collections(archive: Archive, server: MilvusServer) -> list[str]:
    prefix = SyncPositions(server, archive.uuid).prefix
    return sorted(name for name in server.client.list_collections() if name.startswith(prefix))


@pytest.mark.slow
def test_milvus_lite_in_the_folder_is_enough_to_try_it(tmp_path: Path) -> None:
    with Archive.create(tmp_path / "archive", vectors="vectors.db") as archive:
        add_manifest(archive, write_manifest(tmp_path / "manifest.csv", simple_rows(3)))
        found_by_itself(archive)
        answers_are_true(archive)
        assert (tmp_path / "archive" / "vectors.db").exists()
        assert json.loads((tmp_path / "archive" / "archive.json").read_text())["vectors"] == "vectors.db"


@pytest.mark.skipif(os.name == "nt", reason="flock")
def test_a_milvus_lite_file_that_is_in_use_is_named_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import fcntl

    (tmp_path / "vectors.db").mkdir()
    with (tmp_path / "vectors.db" / "LOCK").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(StorageError, match="lets one process at a time use them"):
            MilvusServer("vectors.db", tmp_path).client  # noqa: B018
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
def test_a_second_process_on_a_milvus_lite_file_gets_a_sentence(tmp_path: Path) -> None:
    with Archive.create(tmp_path / "archive", vectors="vectors.db") as archive:
        add_manifest(archive, write_manifest(tmp_path / "manifest.csv", simple_rows(3)))
        other = subprocess.run(
            [sys.executable, "-c", SEARCHES, str(tmp_path / "archive")],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
    assert other.stderr == ""
    assert other.stdout.count("\n") == 1
    assert "one process at a time" in other.stdout
    assert "records are not touched" in other.stdout


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
@pytest.mark.usefixtures("no_umask")
def test_a_milvus_lite_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    with Archive.create(tmp_path / "archive", vectors="vectors.db") as archive:
        add_manifest(archive, write_manifest(tmp_path / "manifest.csv", simple_rows(3)))
        assert (archive.path / "vectors.db").stat().st_mode & 0o777 == 0o700
    assert open_to_others(tmp_path / "archive") == {}


@pytest.mark.parametrize(
    "uri",
    [
        "http://root:hush-hush@milvus:19530",
        "milvus:19530",
        "http://",
        "vectors",
        "ftp://milvus",
        "tcp://x/hush-hush.db",
    ],
)
def test_addresses_that_cannot_be_meant(tmp_path: Path, uri: str) -> None:
    with pytest.raises(StorageError) as refused:
        Archive.create(tmp_path / "archive", vectors=uri)
    assert "hush" not in str(refused.value)
    assert not (tmp_path / "archive").exists()
    assert engine_for("https://milvus.example:443") is MILVUS
