"""A synthetic set: planned, generated, resumed, shared, searched for duplicates, and read by its users' libraries."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

import index_store
from generation import CoinGenerator, GenerationError, Provenance, SettingsError, read_provenance, save_png
from index_store import Archive, ReportRow, ReportTable, read_report_table
from retrieval import Encoder, SyntheticSet, SyntheticSetError, add_manifest, finish_set
from retrieval.synthetic.dataset import read_recipe
from retrieval.synthetic.layout import carried_columns
from retrieval.synthetic.plan import SetImage, Share, class_folders, plan_images
from tests.models import tiny_lora, tiny_sdxl
from tests.permissions import open_to_others

ROOT = Path(__file__).parents[3]
REPORTS = """image,report,category,site,seed,scan_file_name
a.jpg,Clusters of atypical cells.,HSIL,cervix,17,x.svs
b.jpg,No intraepithelial lesion (NILM).,NILM,cervix,18,
c.jpg,Clusters of atypical cells.,HSIL,cervix,19,
d.jpg,Single small cells in urine.,,urine,,
e.jpg, . ,HSIL,cervix,,
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("weights")
    base = tiny_sdxl(folder / "base")
    return base, tiny_lora(folder / "lora", base)


@pytest.fixture(scope="module")
def generator(weights: tuple[Path, Path]) -> CoinGenerator:
    return CoinGenerator(*weights, device="cpu")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ReportTable:
    path = tmp_path_factory.mktemp("table") / "reports.csv"
    path.write_text(REPORTS)
    return read_report_table(path)


