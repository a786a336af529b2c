"""`coin evaluate`: the table, the file for programs, the page for people, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import Result

from generation.phantom import PROFILES, Phantom, write_phantoms
from index_store import Archive, PlannedImage, read_manifest
from retrieval import RESEARCH_USE
from tests.clip_model import tiny_clip
from tests.index_store.archive_builders import add_manifest, write_manifest
from tests.ui.conftest import coin
from ui.commands.evaluate import duration

HOSTILE = '<script>alert("x")</script>'


def filled(folder: Path, rows: list[dict[str, str]], *, name: str = "ours") -> Path:
    with Archive.create(folder / "archive", name=name) as archive:
        if rows:
            add_manifest(archive, write_manifest(folder / "manifest.csv", rows))
    return folder / "archive"


def rows(count: int = 24, *, sites: tuple[str, ...] = ("cervix", "thyroid")) -> list[dict[str, str]]:
    return [
        {
            "image": f"{i}.png",
            "case": f"case {i}",
            "patient": f"patient {i // 2}",
            "report": "Report.",
            "site": sites[(i // 2) % len(sites)],
            "category": ("Benign", "Malignant")[(i // 4) % 2],
        }
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("evaluated"), rows(), name=HOSTILE)


@pytest.fixture(scope="module")
def both_files(evaluated: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    """What one evaluation with every channel prints, and the folder of its e.json and e.html."""
    folder = tmp_path_factory.mktemp("both files")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COIN_CACHE", str(folder / "cache" / "generated"))
        run = coin("evaluate", "--archive", evaluated, "--json", folder / "e.json", "--html", folder / "e.html")
    assert run.exit_code == 0, run.output
    return run, folder


@pytest.mark.slow
def test_an_encoder_that_is_named_and_not_there_is_refused(
    evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is set is not missed: the archive has the vectors."""
    refused = coin("evaluate", "--archive", evaluated, "--encoder", tmp_path / "gone")
    assert refused.exit_code == 1
    assert f"There is no encoder folder {tmp_path / 'gone'}" in refused.output
    monkeypatch.setenv("COIN_ENCODER", str(tmp_path / "gone"))
    assert coin("evaluate", "--archive", evaluated).exit_code == 0


