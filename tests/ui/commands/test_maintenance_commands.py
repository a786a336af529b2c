"""`coin doctor`, `backup`, `restore`, `reembed` and `encoders` as their users meet them."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import threading
from pathlib import Path

import pytest

from generation.phantom import Phantom
from index_store import Archive
from retrieval import RESEARCH_USE
from tests.clip_model import tiny_clip
from tests.ui.conftest import CASES, coin


@pytest.fixture
def own_archive(environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the archive that a test may change, set as the archive in force."""
    folder = Path(shutil.copytree(environment["COIN_ARCHIVE"], tmp_path / "archive"))
    monkeypatch.setenv("COIN_ARCHIVE", str(folder))
    return folder


@pytest.fixture(scope="module")
def other_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("models") / "other", seed=1)


def first_picture(folder: Path) -> Path:
    return min(path for path in (folder / "images").rglob("*") if path.is_file())


def test_doctor_says_that_all_is_well(own_archive: Path, phantoms: list[Phantom]) -> None:
    result = coin("doctor")
    assert result.exit_code == 0, result.output
    assert "Nothing is wrong." in result.stdout
    assert f"searched with {CASES} stored vectors" in result.stdout
    assert f"{CASES} of {CASES} images" in result.stdout
    assert result.stdout.rstrip().endswith(RESEARCH_USE)
    found = json.loads(coin("doctor", "--json", "--recall", "5", "--quick").stdout)
    assert (found["healthy"], found["images"], found["recalled"], found["checksums"]) == (True, CASES, 5, False)
    assert found["findings"] == []


def test_doctor_names_what_is_wrong_and_never_a_report(own_archive: Path, phantoms: list[Phantom]) -> None:
    picture = first_picture(own_archive)
    picture.write_bytes(picture.read_bytes()[:-1])
    shutil.rmtree(own_archive / "index")
    (own_archive / "images" / "stray.png").write_bytes(b"stray")
    result = coin("doctor")
    assert result.exit_code == 1
    assert "WRONG (files): stored image files were altered: 1" in result.stdout
    assert "harmless (index): there was no saved vector index" in " ".join(result.stdout.split())
    assert not (own_archive / "index").exists(), "only --repair writes"
    assert coin("doctor", "--quick").stdout.count("WRONG") == 1, "the altered file is still there"
    repaired = coin("doctor", "--repair")
    assert repaired.exit_code == 1, "an altered picture cannot be put right"
    assert repaired.stdout.count("repaired (") == 2
    assert repaired.stdout.count("WRONG") == 1
    told = json.loads(coin("doctor", "--json").stdout)
    (finding,) = told["findings"]
    assert finding["examples"][0].startswith("case ")
    for phantom in phantoms:
        assert phantom.report not in result.output + repaired.output + json.dumps(told)
    coin("remove", "--yes", finding["examples"][0].split(",")[0].removeprefix("case "))
    assert coin("doctor").exit_code == 0


def test_doctor_of_no_archive(tmp_path: Path) -> None:
    result = coin("doctor", "--archive", tmp_path / "nowhere")
    assert result.exit_code == 1
    assert "there is no archive" in result.stderr


def test_there_and_back(own_archive: Path, tmp_path: Path) -> None:
    made = coin("backup", tmp_path / "backup")
    assert made.exit_code == 0, made.output
    assert f"{CASES} cases" in " ".join(made.stdout.split())  # wherever the line was broken
    restored = coin("restore", tmp_path / "backup", "--archive", tmp_path / "new")
    assert restored.exit_code == 0, restored.output
    assert "found themselves" in restored.stdout
    assert coin("doctor", "--archive", tmp_path / "new").exit_code == 0
    before, after = (
        json.loads(coin("status", "--json", "--archive", where).stdout) for where in (own_archive, tmp_path / "new")
    )
    place = {"path": "", "catalog": ""}
    assert before | place == after | place
    again = coin("backup", tmp_path / "backup")
    assert again.exit_code == 1
    assert "nothing is overwritten" in again.stderr
    onto = coin("restore", tmp_path / "backup")
    assert onto.exit_code == 1
    assert "nothing is overwritten" in onto.stderr
    search = coin("search", "--archive", tmp_path / "backup", "--text", "Clue cells.")
    assert search.exit_code == 1
    assert "coin restore" in search.stderr