@pytest.fixture(scope="module")
def whole(generator: CoinGenerator, table: ReportTable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished set of two images a report. Shared: tests that change one copy it."""
    made = SyntheticSet(tmp_path_factory.mktemp("set") / "set", table, generator, preset="draft", per_report=2)
    finish_set(made, generated=made.generate(), seconds=1.0)
    return made.folder


def opened(folder: Path, table: ReportTable, generator: CoinGenerator, **more: object) -> SyntheticSet:
    return SyntheticSet(folder, table, generator, **{"preset": "draft", "per_report": 2, **more})


def plan(table: ReportTable) -> tuple[SetImage, ...]:
    return plan_images([row for row in table.rows if row.line != 6], per_report=2, seed=0)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*.png")}


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_a_set_is_for_its_owner_alone(whole: Path) -> None:
    assert open_to_others(whole) == {}


def test_rows_of_one_report_get_pictures_of_their_own() -> None:
    rows = [ReportRow(line, report) for line, report in enumerate(["A.", "B.", "A.", "A."], start=2)]
    images = plan_images(rows, per_report=2, seed=5)
    a, b = (5 + int(hashlib.sha256(report).hexdigest()[:8], 16) for report in (b"A.", b"B."))
    assert [(image.row.line, image.seed) for image in images] == [
        (2, a), (2, a + 1), (3, b), (3, b + 1), (4, a + 2), (4, a + 3), (5, a + 4), (5, a + 5),
    ]  # fmt: skip
    assert len({image.seed for image in images}) == len(images)  # no two share their noise
    assert len({image.name for image in images}) == len(images)
    # A table that grew asks for the same, and for what is new.
    assert plan_images([*rows, ReportRow(6, "B.")], per_report=2, seed=5)[:8] == images


def test_classes_become_folders_that_no_two_share() -> None:
    folders = class_folders(["cervix HSIL", "thyroid III/AUS", "thyroid III AUS", "Unlabelled", "../..", ""])
    assert folders["cervix HSIL"] == "cervix_HSIL"
    assert folders[""] == "unlabelled"
    assert len({folder.casefold() for folder in folders.values()}) == 6
    assert all("/" not in folder and not folder.startswith(".") for folder in folders.values())


def test_shares_divide_the_reports() -> None:
    hashes = [f"{number:064x}" for number in range(50)]
    for of in (1, 3, 8):
        held = [[Share(number, of).holds(one) for number in range(1, of + 1)] for one in hashes]
        assert all(sum(shares) == 1 for shares in held)
    with pytest.raises(SyntheticSetError, match="no share 3 of 2"):
        Share(3, 2)


def test_a_set_describes_every_image(whole: Path, table: ReportTable) -> None:
    with (whole / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    for row in rows:
        provenance = read_provenance(whole / row["image"])
        assert isinstance(provenance, Provenance)
        assert (row["report_sha256"], row["prompt"]) == (provenance.report_sha256, provenance.prompt)
        assert int(row["seed"]) == provenance.seed
        assert row["synthetic"] == "true"
    # Every column of the table again, also those that are called as ours.
    assert [row["source_image"] for row in rows] == [f"{name}.jpg" for name in "aabbccdd"]
    assert [row["source_seed"] for row in rows] == ["17", "17", "18", "18", "19", "19", "", ""]
    assert [int(row["seed"]) - int(row["report_sha256"][:8], 16) for row in rows] == [0, 1, 0, 1, 2, 3, 0, 1]
    card = (whole / "README.md").read_text()
    assert card.startswith("---\nlicense: other\n")
    assert "Research use only" in card
    assert "| cervix_HSIL | 4 |" in card
    assert "atypical" not in card
    assert all("atypical" not in str(path) for path in whole.rglob("*"))


def test_torchvision_and_datasets_read_one_tree(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = ImageFolder(str(whole / "train"))
    assert loaded.classes == ["cervix_HSIL", "cervix_NILM", "unlabelled"]
    assert len(loaded) == 8
    lines = [json.loads(line) for line in (whole / "train" / "metadata.jsonl").read_text().splitlines()]
    assert {line["file_name"] for line in lines} == {
        str(Path(at).relative_to(whole / "train")) for at, _ in loaded.imgs
    }
    assert len({tuple(line) for line in lines}) == 1  # one schema
    # A column that ends so would be taken for another image.
    assert "scan_file_name_" in lines[0]
    assert "scan_file_name" not in lines[0]


def test_hugging_face_datasets_loads_it(whole: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the package datasets is not installed here")
    loaded = datasets.load_dataset("imagefolder", data_dir=str(whole), cache_dir=str(tmp_path))["train"]
    assert len(loaded) == 8
    assert loaded[0]["image"].size == (64, 64)
    assert loaded[0]["class"] == "cervix HSIL"


def test_existing_images_are_not_generated_again(
    whole: Path, generator: CoinGenerator, table: ReportTable, tmp_path: Path
) -> None:
    folder = shutil.copytree(whole, tmp_path / "set")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")}
    made = opened(folder, table, generator)
    assert made.generate() == 0
    summary = finish_set(made, generated=0, seconds=0.0)
    assert (summary.images, summary.drawn, summary.set_aside) == (8, 0, 0)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")} == before
    assert [str(problem) for problem in summary.skipped] == [
        "reports.csv, line 6: has a report without words. Write the report."
    ]
    # One image gone, one damaged, one without provenance: those three are drawn.
    gone, damaged, bare = sorted((folder / "train").glob("*/*.png"))[:3]
    gone.unlink()
    damaged.write_bytes(damaged.read_bytes()[:60])
    bare.write_bytes(b"not a picture")
    assert made.generate() == 3
    assert finish_set(made, generated=3, seconds=1.0).images == 8


def test_a_rerun_decodes_nothing_and_a_large_set_has_folders_below_those_of_its_classes(
    whole: Path, generator: CoinGenerator, table: ReportTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(whole, tmp_path / "set")  # as it was before, flat
    monkeypatch.setattr("retrieval.synthetic.plan.FLAT", 7)
    decoded: list[Path] = []
    decode = index_store.decode_image
    monkeypatch.setattr(
        index_store, "decode_image", lambda path, **more: (decoded.append(path), decode(path, **more))[1]
    )
    made = opened(folder, table, generator)
    assert made.generate() == 0
    assert finish_set(made, generated=0, seconds=0.0).classes == {"cervix_HSIL": 4, "cervix_NILM": 2, "unlabelled": 2}
    assert decoded == []
    assert {path.parent.name for path in (folder / "train").rglob("*.png")} == {
        i.report_sha256[:2] for i in made.images
    }
    loaded = ImageFolder(str(folder / "train"))
    assert loaded.classes == ["cervix_HSIL", "cervix_NILM", "unlabelled"] and len(loaded) == 8
    (one, *_) = (folder / "train").rglob("*.png")
    os.utime(one, ns=(1, 1))
    finish_set(made, generated=0, seconds=0.0)
    assert decoded == [one], "a file that changed"
    monkeypatch.setattr("retrieval.synthetic.plan.FLAT", 8)
    smaller = opened(folder, table, generator)
    assert smaller.generate() == 0
    finish_set(smaller, generated=0, seconds=0.0)
    assert sorted(path.name for path in (folder / "train").iterdir() if path.is_dir()) == loaded.classes
    assert not [path for path in (folder / "train").glob("*/*") if path.is_dir()], "no empty folder is left"


def test_images_that_were_generated_before_an_error_stay(
    generator: CoinGenerator, table: ReportTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = opened(tmp_path / "set", table, generator)
    queue = generator.generate_queue

    def failing(*given: Any, **more: Any) -> Any:
        for number, generation in enumerate(queue(*given, **more)):
            if number == 2:
                raise GenerationError("The GPU is gone.")
            yield generation

    monkeypatch.setattr(generator, "generate_queue", failing)
    with pytest.raises(GenerationError):
        made.generate()
    assert len(made.existing()) == 6, "those of two reports, of which one stands there twice"


def test_damaged_pixels_are_removed_and_generated_by_the_next_run(
    whole: Path, generator: CoinGenerator, table: ReportTable, tmp_path: Path
) -> None:
    folder = shutil.copytree(whole, tmp_path / "set")
    path = next((folder / "train").glob("*/*.png"))
    data = bytearray(path.read_bytes())
    data[-200] ^= 255  # in the pixels: the header, which is all that is read at first, stays whole
    path.write_bytes(data)
    made = opened(folder, table, generator)
    assert made.generate() == 0
    with pytest.raises(SyntheticSetError, match="1 images of the set were damaged"):
        finish_set(made, generated=0, seconds=0.0)
    assert made.generate() == 1
    assert finish_set(made, generated=1, seconds=1.0).images == 8


def test_a_table_that_grew_costs_what_is_new_and_one_that_shrank_loses_nothing(
    whole: Path, generator: CoinGenerator, table: ReportTable, tmp_path: Path
) -> None:
    folder = shutil.copytree(whole, tmp_path / "set")
    (tmp_path / "more.csv").write_text(REPORTS + "f.jpg,Small cells in groups.,SCC,cervix,,\n")
    grown = opened(folder, read_report_table(tmp_path / "more.csv"), generator)
    assert grown.generate() == 2
    assert finish_set(grown, generated=2, seconds=1.0).images == 10
    (tmp_path / "fewer.csv").write_text("".join(REPORTS.splitlines(keepends=True)[:3]).replace(",NILM,", ",ASC-US,"))
    fewer = opened(folder, read_report_table(tmp_path / "fewer.csv"), generator)
    assert fewer.generate() == 0
    summary = finish_set(fewer, generated=0, seconds=0.0)
    assert (summary.images, summary.set_aside) == (4, 6)
    assert summary.classes == {"cervix_ASC-US": 2, "cervix_HSIL": 2}  # the other label moved its images
    assert ImageFolder(str(folder / "train")).classes == ["cervix_ASC-US", "cervix_HSIL"]  # and left no empty class
    again = opened(folder, read_report_table(tmp_path / "more.csv"), generator)
    assert again.generate() == 0
    assert finish_set(again, generated=0, seconds=0.0).images == 10


def test_other_settings_are_refused(
    whole: Path, weights: tuple[Path, Path], generator: CoinGenerator, table: ReportTable, tmp_path: Path
) -> None:
    with pytest.raises(SyntheticSetError, match=r"other settings \(sampling\).*preset draft, 64 px"):
        opened(whole, table, generator, preset="reference")
    with pytest.raises(SyntheticSetError, match=r"other settings \(size\)"):
        opened(whole, table, generator, size=128)
    with pytest.raises(SyntheticSetError, match=r"other settings \(lora_fingerprint\)"):
        opened(whole, table, CoinGenerator(weights[0], device="cpu"))
    moved = shutil.copytree(weights[0], tmp_path / "moved")  # the same weights by another name
    assert opened(whole, table, CoinGenerator(moved, weights[1], device="cpu")).generate() == 0
    shutil.rmtree(moved)
    for wrong in ({"size": 65}, {"preset": "lcm"}):  # refused before there is a folder
        with pytest.raises(SettingsError):
            opened(tmp_path / "new", table, generator, **wrong)
        assert not (tmp_path / "new").exists()
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SyntheticSetError, match="holds other files"):
        opened(tmp_path, table, generator)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    (tmp_path / "begun").mkdir()
    # A process that begins the same set, or was killed while it did.
    (tmp_path / "begun" / f"set.json.{'0' * 32}.tmp").write_bytes(b"{")
    assert opened(tmp_path / "begun", table, generator).existing() == {}
    with pytest.raises(SyntheticSetError, match="no report with words"):
        opened(tmp_path / "new", ReportTable(Path("a.csv"), ("report",), (ReportRow(2, "--"),), ()), generator)


@pytest.mark.slow
def test_settings_of_prompts_and_guidance_belong_to_the_set(
    weights: tuple[Path, Path], table: ReportTable, tmp_path: Path
) -> None:
    other = {"guidance": 6.0, "negative_prompt": "blurred", "long_reports": "chunk", "glossary": True}
    made = opened(tmp_path / "set", table, CoinGenerator(*weights, device="cpu", **other), per_report=1)
    assert made.generate() == 4
    again = opened(tmp_path / "set", table, CoinGenerator(*weights, device="cpu", **other), per_report=1)
    assert again.generate() == 0
    for name, value in {"guidance": 5.0, "negative_prompt": "", "long_reports": "condense", "glossary": False}.items():
        changed = CoinGenerator(*weights, device="cpu", **{**other, name: value})
        with pytest.raises(SyntheticSetError, match=f"other settings .{'sampling' if name == 'guidance' else name}.*"):
            opened(tmp_path / "set", table, changed, per_report=1)


def test_a_set_that_was_never_begun_binds_nobody(generator: CoinGenerator, table: ReportTable, tmp_path: Path) -> None:
    opened(tmp_path / "set", table, generator, size=128)
    assert read_recipe(opened(tmp_path / "set", table, generator).folder)["size"] == 64


def test_an_unfinished_set_is_not_described(generator: CoinGenerator, table: ReportTable, tmp_path: Path) -> None:
    made = opened(tmp_path / "set", table, generator)
    made.generate(share=Share(1, 2))
    drawn = len(names(made.folder))
    assert 0 < drawn < 8
    with pytest.raises(SyntheticSetError, match=f"{8 - drawn} images of the set are not generated yet"):
        finish_set(made, generated=0, seconds=0.0)
    assert not (made.folder / "manifest.csv").exists()


def test_the_same_pixels_are_dropped_and_stay_dropped(
    whole: Path, generator: CoinGenerator, table: ReportTable, tmp_path: Path
) -> None:
    folder = shutil.copytree(whole, tmp_path / "set")
    made = opened(folder, table, generator)
    first, second = (made.existing()[image.name] for image in made.images[:2])
    provenance = read_provenance(second)
    assert provenance is not None
    with Image.open(first) as image:
        save_png(image.convert("RGB"), second, provenance)  # as if both seeds had drawn one picture
    for _ in range(2):
        assert made.generate() == 0
        summary = finish_set(made, generated=0, seconds=0.0)
        assert (summary.images, summary.exact_duplicates) == (7, 1)
        assert [path.name for path in (folder / "dropped").iterdir()] == [second.name]
        assert second.name not in (folder / "manifest.csv").read_text()
        assert second.name not in (folder / "train" / "metadata.jsonl").read_text()


def test_an_archive_takes_none_of_it(whole: Path, encoder: Encoder, tmp_path: Path) -> None:
    with Archive.create(tmp_path / "archive") as archive:
        summary = add_manifest(archive, whole / "manifest.csv", encoder)
        assert (summary.added, len(summary.skipped)) == (0, 8)
        assert all(problem.what == "is a generated image" for problem in summary.skipped)
        # Nor where the manifest says nothing: the files do.
        lines = "".join(f"{path.relative_to(whole)},Report\n" for path in (whole / "train").glob("*/*.png"))
        (whole / "bare.csv").write_text(f"image,report\n{lines}")
        try:
            summary = add_manifest(archive, whole / "bare.csv", encoder)
        finally:
            (whole / "bare.csv").unlink()
        assert (summary.added, len(summary.skipped)) == (0, 8)
        assert archive.cases() == []


def test_columns_of_the_table_never_hide_ours() -> None:
    assert carried_columns(["image", "seed", "source_seed", "note"]) == {
        "image": "source_image",
        "seed": "source_source_seed",
        "source_seed": "source_seed",
        "note": "note",
    }


SCRIPT = """
import sys
from generation import CoinGenerator
from index_store import read_report_table
from retrieval import SyntheticSet
from retrieval.synthetic.plan import Share
from tests.few_steps import few_steps
base, lora, table, folder, number = sys.argv[1:]
generator = CoinGenerator(base, lora, device="cpu")
with few_steps():
    made = SyntheticSet(folder, read_report_table(table), generator, preset="draft", per_report=2)
    made.generate(share=Share(int(number), 2), batch_size=1)
"""


@pytest.mark.slow
def test_processes_share_the_work_one_is_killed_and_the_last_one_ends_it(
    whole: Path, weights: tuple[Path, Path], generator: CoinGenerator, table: ReportTable, tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    mine = {number: {i.name for i in plan(table) if Share(number, 2).holds(i.report_sha256)} for number in (1, 2)}
    assert len(mine[1]) > 1
    assert len(mine[2]) > 1
    runs = {
        number: subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *map(str, weights), str(table.path), str(folder), str(number)],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for number in mine
    }
    try:
        while not names(folder) & mine[2]:
            assert runs[2].poll() is None
            time.sleep(0.002)
        runs[2].kill()
        assert runs[1].wait(timeout=600) == 0
    finally:
        for run in runs.values():
            run.kill()
            run.wait()
    there = names(folder)
    assert mine[1] <= there
    for path in folder.rglob("*.png"):  # each is whole
        with Image.open(path) as image:
            image.load()
    made = opened(folder, table, generator)
    assert set(made.existing()) == there
    assert made.generate() == 8 - len(there)
    unfinished = next((folder / "train").iterdir()) / f"{'0' * 16}-0.png.{'0' * 32}.tmp"
    unfinished.write_bytes(b"half")
    os.utime(unfinished, (0, 0))
    finish_set(made, generated=0, seconds=0.0)
    assert not unfinished.exists()
    assert names(folder) == names(whole)
    assert (folder / "manifest.csv").read_text() == (whole / "manifest.csv").read_text()