def test_a_file_in_the_place_of_the_folder_that_keeps_work_is_refused(evaluated: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    refused = coin("evaluate", "--archive", evaluated, "--work", tmp_path / "notes.txt")
    assert refused.exit_code == 2
    assert "notes.txt' is a file" in refused.output


@pytest.fixture(scope="module")
def phantoms_of_two(models: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of 16 phantoms of two findings, embedded by the tiny models."""
    folder = tmp_path_factory.mktemp("two")
    drawn = [Phantom(profile, number) for number in range(8) for profile in PROFILES[:2]]
    manifest = write_phantoms(folder, drawn, size=64)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in models.items():
            patch.setenv(name, value)
        assert coin("init", "--archive", folder / "archive").exit_code == 0
        assert coin("add", manifest, "--archive", folder / "archive").exit_code == 0
    return folder / "archive"


@pytest.fixture
def tiny(models: dict[str, str], phantoms_of_two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny models and that archive, set as a user would set them."""
    for name, value in {**models, "COIN_ARCHIVE": str(phantoms_of_two)}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is kept between runs, apart from the developer's own."""
    monkeypatch.setenv("COIN_CACHE", str(tmp_path / "cache" / "generated"))
    return tmp_path / "cache"


class Elements(HTMLParser):
    """The names of a document's elements, and what they would load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.loads: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.loads += [name for name, _ in attrs if name in {"src", "href", "srcset", "action"}]
        if tag not in {"meta"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_table_json_and_page_say_the_same(both_files: tuple[Result, Path]) -> None:
    run, folder = both_files
    assert run.stdout.rstrip().endswith(RESEARCH_USE)
    written = json.loads((folder / "e.json").read_text(encoding="utf-8"))
    page = (folder / "e.html").read_text(encoding="utf-8")
    assert (written["notice"], written["cases"], written["patients"]) == (RESEARCH_USE, 24, 12)
    assert page.count(RESEARCH_USE) == 2
    assert "What this does not show" in page
    assert "What this does not show" in run.stdout
    tasks = [task for family in written["families"] for task in family["tasks"]]
    assert [family["name"] for family in written["families"]] == [
        "queries by image",
        "queries by report",
        "queries by report and image",
    ]
    for task in tasks:
        assert f"== {task['name']}\n" in run.stdout
        for part in task["parts"]:
            for row in part["rows"]:
                assert f"{row['scores']['P@10']['mean']:.3f}" in run.stdout
                for score in row["scores"].values():
                    assert score["low"] <= score["mean"] + 1e-9
                    assert score["mean"] <= score["high"] + 1e-9
                    assert f"{score['mean']:.3f}" in page
    for difference in (one for task in tasks for one in task["differences"]):
        assert f"{difference['scores']['P@10']['mean']:+.3f}" in run.stdout
        assert f"{difference['scores']['mAP']['mean']:+.3f}" in page
    for curve in (one for family in written["families"] for one in family["abstention"]):
        assert f"{curve['aurc']:.3f}" in run.stdout
        assert f"{curve['aurc']:.3f}" in page
    assert "--generate" in run.stdout
    assert max(map(len, run.stdout.splitlines())) <= 100


def test_the_first_table_shows_the_first_hit_beside_the_first_page(both_files: tuple[Result, Path]) -> None:
    run, _ = both_files
    first = run.stdout.partition("==== at a glance")[2].partition("====")[0]
    assert [line.split()[0] for line in first.splitlines() if "P@" in line] == ["P@1", "P@10"], first


def test_the_page_loads_nothing_and_shows_names_as_text(both_files: tuple[Result, Path]) -> None:
    _, folder = both_files
    page = (folder / "e.html").read_text(encoding="utf-8")
    elements = Elements(page)
    assert elements.open == []
    assert elements.loads == []
    assert {"script", "link", "img", "iframe"} & set(elements.names) == set()
    assert elements.names.count("svg") > 3 * 3 * 3  # three families of three questions, over all and of two sites
    assert "&lt;script&gt;" in page
    sizes = [(float(w), float(h)) for w, h in re.findall(r'<rect [^>]*width="([^"]+)" height="([^"]+)"', page)]
    assert sizes
    assert all(0 <= w <= 400 and 0 <= h <= 160 for w, h in sizes)


@pytest.mark.slow
def test_the_same_seed_writes_the_same_files(evaluated: Path, tmp_path: Path) -> None:
    texts = []
    for name in ("a", "b"):
        made = coin("evaluate", "--archive", evaluated, "--sample", "10", "--seed", "3", "--json", tmp_path / name)
        assert made.exit_code == 0
        texts.append(((tmp_path / name).read_text(encoding="utf-8"), made.stdout))
        assert "10 of them, sampled at random with seed 3, are queries" in " ".join(made.stdout.split())
        assert re.search(r"This took \d+ s\.", made.stderr)
    assert texts[0] == texts[1]
    assert json.loads(texts[0][0])["sampled"] == 10


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (725.2, "12 min 5 s")])
def test_a_duration_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.slow
def test_without_the_histogram_there_is_one_channel_fewer(tmp_path: Path) -> None:
    folder = filled(tmp_path, rows(12, sites=("cervix",)))
    run = coin("evaluate", "--archive", folder, "--no-histogram", "--json", tmp_path / "e.json")
    assert run.exit_code == 0, run.output
    by_image, *_ = json.loads((tmp_path / "e.json").read_text(encoding="utf-8"))["families"]
    (task,) = by_image["tasks"]
    assert task["name"] == "category within the site"
    assert [row["channel"] for row in task["parts"][0]["rows"]] == ["image", "chance"]


@pytest.mark.slow
def test_derived_categories_are_counted_and_reported(tmp_path: Path) -> None:
    folder = filled(tmp_path, rows(12))
    with Archive.open(folder) as archive:
        plan = archive.pending(read_manifest(tmp_path / "manifest.csv").rows)
        read = [PlannedImage(replace(item.row, derived=("category",)), item.sha256) for item in plan.unchanged[:5]]
        assert archive.update(read) == 5
    run = coin("evaluate", "--archive", folder, "--json", tmp_path / "e.json", "--html", tmp_path / "e.html")
    assert json.loads((tmp_path / "e.json").read_text(encoding="utf-8"))["derived"] == 5
    said = "5 of the 12 cases have a category that was extracted from their own report"
    assert said in " ".join(run.stdout.split())
    assert said in (tmp_path / "e.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ([], "is empty"),
        ([{**row, "category": ""} for row in rows(4)], "has a category"),
        ([{**row, "patient": "one"} for row in rows(4)], "all of one patient"),
    ],
)
def test_what_cannot_be_evaluated_is_reported_in_one_line(
    tmp_path: Path, made: list[dict[str, str]], message: str
) -> None:
    run = coin("evaluate", "--archive", filled(tmp_path, made))
    assert run.exit_code == 1
    assert run.stdout == ""
    assert message in run.stderr
    assert len(run.stderr.splitlines()) == 1


def test_a_file_that_cannot_be_written_is_refused_before_the_work(evaluated: Path, tmp_path: Path) -> None:
    run = coin("evaluate", "--archive", evaluated, "--json", tmp_path / "nowhere" / "e.json")
    assert run.exit_code == 2
    assert "there is no folder" in run.stderr


@pytest.mark.slow
def test_colours_are_read_once(evaluated: Path, cache: Path) -> None:
    assert coin("evaluate", "--archive", evaluated).exit_code == 0
    kept = {path: path.stat().st_mtime_ns for path in (cache / "evaluation").rglob("*.safetensors")}
    assert kept
    assert coin("evaluate", "--archive", evaluated).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in (cache / "evaluation").rglob("*.safetensors")} == kept


@pytest.mark.slow
def test_generated_images_make_a_row_and_are_kept(tiny: None, tmp_path: Path) -> None:
    """With the tiny models, on the phantoms that they embedded."""
    arguments = ("evaluate", "--generate", "6", "--n-images", "1", "--no-histogram", "--work", tmp_path / "work")
    runs = [coin(*arguments, "--json", tmp_path / name) for name in ("a", "b")]
    assert [run.exit_code for run in runs] == [0, 0], runs[0].output
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    written = json.loads((tmp_path / "a").read_text(encoding="utf-8"))
    by_report = written["families"][1]
    assert by_report["asked"] == 6
    assert by_report["tasks"][0]["parts"][0]["rows"][0]["channel"] == "generated"
    assert "1 images a report" in runs[0].stdout
    assert len(list((tmp_path / "work").rglob("generated-*/*.safetensors"))) == 6
    assert "not decided: 20 queries by report are needed" in runs[0].stdout


def test_what_generated_images_add_is_kept_with_the_archive(
    tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ui.commands.evaluate.FEWEST", 6)
    kept = Path(os.environ["COIN_ARCHIVE"]) / "generated_gain.json"
    try:
        run = coin("evaluate", "--generate", "6", "--n-images", "1", "--no-histogram", "--work", tmp_path / "work")
        assert run.exit_code == 0, run.output
        gain = json.loads(kept.read_text())
        assert (gain["queries"], set(gain["encoders"])) == (6, {"image", "text"})
        printed = " ".join(run.stdout.split())
        assert f"measured on 6 cases, {gain['date']}): from now on searches generate" in printed
        assert ("generate no images unless" in printed) == (gain["gain"]["low"] <= 0)
        asked = coin("search", "--text", "Clue cells.", "--no-generate", "--json")
        assert json.loads(asked.stdout)["generation"] is None
    finally:
        kept.unlink(missing_ok=True)


@pytest.mark.parametrize("value", ["0", "some", "-3"])
def test_generate_takes_a_number_or_all(evaluated: Path, value: str) -> None:
    run = coin("evaluate", "--archive", evaluated, "--generate", value)
    assert run.exit_code == 2
    assert "neither 'all' nor a number" in run.stderr


def test_weights_are_chosen_written_and_used(tiny: None, tmp_path: Path) -> None:
    run = coin("evaluate", "--choose-fusion", tmp_path / "rules.toml", "--json", tmp_path / "c.json")
    assert run.exit_code == 0, run.output
    choices = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))["choices"]
    assert [choice["name"] for choice in choices] == ["image", "report", "text", "text and image"]
    for choice in choices:
        assert f"== {choice['name']}: " in run.stdout
        assert f"{choice['measured']['mean']:.3f}" in run.stdout
    used = coin("evaluate", "--no-histogram", "--rules", tmp_path / "rules.toml")
    assert used.exit_code == 0, used.output
    refused = coin("evaluate", "--choose-fusion", tmp_path / "r.toml", "--html", tmp_path / "e.html")
    assert refused.exit_code == 2
    (tmp_path / "wrong.toml").write_text("[text]\nmethod = 'best'\nweights = {}\n")
    wrong = coin("evaluate", "--rules", tmp_path / "wrong.toml")
    assert wrong.exit_code == 1
    assert "There is no fusion 'best'" in wrong.stderr


def test_two_encoders_are_compared_as_table_page_and_json(
    models: dict[str, str], phantoms_of_two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(phantoms_of_two, tmp_path / "archive"))
    for name, value in {**models, "COIN_ARCHIVE": str(folder)}.items():
        monkeypatch.setenv(name, value)
    other = tiny_clip(tmp_path / HOSTILE.replace("/", "_"), seed=7)
    pair = ("evaluate", "--encoder", models["COIN_ENCODER"], "--encoder", other)
    refused = coin(*pair)
    assert refused.exit_code == 1
    assert "coin reembed --no-switch --encoder" in refused.stderr
    assert coin("reembed", "--no-switch", "--encoder", other).exit_code == 0
    run = coin(*pair, "--json", tmp_path / "c.json", "--html", tmp_path / "c.html")
    assert run.exit_code == 0, run.output
    assert run.stdout.rstrip().endswith(RESEARCH_USE)
    written = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))
    page = (tmp_path / "c.html").read_text(encoding="utf-8")
    elements = Elements(page)
    assert (elements.loads, elements.open) == ([], [])
    assert "script" not in elements.names
    assert elements.names.count("svg") == len(written["searches"]) == 3
    assert page.count(RESEARCH_USE) == 2
    assert [search["name"] for search in written["searches"]] == [
        "images to images",
        "text to images",
        "text to reports, by meaning",
    ]
    assert [verdict["role"] for verdict in written["verdicts"]] == ["image", "text"]
    flat = " ".join(run.stdout.split())
    for verdict in written["verdicts"]:
        assert f"Role {verdict['role']}: " in run.stdout
        assert verdict["better"] == "" or f"coin encoders --role {verdict['role']}=" in flat or "uses it" in flat
    for search in written["searches"]:
        for part in search["parts"]:
            for metric, difference in part["difference"].items():
                assert f"{difference['mean']:+.3f}" in page
                assert metric in run.stdout
    assert coin(*pair, "--encoder", other).exit_code == 2
    assert coin(*pair, "--generate", "2").exit_code == 2
    once = coin("evaluate", "--encoder", models["COIN_ENCODER"], "--no-histogram")
    assert once.exit_code == 0
    assert "==== queries by image" in once.stdout