def test_backup_as_json_and_without_a_lost_picture(own_archive: Path, tmp_path: Path) -> None:
    first_picture(own_archive).unlink()
    refused = coin("backup", tmp_path / "backup")
    assert refused.exit_code == 1
    assert "--incomplete" in refused.stderr
    card = json.loads(coin("backup", tmp_path / "backup", "--incomplete", "--json").stdout)
    assert (card["files"], len(card["damaged"])) == (CASES - 1, 1)
    restored = json.loads(coin("restore", tmp_path / "backup", "--archive", tmp_path / "new", "--json").stdout)
    assert [finding["what"] for finding in restored["examination"]["findings"]] == ["stored image files are missing"]


def test_reembed_switches_and_goes_back(own_archive: Path, other_encoder: Path, models: dict[str, str]) -> None:
    made = coin("reembed", "--encoder", other_encoder)
    assert made.exit_code == 0, made.output
    assert f"embedded {CASES} images and " in made.stdout
    assert "searches use it now" in made.stdout
    refused = coin("search", "--text", "Clue cells.")
    assert refused.exit_code == 1
    assert "coin reembed" in refused.stderr
    assert coin("search", "--text", "Clue cells.", "--encoder", other_encoder).exit_code == 0
    old, new = json.loads(coin("encoders", "--json").stdout)["encoders"]
    assert (old["active"], old["vectors"], new["active"], new["vectors"]) == (False, CASES, True, CASES)
    prints = [known["encoder"]["fingerprint"] for known in (old, new)]
    assert coin("encoders", "--switch", prints[0][:8]).exit_code == 0
    assert coin("search", "--text", "Clue cells.").exit_code == 0
    in_use = coin("encoders", "--drop", prints[0][:8])
    assert in_use.exit_code == 1
    assert "cannot be dropped" in in_use.stderr
    dropped = coin("encoders", "--drop", prints[1][:8])
    assert dropped.exit_code == 0
    assert f"deleted the vectors of {CASES} images" in dropped.stdout
    assert f"0 of {CASES} images" in dropped.stdout
    assert coin("doctor").exit_code == 0
    unknown = coin("encoders", "--drop", "zzz")
    assert unknown.exit_code == 1
    assert prints[0][:12] in unknown.stderr


@pytest.mark.slow
def test_reembed_says_what_keeps_it_from_switching(own_archive: Path, other_encoder: Path) -> None:
    first_picture(own_archive).unlink()
    made = coin("reembed", "--encoder", other_encoder, "--json")
    assert made.exit_code == 1
    told = json.loads(made.stdout)
    assert (told["embedded"], told["waiting"], told["switched"], len(told["skipped"])) == (CASES - 1, 1, False, 1)
    assert coin("search", "--text", "Clue cells.").exit_code == 0, "the encoder before still answers"
    text = coin("reembed", "--encoder", other_encoder)
    assert text.exit_code == 1
    assert "searches still use the previous encoder; 1 images lack a vector" in text.stdout
    assert coin("reembed", "--no-switch", "--drop-old").exit_code == 2


def test_reembed_drops_the_old_vectors_on_request(own_archive: Path, other_encoder: Path) -> None:
    made = coin("reembed", "--encoder", other_encoder, "--drop-old")
    assert made.exit_code == 0, made.output
    assert f"deleted the vectors of {CASES} images" in made.stdout
    assert json.loads(coin("status", "--json").stdout)["embeddings"].popitem()[1] == CASES


def test_a_second_writer_is_refused_by_name_or_waits(own_archive: Path, phantoms: list[Phantom]) -> None:
    holding, release = threading.Event(), threading.Event()

    def hold() -> None:
        with Archive.open(own_archive) as archive, archive.writer():
            holding.set()
            release.wait(600)

    holder = threading.Thread(target=hold)
    holder.start()
    assert holding.wait(600)
    refused = coin("remove", "--yes", phantoms[0].key)
    assert refused.exit_code == 1
    assert "process" in refused.stderr
    threading.Timer(0.2, release.set).start()
    assert coin("remove", "--yes", phantoms[0].key, "--wait", "60").exit_code == 0
    holder.join(600)


