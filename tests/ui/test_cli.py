"""The `coin` command as its users meet it: listings, JSON, exit codes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from generation import PRESETS, read_provenance
from generation.phantom import Phantom, phantom_cases, write_phantoms
from index_store import Archive
from retrieval import RESEARCH_USE
from tests.ui.conftest import CASES, coin
from ui.cli import cli
from ui.settings import SETTINGS

ROOT = Path(__file__).parents[2]


def test_help_loads_nothing_heavy() -> None:
    """In a process of its own: only click, lazy_loader and Pillow are loaded beside ours (0.2 s)."""
    program = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "from ui.cli import cli\n"
        "cli(['--help'], standalone_mode=False)\n"
        "loaded = {name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names\n"
        "assert loaded <= {'ui', 'retrieval', 'generation', 'index_store', 'click', 'lazy_loader', 'PIL'}, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert RESEARCH_USE in " ".join(done.stdout.split())


@pytest.mark.parametrize("command", sorted(cli.commands))
def test_every_command_has_help(command: str) -> None:
    result = coin(command, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: coin {command}")


def test_every_setting_is_an_option_somewhere_and_says_its_variable() -> None:
    shown = " ".join(" ".join(coin(command, "--help").stdout.split()) for command in cli.commands)
    for setting in SETTINGS:
        assert f"{setting.option} " in shown, setting.name
        assert f"env var: {setting.env}" in shown, setting.name


def test_version() -> None:
    result = coin("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("coin, version ")


def test_init_makes_an_archive_and_status_describes_it(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    assert coin("init", "--archive", folder, "--name", "Ours").exit_code == 0
    status = coin("status", "--archive", folder)
    assert status.exit_code == 0
    assert "Ours" in status.stdout
    assert status.stdout.rstrip().endswith(RESEARCH_USE)


def test_status_as_json(environment: dict[str, str]) -> None:
    status = json.loads(coin("status", "--json").stdout)
    assert status["notice"] == RESEARCH_USE
    assert status["cases"] == status["images"] == CASES
    assert status["path"] == environment["COIN_ARCHIVE"]
    assert status["scales"] == {"1.5": CASES}, "phantoms 96 µm wide with 64 pixels"


def test_adding_again_does_no_work(environment: dict[str, str], manifest: Path) -> None:
    again = json.loads(coin("add", manifest, "--json").stdout)
    assert (again["added"], again["unchanged"], again["skipped"]) == (0, CASES, [])


def test_search_by_report_lists_cases_and_images(environment: dict[str, str]) -> None:
    result = coin("search", "--text", "Squamous intraepithelial lesion (HSIL).", "-k", "3")
    assert result.exit_code == 0, result.output
    assert "SYNTHETIC: 2 generated images" in result.stdout
    draft = PRESETS["draft"]
    assert f"seed 0, draft, {draft.steps} steps, guidance {draft.guidance:g}" in result.stdout
    assert result.stdout.count("[PHANTOM]") == 3
    assert result.stdout.rstrip().endswith(RESEARCH_USE)


@pytest.mark.slow
def test_search_by_report_file_and_stdin_agree(environment: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "report.txt"
    file.write_text("\ufeffClue cells.", encoding="utf-8")
    by_file = json.loads(coin("search", "--text-file", file, "--json").stdout)
    by_stdin = json.loads(coin("search", "--text-file", "-", "--json", stdin="Clue cells.").stdout)
    assert by_file["query"] == by_stdin["query"]
    assert by_file["cases"] == by_stdin["cases"]


def test_search_by_image_finds_the_image_itself(
    environment: dict[str, str], manifest: Path, phantoms: list[Phantom]
) -> None:
    image = manifest.parent / "images" / f"{phantoms[5].key}.png"
    result = json.loads(coin("search", "--image", image, "--json").stdout)
    assert result["notice"] == RESEARCH_USE
    assert result["cases"][0]["case"] == phantoms[5].key
    assert result["cases"][0]["similarity"] == pytest.approx(1, abs=1e-4)
    assert len(result["cases"]) == 10


def test_search_by_case_leaves_the_case_out(environment: dict[str, str], phantoms: list[Phantom]) -> None:
    result = json.loads(coin("search", "--case", phantoms[0].key, "-k", CASES, "--json").stdout)
    found = [case["case"] for case in result["cases"]]
    assert sorted([*found, phantoms[0].key]) == sorted(phantom.key for phantom in phantoms)
    assert result["notes"], "fewer than k were found, and nobody says so"


def test_filters_hold_and_may_be_repeated(environment: dict[str, str], phantoms: list[Phantom]) -> None:
    asked = ("search", "--case", phantoms[0].key, "--json", "-k", CASES)
    result = json.loads(coin(*asked, "--site", "thyroid", "--site", "breast").stdout)
    assert {case["site"] for case in result["cases"]} == {"thyroid", "breast"}
    assert not json.loads(coin(*asked, "--no-phantoms").stdout)["cases"]
    without = json.loads(coin(*asked, "--exclude-case", phantoms[1].key).stdout)
    assert phantoms[1].key not in {case["case"] for case in without["cases"]}


def test_show_prints_the_whole_report(environment: dict[str, str], phantoms: list[Phantom]) -> None:
    result = coin("show", phantoms[3].key)
    assert result.exit_code == 0
    assert " ".join(phantoms[3].report.split()) in " ".join(result.stdout.split())
    assert "PHANTOM" in result.stdout
    shown = json.loads(coin("show", phantoms[3].key, "--json").stdout)
    assert shown["report"] == phantoms[3].report
    assert len(shown["images"]) == 1


def test_site_and_category_are_read_from_the_report_unless_told_not_to(models: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    to_archive = ("--archive", folder, "--encoder", models["COIN_ENCODER"])
    Image.new("RGB", (40, 40), "pink").save(tmp_path / "a.png")
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("image,case,report\na.png,case-1,Urine cytology: no malignant cells.\n")
    assert coin("init", "--archive", folder).exit_code == 0
    assert "extracted from" not in coin("add", manifest, "--no-derive", *to_archive).stdout
    assert "extracted from" not in coin("show", "case-1", "--archive", folder).stdout
    added = coin("add", manifest, *to_archive).stdout
    assert "site or category of 1 cases extracted from their reports" in added
    assert "NHGUC (extracted from the report)" in coin("show", "case-1", "--archive", folder).stdout
    shown = json.loads(coin("show", "case-1", "--json", "--archive", folder).stdout)
    assert shown["derived"] == ["site", "system", "category"]


@pytest.mark.slow
def test_remove_asks_and_then_removes(models: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    manifest = write_phantoms(tmp_path / "phantoms", phantom_cases(3), size=64)
    keys = [phantom.key for phantom in phantom_cases(3)]
    encoder = ("--encoder", models["COIN_ENCODER"])
    assert coin("init", "--archive", folder).exit_code == 0
    assert coin("add", manifest, "--archive", folder, *encoder).exit_code == 0
    assert coin("remove", keys[0], "--archive", folder, stdin="n\n").exit_code == 1
    # One name is wrong: nothing is removed.
    assert coin("remove", keys[0], "nobody", "--yes", "--archive", folder).exit_code == 1
    assert json.loads(coin("status", "--json", "--archive", folder).stdout)["cases"] == 3
    removed = json.loads(coin("remove", keys[0], keys[1], "--yes", "--json", "--archive", folder).stdout)
    assert (removed["removed"], removed["images"]) == (keys[:2], 2)
    assert json.loads(coin("status", "--json", "--archive", folder).stdout)["cases"] == 1
    assert coin("show", keys[0], "--archive", folder).exit_code == 1


@pytest.mark.slow
def test_images_generated_from_a_removed_or_replaced_report_leave_the_cache(
    environment: dict[str, str],
    phantoms: list[Phantom],
    manifest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COIN_ARCHIVE", str(shutil.copytree(environment["COIN_ARCHIVE"], tmp_path / "archive")))
    monkeypatch.setenv("COIN_CACHE", str(tmp_path / "cache"))
    with Archive.open(tmp_path / "archive", read_only=True) as archive:
        first, second = (archive.case(phantom.key) for phantom in phantoms[:2])
    assert first.report != second.report
    cache = tmp_path / "cache"
    for more in ([], ["--site", "urine"]):  # as it stands, and with a site before it
        assert coin("search", "--text", first.report, *more).exit_code == 0
    of_first = set(cache.iterdir())
    assert coin("search", "--text", second.report).exit_code == 0
    of_second = set(cache.iterdir()) - of_first
    assert of_first
    assert of_second
    assert json.loads(coin("remove", first.key, "--yes", "--json").stdout)["generated"] == len(of_first)
    assert set(cache.iterdir()) == of_second
    changed = tmp_path / "manifest.csv"
    changed.write_text(manifest.read_text("utf-8").replace(second.report, "Another report."), "utf-8")
    added = coin("add", str(changed), "--images", str(manifest.parent), "--json")
    assert json.loads(added.stdout)["updated"] == 1, added.output
    assert set(cache.iterdir()) == set()
    assert coin("search", "--text", "Another report.").exit_code == 0
    drawn = len(set(cache.iterdir()))
    assert drawn
    assert f"{drawn} image(s) generated from their reports" in coin("remove", second.key, "--yes").stdout


def test_generate_saves_images_that_say_what_they_are(environment: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    result = coin("generate", "--text", "Clue cells.", "--out", out, "--n-images", "2", "--seed", "5", "--json")
    assert result.exit_code == 0, result.output
    listed = json.loads(result.stdout)["images"]
    assert sorted(image["path"] for image in listed) == sorted(str(path) for path in out.iterdir())
    for image, seed in zip(listed, (5, 6), strict=True):
        made = read_provenance(Path(image["path"]))
        assert made is not None
        assert (made.synthetic, made.seed, made.prompt) == (True, seed, "Clue cells.")
        assert "Clue" not in Path(image["path"]).name
        with Image.open(image["path"]) as picture:
            assert picture.mode == "RGB"


@pytest.mark.slow
def test_stdout_is_the_answer_alone(environment: dict[str, str], capfd: pytest.CaptureFixture[str]) -> None:
    """As a pipe sees it: one JSON object, whatever the libraries and the progress have to say on the way."""
    cli(["search", "--text", "Benign.", "--json", "-k", "1", "--seed", "77"], standalone_mode=False)
    out, _ = capfd.readouterr()
    assert json.loads(out)["notice"] == RESEARCH_USE


def test_a_report_and_a_case_ask_together_and_channels_are_named(
    environment: dict[str, str], phantoms: list[Phantom]
) -> None:
    asked = ("search", "--case", phantoms[0].key, "--text", "Clue cells.", "--channel", "image", "--channel", "report")
    result = json.loads(
        coin(*asked, "--weight", "report=3", "--weight", "image=1", "--fusion", "score", "--json").stdout
    )
    assert result["query"]["kind"] == "report and case"
    assert result["fusion"] == {"method": "score", "weights": {"image": 0.25, "report": 0.75}}
    assert [place["channel"] for place in result["cases"][0]["channels"]] == ["image", "report"]
    shown = coin(*asked).stdout
    assert "Ordered by standard deviations (SD)" in shown
    assert "image #" in shown


def test_a_saved_query_is_run_again_refined_and_deleted(
    environment: dict[str, str], phantoms: list[Phantom], tmp_path: Path
) -> None:
    kept = ("--queries", tmp_path)
    first = coin("search", "--text", "Clue cells.", "-k", "3", "--seed", "4", "--save", "clue", "--json", *kept)
    assert first.exit_code == 0, first.output
    again = json.loads(coin("search", "--query", "clue", "--json", *kept).stdout)
    assert again["cases"] == json.loads(first.stdout)["cases"]
    refined = coin(
        *("search", "--query", "clue", "--more-like", phantoms[3].key, "--without-seed", "4", "--json", *kept),
        *("-k", "5", "--text", "Trichomonas.", "--save", "trichomonas"),
    )
    query = json.loads(refined.stdout)["query"]
    assert (query["text"], query["seeds"], query["more"], query["k"]) == ("Trichomonas.", [5], [phantoms[3].key], 5)
    assert json.loads(coin("queries", "--json", *kept).stdout)["queries"] == ["clue", "trichomonas"]
    assert "already" in coin("search", "--text", "Other.", "--save", "clue", *kept).stderr
    (broken,) = tmp_path.glob("*/clue.json")
    broken.write_text("{broken")
    listed = coin("queries", *kept).stdout
    assert "The saved query 'clue' cannot be run. This is no JSON" in " ".join(listed.split())
    assert "trichomonas  by " in listed
    deleted = coin("queries", "--delete", "clue", *kept)
    assert "deleted clue" in deleted.stdout
    assert "trichomonas  by report" in deleted.stdout
    assert coin("search", "--query", "clue", *kept).exit_code == 1


def test_a_query_that_cannot_be_saved_costs_no_answer(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    asked = coin(
        "search", "--text", "Clue cells.", "--save", "clue", "--json", "--queries", tmp_path / "file" / "below"
    )
    assert asked.exit_code == 1
    assert json.loads(asked.stdout)["cases"]
    assert "was not saved as 'clue'" in asked.stderr


@pytest.mark.slow
def test_marks_and_regions_of_a_saved_query_are_taken_back(
    environment: dict[str, str], manifest: Path, phantoms: list[Phantom], tmp_path: Path
) -> None:
    image = manifest.parent / "images" / f"{phantoms[5].key}.png"
    kept = ("--json", "--queries", tmp_path)
    marks = ("--more-like", phantoms[3].key, "--less-like", phantoms[4].key)
    coin("search", "--image", image, "--region", "0,0,0.5,0.5", *marks, "--save", "part", *kept)
    saved = json.loads(coin("search", "--query", "part", *kept).stdout)["query"]
    assert (saved["more"], saved["less"], saved["region"]["right"]) == ([phantoms[3].key], [phantoms[4].key], 0.5)
    back = coin("search", "--query", "part", "--unmark", phantoms[3].key, "--whole-image", *kept)
    query = json.loads(back.stdout)["query"]
    assert (query["more"], query["less"], query["region"]) == ([], [phantoms[4].key], None)


def test_rows_by_category_stand_beside_the_ranking(environment: dict[str, str], phantoms: list[Phantom]) -> None:
    asked = next(phantom for phantom in phantoms if phantom.morphology.site == "thyroid")
    shown = coin("search", "--case", asked.key, "-k", "3", "--by-category", "2")
    assert shown.exit_code == 0, shown.output
    assert "The nearest of each category in Bethesda thyroid 2023" in shown.stdout
    assert "a comparison and no vote" in shown.stdout
    assert "Shared with the query, where it should not matter: " in shown.stdout
    gallery = json.loads(coin("search", "--case", asked.key, "--by-category", "2", "--json").stdout)["gallery"]
    assert gallery["system"] == "Bethesda thyroid 2023"
    rows = {row["category"]: row for row in gallery["rows"]}
    assert asked.key not in [case["case"] for row in rows.values() for case in row["cases"]]
    assert all(len(row["cases"]) == min(2, row["available"]) for row in rows.values())
    assert sum(row["available"] for row in rows.values()) == 2  # of the 24 phantoms, without the query's
    assert json.loads(coin("search", "--case", asked.key, "--json").stdout)["gallery"] is None


@pytest.mark.slow
def test_calibrate_lets_generated_images_be_judged(environment: dict[str, str], tmp_path: Path) -> None:
    asked = ("search", "--text", "Clue cells.", "--channel", "generated", "--n-images", "1", "-k", "2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COIN_CACHE", str(tmp_path / "cache" / "generated"))
        before = " ".join(coin(*asked).stdout.split())
        assert "Not judged: Generated images are judged by" in before
        assert "coin calibrate" in before
        made = coin("calibrate", "--reports", "20", "--n-images", "1")
        assert made.exit_code == 0, made.output
        assert "generated images  comparable from" in made.stdout
        assert "20 cases" in made.stdout
        assert "Wrong site: " in made.stdout or "is not judged" in made.stdout
        assert made.stdout.rstrip().endswith(RESEARCH_USE)
        after = coin(*asked).stdout
        assert "Not judged" not in after
        assert "By generated images: " in after
        rules = json.loads(coin("calibrate", "--reports", "20", "--n-images", "1", "--json").stdout)["rules"]
        assert [rule["kind"] for rule in rules] == ["case", "image", "generated"]
        few = coin("calibrate", "--reports", "20", "--n-images", "1", "--site", "thyroid")
        assert few.exit_code == 1
        assert "patients with a report that the filter lets through, and 20 are needed" in few.stderr


def test_a_region_of_an_image_asks(environment: dict[str, str], manifest: Path, phantoms: list[Phantom]) -> None:
    image = manifest.parent / "images" / f"{phantoms[5].key}.png"
    part = coin("search", "--image", image, "--region", "0,0,0.5,0.5")
    assert "within 0, 0, 0.5, 0.5 of the image" in part.stdout
    for wrong in ("0,0,0.5", "a,b,c,d", "0.5,0,0.1,1", "0,0,1,2"):
        assert coin("search", "--image", image, "--region", wrong).exit_code == 2


def test_rules_of_a_file_join_the_channels(environment: dict[str, str], tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[text]\nmethod = "rrf"\nweights = { generated = 0, joint = 1, report = 3 }\n')
    result = json.loads(coin("search", "--text", "Clue cells.", "--rules", rules, "--json").stdout)
    assert result["fusion"] == {"method": "rrf", "weights": {"joint": 0.25, "report": 0.75}}
    assert result["generation"] is None, "a channel without weight is not asked"
    rules.write_text("[text]\nmethod = 'sum'\nweights = {}\n")
    assert "no fusion 'sum'" in coin("search", "--text", "Clue cells.", "--rules", rules).stderr


@pytest.mark.slow
def test_a_preset_for_few_steps_needs_its_lora(environment: dict[str, str], tmp_path: Path) -> None:
    how = ("--preset", "lcm", "--n-images", "1", "--size", "64")
    asked = ("generate", "--text", "Clue cells.", "--out", tmp_path, *how)
    refused = coin(*asked)
    assert refused.exit_code == 1
    assert "'lcm' needs a LoRA that was distilled for few steps" in refused.stderr
    # No such LoRA is at hand: the same one fused twice shows that the option arrives.
    drawn = coin(*asked, "--few-step-lora", environment["COIN_LORA"], "--memory", "low", "--json")
    assert drawn.exit_code == 0, drawn.output
    provenance = json.loads(drawn.stdout)["images"][0]["provenance"]
    assert (provenance["preset"], provenance["lora"]) == ("lcm", "lora + lora")