@pytest.mark.slow
def test_two_encoders_have_a_role_each(
    own_archive: Path, other_encoder: Path, models: dict[str, str], tmp_path: Path, manifest: Path
) -> None:
    made = coin("reembed", "--encoder", other_encoder, "--role", "text")
    assert made.exit_code == 0, made.output
    assert "searches by text use it now" in made.stdout
    images, texts = json.loads(coin("encoders", "--json").stdout)["encoders"]
    assert (images["roles"], texts["roles"]) == (["image"], ["text"])
    listed = coin("encoders").stdout
    assert "used by searches by image" in listed
    assert "used by searches by text" in listed
    status = coin("status").stdout
    assert "text encoder" in status
    assert "all images and reports embedded" in status
    roles = json.loads(coin("status", "--json").stdout)["roles"]
    prints = [known["encoder"]["fingerprint"] for known in (images, texts)]
    assert [roles[role]["encoder"]["fingerprint"] for role in ("image", "text")] == prints
    assert coin("search", "--case", "no such case", "--encoder", other_encoder).exit_code == 1
    query = ("search", "--text", "Clue cells.", "--channel", "joint", "--json")
    assert json.loads(coin(*query).stdout)["text_encoder"]["fingerprint"] == prints[1], "noted where it is"
    (own_archive / "encoders.json").unlink()
    assert "--text-encoder" in coin(*query).stderr
    found = json.loads(coin(*query, "--text-encoder", other_encoder).stdout)
    assert (found["encoder"]["fingerprint"], found["text_encoder"]["fingerprint"]) == tuple(prints)
    assert coin("doctor").exit_code == 0
    in_use = coin("encoders", "--drop", prints[1][:8])
    assert in_use.exit_code == 1
    assert "answers searches by text" in in_use.stderr
    assert coin("encoders", "--role", "text=" + prints[0][:8], "--role", "text=x").exit_code == 2
    assert coin("encoders", "--role", "sound=" + prints[0][:8]).exit_code == 2
    swapped = coin("encoders", "--role", f"image={prints[1][:8]}", "--role", f"text={prints[0][:8]}", "--json")
    assert swapped.exit_code == 0, swapped.output
    assert [known["roles"] for known in json.loads(swapped.stdout)["encoders"]] == [["text"], ["image"]]
    both = coin("reembed", "--role", "image")  # the archive's first encoder has both roles again
    assert both.exit_code == 0, both.output
    resumed = coin("reembed", "--role", "image", "--drop-old")  # as after a run that was stopped before it dropped
    assert f"`coin encoders --drop {prints[1][:12]}` deletes its vectors" in " ".join(resumed.stdout.split())
    assert f"deleted the vectors of {CASES} images" in coin("encoders", "--drop", prints[1][:12]).stdout
    assert "--drop" not in coin("reembed", "--role", "image", "--drop-old").stdout
    assert coin("search", "--text", "Clue cells.").exit_code == 0


@pytest.mark.slow
def test_add_gives_a_new_archive_both_encoders_or_says_what_is_left_behind(
    other_encoder: Path, models: dict[str, str], tmp_path: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**models, "COIN_ARCHIVE": str(tmp_path / "new")}.items():
        monkeypatch.setenv(name, value)
    lines = manifest.read_text(encoding="utf-8").splitlines()
    part = manifest.with_name("part.csv")
    part.write_text("\n".join(lines[:5]) + "\n", encoding="utf-8")
    assert coin("init").exit_code == 0
    added = coin("add", part, "--text-encoder", other_encoder)
    assert added.exit_code == 0, added.output
    assert "images were embedded for texts, too" in added.stdout
    (tmp_path / "new" / "encoders.json").unlink()  # as if it were added on another machine
    left = coin("add", manifest)
    assert "`coin reembed --role text --encoder …`" in " ".join(left.stdout.split())
    status = json.loads(coin("status", "--json").stdout)
    assert status["roles"]["text"]["images_without_vector"] == CASES - 4
    assert f"{CASES - 4} images and" in coin("status").stdout
    assert "harmless (records)" in coin("doctor").stdout
    refused = coin("add", manifest, "--text-encoder", models["COIN_ENCODER"])
    assert refused.exit_code == 1
    assert "--role text" in refused.stderr
    assert coin("reembed", "--role", "text", "--encoder", other_encoder).exit_code == 0
    assert json.loads(coin("status", "--json").stdout)["roles"]["text"]["images_without_vector"] == 0


def test_an_older_archive_is_brought_up_to_date_by_its_own_command_only(
    own_archive: Path, manifest: Path, tmp_path: Path
) -> None:
    cases = own_archive
    with contextlib.closing(sqlite3.connect(cases / "archive.sqlite")) as database:
        database.execute("ALTER TABLE archive DROP COLUMN text_encoder_id")
        place = ("slide_id", "slide_x", "slide_y", "slide_width", "slide_height", "slide_level", "slide_plane")
        for column in ("mpp", "mpp_source", *place):
            database.execute(f"ALTER TABLE images DROP COLUMN {column}")
        for table in ("counts", "slides"):
            database.execute(f"DROP TABLE {table}")
        database.execute("UPDATE schema_version SET version = 3")
        database.commit()
    status = coin("status", "--archive", cases)
    assert status.exit_code == 0, "the version before is read as it is"
    assert "not changed until `coin migrate` was run" in " ".join(status.stdout.split())
    for command in (["add", manifest], ["remove", "x"], ["doctor", "--repair"], ["reembed"]):
        refused = coin(*command, "--archive", cases)
        assert refused.exit_code == 1
        assert "Run `coin migrate`" in refused.output
    done = coin("migrate", "--archive", cases)
    assert done.exit_code == 0, done.output
    assert "from schema 3 to 8" in " ".join(done.output.split())
    assert str(tmp_path / "archive.schema-3") in " ".join(done.output.split())
    assert "coin migrate" not in coin("status", "--archive", cases).stdout
    assert coin("add", manifest, "--archive", cases).exit_code == 0
    assert coin("restore", tmp_path / "archive.schema-3", "--archive", tmp_path / "again").exit_code == 0
    assert "up to date" in coin("migrate", "--archive", cases).output
    assert coin("migrate", "--archive", tmp_path / "nothing").exit_code == 1
    assert coin("migrate", "--archive", cases, "--backed-up", "--backup", tmp_path / "b").exit_code == 2


@pytest.mark.slow
def test_where_no_encoder_is_named_the_archive_s_is_found(
    own_archive: Path, other_encoder: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Path(shutil.copytree(other_encoder, tmp_path / "home"))
    monkeypatch.delenv("COIN_ENCODER")
    (own_archive / "encoders.json").unlink(missing_ok=True)
    picture = sorted((manifest.parent / "images").iterdir())[0]
    unknown = coin("search", "--image", picture)
    assert unknown.exit_code == 1, "added before encoders were noted, by one that is not the starter"
    assert "--encoder or COIN_ENCODER" in unknown.stderr
    assert coin("reembed", "--encoder", home).exit_code == 0
    found = coin("search", "--image", picture, "--json")
    assert found.exit_code == 0, found.output
    added = coin("add", manifest)
    assert added.exit_code == 0, added.output
    home.rename(tmp_path / "elsewhere")
    for command in (["search", "--image", picture], ["add", manifest]):
        lost = coin(*command)
        assert lost.exit_code == 1
        assert "--encoder or COIN_ENCODER" in " ".join(lost.stderr.split())
        assert str(home) in lost.stderr
    assert coin("add", manifest, "--encoder", tmp_path / "elsewhere").exit_code == 0
    assert coin("add", manifest).exit_code == 0, "noted where it is now"


def test_embedding_anew_takes_the_archives_own_encoder_or_asks_for_it(
    own_archive: Path, models: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not take the starter, which would get the roles."""
    monkeypatch.delenv("COIN_ENCODER")
    noted = own_archive / "encoders.json"
    noted.unlink(missing_ok=True)
    for role, compares in (("image", "images"), ("text", "texts")):
        refused = coin("reembed", "--role", role)
        assert refused.exit_code == 1
        message = " ".join(refused.stderr.split())
        assert f"compares {compares}, and no encoder is named: name that one, or another, with --encoder." in message
        assert message.endswith("The starter is --encoder starter.")
    (known,) = json.loads(coin("encoders", "--json").stdout)["encoders"]
    noted.write_text(json.dumps({known["encoder"]["fingerprint"]: models["COIN_ENCODER"]}))
    done = coin("reembed", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["fingerprint"] == known["encoder"]["fingerprint"]
    assert len(json.loads(coin("encoders", "--json").stdout)["encoders"]) == 1


def test_what_is_noted_counts_only_where_it_is_the_archive_s(
    own_archive: Path, other_encoder: Path, models: dict[str, str], monkeypatch: pytest.MonkeyPatch, manifest: Path
) -> None:
    monkeypatch.delenv("COIN_ENCODER")
    with Archive.open(own_archive, read_only=True) as archive:
        assert archive.encoder is not None
        fingerprint = archive.encoder.fingerprint
    note = own_archive / "encoders.json"
    for text in ("", "[]", "{", json.dumps({fingerprint: 7}), json.dumps({fingerprint: str(other_encoder)})):
        note.write_text(text)
        refused = coin("add", manifest)
        assert refused.exit_code == 1
        assert "--encoder or COIN_ENCODER" in " ".join(refused.stderr.split())
    note.write_text(json.dumps({fingerprint: models["COIN_ENCODER"]}))
    assert coin("add", manifest).exit_code == 0
